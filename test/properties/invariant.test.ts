import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { gradientPenalty, hessianVectorProduct, valueAndGrad } from '../../src/train/derivatives.ts';
import { Session } from '../../src/train/session.ts';
import { f32, type PlanOverrides, planOf, threeLayers, toHex } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';

// The invariant mode as a property: any number of microbatches, also uneven ones, on any layout gives the same bits, and
// every device's memory is as planned, to the byte.

async function run(plan: Plan, batch: Record<string, HostTensor>, steps = 2): Promise<string[]> {
  await using session = await Session.open(plan, { seed: 3, audit: true });
  const lines: string[] = [];
  for (let step = 0; step < steps; step++) {
    const { results } = await session.run('train', batch, { step });
    lines.push(...[...results].map(([name, t]) => `${step} ${name} ${toHex(t)}`));
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const left = [...(await session.parameters()), ...(await session.buffers()), ...(await session.optimizerState())];
  return [...lines, ...left.map(([name, t]) => `${name} ${toHex(t)}`)].sort();
}

const plan = (model: Model, batch: number, layout: PlanOverrides): Plan =>
  planOf(model, { batch, invariant: true, optimizer: { kind: 'adam', lr: 0.01 }, ...layout });

describe('the invariant mode', () => {
  it('gives the same bits for every number of microbatches', async () => {
    const batch = { x: f32([7, 6], 1), t: f32([7, 3], 2) };
    const one = await run(plan(threeLayers, 7, { microbatches: 1 }), batch);
    for (const microbatches of [2, 3, 4, 7]) {
      expect(await run(plan(threeLayers, 7, { microbatches }), batch)).toEqual(one);
    }
    const partition = { cuts: ['matmul_1', 'matmul_2'] };
    for (const schedule of ['gpipe', '1f1b'] as const) {
      expect(await run(plan(threeLayers, 7, { microbatches: 3, devices: 3, partition, schedule }), batch)).toEqual(one);
    }
  });

  it('does so for random graphs, cuts and schedules', async () => {
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      stages: fc.integer({ min: 1, max: 4 }),
      microbatches: fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { minLength: 2, maxLength: 2 }),
      schedule: fc.constantFrom('gpipe' as const, '1f1b' as const),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, stages, microbatches, schedule }) => {
        const model = randomModel(seed);
        const wanted = randomStages(model, stages, seed);
        const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
        const assignment = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
        const choices = new Choices(seed + 1);
        const placement = used.map(() => choices.below(2));
        const one = plan(model, 7, { microbatches: microbatches[0]! });
        const width = one.programs.train!.feeds.find((f) => f.name === 'x' || f.name === 't')!.type.shape[1]!;
        const batch = { x: f32([7, width], seed), z: f32([7, width], seed + 1), t: f32([7, width], seed + 2) };
        const layout = { devices: 2, partition: { stages: assignment }, placement, schedule };
        const many = plan(model, 7, { microbatches: microbatches[1]!, ...layout });
        expect(await run(many, batch)).toEqual(await run(one, batch));
      }),
      { numRuns: 12, seed: 7 },
    );
  });

  it('does so for exact batch normalisation, on any layout', async () => {
    const batch = { x: f32([7, 2, 8, 8], 1), y: labels([7], 4) };
    const resnet = modelOf({ kind: 'resnet', channels: 2, size: 8, classes: 4, widths: [4, 8], blocks: 1 });
    const exact = (microbatches: number, devices = 1) =>
      run(plan(resnet, 7, { microbatches, devices, schedule: 'gpipe', batchNorm: 'exact' }), batch);
    const one = await exact(1);
    expect(one.some((line) => line.includes('running_var'))).toBe(true);
    for (const microbatches of [2, 3, 7]) expect(await exact(microbatches, 2)).toEqual(one);
    expect(() => plan(resnet, 7, { microbatches: 1 })).toThrow(/batchNorm .* joins the samples of a microbatch/);
  });

  it('does so for derivatives of derivatives', async () => {
    const data = { x: f32([5, 6], 1), t: f32([5, 3], 2) };
    const { gradients } = await valueAndGrad({ model: threeLayers, data, invariant: true });
    const derivatives = async (microbatches: number) => {
      const options = { model: threeLayers, data, microbatches, devices: 2, invariant: true, audit: true };
      const { hvp } = await hessianVectorProduct({ ...options, direction: gradients });
      const { penalty, gradients: ofPenalty } = await gradientPenalty({ ...options, at: 'x' });
      return [penalty, ...[...hvp, ...ofPenalty].map(([name, t]) => `${name} ${toHex(t)}`)];
    };
    const one = await derivatives(1);
    for (const microbatches of [2, 3]) expect(await derivatives(microbatches)).toEqual(one);
  });

  it('does so for a convolutional network and a transformer', async () => {
    const images = { x: f32([5, 1, 8, 8], 1), y: labels([5], 10) };
    const lenet = modelOf({ kind: 'lenet', size: 8, classes: 10, widths: [4, 6], hidden: [12] });
    const tokens = { x: labels([6, 8], 11), y: labels([6, 8], 11) };
    const gpt = modelOf({ kind: 'gpt', vocab: 11, context: 8, layers: 1, heads: 2, width: 16 });
    for (const [model, batch, samples] of [
      [lenet, images, 5],
      [gpt, tokens, 6],
    ] as const) {
      const one = await run(plan(model, samples, { microbatches: 1 }), batch);
      for (const microbatches of [2, 3]) {
        expect(await run(plan(model, samples, { microbatches, devices: 2 }), batch)).toEqual(one);
      }
    }
  });
});

function labels(shape: readonly number[], classes: number): HostTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return { type: { dtype: 'i32', shape }, data: Int32Array.from({ length: count }, (_, i) => (i * 7 + 3) % classes) };
}
