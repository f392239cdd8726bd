import { describe, expect, it } from 'vitest';
import { draftPlan, type Plan } from '../../src/plan/plan.ts';
import { memoryCategories } from '../../src/program/instruction.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

// Planned is measured, 0 bytes apart, on every device: the peak is the highest byte that was ever written, and behind each
// instruction the bytes of each category, counted in memory itself, are those of the plan.

const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'zb-v', 'interleaved-1f1b', 'dualpipe-v'] as const;
/** In turn, so that each meets each schedule, mode and model. */
const microbatchesAt = (i: number): number => [1, 2, 4][i % 3]!;

async function measure(plan: Plan): Promise<void> {
  await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
  const { reports } = await session.run('train', batchFor(plan, 'train', 3), { step: 0 });
  expect(await session.measuredPeaks()).toEqual(plan.memory.map((m) => m.peakBytes));
  plan.memory.forEach(({ byCategory, layouts }, d) => {
    const rows = reports[d]!.audit!.liveBytes;
    expect(rows.length).toBe(plan.programs.train!.devices[d]!.instructions.length);
    const atPeak = memoryCategories.map((category) => byCategory[category]);
    if (rows.length > 0) expect(rows[layouts.train!.peakAt]).toEqual(atPeak);
  });
}

/** What `optimal` chooses where each device has a tenth less than keeping everything takes, played where there is enough. */
function withinNineTenths(whole: Plan): Plan {
  const { request, partition, placement } = whole;
  const plan = draftPlan({
    ...request,
    partition: { ready: partition },
    placement,
    recompute: 'optimal',
    devices: request.devices.map((device, d) => ({ ...device, memory: Math.floor(0.9 * whole.memory[d]!.peakBytes) })),
  });
  return { ...plan, request };
}

describe('planned bytes are measured bytes, by device and category', () => {
  smallModelKinds.forEach((kind, k) => {
    it.each(schedules.map((schedule, s) => [schedule, s] as const))(`${kind}, %s`, async (schedule, s) => {
      const model = smallModels[kind];
      const over = (turn: number) => ({ schedule, devices: 2, microbatches: microbatchesAt(k + s + turn) });
      await measure(planOf(model, { ...over(1), batch: 5, recompute: 'stage' }));
      await measure(planOf(model, { ...over(2), batch: 5, recompute: 'selective' }));
      // Capacities are pages of 64 KiB: a batch that takes several.
      const whole = planOf(model, { ...over(0), batch: 1280 });
      await measure(whole);
      const plan = withinNineTenths(whole);
      // A single microbatch and the smallest of these models have nothing to gain under some schedules.
      if (whole.request.microbatches > 1 && kind !== 'mlp' && kind !== 'lenet')
        expect(plan.recompute.size).toBeGreaterThan(0);
      await measure(plan);
    });
  });
});
