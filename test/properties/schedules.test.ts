import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forwardNodes } from '../../src/partition/index.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { defaultStagesPerDevice } from '../../src/plan/stages.ts';
import { scheduleNames } from '../../src/schedule/index.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { type PlanOverrides, planOf, toHex } from '../support/models.ts';
import { Choices, randomModel } from '../support/random-model.ts';
import { randomScheduleFor } from '../support/random-schedule.ts';

// Every schedule gives the bits of one device, and memory as planned.

/** Results of two steps and what they leave, with every access audited and the peaks held against the plan. */
async function bitsOf(plan: Plan, seed: number, audit: boolean): Promise<string[]> {
  await using session = await Session.open(plan, { seed, transport: 'local', audit });
  const lines: string[] = [];
  const programs = Object.keys(plan.programs);
  for (let step = 0; step < 2; step++) {
    const program = programs[step % programs.length]!;
    const { results } = await session.run(program, batchFor(plan, program, seed + step), { step });
    lines.push(...[...results].map(([name, t]) => `${step} ${name} ${toHex(t)}`));
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const left = [...(await session.parameters()), ...(await session.buffers()), ...(await session.optimizerState())];
  return [...lines, ...left.map(([name, t]) => `${name} ${toHex(t)}`)].sort();
}

const optimizer = { kind: 'adam', lr: 0.01 } as const;

describe('schedules by name', () => {
  it.each(['mlp', 'unet', 'gpt'] as const)('give %s the bits of one device', { timeout: 120_000 }, async (kind) => {
    const model = smallModels[kind];
    for (const microbatches of [1, 3, 8]) {
      const shared = { batch: 9, microbatches, optimizer };
      const expected = await bitsOf(planOf(model, { ...shared, schedule: 'gpipe' }), microbatches, false);
      for (const schedule of [...scheduleNames, 'auto'] as const) {
        for (const devices of [1, 2, 3]) {
          const plan = planOf(model, { ...shared, devices, schedule });
          expect(plan.partition.stages, schedule).toBe(devices * defaultStagesPerDevice(schedule));
          expect(plan.surplus).toEqual([]);
          expect(await bitsOf(plan, microbatches, false), `${schedule}, ${devices} devices`).toEqual(expected);
        }
      }
    }
  });

  it('on any placement of any cut, with a smaller last batch', { timeout: 120_000 }, async () => {
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      schedule: fc.constantFrom(...scheduleNames, 'auto' as const),
      stages: fc.integer({ min: 1, max: 6 }),
      devices: fc.integer({ min: 1, max: 4 }),
      microbatches: fc.integer({ min: 2, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, schedule, stages, devices, microbatches }) => {
        const model = randomModel(seed);
        const choices = new Choices(seed + 1);
        const placement = Array.from({ length: stages }, () => choices.below(devices));
        const programs = {
          train: { batch: 6, mode: 'train', outputs: true },
          tail: { batch: 1 + choices.below(3), mode: 'train', outputs: true },
        } as const;
        const one = planOf(model, { programs, microbatches, optimizer, schedule: 'gpipe' });
        fc.pre(forwardNodes(one.graphs.train!).length >= 2 * stages);
        const many = planOf(model, { programs, microbatches, optimizer, schedule, devices, placement });
        expect(many.schedules.tail!.name).toBe(schedule);
        expect(await bitsOf(many, seed, true)).toEqual(await bitsOf(one, seed, false));
      }),
      { numRuns: 40 },
    );
  });
});

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
          optimizer,
          ...extras[extra]!(model.build(1).graph.parameters[0]!.name),
        } as const;
        const choices = new Choices(seed);
        const layout = { ...shared, devices, placement: Array.from({ length: stages }, () => choices.below(devices)) };
        const schedule = randomScheduleFor(planOf(model, layout), seed);
        const expected = await bitsOf(planOf(model, { ...shared, schedule: 'gpipe' }), seed, false);
        expect(await bitsOf(planOf(model, { ...layout, schedule }), seed, true)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });
});

describe('any assignment of nodes to devices', () => {
  it('trains with the bits of one device', { timeout: 300_000 }, async () => {
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      kind: fc.constantFrom('random', ...smallModelKinds),
      devices: fc.integer({ min: 1, max: 4 }),
      microbatches: fc.integer({ min: 1, max: 3 }),
      schedule: fc.constantFrom('1f1b', 'gpipe', 'zb-h1', 'auto', 'random'),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, kind, devices, microbatches, schedule }) => {
        const model = kind === 'random' ? randomModel(seed) : smallModels[kind];
        const shared = { batch: 5, microbatches, optimizer };
        const one = planOf(model, { ...shared, schedule: 'gpipe' });
        const choices = new Choices(seed + 1);
        // Some nodes are not named: they lie where the one before them does.
        const named = forwardNodes(one.graphs.train!).filter((_, i) => i === 0 || choices.below(3) > 0);
        // As patterns names match what lies below them too, so that the longer ones go first.
        const of = Object.fromEntries(
          named.map((n) => [n.name, choices.below(devices)] as const).sort(([a], [b]) => b.length - a.length),
        );
        const layout = { ...shared, devices, partition: { devices: of } };
        const plan = planOf(model, { ...layout, schedule: schedule === 'random' ? '1f1b' : schedule });
        const many =
          schedule === 'random' ? planOf(model, { ...layout, schedule: randomScheduleFor(plan, seed) }) : plan;
        for (const { name } of named) expect(many.placement[many.partition.assignment[name]!]).toBe(of[name]);
        expect(await bitsOf(many, seed, true)).toEqual(await bitsOf(one, seed, false));
      }),
      { numRuns: 40 },
    );
  });
});
