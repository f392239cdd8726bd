import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/plan/plan.ts';
import { memoryCategories } from '../../src/program/instruction.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

// Planned is measured, 0 bytes apart, on every device: the peak is the highest byte that was ever written, and behind each
// instruction the bytes of each category, counted in memory itself, are those of the plan.

const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'zb-v', 'interleaved-1f1b', 'dualpipe-v'] as const;
const modes = ['none', 'stage', 'selective'] as const;
/** In turn, so that each meets each schedule, rule and model; `optimal` is held to its plans by the tests of plans. */
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

describe('planned bytes are measured bytes, by device and category', () => {
  smallModelKinds.forEach((kind, k) => {
    it.each(schedules.map((schedule, s) => [schedule, s] as const))(`${kind}, %s`, async (schedule, s) => {
      for (const [r, recompute] of modes.entries()) {
        const microbatches = microbatchesAt(k + s + r);
        await measure(planOf(smallModels[kind], { batch: 5, microbatches, schedule, devices: 2, recompute }));
      }
    });
  });
});
