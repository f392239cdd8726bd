import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { compileWithin, listSchedule } from '../../src/plan/auto-schedule.ts';
import type { Compiled } from '../../src/plan/compiled.ts';
import { draftPlan, makePlan, type PlanRequest } from '../../src/plan/plan.ts';
import { stageCosts } from '../../src/plan/stage-costs.ts';
import { chainEdges, peakInFlightOfDevices, scheduleNames } from '../../src/schedule/index.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor } from '../support/built-in.ts';
import { planOf, toHex } from '../support/models.ts';

// Activations outweigh parameters: what is in flight decides the peak.
const model = modelOf({ kind: 'mlp', inputs: 16, hidden: [64, 64, 64, 64], classes: 4 });
const shared = { batch: 4096, microbatches: 8, devices: 2, optimizer: { kind: 'sgd', lr: 0.1 } } as const;
const costs = analyticCosts({ link: { bytesPerSecond: 1e9, secondsLatency: 1e-3 } });
const cut = { partition: { cuts: ['layer.2'] }, costs };

const withMemory = (request: PlanRequest, memory: readonly number[]): PlanRequest => ({
  ...request,
  devices: request.devices.map((d, i) => ({ ...d, memory: memory[i]! })),
});

describe('the schedule auto', () => {
  const free = planOf(model, { ...shared, ...cut, schedule: 'auto' });
  const peaks = free.memory.map((m) => m.peakBytes);

  it('is as fast as any by name, as predicted', () => {
    const others = scheduleNames.map(
      (schedule) => planOf(model, { ...shared, ...cut, schedule }).prediction.stepSeconds,
    );
    // The list scheduler sees tasks, the prediction every instruction: they agree but for messages within a task.
    expect(free.prediction.stepSeconds).toBeLessThan(1.02 * Math.min(...others));
  });

  it('holds fewer microbatches where memory is short, and fits to the byte', async () => {
    const memory = peaks.map((bytes) => Math.floor((0.8 * bytes) / 65536) * 65536);
    const plan = makePlan(withMemory(free.request, memory));
    expect(peakInFlightOfDevices(plan.schedules.train!)[0]).toBeLessThan(
      peakInFlightOfDevices(free.schedules.train!)[0]!,
    );
    await using one = await Session.open(planOf(model, { ...shared, devices: 1 }), { seed: 1, transport: 'local' });
    await using many = await Session.open(plan, { seed: 1, transport: 'local' });
    const batch = batchFor(plan, 'train', 1);
    const [expected, got] = [await one.run('train', batch, { step: 0 }), await many.run('train', batch, { step: 0 })];
    expect(toHex(got.results.get('loss')!)).toBe(toHex(expected.results.get('loss')!));
    expect(await many.measuredPeaks()).toEqual(many.plannedPeaks());
  });

  it('is refused with the bytes that are missing where no schedule fits', () => {
    const request = withMemory(free.request, [65536, 65536]);
    expect(() => makePlan(request)).toThrow(expect.objectContaining({ code: 'plan-does-not-fit' }));
    // The draft is the leanest that was found, not the fastest.
    expect(draftPlan(request).memory[0]!.peakBytes).toBeLessThan(peaks[0]!);
  });

  it('with several stages a device has the placement by rule whose step is the shortest', () => {
    const several = { ...shared, costs, schedule: 'auto', stagesPerDevice: 2 } as const;
    const free = planOf(model, several);
    const placements = [
      [0, 1, 1, 0],
      [0, 1, 0, 1],
      [0, 0, 1, 1],
    ];
    const steps = placements.map(
      (placement) => planOf(model, { ...several, stagesPerDevice: undefined, placement }).prediction.stepSeconds,
    );
    expect(placements).toContainEqual(free.placement);
    // Placements are weighed by the clock of tasks, the prediction plays every instruction.
    expect(free.prediction.stepSeconds).toBeLessThan(1.02 * Math.min(...steps));
    expect(Math.max(...steps)).toBeGreaterThan(1.05 * free.prediction.stepSeconds);
  });

  it('depends on nothing but the request', () => {
    expect(planOf(model, { ...shared, ...cut, schedule: 'auto' }).schedules).toEqual(free.schedules);
  });
});

describe('a budget that is too small', () => {
  const figures = {
    durations: [0, 1].map(() => ({ F: 1, B: 1, W: 1 })),
    traffic: new Map([['0>1', { bytes: 0, messages: 0 }]]),
    stepSeconds: [0, 0],
    fixedBytes: [0, 0],
    gradientBytes: [0, 0],
    heldBytes: [10, 10],
  };
  const devices = [0, 1].map(() => ({ backend: 'wasm', memory: null, speed: 1 }) as const);
  const free = analyticCosts({ link: { bytesPerSecond: Number.POSITIVE_INFINITY, secondsLatency: 0 } });
  const shape = { stages: 2, microbatches: 6, placement: [0, 1], devices: 2 };
  const list = (...budget: number[]) =>
    listSchedule(shape, budget, { figures, edges: chainEdges(2), devices, costs: free, effort: 5000 });

  it('is raised to the least with which there is a schedule, on its own device alone', () => {
    expect(list(3, 40)).toEqual(list(10, 40));
    expect(list(40, 3)).toEqual(list(40, 10));
    // What the other device may hold counts: it is not lowered to the least.
    expect(list(40, 3).makespan).toBeLessThan(list(10, 10).makespan);
    expect(list(40, 3).held[1]).toBe(10);
    expect(list(0, 0).held).toEqual([10, 10]);
  });

  it('of anything but memory is no matter of raising', () => {
    const broken = { ...figures, durations: [0, 1].map(() => ({ F: -1, B: 1, W: 1 })) };
    const options = { figures: broken, edges: chainEdges(2), devices, costs: free };
    expect(() => listSchedule(shape, [40, 40], options)).toThrow(
      expect.objectContaining({ code: 'schedule-duration' }),
    );
  });
});

describe('compiling within memories', () => {
  const { request, partition, placement, graphs, stageEdges } = planOf(model, { ...shared, ...cut, schedule: 'auto' });
  const graph = graphs.train!;
  const stageOf = stageMap(graph, partition);
  const stages = partition.stages;
  const chain = { stages, modelStages: stages, placement, edges: stageEdges, ordered: false, byWholeBatch: false };
  const figures = stageCosts(graph, stageOf, { stages, costs });
  const capacities = figures.heldBytes.map(
    (held, s) => 65536 * Math.ceil((figures.fixedBytes[s]! + 20 * held) / 65536),
  );
  const devices = request.devices.map((d, i) => ({ ...d, memory: capacities[i]! }));
  /** Compilations whose devices exceed their capacities by what `over` says; what the first held in flight, and which was taken. */
  const compiled = (over: (round: number) => readonly number[], microbatches: readonly number[] = [8]) => {
    const held: number[] = [];
    const taken = compileWithin({ graph, stageOf, chain, devices, costs }, (list) => {
      const schedules = microbatches.map((count) => list({ stages, microbatches: count, placement, devices: 2 }));
      const excess = over(held.length);
      held.push(peakInFlightOfDevices(schedules[0]!)[0]!);
      const memory = devices.map((_, d) => ({ peakBytes: capacities[d]! + excess[d]! }));
      return { round: held.length - 1, memory } as unknown as Compiled;
    });
    return { held, round: (taken as unknown as { round: number }).round };
  };

  it('ends where all fits, also where much is left', () => {
    expect(compiled(() => [-1000, 0])).toMatchObject({ round: 0, held: [expect.any(Number)] });
  });

  it('holds a microbatch less each time while that helps, for so many rounds', () => {
    expect(compiled((at) => [at < 3 ? 1 : 0, 0])).toEqual({ held: [8, 7, 6, 5], round: 3 });
    expect(compiled(() => [1, 0])).toMatchObject({ held: [8, 7, 6, 5, 4, 3, 2] });
  });

  it('ends where nobody holds less for it, with the attempt that lacks least', () => {
    const lacking = (at: number) => [[30, 10, 20][at] ?? 40, 0];
    expect(compiled(lacking, [3])).toEqual({ held: [3, 2, 1, 1], round: 1 });
  });

  it('goes by the program that holds most', () => {
    const one = compiled((at) => [at < 1 ? 1 : 0, 0]);
    expect(compiled((at) => [at < 1 ? 1 : 0, 0], [8, 1])).toEqual(one);
  });
});
