import { describe, expect, it } from 'vitest';
import { criticalPath, idleCauses, simulate, whyIdle } from '../../src/simulate/index.ts';
import { barrier, clusterOf, compute, other, post, programOf, receive, send } from './support.ts';

/** Begin and end of every action. */
const timesOf = (simulation: ReturnType<typeof simulate>, device: number) =>
  Array.from({ length: simulation.timeline!.count(device) }, (_, i) => {
    const { begin, end } = simulation.timeline!.at(device, i);
    return [begin, end];
  });

describe('the rules, by hand', () => {
  // device 0   ├ compute 3 ┤├ send 20 B at 10 B/s ┤├ compute 1 ┤
  // device 1   ├ compute 1 ┤┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ 0.5 later ├ compute 2 ┤
  const pair = programOf([compute(3), send(1, 0, 20), compute(1)], [post(0, 0), compute(1), receive(0, 0), compute(2)]);

  it('a send occupies its device; the value arrives one latency later', () => {
    const simulation = simulate(pair, clusterOf(2));
    expect(timesOf(simulation, 0)).toEqual([
      [0, 3],
      [3, 5],
      [5, 6],
    ]);
    expect(timesOf(simulation, 1)).toEqual([
      [0, 0],
      [0, 1],
      [5.5, 5.5],
      [5.5, 7.5],
    ]);
    expect(simulation).toMatchObject({ stepSeconds: 7.5, messages: 1, messageBytes: 20, actions: 7 });
    expect(simulation.bubbleFraction).toBe(1 - (6 + 3) / (2 * 7.5));
    expect(simulation.devices[0]).toMatchObject({
      computeSeconds: 4,
      sendSeconds: 2,
      busySeconds: 6,
      waiting: { start: 0, post: 0, receive: 0, barrier: 0, end: 1.5 },
    });
    expect(simulation.devices[1]).toMatchObject({
      busySeconds: 3,
      waiting: { start: 0, post: 0, receive: 4.5, barrier: 0, end: 0 },
    });
  });

  it('a value that is there already is not waited for', () => {
    const early = programOf([send(1, 0, 10)], [post(0, 0), compute(4), receive(0, 0), compute(1)]);
    const simulation = simulate(early, clusterOf(2));
    expect(simulation.stepSeconds).toBe(5);
    expect(simulation.devices[1]!.waiting.receive).toBe(0);
  });

  it('a send waits for the post, which is known at once', () => {
    const late = programOf([compute(1), send(1, 0, 10)], [compute(3), post(0, 0), receive(0, 0)]);
    const simulation = simulate(late, clusterOf(2));
    expect(timesOf(simulation, 0)[1]).toEqual([3, 4]);
    expect(simulation.stepSeconds).toBe(4.5);
    expect(simulation.devices[0]!.waiting).toEqual({ start: 0, post: 2, receive: 0, barrier: 0, end: 0.5 });
  });

  it('a barrier is opened by the first of those that come to it last', () => {
    const program = programOf([compute(2), barrier()], [compute(2), barrier()], [compute(1), barrier()]);
    const { timeline } = simulate(program, clusterOf(3));
    expect([0, 1, 2].map((d) => timeline!.at(d, 1).heldBy?.device)).toEqual([undefined, undefined, 0]);
  });

  it('a barrier opens for all when the last device has come, in whatever order they are looked at', () => {
    for (const last of [0, 1, 2]) {
      const program = programOf(
        ...[0, 1, 2].map((d) => [compute(d === last ? 5 : 1), barrier(), compute(1), barrier()]),
      );
      const simulation = simulate(program, clusterOf(3));
      expect(simulation.stepSeconds).toBe(6);
      expect(simulation.devices.map((d) => d.waiting.barrier)).toEqual([0, 1, 2].map((d) => (d === last ? 0 : 4)));
    }
  });

  it('counts inputs, outputs and copies apart from kernels', () => {
    const simulation = simulate(programOf([other(1), compute(2), other(3)]), clusterOf(1));
    expect(simulation.devices[0]).toMatchObject({
      computeSeconds: 2,
      otherSeconds: 4,
      busySeconds: 6,
      bubbleFraction: 0,
    });
  });

  it('a device that never waits idles for exactly nothing, and none for less than nothing, whatever the roundings', () => {
    let rounded = 0;
    for (let n = 1; n < 60; n++) {
      const work = Array.from({ length: 9 }, (_, i) => ((n * (i + 3) * 7) % 23) / 10);
      const mixed = work.map((seconds, i) => ((i * n) % 3 === 0 ? other(seconds) : compute(seconds)));
      const alone = simulate(programOf(mixed), clusterOf(1));
      expect([alone.bubbleFraction, alone.devices[0]!.bubbleFraction]).toEqual([0, 0]);
      if (alone.devices[0]!.busySeconds !== alone.stepSeconds) rounded++;
      const pair = simulate(programOf(mixed, [...mixed].reverse()), clusterOf(2));
      for (const share of [pair.bubbleFraction, ...pair.devices.map((d) => d.bubbleFraction)]) {
        expect(share).toBeGreaterThanOrEqual(0);
        expect(share).toBeLessThan(1e-12);
      }
    }
    expect(rounded).toBeGreaterThan(10);
  });

  it('links differ by pair and direction', () => {
    const there = programOf([send(1, 0, 20)], [post(0, 0), receive(0, 0)]);
    const back = programOf([post(1, 0), receive(1, 0)], [send(0, 0, 20)]);
    const cluster = clusterOf(2, (from) => ({ bytesPerSecond: from === 0 ? 10 : 5, secondsLatency: from }));
    expect(simulate(there, cluster).stepSeconds).toBe(2);
    expect(simulate(back, cluster).stepSeconds).toBe(5);
  });

  it('where a latency is that of waking a thread, who sleeps goes on later, whatever it waits for', () => {
    const cluster = clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0.5, wakes: true });
    // The value is there at 1: 1.25 does not wait for it, 0.75 sleeps until 1.5.
    const receiver = (seconds: number) => programOf([send(1, 0, 10)], [post(0, 0), compute(seconds), receive(0, 0)]);
    expect(simulate(receiver(1.25), cluster).stepSeconds).toBe(1.25);
    expect(simulate(receiver(1.25), clusterOf(2)).stepSeconds).toBe(1.5);
    expect(simulate(receiver(0.75), cluster).devices[1]!.waiting.receive).toBe(0.75);
    const sender = programOf([send(1, 0, 10)], [compute(1), post(0, 0), compute(2), receive(0, 0)]);
    expect(timesOf(simulate(sender, cluster), 0)).toEqual([[1.5, 2.5]]);
    const barriers = simulate(programOf([compute(1), barrier()], [compute(3), barrier()]), cluster);
    expect(barriers.devices.map((d) => d.waiting.barrier)).toEqual([2.5, 0]);
    const path = criticalPath(barriers);
    expect(path.segments.map(({ device, kind, begin, end }) => [device, kind, begin, end])).toEqual([
      [1, 'compute', 0, 3],
      [1, 'latency', 3, 3.5],
    ]);
    expect(whyIdle(barriers, 0, 3.25)?.root).toEqual({ kind: 'latency', device: 1, index: 1, to: 0 });
    expect(whyIdle(barriers, 0, 2.75)?.root).toEqual({ kind: 'compute', device: 1, index: 0, to: null });
  });

  it('who has waited no longer than it looks on goes on at once', () => {
    const cluster = (secondsLook: number) =>
      clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0.5, wakes: true, secondsLook });
    // The value is there at 1, and waited for from 0.75 on.
    const program = programOf([send(1, 0, 10)], [post(0, 0), compute(0.75), receive(0, 0)]);
    expect([0.125, 0.25, 1].map((look) => simulate(program, cluster(look)).devices[1]!.waiting.receive)).toEqual([
      0.75, 0.25, 0.25,
    ]);
    const sender = programOf([send(1, 0, 10)], [compute(0.75), post(0, 0), receive(0, 0)]);
    expect([0.5, 0.75].map((look) => simulate(sender, cluster(look)).devices[0]!.waiting.post)).toEqual([1.25, 0.75]);
    const barriers = programOf([compute(1), barrier()], [compute(3), barrier()]);
    expect([1, 2].map((look) => simulate(barriers, cluster(look)).devices[0]!.waiting.barrier)).toEqual([2.5, 2]);
    // A wire's latency is its own, however its receiver waits.
    const wire = clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0.5, secondsLook: 1 });
    expect(simulate(program, wire).devices[1]!.waiting.receive).toBe(0.75);
  });

  it('at a barrier the latency is that from the last who comes to each who sleeps', () => {
    const seconds = [
      [0, 0.5, 1],
      [2, 0, 4],
      [8, 16, 0],
    ];
    const link = (from: number, to: number) => ({
      bytesPerSecond: 10,
      secondsLatency: seconds[from]![to]!,
      wakes: true,
    });
    const program = programOf([compute(1), barrier()], [compute(3), barrier()], [compute(2), barrier()]);
    const { devices } = simulate(program, clusterOf(3, link));
    expect(devices.map((d) => d.waiting.barrier)).toEqual([2 + 2, 0, 1 + 4]);
  });

  it('whatever concerns others takes its own time too: behind the wait, before a transfer', () => {
    const own = programOf(
      [compute(1), send(1, 0, 10, 0.25), barrier(0.5)],
      [post(0, 0, 0.125), receive(0, 0, 0.25), barrier(0.5)],
    );
    const simulation = simulate(own, clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0.5, secondsSend: 0.25 }));
    expect(timesOf(simulation, 0)).toEqual([
      [0, 1],
      [1, 2.5],
      [3.25, 3.75],
    ]);
    expect(timesOf(simulation, 1)).toEqual([
      [0, 0.125],
      [3, 3.25],
      [3.25, 3.75],
    ]);
    expect(simulation.devices[0]).toMatchObject({ computeSeconds: 1, sendSeconds: 1.25, otherSeconds: 0.75 });
  });

  it('ends with what the host takes of a step', () => {
    const cluster = clusterOf(2);
    const simulation = simulate(pair, { ...cluster, costs: { ...cluster.costs, stepSeconds: (n) => n } });
    expect(simulation).toMatchObject({ stepSeconds: 9.5, hostSeconds: 2 });
    expect(simulation.devices.map((d) => d.waiting.end)).toEqual([3.5, 2]);
    expect(criticalPath(simulation)).toMatchObject({ seconds: 9.5, secondsByKind: { host: 2 } });
    expect(idleCauses(simulation)).toContainEqual({ wait: 'end', kind: 'host', device: null, seconds: 4 });
    expect(whyIdle(simulation, 0, 9)).toMatchObject({ root: { kind: 'host', device: null }, begin: 7.5, end: 9.5 });
  });

  it('ends with the host also where rounding has the host begin behind the last action', () => {
    const [end, host] = [0.3, 0.1];
    expect(end + host - host).toBeGreaterThan(end);
    const cluster = clusterOf(2);
    const program = programOf([compute(end)], [compute(0.25)]);
    const simulation = simulate(program, { ...cluster, costs: { ...cluster.costs, stepSeconds: () => host } });
    const idle = idleCauses(simulation);
    expect(idle.reduce((sum, cause) => sum + cause.seconds, 0)).toBeCloseTo(2 * (end + host) - end - 0.25, 12);
    expect(whyIdle(simulation, 0, 0.35)).toMatchObject({ chain: [{ device: 0, kind: 'end' }], root: { kind: 'host' } });
    expect(whyIdle(simulation, 1, 0.27)).toMatchObject({ root: { kind: 'compute', device: 0 } });
  });

  it('begins where the host gets to a device', () => {
    const cluster = clusterOf(2);
    const late = (seconds: readonly number[]) =>
      simulate(pair, { ...cluster, costs: { ...cluster.costs, startSeconds: (d) => seconds[d]! } });
    // Device 1 waits for device 0 until 5.5 anyway.
    expect(late([0, 1])).toMatchObject({ stepSeconds: 7.5, startSeconds: [0, 1] });
    expect(late([0, 1]).devices[1]!.waiting).toMatchObject({ start: 1, receive: 3.5 });
    expect(criticalPath(late([0, 1])).secondsByKind.host).toBe(0);
    const both = late([0.25, 6]);
    expect(both.stepSeconds).toBeGreaterThan(7.75);
    const path = criticalPath(both);
    expect(path.segments[0]).toMatchObject({ kind: 'host', device: null, begin: 0 });
    expect(path.segments.reduce((sum, s) => sum + s.end - s.begin, 0)).toBeCloseTo(both.stepSeconds, 12);
    for (const simulation of [late([0, 1]), both]) {
      const { stepSeconds, devices } = simulation;
      for (const d of devices) {
        const waited = Object.values(d.waiting).reduce((a, b) => a + b, 0);
        expect(waited + d.busySeconds).toBeCloseTo(stepSeconds, 12);
      }
      const idle = 2 * stepSeconds - devices.reduce((sum, d) => sum + d.busySeconds, 0);
      expect(idleCauses(simulation).reduce((sum, c) => sum + c.seconds, 0)).toBeCloseTo(idle, 12);
    }
    expect(idleCauses(both)).toContainEqual({ wait: 'start', kind: 'host', device: null, seconds: 6.25 });
    expect(whyIdle(both, 1, 5)).toMatchObject({ root: { kind: 'host', device: null }, begin: 0, end: 6 });
  });

  it('the critical path is the chain from 0 to the end', () => {
    const path = criticalPath(simulate(pair, clusterOf(2)));
    expect(path.segments.map(({ device, kind, to, begin, end }) => [device, kind, to, begin, end])).toEqual([
      [0, 'compute', null, 0, 3],
      [0, 'send', 1, 3, 5],
      [0, 'latency', 1, 5, 5.5],
      [1, 'compute', null, 5.5, 7.5],
    ]);
    expect(path).toMatchObject({ seconds: 7.5, hops: 1, secondsByDevice: [5, 2] });
    expect(path.secondsByKind).toEqual({ compute: 5, other: 0, send: 2, contention: 0, latency: 0.5, host: 0 });
  });

  it('passes barriers by their last device, and waits for posts by the receiver', () => {
    const late = programOf(
      [compute(1), send(1, 0, 10), barrier(), compute(1)],
      [compute(3), post(0, 0), receive(0, 0), barrier(), compute(2)],
    );
    const path = criticalPath(simulate(late, clusterOf(2)));
    expect(path.segments.map(({ device, kind, begin, end }) => [device, kind, begin, end])).toEqual([
      [1, 'compute', 0, 3],
      [0, 'send', 3, 4],
      [0, 'latency', 4, 4.5],
      [1, 'compute', 4.5, 6.5],
    ]);
  });

  it('says why a device is idle, down to the root', () => {
    // 0 computes for 4 s and sends to 1, which passes it on to 2: at 1 s, 2 waits for 1, which waits for 0.
    const relay = programOf(
      [compute(4), send(1, 0, 10)],
      [post(0, 0), receive(0, 0), compute(1), send(2, 0, 10)],
      [post(1, 0), receive(1, 0), compute(1)],
    );
    const simulation = simulate(relay, clusterOf(3));
    expect(whyIdle(simulation, 2, 1)).toEqual({
      chain: [
        { device: 2, index: 1, kind: 'receive', for: 1 },
        { device: 1, index: 1, kind: 'receive', for: 0 },
      ],
      root: { kind: 'compute', device: 0, index: 0, to: null },
      begin: 0,
      end: 4,
    });
    const rootAt = (device: number, seconds: number) => whyIdle(simulation, device, seconds)?.root;
    expect(rootAt(2, 4.5)).toEqual({ kind: 'send', device: 0, index: 1, to: 1 });
    expect(rootAt(2, 5.25)).toEqual({ kind: 'latency', device: 0, index: 1, to: 1 });
    expect(rootAt(2, 6)).toEqual({ kind: 'compute', device: 1, index: 2, to: null });
    // Behind its last action a device waits for the one that ends last.
    expect(whyIdle(simulation, 0, 8.5)).toMatchObject({
      chain: [{ device: 0, index: null, kind: 'end', for: 2 }],
      root: { kind: 'compute', device: 2 },
    });
    expect(whyIdle(simulation, 0, 1)).toBeNull();
    expect(whyIdle(simulation, 0, 100)).toBeNull();
    const { length } = simulation.devices;
    expect(() => whyIdle(simulation, length, 1)).toThrow(`whyIdle: takes a device of ${length}, got ${length}`);
  });

  it('sums idle time by its roots', () => {
    const causes = idleCauses(simulate(pair, clusterOf(2)));
    expect(causes).toEqual([
      { wait: 'receive', kind: 'compute', device: 0, seconds: 2 },
      { wait: 'receive', kind: 'send', device: 0, seconds: 2 },
      { wait: 'end', kind: 'compute', device: 1, seconds: 1.5 },
      { wait: 'receive', kind: 'latency', device: 0, seconds: 0.5 },
    ]);
  });

  it('of nothing takes no time, and is no bubble', () => {
    expect(simulate(programOf([], []), clusterOf(2))).toMatchObject({ stepSeconds: 0, bubbleFraction: 0 });
  });

  it('names few of very many that wait, and says how many more there are', () => {
    const stuck = programOf(...Array.from({ length: 12 }, (_, d) => [receive((d + 1) % 12, 0)]));
    expect(() => simulate(stuck, clusterOf(12))).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/device 7, action 0: receive 0\n {2}and 4 more$/),
        fields: expect.objectContaining({ devices: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }),
      }),
    );
  });

  it('keeps only sums where nothing is recorded', () => {
    const simulation = simulate(pair, clusterOf(2), { record: false });
    expect(simulation.stepSeconds).toBe(7.5);
    expect(() => criticalPath(simulation)).toThrow(expect.objectContaining({ code: 'simulation-not-recorded' }));
  });
});

describe('what cannot be played', () => {
  it('names the devices that wait in a circle', () => {
    const circle = programOf([send(1, 0, 1), post(1, 0), receive(1, 0)], [send(0, 0, 1), post(0, 0), receive(0, 0)]);
    expect(() => simulate(circle, clusterOf(2))).toThrow(
      expect.objectContaining({
        code: 'simulation-deadlock',
        fields: { devices: [0, 1], actions: [0, 0] },
        message: expect.stringContaining('device 1, action 0: send 0'),
      }),
    );
  });

  it('refuses a barrier that one device lacks, and messages out of order', () => {
    expect(() => simulate(programOf([barrier()], [compute(1)]), clusterOf(2))).toThrow('device 0, action 0: barrier');
    const disorder = programOf([send(1, 1, 1)], [post(0, 0), receive(0, 0)]);
    expect(() => simulate(disorder, clusterOf(2))).toThrow(
      expect.objectContaining({
        code: 'simulation-message-order',
        fields: { device: 0, action: 0, message: 1, expected: 0 },
      }),
    );
    const skipped = programOf([compute(9)], [compute(1), post(0, 1)]);
    expect(() => simulate(skipped, clusterOf(2))).toThrow(
      expect.objectContaining({
        code: 'simulation-message-order',
        fields: { device: 1, action: 1, message: 1, expected: 0 },
      }),
    );
  });

  it('refuses times that are none, and clusters that are too small', () => {
    expect(() => simulate(programOf([compute(Number.NaN)]), clusterOf(1))).toThrow(
      expect.objectContaining({ code: 'simulation-time' }),
    );
    expect(() => simulate(programOf([compute(-1)]), clusterOf(1))).toThrow('takes -1 s');
    for (const seconds of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const media of [undefined, [{ name: 'bus', bytesPerSecond: 1, carries: () => true }]]) {
        const sends = programOf([send(1, 0, 1, seconds)], [post(0, 0), receive(0, 0)]);
        expect(() => simulate(sends, clusterOf(2, undefined, media))).toThrow(
          expect.objectContaining({ code: 'simulation-time', message: expect.stringContaining('device 0, action 0') }),
        );
      }
    }
    expect(() => simulate(programOf([compute(Number.POSITIVE_INFINITY)]), clusterOf(1))).toThrow('takes Infinity s');
    expect(() => simulate(programOf([], []), clusterOf(1))).toThrow(expect.objectContaining({ code: 'cluster-small' }));
  });
});
