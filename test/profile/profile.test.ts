import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { cacheFolder } from '../../src/core/cache-folder.ts';
import { measuredCosts, threadLink } from '../../src/cost/machine.ts';
import { kernelKey, missingKeys, newProfile, profiledCosts } from '../../src/cost/profile.ts';
import { Graph } from '../../src/graph/graph.ts';
import { mse } from '../../src/losses/index.ts';
import { linear } from '../../src/nn/linear.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan, type PlanRequest } from '../../src/plan/plan.ts';
import { breakdownOf } from '../../src/profile/breakdown.ts';
import { MeasurementCache } from '../../src/profile/cache.ts';
import { costsOfProfile, kernelRuns, profileFor, withMeasuredLinks } from '../../src/profile/costs.ts';
import { comparable, onOneDevice, profileModel, profileModels, profileOf, teams } from '../../src/profile/kernels.ts';
import { fitSends, fitWakes, linkModel, messagesOf } from '../../src/profile/link.ts';
import { measureMachine } from '../../src/profile/machine.ts';
import { type Feed, recordSteps, summarize } from '../../src/profile/record.ts';
import { leastDisturbed, watchRunDelay } from '../../src/profile/run-delay.ts';
import { predict } from '../../src/simulate/predict.ts';
import { someMachine } from '../cost/machine.ts';
import { onBusyMachines } from '../support/busy.ts';

const model: Model = {
  name: 'two layers',
  build(batch) {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 4] });
    const y = linear(linear(x, 8, { name: 'first' }), 2, { name: 'second' });
    graph.output('y', y);
    return { graph, objective: [{ loss: mse(y, graph.input('t', { shape: [batch, 2] })), weight: 1 }] };
  },
};

const request = (change: Partial<PlanRequest> = {}): PlanRequest => ({
  model,
  programs: { train: { batch: 6, mode: 'train' } },
  microbatches: 2,
  devices: [
    { backend: 'wasm', memory: null, speed: 1 },
    { backend: 'wasm', memory: null, speed: 1 },
  ],
  partition: { cuts: ['second'] },
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
  ...change,
});

const tensor = (shape: number[]) => ({
  type: { dtype: 'f32' as const, shape },
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5),
});
const feed: Feed = { tensorsAt: () => ({ x: tensor([6, 4]), t: tensor([6, 2]) }) };
const quick = { steps: 2, warmUp: 1 };

describe('recorded steps', () => {
  it('give a profile that has every kernel of the request, and predicts with those times', async () => {
    const profile = await profileModel(request(), feed, someMachine, { ...quick, busyDevices: 2 });
    expect(profile.busyDevices).toBe(2);
    expect(missingKeys(profile, kernelRuns(request()))).toEqual([]);
    for (const { seconds, samples } of Object.values(profile.entries)) {
      expect(seconds).toBeGreaterThanOrEqual(0);
      expect(samples).toBeGreaterThan(0);
    }
    // The plan of two devices runs the same kernels: its busy time is the sum of their times.
    const costs = profiledCosts(profile);
    const plan = makePlan(request({ costs }));
    const expected = plan.programs.train!.devices.map(({ instructions, buffers }) =>
      instructions.reduce((sum, i) => {
        const copied = i.kind === 'input' || i.kind === 'output' ? buffers[i.buffer]!.bytes : 0;
        const sent = i.kind === 'send' ? buffers[i.buffer]!.bytes / 4e9 + 2e-6 : 0;
        const parts = i.kind === 'compute' ? i.parts : [];
        const kernels = parts.map((p) => profile.entries[kernelKey(p.signature, 'wasm')]!.seconds * p.repeat);
        return sum + 1e-7 + copied / 2e9 + sent + kernels.reduce((a, b) => a + b, 0);
      }, 0),
    );
    for (const [d, busy] of plan.prediction.busySeconds.entries()) expect(busy).toBeCloseTo(expected[d]!, 12);
  });

  it('tell where the time went', async () => {
    const plan = makePlan(request());
    const recorded = await recordSteps(plan, feed, quick);
    expect(recorded.peaks.measured).toEqual(recorded.peaks.planned);
    const { devices, ops, kernels, shapes, overheadShare } = breakdownOf(recorded, someMachine);
    expect(devices.length).toBe(2);
    const sizes = plan.programs.train!.devices.map((d) => d.instructions.length);
    const work = devices.reduce((sum, d) => sum + d.computeSeconds + d.copySeconds + d.overheadSeconds, 0);
    for (const [d, { overheadSeconds }] of devices.entries()) {
      expect(overheadSeconds).toBeCloseTo(sizes[d]! * recorded.secondsBetween, 12);
    }
    expect(overheadShare * work).toBeCloseTo(
      sizes.reduce((sum, size) => sum + size * recorded.secondsBetween, 0),
      12,
    );
    const computed = devices.reduce((sum, d) => sum + d.computeSeconds, 0);
    const runs = plan.programs.train!.devices.flatMap((d) => d.instructions).filter((i) => i.kind === 'compute').length;
    for (const rows of [ops, kernels, shapes]) {
      expect(rows.reduce((sum, row) => sum + row.seconds, 0)).toBeCloseTo(computed, 12);
      expect(rows.reduce((sum, row) => sum + row.runs, 0)).toBe(runs);
      expect(rows.map((row) => row.seconds)).toEqual(rows.map((row) => row.seconds).sort((a, b) => b - a));
    }
    expect(ops.map((row) => row.name)).toContain('matmul');
    expect(kernels.map((row) => row.name)).toContain('gemm');
    const product = ops.find((row) => row.name === 'matmul')!;
    expect(product.intensity).toBeCloseTo(product.flopsPerSecond! / product.bytesPerSecond!, 9);
    // Shapes are told without f32, which most are.
    expect(shapes.map((row) => row.name)).toContain('matmul 3×4, 8×4 → 3×8');
  });

  it('share an instruction of several nodes out among them', async () => {
    const plan = makePlan(onOneDevice(request({ invariant: true }), 'wasm'));
    const recorded = await recordSteps(plan, feed, quick);
    const times = recorded.instructions[0]!;
    const seconds = times.reduce((sum, t) => sum + t.seconds, 0);
    // A step without its record, of which instructions take `share` of their recorded time.
    const profileAt = (share: number) =>
      profileOf(
        { ...recorded, deviceSeconds: [share * seconds + times.length * recorded.secondsBetween] },
        someMachine,
      );
    const costs = profiledCosts(profileAt(1));
    const parts = plan.programs.train!.devices[0]!.instructions.flatMap((i) => (i.kind === 'compute' ? i.parts : []));
    const total = parts.reduce((sum, p) => sum + p.repeat * costs.kernelSeconds(p, 'wasm'), 0);
    const measured = breakdownOf(recorded, someMachine).devices[0]!.computeSeconds;
    expect(parts.some((p) => p.repeat > 1)).toBe(true);
    expect(total).toBeCloseTo(measured, 12);
    // What recording costs is taken off again, up to a limit.
    const [key, entry] = Object.entries(profileAt(1).entries)[0]!;
    const { seconds: whole } = entry;
    expect(profileAt(0.97).entries[key]!.seconds / whole).toBeCloseTo(0.97, 9);
    expect(profileAt(0.5).entries[key]!.seconds / whole).toBeCloseTo(1 / 1.1, 9);
    expect(profileAt(3).entries[key]!.seconds / whole).toBeCloseTo(1.1, 9);
  });

  it('have what recording costs taken off at every speed of the machine', () => {
    const plan = makePlan(onOneDevice(request(), 'wasm'));
    const [program] = Object.keys(plan.programs) as [string];
    const count = plan.programs[program]!.devices[0]!.instructions.length;
    // Instructions of 1 ms, of which recording adds 5 %, on a machine that others have slowed down now and then.
    const run = (slow: number, isRecorded: boolean) => {
      const each = (isRecorded ? 1.05 : 1) * slow * 1e-3;
      const times = Float64Array.from({ length: 2 * count }, (_, i) => 1e3 * each * ((i + 1) >> 1));
      const seconds = count * each;
      return { seconds, delaySeconds: seconds / 2, reports: [{ seconds, busySeconds: seconds, times, audit: null }] };
    };
    const speeds = [1, 1.3, 1, 1.6, 1.3, 1, 1.6, 1.3, 1.6, 1];
    const copies = speeds.map((slow) => ({ recorded: [run(slow, true)], plain: [run(slow, false)] }));
    for (const statistic of ['median', 'mean'] as const) {
      const summary = summarize(plan, program, [{ copies }], statistic);
      const recorded = summary.instructions[0]!.reduce((sum, { seconds }) => sum + seconds, 0);
      expect(summary.deviceSeconds[0]! / recorded, statistic).toBeCloseTo(1 / 1.05, 3);
    }
    expect(summarize(plan, program, [{ copies }], 'median').counted.undisturbed).toBe(false);
  });

  it('of several plans compare as they do within rounds, whichever speed of the machine each median has met', () => {
    const truth = [1, 2, 1.5];
    const speeds = [1, 1.9, 1, 1, 1.9, 1.9, 1.9];
    const rounds = speeds.map((slow, r) => truth.map((t, p) => t * slow * (1 + 0.01 * ((r * 3 + p * 5) % 7))));
    const totals = [1.9, 2, 1.5]; // the first was mostly met when the machine was slow
    const scaled = comparable(totals, rounds).map((f, p) => f * totals[p]!);
    expect(scaled[0]! / scaled[1]!).toBeCloseTo(0.5, 1);
    expect(scaled[2]! / scaled[1]!).toBeCloseTo(0.75, 1);
    const product = (list: readonly number[]) => list.reduce((a, b) => a * b, 1);
    expect(product(scaled)).toBeCloseTo(product(totals), 9);
    expect(comparable([3], [[4], [5]])).toEqual([1]);
  });

  it('of several plans run beside each other, in other pairs every turn, and none twice where they pair off', () => {
    const met = [0, 1, 2].flatMap((turn) => teams(['a', 'b', 'c', 'd'], 2, turn).map((t) => t.sort().join('')));
    expect(met.sort()).toEqual(['ab', 'ac', 'ad', 'bc', 'bd', 'cd']);
    // Odd ones out are filled up with one that has had its turn: all of a team's devices are busy.
    for (const [many, size] of [
      [3, 2],
      [5, 3],
      [4, 4],
      [1, 1],
    ] as const) {
      const all = Array.from({ length: many }, (_, i) => i);
      for (let turn = 0; turn < 7; turn++) {
        const dealt = teams(all, size, turn);
        expect(dealt.map((t) => new Set(t).size)).toEqual(dealt.map(() => size));
        expect(new Set(dealt.flat()).size).toBe(many);
        expect(dealt.length).toBe(Math.ceil(many / size));
      }
    }
  });

  it('end with the time, which is told, and every plan has had a turn', async () => {
    const told: unknown[] = [];
    const requests = [1, 2, 3].map((microbatches) => request({ microbatches }));
    const options = { busyDevices: 2, onTimed: (t: unknown) => told.push(t) };
    const profile = await profileModels(requests, feed, someMachine, { ...options, steps: 50, timeLimitSeconds: 0 });
    expect(told).toEqual([{ turns: 1, of: 50, isLate: true }]);
    expect(profile.busyDevices).toBe(2);
    for (const r of requests) expect(missingKeys(profile, kernelRuns(r))).toEqual([]);
    await profileModels(requests, feed, someMachine, { ...options, steps: 2, timeLimitSeconds: 60 });
    expect(told[1]).toEqual({ turns: 2, of: 2, isLate: false });
  });

  it('refuse to be none', async () => {
    await expect(recordSteps(makePlan(request()), feed, { steps: 0 })).rejects.toThrow(/at least one step/);
  });
});

describe('predictions', () => {
  it('take what a machine spends beside kernels: steps, instructions, copies, rings and wakes', () => {
    const plan = makePlan(request());
    const program = plan.programs.train!;
    const free = measuredCosts({
      ...someMachine,
      secondsPerInstruction: 0,
      copyBytesPerSecond: 1e30,
      step: { seconds: 0, secondsPerDevice: 0, secondsBetween: 0, hostSeconds: 0 },
      link: { bytesPerSecond: 1e30, secondsLatency: 0, secondsSend: 0 },
    });
    const base = predict(program, plan.request.devices, free);
    const withStep = predict(program, plan.request.devices, { ...free, stepSeconds: (n) => n });
    expect(withStep.stepSeconds).toBeCloseTo(base.stepSeconds + 2, 9);
    expect(withStep.busySeconds).toEqual(base.busySeconds);
    const sends = program.devices.map((d) => d.instructions.filter((i) => i.kind === 'send').length);
    const rung = predict(program, plan.request.devices, {
      ...free,
      link: () => ({ bytesPerSecond: 1e30, secondsLatency: 0, secondsSend: 1 }),
    });
    for (const [d, busy] of rung.busySeconds.entries()) expect(busy).toBeCloseTo(base.busySeconds[d]! + sends[d]!, 9);
    const woken = predict(program, plan.request.devices, {
      ...free,
      link: () => ({ bytesPerSecond: 1e30, secondsLatency: 1, secondsSend: 0, wakes: true }),
    });
    expect(woken.busySeconds).toEqual(base.busySeconds);
    // Device 1 sleeps until the first microbatch comes, device 0 until its gradient is back, one of them at the barrier.
    expect(woken.stepSeconds).toBeGreaterThan(base.stepSeconds + 2);
    const copied = predict(program, plan.request.devices, {
      ...free,
      instructionSeconds: (_, bytes = 0) => bytes,
    });
    const bytes = program.devices.map((d) =>
      d.instructions.reduce(
        (sum, i) =>
          sum + (i.kind === 'input' || i.kind === 'output' || i.kind === 'copy' ? d.buffers[i.buffer]!.bytes : 0),
        0,
      ),
    );
    for (const [d, busy] of copied.busySeconds.entries()) expect(busy).toBeCloseTo(base.busySeconds[d]! + bytes[d]!, 6);
  });

  it('fit messages by a start and a rate', () => {
    const sends = [16, 1e5, 1e6, 4e6].map((bytes) => ({ bytes, seconds: 3e-6 + bytes / 5e9 }));
    const { bytesPerSecond, secondsSend } = fitSends(sends)!;
    expect(bytesPerSecond / 5e9).toBeCloseTo(1, 9);
    expect(secondsSend * 1e6).toBeCloseTo(3, 6);
  });

  it('fit no link to what noise says of one', () => {
    const sizes = [16, 1e5, 1e6, 4e6];
    const heldUp = sizes.map((bytes, i) => ({ bytes, seconds: 1e-3 / (i + 1) }));
    const equal = sizes.map((bytes) => ({ bytes, seconds: 1e-4 }));
    const tooFast = sizes.map((bytes) => ({ bytes, seconds: 3e-6 + bytes / 1e13 }));
    for (const sends of [heldUp, equal, tooFast, [], heldUp.slice(0, 1)]) expect(fitSends(sends)).toBeUndefined();
    const wakes = (...seconds: number[]) => seconds.map((wakeSeconds) => ({ wakeSeconds }));
    expect(fitWakes(wakes(-1e-5, -2e-6, 0, 4e-6))).toBeUndefined();
    expect(fitWakes([])).toBeUndefined();
    expect(fitWakes(wakes(-1e-6, 4e-6, 4e-6, 4e-6))).toEqual({ secondsLatency: 4e-6 });
  });
});

describe('disturbed steps', () => {
  const run = (seconds: number, delaySeconds: number) => ({ seconds, delaySeconds });
  it('do not count where there are enough others', () => {
    const quiet = [run(1, 0), run(1.1, 0.001), run(0.9, 0.002)];
    expect(leastDisturbed([run(2, 1), ...quiet, run(9, 8)])).toEqual(quiet);
  });
  it('count by the share they were held up where all were', () => {
    const all = [run(4, 3), run(2, 0.5), run(3, 1), run(10, 1), run(6, 5)];
    expect(leastDisturbed(all)).toEqual([run(10, 1), run(2, 0.5), run(3, 1)]);
  });
  it.skipIf(process.platform !== 'linux')(
    'are told by the system: more threads that work than cores wait',
    async () => {
      const spin = 'const end = Date.now() + 400; while (Date.now() < end);';
      const delay = watchRunDelay();
      const workers = Array.from({ length: 3 * availableParallelism() }, () => new Worker(spin, { eval: true }));
      await Promise.all(workers.map((w) => new Promise((resolve) => w.once('online', resolve))));
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(delay()).toBeGreaterThan(0.05);
      await Promise.all(workers.map((w) => w.terminate()));
      expect(watchRunDelay()()).toBeLessThan(0.05);
    },
  );
});

describe('the cache', () => {
  const temporary = () => mkdtempSync(join(tmpdir(), 'partita-cache-'));

  it('lies where the user says, where the desktop does, or at home', () => {
    expect(cacheFolder({ PARTITA_CACHE: 'off', XDG_CACHE_HOME: '/x' })).toBeUndefined();
    expect(cacheFolder({ PARTITA_CACHE: '/own', XDG_CACHE_HOME: '/x' })).toBe('/own');
    expect(cacheFolder({ XDG_CACHE_HOME: '/x' })).toBe('/x/partita');
    expect(cacheFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\.cache\/partita$/);
    expect(cacheFolder({ PARTITA_CACHE: '' })).toMatch(/\.cache\/partita$/);
  });

  it('measures once, and again where the file is damaged, which it tells', async () => {
    const warnings: string[] = [];
    const cache = new MeasurementCache(join(temporary(), 'new'), (w) => /machine was busy/.test(w) || warnings.push(w));
    expect(cache.machine()).toBeUndefined();
    await cache.keepMachine(someMachine);
    expect(cache.machine()).toEqual(someMachine);
    const announced: string[] = [];
    const options = { ...quick, cache, announce: (what: string) => announced.push(what), busyDevices: 1 };
    const first = await profileFor(request(), () => feed, options);
    expect(announced).toEqual(['timing the kernels of two layers, 20 s at most']);
    const none = () => {
      throw new Error('nothing is to be measured');
    };
    expect(await profileFor(request(), none, options)).toEqual(first);
    // A smaller microbatch has kernels of its own: they are timed, the others stay.
    const more = await profileFor(request({ microbatches: 3 }), () => feed, options);
    expect(Object.keys(more.entries)).toEqual(expect.arrayContaining(Object.keys(first.entries)));
    // What another process has kept meanwhile stays.
    const other = new MeasurementCache(cache.folder, () => {});
    const busy = { ...options, cache: other, busyDevices: 2 };
    const theirs = await profileFor(request(), () => feed, busy);
    const ours = await profileFor(request({ microbatches: 6 }), () => feed, {
      ...busy,
      cache: new (class extends MeasurementCache {
        #reads = 0;
        override profile(...of: Parameters<MeasurementCache['profile']>) {
          return this.#reads++ === 0 ? undefined : super.profile(...of);
        }
      })(cache.folder, () => {}),
    });
    expect(Object.keys(ours.entries)).toEqual(expect.arrayContaining(Object.keys(theirs.entries)));
    const counts = [1, 2, 4];
    const all = await profileFor(request(), () => feed, { ...options, microbatches: counts });
    for (const microbatches of counts) expect(missingKeys(all, kernelRuns(request({ microbatches })))).toEqual([]);
    const file = readdirSync(cache.folder!).find((name) => name.startsWith('kernels-'))!;
    const text = readFileSync(join(cache.folder!, file), 'utf8');
    writeFileSync(join(cache.folder!, file), text.slice(0, text.length / 2));
    expect(warnings).toEqual([]);
    await profileFor(request(), () => feed, options);
    expect(warnings).toEqual([expect.stringMatching(/is damaged and not used: not a profile: it is not JSON/)]);
    expect(cache.profile(1)).toBeDefined();
  });

  it.skipIf(process.platform !== 'linux')(
    'costs no more than a warning where the system has no folders to give, where a recursive mkdir never returns',
    () => {
      // In a process of its own: what hangs there hangs the whole process.
      const module = pathToFileURL(join(import.meta.dirname, '../../dist/profile/cache.js')).href;
      const script = `import { MeasurementCache } from '${module}';
        await new MeasurementCache('/proc/none/partita', console.log).keepMachine(${JSON.stringify(someMachine)});`;
      const limit = { timeout: 60_000, killSignal: 'SIGKILL', encoding: 'utf8' } as const;
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], limit);
      expect(stdout).toMatch(/^cannot keep the measurement: .*\/proc\/none/);
    },
  );

  it('gives its links to plans that say nothing of theirs', async () => {
    const cache = new MeasurementCache(temporary(), () => {});
    expect(withMeasuredLinks(request(), cache).costs).toBeUndefined();
    await cache.keepMachine(someMachine);
    expect(withMeasuredLinks(request(), cache).costs!.link(0, 1)).toEqual(threadLink(someMachine));
    const own = request({ costs: measuredCosts(someMachine, { link: { bytesPerSecond: 7, secondsLatency: 1 } }) });
    expect(withMeasuredLinks(own, cache)).toBe(own);
    const profile = newProfile(someMachine, 1, {});
    expect(costsOfProfile(profile, own).link(0, 1).bytesPerSecond).toBe(7);
    expect(costsOfProfile(profile, request()).link(0, 1)).toEqual(threadLink(someMachine));
  });
});

describe('a link', () => {
  it('is that of messages whose receivers slept: what sending takes, and going on behind it', () => {
    const plan = makePlan({
      ...request({ optimizer: undefined }),
      model: linkModel,
      programs: { forward: { batch: 1, mode: 'forward', outputs: true } },
      microbatches: 1,
      partition: { stages: { 'first*': 0, '*': 1 } },
    });
    const [sender, receiver] = plan.programs.forward!.devices;
    const times = [sender!, receiver!].map(({ instructions }) => new Float64Array(2 * instructions.length));
    const sends = sender!.instructions.flatMap((send, at) => (send.kind === 'send' ? [{ send, at }] : []));
    expect(sends.length).toBeGreaterThan(4);
    sends.forEach(({ send, at }, i) => {
      const to = receiver!.instructions.findIndex((r) => r.kind === 'receive' && r.message === send.message);
      const begin = 10 * (i + 1);
      // The second has waited for 3 ms, the others hardly; milliseconds.
      times[0]!.set([begin, begin + 0.25], 2 * at);
      times[1]!.set([begin - (i === 1 ? 3 : 0.5), begin + 0.375], 2 * to);
    });
    const bytes = sender!.buffers[sends[1]!.send.buffer]!.bytes;
    expect(messagesOf(plan, { times })).toEqual([{ bytes, seconds: 0.25e-3, wakeSeconds: 0.125e-3 }]);
  });
});

describe('the machine', () => {
  it('is measured with the real kernels', onBusyMachines, async () => {
    const machine = await measureMachine({ steps: 2 });
    const { device, link, step } = machine;
    for (const rate of [device.flopsPerSecond, device.bytesPerSecond, machine.copyBytesPerSecond, link.bytesPerSecond])
      expect(rate).toBeGreaterThan(0);
    expect(link.bytesPerSecond).toBeLessThan(1e12);
    expect(link.secondsLatency).toBeGreaterThan(0);
    for (const s of [device.secondsPerKernel, machine.secondsPerInstruction, step.seconds])
      expect(s).toBeGreaterThanOrEqual(0);
    for (const s of [step.secondsBetween, step.hostSeconds]) expect(s).toBeGreaterThan(1e-6);
    expect(Number.isFinite(measuredCosts(machine).stepSeconds!(2))).toBe(true);
  });
});
