// A transformer with encoder, decoder, masks, dropout and a sample that is all padding, through plans and devices: any cut
// gives the bits of one device, the memory planned is the memory used, and second derivatives run the same way.
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { hessianVectorModel } from '../../src/optim/higher-order.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

const [samples, source, target, width] = [7, 5, 4, 6];

/** The memory of the last sample is padding as a whole. */
const padding = Uint8Array.from({ length: samples * source }, (_, i) => {
  const sample = Math.floor(i / source);
  return sample === samples - 1 || i % source >= source - (sample % 3) ? 1 : 0;
});
const batch = {
  src: f32([samples, source, width], 1),
  tgt: f32([samples, target, width], 2),
  t: f32([samples, target, width], 3),
  padding: { type: { dtype: 'bool' as const, shape: [samples, source] }, data: padding },
} satisfies Record<string, HostTensor>;

const transformer = (dropout: number): Model => ({
  name: 'transformer',
  build: (size, mode) => {
    const graph = new Graph({ mode });
    const src = graph.input('src', { shape: [size, source, width] });
    const tgt = graph.input('tgt', { shape: [size, target, width] });
    const t = graph.input('t', { shape: [size, target, width] });
    const mask = graph.input('padding', { dtype: 'bool', shape: [size, source] });
    const shared = { heads: 2, dimFeedforward: 8, dropout };
    const memory = nn.transformerEncoder(src, {
      ...shared,
      numLayers: 1,
      normFirst: true,
      norm: true,
      srcKeyPaddingMask: mask,
      name: 'encoder',
    });
    const y = nn.transformerDecoder(tgt, memory, {
      ...shared,
      numLayers: 1,
      causal: true,
      memoryKeyPaddingMask: mask,
      name: 'decoder',
    });
    graph.output('y', y);
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
});

const feedsOf = (plan: Plan): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.values(plan.programs)[0]!.feeds.flatMap(({ name, type }) => {
      if (name.startsWith('v/')) return [[name, f32(type.shape, name.length)]];
      return Object.hasOwn(batch, name) ? [[name, batch[name as keyof typeof batch]]] : [];
    }),
  );

type Overrides = NonNullable<Parameters<typeof planOf>[1]>;

async function train(dropout: number, made: Overrides, steps: number, audit = true) {
  const plan = planOf(transformer(dropout), { batch: samples, ...made });
  await using session = await Session.open(plan, { seed: 3, audit, transport: 'local' });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) losses.push((await session.run('train', feedsOf(plan), { step })).loss);
  const parameters = [...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return { losses, parameters };
}

describe('a transformer on devices', () => {
  it('learns', async () => {
    const { losses } = await train(0, { optimizer: { kind: 'adam', lr: 0.01 } }, 20, false);
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]!);
  });

  it('gives the same bits on one and three devices, with uneven microbatches', async () => {
    const one = await train(0.2, { microbatches: 3 }, 1);
    expect(await train(0.2, { microbatches: 3, devices: 3 }, 1)).toEqual(one);
  });

  it('has a Hessian-vector product that runs through the pipeline', async () => {
    const product = async (devices: number): Promise<string[]> => {
      const plan = planOf(hessianVectorModel(transformer(0)), {
        batch: samples,
        microbatches: 1,
        devices,
        programs: { gradients: { batch: samples, mode: 'gradients', outputs: false } },
      });
      await using session = await Session.open(plan, { seed: 3, transport: 'local' });
      const { results } = await session.run('gradients', feedsOf(plan));
      expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
      for (const { data } of results.values()) expect(data.every(Number.isFinite)).toBe(true);
      return [...results].map(([name, t]) => `${name} ${toHex(t)}`).sort();
    };
    expect(await product(2)).toEqual(await product(1));
  });
});
