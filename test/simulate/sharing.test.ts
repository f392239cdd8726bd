import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { criticalPath, idleCauses, type Medium, simulate } from '../../src/simulate/index.ts';
import { Choices } from '../support/random-model.ts';
import { clusterOf, compute, post, programOf, receive, send } from './support.ts';

const bus: Medium = { name: 'bus', bytesPerSecond: 10, carries: () => true };
const link = { bytesPerSecond: 10, secondsLatency: 0 };

/** Devices 0 … n − 1 each send to device n, beginning at the times given. */
const senders = (starts: readonly number[], bytes: readonly number[]) =>
  programOf(...starts.map((start, d) => [compute(start), send(starts.length, 0, bytes[d]!)]), [
    ...starts.map((_, d) => post(d, 0)),
    ...starts.map((_, d) => receive(d, 0)),
  ]);
const endsOf = (simulation: ReturnType<typeof simulate>, n: number) =>
  Array.from({ length: n }, (_, d) => simulation.timeline!.at(d, 1).end);

describe('shared media', () => {
  it('two transfers at once get half each', () => {
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, link, [bus]));
    expect(endsOf(simulation, 2)).toEqual([2, 2]);
    expect(simulation.devices[0]).toMatchObject({ sendSeconds: 2, contentionSeconds: 1 });
  });

  it('one that comes later shares only from then on, and the rest is faster when the first is done', () => {
    // 0 … 1: 10 B/s for the first; 1 … 3: 5 each, the first is done; 3 … 4: 10 for the second.
    const simulation = simulate(senders([0, 1], [20, 20]), clusterOf(3, link, [bus]));
    expect(endsOf(simulation, 2)).toEqual([3, 4]);
  });

  it('is not shared by those that it does not carry', () => {
    const only0: Medium = { ...bus, carries: (from) => from === 0 };
    expect(endsOf(simulate(senders([0, 0], [10, 10]), clusterOf(3, link, [only0])), 2)).toEqual([1, 1]);
    expect(endsOf(simulate(senders([0, 0], [10, 10]), clusterOf(3, link)), 2)).toEqual([1, 1]);
  });

  it('is max-min fair: what a slow link cannot take, the others get', () => {
    // Link 0 takes 2 of 10; the other two 4 each.
    const slow = (from: number) => ({ bytesPerSecond: from === 0 ? 2 : 10, secondsLatency: 0 });
    const simulation = simulate(senders([0, 0, 0], [4, 8, 8]), clusterOf(4, slow, [bus]));
    expect(endsOf(simulation, 3)).toEqual([2, 2, 2]);
    expect(simulation.devices[0]!.contentionSeconds).toBe(0);
  });

  it('passes through several media at once: the tightest counts, and those behind it get the rest', () => {
    // 0 and 1 share a card of 6; all three share the bus of 10: 3, 3 and 4.
    const card: Medium = { name: 'card', bytesPerSecond: 6, carries: (from) => from < 2 };
    const simulation = simulate(senders([0, 0, 0], [6, 6, 8]), clusterOf(4, link, [card, bus]));
    expect(endsOf(simulation, 3)).toEqual([2, 2, 2]);
  });

  it('one that begins slows down those beside it on each of its media, and leaves the others what they had', () => {
    // 0 joins at 1: it halves the narrow medium of 3, and takes as much of the wide one, which 1 and 2 share.
    const media: Medium[] = [
      { name: 'narrow', bytesPerSecond: 10, carries: (from) => from === 0 || from === 3 },
      { name: 'wide', bytesPerSecond: 30, carries: (from) => from < 3 },
      { name: 'pair', bytesPerSecond: 100, carries: (from) => from === 1 || from === 2 },
    ];
    const fast = { bytesPerSecond: 100, secondsLatency: 0 };
    const simulation = simulate(senders([1, 0, 0, 0], [10, 40, 40, 20]), clusterOf(5, fast, media));
    // 3: 10 B until 1, then 5 B/s. 1 and 2: 15 B until 1, 25 more until 3 at (30 − 5) / 2 B/s.
    expect(endsOf(simulation, 4)).toEqual([3, 3, 3, 3]);
  });

  it('what a message costs its sender beside the copy comes behind it, and is no contention', () => {
    const ringing = { ...link, secondsSend: 0.25 };
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, ringing, [bus]));
    expect(endsOf(simulation, 2)).toEqual([2.25, 2.25]);
    expect(simulation.devices[0]).toMatchObject({ sendSeconds: 2.25, contentionSeconds: 1 });
  });

  it('nobody contends with a transfer that is alone, however its time is rounded', () => {
    for (let n = 1; n < 200; n++) {
      const odd: Medium = { ...bus, bytesPerSecond: 7 / n };
      const { devices } = simulate(senders([n / 3], [n * 1.1]), clusterOf(2, link, [odd]));
      expect(devices[0]!.contentionSeconds).toBe(0);
    }
  });

  it('contention is a part of the critical path, and a cause of idling', () => {
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, { ...link, secondsLatency: 0.5 }, [bus]));
    expect(criticalPath(simulation).secondsByKind).toMatchObject({ send: 1, contention: 1, latency: 0.5 });
    expect(idleCauses(simulation)).toContainEqual({ wait: 'receive', kind: 'contention', device: 0, seconds: 1 });
  });

  it('a medium that is wide enough changes nothing, and none ever carries more than it can', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 50 })), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.integer({ min: 1, max: 20 }),
        (transfers, bytesPerSecond) => {
          const program = senders(
            transfers.map(([start]) => start),
            transfers.map(([, bytes]) => bytes),
          );
          const n = transfers.length;
          const on = (rate: number) =>
            endsOf(simulate(program, clusterOf(n + 1, link, [{ ...bus, bytesPerSecond: rate }])), n);
          const free = endsOf(simulate(program, clusterOf(n + 1, link)), n);
          for (const [d, end] of on(10 * n).entries()) expect(end).toBeCloseTo(free[d]!, 9);
          const ends = on(bytesPerSecond);
          // Work conserving, and no faster than the medium: all bytes from any time on need at least their time.
          transfers.forEach(([start]) => {
            const rest = transfers.reduce((sum, [s, bytes]) => sum + (s >= start ? bytes : 0), 0);
            expect(Math.max(...ends)).toBeGreaterThanOrEqual(start + rest / bytesPerSecond - 1e-9);
          });
          for (const [d, end] of ends.entries()) expect(end).toBeGreaterThanOrEqual(free[d]! - 1e-9);
        },
      ),
      { numRuns: 100, seed: 7 },
    );
  });

  it('refuses a medium without a bandwidth, or with none that ends', () => {
    for (const bytesPerSecond of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => simulate(senders([0], [1]), clusterOf(2, link, [{ ...bus, bytesPerSecond }]))).toThrow(
        expect.objectContaining({ code: 'medium-invalid' }),
      );
    }
  });

  it('is asked of by nobody who sends nothing', () => {
    // Ten transfers of nothing beside one of 10 bytes: they end at once, and it has the bus for itself.
    const simulation = simulate(senders([0, 0, 0], [0, 10, 0]), clusterOf(4, link, [bus]));
    expect(endsOf(simulation, 3)).toEqual([0, 1, 0]);
    expect(simulation.devices[1]!.contentionSeconds).toBe(0);
  });

  it('begins to be used behind what a send takes of its own, and for as many bytes as jitter makes of them', () => {
    const own = programOf(
      [send(2, 0, 10, 0.5)],
      [send(2, 0, 10)],
      [post(0, 0), post(1, 0), receive(0, 0), receive(1, 0)],
    );
    // 0 … 0.5: 10 B/s for the second alone; then 5 each, until its other 5 bytes are there; then 10 for the first.
    const ends = (jitter?: { variation: number; seed: number }) =>
      [0, 1].map((d) => simulate(own, clusterOf(3, link, [bus]), { jitter }).timeline!.at(d, 0).end);
    expect(ends()).toEqual([2, 1.5]);
    const jitter = { variation: 0.3, seed: 2 };
    const [first, second] = [0, 1].map((d) => {
      const alone = programOf(...[0, 1].map((e) => (e === d ? [compute(1)] : [])));
      return simulate(alone, clusterOf(2), { jitter }).devices[d]!.computeSeconds;
    }) as [number, number];
    const bytes = 10 * (first + second);
    expect(Math.max(...ends(jitter))).toBeCloseTo(
      // Both flow without a pause from 0 on where the second has not ended before the first begins.
      bytes / 10,
      12,
    );
  });
});

interface Transfer {
  readonly gap: number;
  readonly bytes: number;
  readonly to: number;
}

/**
 * Ends of transfers by the plainest means: at every event, the rates of all that are under way grow together until a link or a
 * medium is full, and those that it holds stop there.
 */
function fluidEnds(
  rows: readonly (readonly Transfer[])[],
  capOf: (from: number, to: number) => number,
  media: readonly Medium[],
): number[][] {
  const ends = rows.map((): number[] => []);
  const begins = rows.map((row) => row[0]?.gap ?? Infinity);
  const left = rows.map((row) => row[0]?.bytes ?? 0);
  for (let now = 0; ; ) {
    const open = rows.flatMap((row, d) => (ends[d]!.length < row.length && begins[d]! <= now ? [d] : []));
    const rate = rows.map(() => 0);
    const growing = new Set(open);
    const wayOf = (d: number) => [d, rows[d]![ends[d]!.length]!.to] as const;
    while (growing.size > 0) {
      const rooms = media.map((m) => {
        const on = open.filter((d) => m.carries(...wayOf(d)));
        const free = m.bytesPerSecond - on.reduce((sum, d) => sum + rate[d]!, 0);
        return { on, step: free / on.filter((d) => growing.has(d)).length };
      });
      const caps = [...growing].map((d) => capOf(...wayOf(d)) - rate[d]!);
      const step = Math.min(...caps, ...rooms.filter((r) => r.on.some((d) => growing.has(d))).map((r) => r.step));
      for (const d of growing) rate[d]! += step;
      const full = rooms.filter((r) => r.step <= step * (1 + 1e-12)).flatMap((r) => r.on);
      for (const d of [...growing]) {
        if (full.includes(d) || capOf(...wayOf(d)) <= rate[d]! * (1 + 1e-12)) growing.delete(d);
      }
    }
    const times = rows.flatMap((row, d) => {
      if (ends[d]!.length === row.length) return [];
      return [begins[d]! <= now ? now + left[d]! / rate[d]! : begins[d]!];
    });
    if (times.length === 0) return ends;
    const next = Math.min(...times);
    for (const d of open) {
      left[d]! -= rate[d]! * (next - now);
      if (left[d]! > 1e-9) continue;
      ends[d]!.push(next);
      const following = rows[d]![ends[d]!.length];
      begins[d] = next + (following?.gap ?? 0);
      left[d] = following?.bytes ?? 0;
    }
    now = next;
  }
}

describe('any transfers through any media', () => {
  it('end when rates that grow together until something is full bring them there', () => {
    let contended = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const choices = new Choices(seed);
      const n = 2 + choices.below(4);
      const rows = Array.from({ length: n }, () =>
        Array.from({ length: 1 + choices.below(3) }, () => ({
          gap: choices.below(8) / 4,
          bytes: 1 + choices.below(30),
          to: n + choices.below(2),
        })),
      );
      const caps = rows.map(() => [0, 1].map(() => choices.pick([2, 5, 10])));
      const capOf = (from: number, to: number) => caps[from]![to - n]!;
      const media = Array.from({ length: 1 + choices.below(3) }, (_, i): Medium => {
        const carried = new Set(
          rows.flatMap((_, d) => [n, n + 1].filter(() => choices.below(2) > 0).map((to) => `${d}>${to}`)),
        );
        const bytesPerSecond = choices.pick([3, 6, 7, 12]);
        return { name: `${i}`, bytesPerSecond, carries: (from, to) => carried.has(`${from}>${to}`) };
      });
      const number = (d: number, i: number) => rows[d]!.slice(0, i).filter((t) => t.to === rows[d]![i]!.to).length;
      const receivers = [n, n + 1].map((to) => {
        const own = rows.flatMap((row, d) => row.flatMap((t, i) => (t.to === to ? [[d, number(d, i)] as const] : [])));
        return [...own.map(([d, m]) => post(d, m)), ...own.map(([d, m]) => receive(d, m))];
      });
      const program = programOf(
        ...rows.map((row, d) => row.flatMap((t, i) => [compute(t.gap), send(t.to, number(d, i), t.bytes)])),
        ...receivers,
      );
      const slow = (from: number, to: number) => ({ bytesPerSecond: capOf(from, to), secondsLatency: 0 });
      const simulation = simulate(program, clusterOf(n + 2, slow, media));
      const expected = fluidEnds(rows, capOf, media);
      rows.forEach((row, d) => {
        let contention = 0;
        row.forEach((t, i) => {
          const { begin, end } = simulation.timeline!.at(d, 2 * i + 1);
          expect(end).toBeCloseTo(expected[d]![i]!, 9);
          const limits = media.filter((m) => m.carries(d, t.to)).map((m) => m.bytesPerSecond);
          contention += end - begin - t.bytes / Math.min(capOf(d, t.to), ...limits);
        });
        expect(simulation.devices[d]!.contentionSeconds).toBeCloseTo(contention, 9);
        if (contention > 0.1) contended++;
      });
    }
    expect(contended).toBeGreaterThan(50);
  });
});
