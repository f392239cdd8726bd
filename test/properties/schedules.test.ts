import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Plan } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { type PlanOverrides, planOf, toHex } from '../support/models.ts';
import { Choices } from '../support/random-model.ts';
import { randomScheduleFor } from '../support/random-schedule.ts';

// Every schedule gives the bits of one device, and memory as planned.

/** Results of two steps and what they leave, with every access audited and the peaks held against the plan. */
async function bitsOf(plan: Plan, seed: number, audit: boolean): Promise<string[]> {
  await using session = await Session.open(plan, { seed, transport: 'local', audit });
  const lines: string[] = [];
  for (let step = 0; step < 2; step++) {
    const { results } = await session.run('train', batchFor(plan, 'train', seed + step), { step });
    lines.push(...[...results].map(([name, t]) => `${step} ${name} ${toHex(t)}`));
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const left = [...(await session.parameters()), ...(await session.buffers()), ...(await session.optimizerState())];
  return [...lines, ...left.map(([name, t]) => `${name} ${toHex(t)}`)].sort();
}

/** Everything that puts work behind, or between, the gradients of the microbatches. */
const extras: Readonly<Record<string, (parameter: string) => PlanOverrides>> = {
  plain: () => ({}),
  l2: (parameter) => ({ l2: { lambda: 0.1, parameters: [parameter] } }),
  clip: () => ({ clip: { globalNorm: 0.05 } }),
  noise: () => ({
    programs: { train: { batch: 7, mode: 'train', outputs: true, gradientNorm: true, gradientNoise: true } },
  }),
  invariant: () => ({ invariant: true, batchNorm: 'exact' }),
  deferred: () => ({ batchNorm: 'deferred' }),
};

describe('backwards split at random', () => {
  it('of the built-in models, on random stages and devices', { timeout: 300_000 }, async () => {
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      kind: fc.constantFrom(...smallModelKinds),
      extra: fc.constantFrom(...Object.keys(extras)),
      stages: fc.integer({ min: 1, max: 5 }),
      devices: fc.integer({ min: 1, max: 3 }),
      microbatches: fc.integer({ min: 2, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, kind, extra, stages, devices, microbatches }) => {
        // Statistics of the whole batch let no schedule but gpipe through.
        fc.pre(!(kind === 'resnet' && extra === 'invariant'));
        const model = smallModels[kind];
        const shared = {
          batch: 7,
          microbatches,
          optimizer: { kind: 'adam', lr: 0.01 },
          ...extras[extra]!(model.build(1).graph.parameters[0]!.name),
        } as const;
        const choices = new Choices(seed);
        const layout = { ...shared, devices, placement: Array.from({ length: stages }, () => choices.below(devices)) };
        const schedule = randomScheduleFor(planOf(model, layout), seed);
        const expected = await bitsOf(planOf(model, { ...shared, schedule: 'gpipe' }), seed, false);
        expect(await bitsOf(planOf(model, { ...layout, schedule }), seed, true)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });
});
