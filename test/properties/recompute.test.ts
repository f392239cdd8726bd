import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rootOf } from '../../src/graph/values.ts';
import type { Plan, PlanRequest } from '../../src/plan/plan.ts';
import type { RecomputeChoice } from '../../src/recompute/index.ts';
import { isRecomputable } from '../../src/recompute/stage-forward.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { f32, planOf, toHex } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';
import { randomScheduleFor } from '../support/random-schedule.ts';

// Whatever is computed again, and however often, every bit is that of a step that keeps everything; and every device's memory is as planned.

async function run(plan: Plan, batch: Parameters<Session['run']>[1], seed: number, poison = false) {
  await using session = await Session.open(plan, {
    seed,
    transport: 'local',
    audit: true,
    ...(poison ? { poison: 'complement' as const } : {}),
  });
  const results: string[] = [];
  for (let step = 0; step < 2; step++) {
    const result = await session.run('train', batch, { step });
    results.push(...[...result.results].map(([name, t]) => `${name} ${toHex(t)}`));
    result.reports.forEach((report, d) => {
      const measured = Math.max(0, ...report.audit!.liveBytes.map((row) => row.reduce((a, b) => a + b, 0)));
      if (report.audit!.liveBytes.length > 0) expect(measured).toBe(plan.memory[d]!.layouts.train!.maxLive);
    });
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const state = [...(await session.parameters()), ...(await session.optimizerState())];
  return [...results, ...state.map(([name, t]) => `${name} ${toHex(t)}`).sort()];
}

/** Any values kept, any blocks, and any clones forgotten between them. */
function randomChoice(plan: Plan, seed: number): RecomputeChoice {
  const choices = new Choices(seed);
  const graph = plan.graphs.train!;
  const nodes = graph.nodes.filter(isRecomputable);
  const some = (of: number) => {
    const share = choices.below(4);
    return new Set(nodes.flatMap((n) => n.outputs.flatMap((t) => (choices.below(of) < share ? [rootOf(t).name] : []))));
  };
  const blocks = 1 + choices.below(4);
  return new Map(
    plan.placement.flatMap((_, stage) => {
      if (choices.below(5) === 0) return [];
      let block = 0;
      const blockOf = new Map(
        nodes.map((n) => [n.name, (block = Math.min(blocks - 1, block + +(choices.below(3) === 0)))]),
      );
      return [[stage, { kept: some(5), blockOf, retained: Array.from({ length: blocks }, () => some(4)) }] as const];
    }),
  );
}

const clones = (plan: Plan): number => plan.graphs.train!.nodes.filter((n) => n.recomputes).length;

describe('recompute', () => {
  it('keeps the bits and the planned bytes of random graphs under random choices', { timeout: 300_000 }, async () => {
    let [made, twice] = [0, 0];
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      stages: fc.integer({ min: 1, max: 4 }),
      devices: fc.integer({ min: 1, max: 3 }),
      microbatches: fc.integer({ min: 1, max: 4 }),
      schedule: fc.constantFrom('gpipe' as const, '1f1b' as const, 'random' as const),
      mode: fc.constantFrom('stage' as const, 'selective' as const, 'random' as const, 'random' as const),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, stages: count, devices, microbatches, schedule, mode }) => {
        const model = randomModel(seed);
        const shared = { batch: 7, microbatches, optimizer: { kind: 'adam', lr: 0.01 } as const };
        const wanted = randomStages(model, count, seed);
        const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
        const stages = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
        const choices = new Choices(seed + 1);
        const placement = used.map(() => choices.below(devices));
        const layout = { ...shared, devices, partition: { stages }, placement };
        const named = planOf(model, { ...layout, schedule: schedule === 'random' ? 'gpipe' : schedule });
        const order: Pick<PlanRequest, 'schedule'> =
          schedule === 'random' ? { schedule: randomScheduleFor(named, seed) } : { schedule };
        const recompute = mode === 'random' ? randomChoice(named, seed) : mode;
        const again = planOf(model, { ...layout, ...order, recompute });
        made += clones(again);
        const names = again.graphs.train!.nodes.filter((n) => n.recomputes).map((n) => n.origin!.name);
        twice += names.length - new Set(names).size;
        const width = named.programs.train!.feeds.find((f) => f.name === 'x')!.type.shape[1]!;
        const batch = { x: f32([7, width], seed), z: f32([7, width], seed + 1), t: f32([7, width], seed + 2) };
        const expected = await run(planOf(model, { ...shared, devices: 1, schedule: 'gpipe' }), batch, seed);
        expect(await run(again, batch, seed, seed % 2 === 0)).toEqual(expected);
      }),
      {
        numRuns: 40,
        // A choice that computes a node twice again: not every random lot has one.
        examples: [
          [
            {
              seed: 947641,
              stages: 1,
              devices: 2,
              microbatches: 2,
              schedule: 'gpipe' as const,
              mode: 'random' as const,
            },
          ],
        ],
      },
    );
    expect(made).toBeGreaterThan(50);
    expect(twice).toBeGreaterThan(0);
  });

  // Dropout with its masks, running statistics in each of their modes, tied weights and skips; every rule, schedules whose backward is split too.
  const layouts = [
    { schedule: 'gpipe', microbatches: 3 },
    { schedule: '1f1b', microbatches: 2 },
    { schedule: 'zb-h1', microbatches: 4 },
  ] as const;
  it.each(smallModelKinds)('keeps the bits and the planned bytes of %s', async (kind) => {
    for (const layout of layouts) {
      const shared = { ...layout, batch: 7, optimizer: { kind: 'adam', lr: 0.01 } as const };
      const one = planOf(smallModels[kind], { ...shared, devices: 1 });
      const batch = batchFor(one, 'train', 3);
      const expected = await run(one, batch, 1);
      for (const recompute of ['stage', 'selective'] as const) {
        const plan = planOf(smallModels[kind], { ...shared, devices: 3, recompute });
        expect(await run(plan, batch, 1), `${layout.schedule} ${recompute}`).toEqual(expected);
      }
    }
  });

  it.each([
    ['statistics of the whole batch', 'resnet', { batchNorm: 'exact', schedule: 'gpipe' }],
    ['running statistics of the whole batch', 'resnet', { batchNorm: 'deferred' }],
    ['samples one by one', 'gpt', { invariant: true }],
    ['samples one by one, with dropout', 'mlp', { invariant: true }],
    ['two stages a device', 'gpt', { schedule: 'zb-v' }],
    ['a schedule of its own', 'gpt', { schedule: 'auto' }],
  ] as const)('keeps the bits with %s', async (_, kind, options) => {
    const shared = { ...options, batch: 6, microbatches: 3 };
    const one = planOf(smallModels[kind], { ...shared, schedule: 'gpipe', devices: 1 });
    const batch = batchFor(one, 'train', 3);
    const expected = await run(one, batch, 1);
    for (const recompute of ['stage', 'selective'] as const) {
      const plan = planOf(smallModels[kind], { ...shared, devices: 2, recompute });
      expect(clones(plan)).toBeGreaterThan(0);
      expect(await run(plan, batch, 1)).toEqual(expected);
    }
  });
});
