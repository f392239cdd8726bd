import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { draftPlan, makePlan, type PlanRequest } from '../../src/plan/plan.ts';
import { peakInFlightOfDevices, scheduleNames } from '../../src/schedule/index.ts';
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
