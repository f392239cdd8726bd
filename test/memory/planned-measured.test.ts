import { describe, expect, it } from 'vitest';
import type { Plan, PlanRequest } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

// Planned is measured, 0 bytes apart, on every device: in audit mode a session holds each category's bytes, counted in
// memory itself, against the plan behind every instruction, and the peak is the highest byte that was ever written.

const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'zb-v', 'interleaved-1f1b', 'dualpipe-v'] as const;
const modes = ['none', 'stage', 'selective', 'optimal'] as const;

async function measure(plan: Plan): Promise<void> {
  await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
  const { reports } = await session.run('train', batchFor(plan, 'train', 3), { step: 0 });
  expect(await session.measuredPeaks()).toEqual(plan.memory.map((m) => m.peakBytes));
  reports.forEach(({ audit }, d) => {
    expect(audit!.liveBytes.length).toBe(plan.programs.train!.devices[d]!.instructions.length);
  });
}

/** Room for everything but a little: `optimal` has to compute something again, if anything can be. */
const tight = (none: Plan, stage: Plan): PlanRequest['devices'] =>
  none.memory.map((m, d) => ({
    backend: 'wasm',
    memory: Math.max(Math.ceil((m.peakBytes + stage.memory[d]!.peakBytes) / 2), stage.memory[d]!.peakBytes),
    speed: 1,
  }));

describe('planned bytes are measured bytes, by device and category', () => {
  for (const kind of smallModelKinds) {
    it.each(schedules)(`${kind}, %s`, async (schedule) => {
      for (const microbatches of [1, 2, 4]) {
        const of = (recompute: (typeof modes)[number], more: Partial<PlanRequest> = {}) => {
          const { devices, ...request } = more;
          return planOf(smallModels[kind], { batch: 5, microbatches, schedule, recompute, devices: 2, ...request });
        };
        const [none, stage, selective] = (['none', 'stage', 'selective'] as const).map((mode) => of(mode));
        for (const plan of [none!, stage!, selective!]) await measure(plan);
      }
    });
  }
});
