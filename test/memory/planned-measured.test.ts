import { describe, expect, it } from 'vitest';
import { PlanError } from '../../src/core/errors.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { memoryCategories } from '../../src/program/instruction.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { type PlanOverrides, planOf } from '../support/models.ts';

// Planned is measured, 0 bytes apart, on every device: the peak is the highest byte that was ever written, and behind every
// instruction the bytes of each category, counted in memory itself, are those of the plan.

const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'zb-v', 'interleaved-1f1b', 'dualpipe-v'] as const;
const modes = ['none', 'stage', 'selective', 'optimal'] as const;
/** In turn, so that each meets each schedule, each mode and each model. */
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

/** `optimal` in nine tenths of what the fullest device would take, or, where that is too little, in all of it. */
function optimal(kind: (typeof smallModelKinds)[number], options: PlanOverrides): Plan {
  const everything = Math.max(...planOf(smallModels[kind], options).memory.map((m) => m.peakBytes));
  const within = (memory: number): Plan => planOf(smallModels[kind], { ...options, recompute: 'optimal', memory });
  try {
    return within(Math.ceil(0.9 * everything));
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return within(everything);
  }
}

describe('planned bytes are measured bytes, by device and category', () => {
  smallModelKinds.forEach((kind, k) => {
    it.each(schedules.map((schedule, s) => [schedule, s] as const))(`${kind}, %s`, async (schedule, s) => {
      for (const [r, recompute] of modes.entries()) {
        const options = { batch: 5, microbatches: microbatchesAt(k + s + r), schedule, devices: 2 } as const;
        const plan =
          recompute === 'optimal' ? optimal(kind, options) : planOf(smallModels[kind], { ...options, recompute });
        await measure(plan);
      }
    });
  });
});
