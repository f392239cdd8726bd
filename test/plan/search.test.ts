import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { transferSeconds } from '../../src/cost/analytic.ts';
import { analyticCosts, sameLink, withLinks } from '../../src/cost/model.ts';
import { Graph } from '../../src/graph/graph.ts';
import { mul, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { reshape } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import {
  evaluatePlacement,
  forwardNodes,
  makePartition,
  stageMap,
  trainingProblem,
} from '../../src/partition/index.ts';
import { draftPlan, graphsOf, type Plan, PlanCache, type PlanRequest, type ScheduleWord } from '../../src/plan/plan.ts';
import { estimateBytes, estimateSeconds } from '../../src/plan/search/estimate.ts';
import { candidatesToTry } from '../../src/plan/search/trials.ts';
import {
  type EvaluatedCandidate,
  partitionWays,
  searchedMicrobatches,
  searchPlan,
  type Trials,
} from '../../src/plan/search.ts';
import { forwardEdges, linkSeconds, stageCosts, taskSeconds } from '../../src/plan/stage-costs.ts';
import { stepBoundOf, stepTimeBound } from '../../src/plan/step-bound.ts';
import { chainEdges, makeSchedule, scheduleNames } from '../../src/schedule/index.ts';
import { simulate } from '../../src/simulate/index.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf, squaredError, threeLayers } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';

/** A slow core: arithmetic dominates, as in models of a useful size. */
const slow = { flopsPerSecond: 1e6, bytesPerSecond: 1e7, secondsPerKernel: 1e-7, speed: 1 };
const costs = analyticCosts({ device: slow, link: { bytesPerSecond: 1e8, secondsLatency: 1e-6 } });

const requestOf = (seed: number, devices: number, extra: Partial<PlanRequest> = {}): PlanRequest => ({
  ...planOf(randomModel(seed), { batch: 8 }).request,
  devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 }) as const),
  costs,
  ...extra,
});

describe('a training graph as a placement problem', () => {
  it('holds all work, bytes and order of the graph, whatever the graph', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 4 }), (seed, microbatches) => {
        const kind = seed % 2 === 0 ? 'adam' : 'sgd';
        const { graphs } = planOf(randomModel(seed), { batch: 8, optimizer: { kind, lr: 0.1 } });
        const graph = graphs.train!;
        const devices = Array.from({ length: 3 }, () => ({ speed: 1, memory: null }));
        const { problem, assignmentOf } = trainingProblem(graph, { costs, devices, microbatches });
        // In the order of the graph, forward: gradients flow back along values only.
        for (const [from, to] of problem.edges) expect(from).toBeLessThan(to);
        const all = stageCosts(graph, () => 0, { stages: 1, costs });
        const { F, B, W } = all.durations[0]!;
        const sum = (of: (p: (typeof problem.parts)[number]) => number) => problem.parts.reduce((s, p) => s + of(p), 0);
        expect(sum((p) => p.work)).toBeCloseTo(F + B + W + all.stepSeconds[0]! / microbatches, 12);
        expect(sum((p) => p.bytes)).toBe(all.fixedBytes[0]);
        expect(sum((p) => p.heldBytes ?? 0)).toBe(all.heldBytes[0]);
        // A placement that keeps the edges is a partition, reshapes included.
        const cut = Math.floor(problem.parts.length / 2);
        const deviceOf = problem.parts.map((_, i) => (i < cut ? 0 : 1));
        const assignment = assignmentOf(deviceOf);
        expect(Object.keys(assignment)).toEqual(forwardNodes(graph).map((n) => n.name));
        if (cut > 0) makePartition(graph, { ready: { stages: 2, assignment, method: 'half' } }, { stages: 2 });
      }),
      { numRuns: 60 },
    );
  });
});

describe('loads of a training graph on two devices', () => {
  it('are the work of each, and what the compiled program sends between them', () => {
    const microbatches = 2;
    const models = [
      threeLayers,
      smallModels.gpt,
      smallModels.unet,
      smallModels.resnet,
      randomModel(3),
      randomModel(11),
      randomModel(26),
    ];
    for (const [n, model] of models.entries()) {
      const whole = planOf(model, { batch: 8, microbatches }).graphs.train!;
      const speeds = [1, 2];
      const devices = speeds.map((speed) => ({ speed, memory: null }));
      const { problem, assignmentOf } = trainingProblem(whole, { costs, devices, microbatches });
      const cut = 1 + (n % (problem.parts.length - 1));
      const deviceOf = problem.parts.map((_, i) => (i < cut ? 0 : 1));
      const partition = { ready: { stages: 2, assignment: assignmentOf(deviceOf), method: 'half' } };
      const plan = planOf(model, { batch: 8, microbatches, devices: 2, partition, placement: [0, 1] });
      const { durations, stepSeconds } = stageCosts(whole, stageMap(whole, plan.partition), { stages: 2, costs });
      let moved = 0;
      for (const { instructions, buffers } of plan.programs.train!.devices) {
        for (const i of instructions) {
          if (i.kind !== 'send' || (i.microbatch !== null && i.microbatch > 0)) continue;
          moved += transferSeconds(buffers[i.buffer]!.bytes, 1, costs.link(0, 1)) / (i.microbatch === null ? 2 : 1);
        }
      }
      expect(moved).toBeGreaterThan(0);
      const { loads } = evaluatePlacement(problem, deviceOf);
      durations.forEach(({ F, B, W }, d) => {
        const work = (F + B + W + stepSeconds[d]! / microbatches) / speeds[d]!;
        expect(loads[d]).toBeCloseTo(work + moved, 12);
      });
    }
  });

  it('take capacity, speed and microbatches in flight from the devices, and of links the slowest of each device', () => {
    const seconds = [
      [99, 1, 2],
      [4, 99, 8],
      [3, 5, 99],
    ];
    const link = (from: number, to: number) => ({
      bytesPerSecond: Number.POSITIVE_INFINITY,
      secondsLatency: seconds[from]![to]!,
    });
    const graph = planOf(threeLayers).graphs.train!;
    const { problem } = trainingProblem(graph, {
      costs: { ...costs, link },
      microbatches: 1,
      devices: [
        { speed: 2, memory: 7 },
        { speed: 1, memory: null, inFlight: 3 },
        { speed: 1, memory: null },
      ],
    });
    const { devices, values } = problem;
    expect(devices.map((d) => [d.speed, d.capacity, d.inFlight])).toEqual([
      [2, 7, 1],
      [1, Infinity, 3],
      [1, Infinity, 1],
    ]);
    // 0 is reached from 1 in 4; the others have the slowest link of all.
    expect(devices.map((d) => d.linkSpeed)).toEqual([2, 1, 1]);
    for (const { cost } of values) expect(cost % 8).toBe(0);
  });

  it('look at no more than one link where all are alike, however many devices there are', () => {
    const graph = planOf(threeLayers).graphs.train!;
    const all = withLinks(costs, sameLink({ bytesPerSecond: 1e6, secondsLatency: 1e-5 }));
    for (const count of [1, 2, 2 ** 16]) {
      const devices = Array.from({ length: count }, () => ({ speed: 1, memory: null }));
      const { problem } = trainingProblem(graph, { costs: all, microbatches: 1, devices });
      expect([problem.devices.length, new Set(problem.devices.map((d) => d.linkSpeed))]).toEqual([count, new Set([1])]);
    }
  });

  it('have a reshape where its value is made, and of what is fed where it is read first', () => {
    const model: Model = {
      name: 'reshapes',
      build: (n) => {
        const graph = new Graph();
        const weight = (name: string, rows: number, columns: number) =>
          graph.parameter(name, [rows, columns], { kind: 'uniform', low: -1, high: 1 });
        const x = graph.input('x', { shape: [n, 2, 2] });
        const flat = reshape(reshape(x, [n, 1, 4]), [n, 4]);
        const h = reshape(reshape(tanh(matmul(flat, weight('w', 4, 4))), [n, 2, 2]), [n, 4]);
        const y = graph.output('y', mul(matmul(h, weight('v', 4, 4)), flat));
        return { graph, objective: [{ loss: squaredError(y, graph.input('t', { shape: [n, 4] })), weight: 1 }] };
      },
    };
    const graph = planOf(model, { batch: 8 }).graphs.train!;
    const options = { costs, microbatches: 1, devices: [0, 1, 2].map(() => ({ speed: 1, memory: null })) };
    const { problem, assignmentOf } = trainingProblem(graph, options);
    const place = new Map(problem.parts.map((p, i) => [p.name, i]));
    const on = (of: Record<string, number>) => assignmentOf(problem.parts.map((p) => of[p.name] ?? 2));
    // Both readers of the fed value: the first device of the two, whichever it is.
    expect(place.has('reshape')).toBe(false);
    const forward = on({ matmul: 0, tanh: 1, matmul_1: 1 });
    expect(forward).toMatchObject({ reshape: 0, reshape_1: 0, reshape_2: 1, reshape_3: 1 });
    expect(on({ matmul: 2, tanh: 0, mul: 1 })).toMatchObject({ reshape: 1, reshape_1: 1, reshape_2: 0, reshape_3: 0 });
  });

  it('are held where they are made; what is fed, where it is read first', () => {
    const model: Model = {
      name: 'reads its input twice',
      build: (n) => {
        const graph = new Graph();
        const x = graph.input('x', { shape: [n, 4] });
        const h = tanh(matmul(x, graph.parameter('w', [4, 4], { kind: 'uniform', low: -1, high: 1 })));
        const y = graph.output('y', mul(h, x));
        return { graph, objective: [{ loss: squaredError(y, graph.input('t', { shape: [n, 4] })), weight: 1 }] };
      },
    };
    const graph = planOf(model, { batch: 8 }).graphs.train!;
    const { problem } = trainingProblem(graph, { costs, microbatches: 1, devices: [{ speed: 1, memory: null }] });
    const held = Object.fromEntries(problem.parts.map((p) => [p.name, p.heldBytes]));
    // x for the gradients of w and of h, h for that of tanh; what is squared, for the loss.
    const value = 8 * 4 * 4;
    expect([held.matmul, held.tanh, held.mul, held.sub]).toEqual([value, value, 0, value]);
  });
});

describe('the bound on step times', () => {
  it('is below the simulated step of every plan', () => {
    let tightest = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 3 }), (seed, stages) => {
        const choices = new Choices(seed);
        const microbatches = choices.pick([1, 2, 4]);
        const request = requestOf(seed, stages);
        const devices = request.devices.map((d) => ({ ...d, speed: choices.pick([1, 2]) }));
        const assignment = randomStages(request.model, stages, seed);
        const used = Math.max(...Object.values(assignment)) + 1;
        if (new Set(Object.values(assignment)).size < used) return;
        const plan = draftPlan({
          ...request,
          microbatches,
          devices,
          partition: { stages: assignment },
          placement: Array.from({ length: used }, () => choices.below(stages)),
        });
        const speeds = devices.map((d) => d.speed);
        const bound = stepTimeBound(plan.graphs.train!, { costs, speeds, microbatches });
        expect(bound).toBeGreaterThan(0);
        expect(bound).toBeLessThanOrEqual(plan.prediction.stepSeconds * (1 + 1e-12));
        tightest = Math.max(tightest, bound / plan.prediction.stepSeconds);
      }),
      { numRuns: 60 },
    );
    // One device computes all there is, one after the other: there the bound is nearly the step.
    expect(tightest).toBeGreaterThan(0.9);
  });
});

describe('the bound on devices that are not alike', () => {
  it('is below the step, whatever each of them is fast at', () => {
    const models = [
      { flopsPerSecond: 1e6, bytesPerSecond: 1e9, secondsPerKernel: 0, speed: 1 },
      { flopsPerSecond: 1e9, bytesPerSecond: 1e6, secondsPerKernel: 1e-7, speed: 1 },
      { flopsPerSecond: 5e6, bytesPerSecond: 5e7, secondsPerKernel: 2e-8, speed: 1 },
    ];
    let proving = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const choices = new Choices(seed);
      const request = requestOf(seed, 2);
      const backends = request.devices.map(() => choices.pick(['wasm', 'reference'] as const));
      const devices = backends.map((backend) => ({ backend, memory: null, speed: choices.pick([1, 2, 20]) }));
      const played = devices.map(({ backend, speed }) => ({ backend, speed, model: choices.pick(models) }));
      const assignment = randomStages(request.model, 2, seed);
      if (new Set(Object.values(assignment)).size < 2) continue;
      const cluster = seed % 2 === 0 ? { devices: played, costs } : undefined;
      const plan = draftPlan({ ...request, devices, partition: { stages: assignment }, cluster });
      const bound = stepBoundOf(plan.graphs.train!, plan.request, plan.programs.train!.chunks);
      expect(bound).toBeLessThanOrEqual(plan.prediction.stepSeconds * (1 + 1e-12));
      if (bound > 0.2 * plan.prediction.stepSeconds) proving++;
    }
    expect(proving).toBeGreaterThan(5);
  });

  it('is that of speeds where they are alike but for these', () => {
    const request = requestOf(7, 3);
    const graph = planOf(randomModel(7), { batch: 8 }).graphs.train!;
    const speeds = [1, 3, 0.5];
    const devices = speeds.map((speed) => ({ backend: 'wasm', memory: null, speed }) as const);
    const chunks = [2, 2, 2, 2];
    const bound = stepBoundOf(graph, { ...request, devices }, chunks);
    expect(bound).toBeCloseTo(stepTimeBound(graph, { costs, speeds, microbatches: 4 }), 15);
    // As fast as the costs' core at all, and three times as fast.
    const model = { ...slow, flopsPerSecond: 3e6, bytesPerSecond: 3e7, secondsPerKernel: 1e-7 / 3 };
    const played = [0, 1, 2].map(() => ({ backend: 'wasm', speed: 1, model }) as const);
    const thrice = stepBoundOf(graph, { ...request, cluster: { devices: played, costs } }, chunks);
    expect(thrice).toBeCloseTo(stepTimeBound(graph, { costs, speeds: [3, 3, 3], microbatches: 4 }), 15);
  });
});

describe('the bound of built-in models on one device', () => {
  // Slices and joins that are read where they lie, sums that a product adds to, and a last microbatch of fewer samples.
  it.each(smallModelKinds)('%s: no step is below it, and none far above', (kind) => {
    for (const microbatches of [1, 3, 8]) {
      const { request } = planOf(smallModels[kind], { batch: 8, microbatches, schedule: 'gpipe' });
      const plan = draftPlan({ ...request, costs, fusion: 'off' });
      const { chunks, graphs, largest } = graphsOf(plan.request, 'train', new PlanCache());
      const bound = stepBoundOf(largest, plan.request, chunks, graphs);
      expect(bound).toBeLessThanOrEqual(plan.prediction.stepSeconds * (1 + 1e-12));
      expect(bound).toBeGreaterThan(0.9 * plan.prediction.stepSeconds);
    }
  });
});

describe('the bound on step times of a chain', () => {
  it('is the way through it, forward and back, however many devices there are', () => {
    const graph = planOf(threeLayers, { batch: 8 }).graphs.train!;
    const of = (count: number, microbatches: number) =>
      stepTimeBound(graph, { costs, speeds: new Array<number>(count).fill(1), microbatches });
    // One microbatch: all but weight gradients and updates lies on the way. Many: what one part does of all of them.
    expect(of(100, 1)).toBeGreaterThan(0.5 * of(1, 1));
    expect(of(100, 64)).toBeLessThan(0.6 * of(1, 64));
  });
});

describe('estimates on paper', () => {
  it('divide work by the speed of its device, and send nothing within one', () => {
    const traffic = new Map([
      ['0>1', { bytes: 1e8, messages: 2 }],
      ['1>2', { bytes: 1e8, messages: 1 }],
    ]);
    const durations = [0, 1, 2].map(() => ({ F: 2, B: 4, W: 6 }));
    const figures = { durations, traffic, stepSeconds: [], fixedBytes: [], gradientBytes: [], heldBytes: [] };
    const devices = [1, 2].map((speed) => ({ backend: 'wasm', memory: null, speed }) as const);
    const seconds = taskSeconds(figures, [0, 1, 1], devices);
    const kinds = ['F', 'B', 'W', 'BW'] as const;
    expect(kinds.map((kind) => seconds({ kind, stage: 0, microbatch: 0 }))).toEqual([2, 4, 6, 10]);
    expect(kinds.map((kind) => seconds({ kind, stage: 2, microbatch: 0 }))).toEqual([1, 2, 3, 5]);
    const link = linkSeconds(figures, [0, 1, 1], costs);
    expect([link(0, 1), link(1, 2), link(1, 0)]).toEqual([1 + 2e-6, 0, 0]);
  });

  it('add the updates of the device that takes longest for them, each at its speed', () => {
    const durations = [0, 1].map(() => ({ F: 2, B: 4, W: 6 }));
    const traffic = new Map([['0>1', { bytes: 0, messages: 0 }]]);
    const bytes = { fixedBytes: [10, 20], gradientBytes: [4, 1], heldBytes: [1, 2] };
    const figures = { durations, traffic, stepSeconds: [3, 8], ...bytes };
    const of = (placement: number[], speeds: number[]) => {
      const shape = { stages: 2, microbatches: 1, placement, devices: 2 };
      const devices = speeds.map((speed) => ({ backend: 'wasm', memory: null, speed }) as const);
      const schedule = makeSchedule('gpipe', shape);
      return [estimateSeconds(schedule, figures, { devices }, costs), ...estimateBytes(schedule, figures)];
    };
    // The most bytes: the first stage's 6 and its gradients, the second's 19 and a microbatch; of both, all gradients and one.
    // One behind the other: 2 + 10 of the first stage, half of 12 of the second; then 3, or half of 8.
    expect(of([0, 1], [1, 2])).toEqual([12 + 6 + 4, 10, 21]);
    expect(of([1, 0], [1, 2])).toEqual([6 + 12 + 8, 21, 10]);
    expect(of([1, 1], [1, 2])).toEqual([(24 + 11) / 2, 0, 25 + 4 + 1]);
    // Of three microbatches, gpipe has all in flight before there is a gradient; 1f1b begins another behind the first gradient.
    const three = { stages: 2, microbatches: 3, placement: [0, 1], devices: 2 };
    expect(estimateBytes(makeSchedule('gpipe', three), figures)).toEqual([10 + 2 * 1, 19 + 3 * 2]);
    expect(estimateBytes(makeSchedule('1f1b', three), figures)).toEqual([10 + 2 * 1, 20 + 2]);
  });

  it('of time and memory are near those of the compiled plan', () => {
    for (const schedule of scheduleNames) {
      const plan = planOf(threeLayers, { batch: 64, devices: 2, microbatches: 8, costs, schedule });
      const graph = plan.graphs.train!;
      const figures = stageCosts(graph, stageMap(graph, plan.partition), { stages: plan.partition.stages, costs });
      const shape = { stages: plan.partition.stages, microbatches: 8, placement: plan.placement, devices: 2 };
      const named = makeSchedule(schedule, shape);
      const ratio = estimateSeconds(named, figures, plan.request, costs) / plan.prediction.stepSeconds;
      expect(ratio).toBeGreaterThan(0.85);
      expect(ratio).toBeLessThan(1.15);
      // What is held and kept lies below the peak, which has temporaries too.
      estimateBytes(named, figures).forEach((bytes, d) => {
        expect(bytes).toBeGreaterThan(0.4 * plan.memory[d]!.peakBytes);
        expect(bytes).toBeLessThan(1.05 * plan.memory[d]!.peakBytes);
      });
      expect(forwardEdges(figures)).toEqual(chainEdges(plan.partition.stages));
    }
  });
});

describe('the search for a plan', () => {
  const request = { ...planOf(threeLayers, { batch: 64, devices: 2, costs }).request };
  /** A batch so large that the pages of 64 KiB of a capacity tell plans apart. */
  const large = planOf(threeLayers, { batch: 4096, devices: 2, costs }).request;
  /** The ways to cut that take no time. */
  const chains = ['chain-time', 'chain-memory'] as const;
  const quick = partitionWays.filter((way) => way !== 'contiguous' && way !== 'anywhere');

  it('is no slower than any plan it could have made by hand, and above its bound', async () => {
    const found = await searchPlan(request, { microbatches: [1, 8], partitions: quick });
    for (const microbatches of [1, 8]) {
      for (const schedule of ['gpipe', '1f1b'] as const) {
        const plan = draftPlan({ ...request, microbatches, schedule });
        expect(found.best.stepSeconds).toBeLessThanOrEqual(plan.prediction.stepSeconds * (1 + 1e-9));
      }
    }
    expect(found.lowerBound).toBeLessThanOrEqual(found.best.stepSeconds);
    expect(found.gap).toBeCloseTo(1 - found.lowerBound / found.best.stepSeconds, 12);
    expect(found.plan.prediction.stepSeconds).toBe(found.best.stepSeconds);
    expect(found.evaluated[0]).toBe(found.best);
  });

  it('gives a front on which less time costs more memory', async () => {
    // Kernels that cost much each make many small microbatches slow, and they still need the least memory.
    const dear = analyticCosts({ device: { ...slow, secondsPerKernel: 1e-3 } });
    const options = { microbatches: [1, 2, 4, 8], partitions: chains } as const;
    const { pareto, evaluated } = await searchPlan({ ...request, costs: dear }, options);
    expect(pareto.length).toBeGreaterThan(1);
    const peak = (c: (typeof pareto)[number]) => Math.max(...c.peakBytes);
    pareto.slice(1).forEach((c, i) => {
      expect(c.stepSeconds).toBeGreaterThanOrEqual(pareto[i]!.stepSeconds);
      expect(peak(c)).toBeLessThan(peak(pareto[i]!));
    });
    for (const c of evaluated) {
      expect(pareto.some((p) => p.stepSeconds <= c.stepSeconds && peak(p) <= peak(c))).toBe(true);
    }
  });

  it('keeps within the memory, and says what would do where nothing fits', async () => {
    const options = { microbatches: [1, 8], partitions: chains, evaluations: 6, recompute: 'none' } as const;
    const free = await searchPlan(large, options);
    const leanest = free.pareto.at(-1)!;
    const memory = Math.ceil(Math.max(...leanest.peakBytes) / 65536) * 65536;
    const devices = request.devices.map((d) => ({ ...d, memory }));
    const tight = await searchPlan({ ...large, devices }, options);
    expect(tight.best.fits).toBe(true);
    for (const bytes of tight.best.peakBytes) expect(bytes).toBeLessThanOrEqual(memory);
    const none = request.devices.map((d) => ({ ...d, memory: 0 }));
    const refused = await searchPlan({ ...large, devices: none }, options).catch((error) => error);
    expect(refused).toMatchObject({ code: 'search-nothing-fits', remedy: expect.stringMatching(/^--memory \d+KiB$/) });
    // The capacity that it names is one at which there is a plan, and is the least of what was compiled.
    const enough = Number(/\d+/.exec(refused.remedy)![0]) * 1024;
    const { smallest } = refused.fields as { smallest: { peakBytes: number[] } };
    expect(enough).toBe(Math.ceil(Math.max(...smallest.peakBytes) / 65536) * 65536);
    const just = request.devices.map((d) => ({ ...d, memory: enough }));
    expect((await searchPlan({ ...large, devices: just }, options)).best.fits).toBe(true);
  });

  it('keeps the partition, schedule and microbatches that are given', async () => {
    const names = forwardNodes(planOf(threeLayers).graphs.train!).map((n) => n.name);
    const given = { ...request, partition: { cuts: [names[2]!] } };
    const found = await searchPlan(given, { microbatches: [4], schedules: ['gpipe'], partitions: ['given'] });
    expect(found.evaluated).toHaveLength(1);
    expect(found.best).toMatchObject({ microbatches: 4, schedule: 'gpipe', partition: 'given' });
    expect(found.plan.partition.assignment).toEqual(draftPlan(given).partition.assignment);
  });

  it('keeps stages that lie as the request says, whatever the schedule is made for', async () => {
    const names = forwardNodes(planOf(threeLayers).graphs.train!).map((n) => n.name);
    const given = { ...request, partition: { cuts: [names[1]!, names[2]!, names[4]!] } };
    for (const placement of [
      [0, 1, 1, 0],
      [0, 0, 1, 1],
      [0, 1, 0, 1],
    ]) {
      for (const schedule of ['1f1b', 'zb-v', 'interleaved-1f1b', 'auto'] as const) {
        const asked = { ...given, placement };
        const found = await searchPlan(asked, { microbatches: [4], schedules: [schedule], partitions: ['given'] });
        expect(found.evaluated).toHaveLength(1);
        expect(found.best).toMatchObject({ schedule, placement, stages: 4, stagesPerDevice: 2 });
        expect(found.best.stepSeconds).toBe(draftPlan({ ...asked, microbatches: 4, schedule }).prediction.stepSeconds);
      }
    }
    // Where each device has one stage, of the schedules those that are made for that.
    const straight = { ...request, partition: { cuts: [names[2]!] } };
    const all = await searchPlan(straight, { microbatches: [4], partitions: ['given'], evaluations: 100 });
    const tried = new Set(all.evaluated.map((c) => c.schedule));
    expect(tried).toEqual(new Set(['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'auto']));
    const only = await searchPlan(straight, { microbatches: [4], schedules: ['zb-v'], partitions: ['given'] });
    expect(only.best).toMatchObject({ schedule: 'zb-v', placement: [0, 1] });
  });

  it('keeps to a number of stages a device, with any schedule', async () => {
    for (const schedule of ['gpipe', 'zb-v', 'looped-bfs'] as const) {
      const options = { microbatches: [2], schedules: [schedule], stagesPerDevice: [2], evaluations: 100 };
      const { evaluated } = await searchPlan(request, options);
      for (const { placement, stagesPerDevice, stages } of evaluated) {
        const used = [...new Set(placement)];
        expect([stagesPerDevice, stages]).toEqual([2, 2 * used.length]);
        for (const d of used) expect(placement.filter((e) => e === d)).toHaveLength(2);
      }
      expect(new Set(evaluated.map((c) => new Set(c.placement).size))).toEqual(new Set([1, 2]));
    }
  });

  it('of devices that are not alike leaves the slowest out, and weighs each combination once', async () => {
    const speeds = [1, 4, 2];
    const devices = speeds.map((speed) => ({ backend: 'wasm', memory: null, speed }) as const);
    const options = {
      microbatches: [2],
      partitions: ['chain-time', 'equal', 'parameters'],
      evaluations: 1000,
    } as const;
    const { evaluated, considered } = await searchPlan({ ...request, devices }, options);
    const used = new Set(evaluated.map((c) => [...new Set(c.placement)].sort().join()));
    expect(used).toEqual(new Set(['0,1,2', '1,2', '1']));
    const whole = await searchPlan({ ...request, devices }, { ...options, fewerDevices: false });
    expect(new Set(whole.evaluated.map((c) => [...new Set(c.placement)].sort().join()))).toEqual(new Set(['0,1,2']));
    // Looped and there and back, of two stages a device and of four.
    expect(new Set(evaluated.map((c) => c.placement.join())).has('1,2,2,1')).toBe(true);
    expect(new Set(evaluated.map((c) => c.placement.join())).has('1,2,1,2')).toBe(true);
    // All that were weighed, and the schedule auto for the best of their cuts.
    expect(evaluated.length - evaluated.filter((c) => c.schedule === 'auto').length).toBe(considered);
    expect(evaluated.filter((c) => c.schedule === 'auto').length).toBe(3);
    expect(evaluated.map((c) => c.stepSeconds)).toEqual(evaluated.map((c) => c.stepSeconds).sort((a, b) => a - b));
  });

  it('compiles as many plans as it may, a quarter of them with auto, on the best cuts', async () => {
    const found = await searchPlan(request, {
      microbatches: [1, 4],
      partitions: ['chain-time', 'equal'],
      evaluations: 8,
    });
    expect(found.evaluated).toHaveLength(8);
    const listed = found.evaluated.filter((c) => c.schedule === 'auto');
    expect(listed).toHaveLength(2);
    for (const c of listed) expect(c.microbatches).toBeGreaterThan(1);
    const named = await searchPlan(request, { microbatches: [4], partitions: ['equal'], schedules: ['gpipe', '1f1b'] });
    expect(named.evaluated.some((c) => c.schedule === 'auto')).toBe(false);
    await expect(searchPlan(request, { schedules: [], microbatches: [2] })).rejects.toMatchObject({
      code: 'search-empty',
    });
  });

  it('fits what it says fits, and gives the front of that alone', async () => {
    const limited = { microbatches: [1, 8], partitions: chains, evaluations: 12, recompute: 'none' } as const;
    const free = await searchPlan(large, limited);
    expect(new Set(free.evaluated.map((c) => c.recompute))).toEqual(new Set(['none']));
    const peak = (c: { peakBytes: readonly number[] }) => Math.max(...c.peakBytes);
    const peaks = free.evaluated.map(peak).sort((a, b) => a - b);
    const memory = Math.ceil(peaks[Math.floor(peaks.length / 3)]! / 65536) * 65536;
    const devices = large.devices.map((d) => ({ ...d, memory }));
    const { evaluated, pareto, best } = await searchPlan({ ...large, devices }, limited);
    expect(evaluated.some((c) => !c.fits)).toBe(true);
    for (const c of evaluated) expect(c.fits).toBe(peak(c) <= memory);
    const fitting = evaluated.filter((c) => c.fits);
    expect(best).toBe(fitting[0]);
    const beats = (a: typeof best, b: typeof best) =>
      a.stepSeconds <= b.stepSeconds && peak(a) <= peak(b) && (a.stepSeconds < b.stepSeconds || peak(a) < peak(b));
    for (const c of fitting) {
      const twin = pareto.find((p) => p.stepSeconds === c.stepSeconds && peak(p) === peak(c));
      expect(twin !== undefined).toBe(!fitting.some((o) => beats(o, c)));
    }
    expect(new Set(pareto.map((p) => `${p.stepSeconds} ${peak(p)}`)).size).toBe(pareto.length);
  });

  it('tries numbers of microbatches up to the batch and 32, and that of the request', () => {
    const of = (batch: number, microbatches: number) =>
      searchedMicrobatches({ ...request, programs: { train: { batch, mode: 'train', outputs: true } }, microbatches });
    expect(of(64, 1)).toEqual([1, 2, 4, 8, 16, 32]);
    expect(of(8, 3)).toEqual([1, 2, 3, 4, 8]);
    expect(of(7, 50)).toEqual([1, 2, 4, 7]);
    expect(searchedMicrobatches(request, { microbatches: [5] })).toEqual([5]);
  });

  it('passes over numbers of microbatches of which a step has too many instructions, unless all have', async () => {
    const batch = 2 ** 20;
    const huge: PlanRequest = { ...large, programs: { train: { batch, mode: 'train' } } };
    const options = { partitions: ['chain-time'], evaluations: 4 } as const;
    const { evaluated } = await searchPlan(huge, { ...options, microbatches: [2, batch / 2] });
    expect(new Set(evaluated.map((c) => c.microbatches))).toEqual(new Set([2]));
    await expect(searchPlan(huge, { ...options, microbatches: [batch / 2] })).rejects.toMatchObject({
      code: 'program-too-large',
      message: expect.stringMatching(/^a step of 524288 microbatches would have about \d+ instructions/),
    });
  });

  it('has only schedules with all forwards first where a batch is normalised as a whole', async () => {
    const whole = {
      ...planOf(smallModels.resnet, { batch: 4, devices: 2, batchNorm: 'exact', costs, schedule: 'gpipe' }).request,
    };
    const options = { microbatches: [2], partitions: ['chain-time'], evaluations: 30 } as const;
    const { evaluated } = await searchPlan({ ...whole, schedule: undefined } as PlanRequest, options);
    expect(new Set(evaluated.map((c) => c.schedule))).toEqual(new Set(['gpipe', 'looped-bfs']));
  });

  it('ends within its step where it is interrupted: with the best so far, or before there is one with the reason', async () => {
    const controller = new AbortController();
    const found = await searchPlan(request, {
      microbatches: [4],
      signal: controller.signal,
      onEvaluated: (_, count) => count === 2 && controller.abort(new Error('SIGINT')),
    });
    expect(found.interrupted).toBe(true);
    expect(found.evaluated).toHaveLength(2);
    expect(found.best.fits).toBe(true);
    const early = AbortSignal.abort(new Error('SIGINT'));
    await expect(searchPlan(request, { signal: early })).rejects.toThrow('SIGINT');
  });

  describe('that has plans tried', () => {
    const options = { microbatches: [1, 2, 4], partitions: ['chain-time'], stagesPerDevice: [1] } as const;
    const timeOf = (stepSeconds: number) => ({ stepSeconds, mad: 0, turns: 3 });

    it('takes the one whose steps were fastest, and tells all of them', async () => {
      const predicted = await searchPlan(request, options);
      let asked: readonly Plan[] = [];
      const time = async (plans: readonly Plan[]) => {
        asked = plans;
        // The further behind by prediction, the faster.
        return plans.map((_, i) => timeOf(plans.length - i));
      };
      const found = await searchPlan(request, { ...options, trials: { plans: 4, time } });
      expect(asked).toHaveLength(4);
      expect(asked[0]!.prediction).toEqual(predicted.plan.prediction);
      expect(found.plan).toBe(asked[3]);
      expect(found.trials!.map((t) => t.stepSeconds)).toEqual([1, 2, 3, 4]);
      expect(found.trials![0]!.candidate).toBe(found.best);
      expect(found.best.stepSeconds).toBe(found.plan.prediction.stepSeconds);
      expect(found.evaluated).toEqual(predicted.evaluated);
      expect(found.lowerBound).toBe(predicted.lowerBound);
      expect(found.gap).toBe(1 - found.lowerBound / found.best.stepSeconds);
    });

    it('goes by predictions where fewer than two could be tried', async () => {
      const predicted = await searchPlan(request, options);
      for (const times of [[], [timeOf(1)], [undefined, timeOf(1)], [timeOf(Number.NaN), timeOf(1)]]) {
        const found = await searchPlan(request, { ...options, trials: { plans: 3, time: async () => times } });
        expect(found.best).toEqual(predicted.best);
        expect(found.trials).toBeUndefined();
      }
      const asked = vi.fn(async () => []);
      const one = { ...options, evaluations: 1, trials: { plans: 2, time: asked } };
      expect((await searchPlan(request, one)).trials).toBeUndefined();
      expect(asked).not.toHaveBeenCalled();
    });

    it('tries none that does not fit with all of its programs', async () => {
      const free = await searchPlan(request, options);
      const peaks = free.evaluated.map((c) => Math.max(...c.peakBytes)).sort((a, b) => a - b);
      const memory = Math.ceil(peaks[Math.floor(peaks.length / 2)]! / 65536) * 65536;
      const devices = request.devices.map((d) => ({ ...d, memory }));
      const time = vi.fn(async (plans: readonly Plan[]) => plans.map(() => timeOf(1)));
      const tight = { ...request, devices };
      await searchPlan(tight, { ...options, recompute: 'none', trials: { plans: 100, time } });
      const [plans] = time.mock.calls[0]!;
      expect(plans.length).toBeGreaterThan(1);
      for (const plan of plans) for (const m of plan.memory) expect(m.peakBytes).toBeLessThanOrEqual(memory);
    });

    it('passes over what does not fit with its smaller last batch, in trials and behind them', async () => {
      const one = { ...options, microbatches: [2], schedules: ['gpipe', '1f1b'] } as const;
      // A last batch larger than the others: what fits without it need not fit with it.
      const tail = { batch: 8192, mode: 'train' } as const;
      const asked = { ...request, programs: { ...request.programs, tail } };
      const free = await searchPlan(asked, one);
      const peaks = free.evaluated.map((c) => Math.max(...c.peakBytes));
      const memory = Math.ceil((Math.max(...peaks) + 1) / 65536) * 65536;
      const whole = free.plan.memory.some((m) => m.peakBytes > memory);
      expect(whole).toBe(true);
      const tight = { ...asked, devices: request.devices.map((d) => ({ ...d, memory })) };
      const time = vi.fn(async () => []);
      const refused = searchPlan(tight, { ...one, recompute: 'none', trials: { plans: 2, time } });
      await expect(refused).rejects.toMatchObject({ code: 'search-nothing-fits' });
      expect(time).not.toHaveBeenCalled();
    });

    it('refuses to try fewer than two, or with nothing that times them', async () => {
      const untimed = { plans: 3 } as unknown as Trials;
      await expect(searchPlan(request, { ...options, trials: untimed })).rejects.toThrow('trials.time');
      for (const plans of [1, 0, 2.5, Number.NaN]) {
        const trials = { plans, time: async () => [] };
        await expect(searchPlan(request, { ...options, trials })).rejects.toMatchObject({ code: 'search-trials' });
      }
    });

    it('tries other numbers of microbatches first, then other schedules, and none far behind', () => {
      const candidate = (microbatches: number, schedule: ScheduleWord, stepSeconds: number) =>
        ({ microbatches, schedule, stepSeconds }) as EvaluatedCandidate;
      const all = [
        candidate(4, 'zb-h1', 1),
        candidate(4, 'zb-h1', 1.01),
        candidate(4, '1f1b', 1.02),
        candidate(8, 'zb-h1', 1.03),
        candidate(8, 'gpipe', 1.04),
        candidate(2, '1f1b', 1.25),
        candidate(1, '1f1b', 1.26),
      ];
      expect(candidatesToTry(all).map((c) => all.indexOf(c))).toEqual([0, 3, 5, 2, 4, 1]);
    });
  });

  it('hears a signal that comes while it computes', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('SIGINT')), 0);
    const options = { signal: controller.signal, microbatches: [1, 2, 4, 8], evaluations: 1e5 };
    const outcome = await searchPlan(request, options).then(
      ({ interrupted }) => interrupted,
      (error: Error) => error.message,
    );
    expect([true, 'SIGINT']).toContain(outcome);
  });

  it('ranks by the steps on the cluster: a medium that all share can make fewer devices the better plan', async () => {
    const devices = [0, 1, 2].map(() => ({ backend: 'wasm', memory: null, speed: 1 }) as const);
    const wide = analyticCosts({ device: slow, link: { bytesPerSecond: 1e7, secondsLatency: 0 } });
    const options = {
      microbatches: [4],
      schedules: ['gpipe'],
      partitions: ['chain-time'],
      stagesPerDevice: [1],
    } as const;
    const asked = { ...request, devices, costs: wide };
    const media = [{ name: 'bus', bytesPerSecond: 1e4, carries: () => true }];
    const [free, shared] = await Promise.all([
      searchPlan(asked, options),
      searchPlan({ ...asked, cluster: { devices, costs: wide, media } }, options),
    ]);
    expect(free.best.placement).toHaveLength(3);
    expect(shared.best.placement).toHaveLength(1);
    const { stepSeconds } = simulate(shared.plan.programs.train!, { devices, costs: wide, media });
    expect(shared.best.stepSeconds).toBe(stepSeconds);
    // Candidates of several devices are played with the medium too.
    const several = shared.evaluated.filter((c) => c.placement.length > 1);
    expect(several.length).toBeGreaterThan(0);
    for (const c of several) expect(c.stepSeconds).toBeGreaterThan(shared.best.stepSeconds);
    await expect(searchPlan({ ...asked, cluster: { devices: [], costs } }, options)).rejects.toThrow(
      'the cluster has 0 devices, and the plan 3',
    );
  });

  it('leaves devices out where links cost more than they save', async () => {
    const far = analyticCosts({ device: slow, link: { bytesPerSecond: 1e8, secondsLatency: 1 } });
    const found = await searchPlan({ ...request, costs: far }, { microbatches: [1, 4], partitions: quick });
    expect(new Set(found.best.placement).size).toBe(1);
  });
});
