// Recurrent models through plans and devices: any cut and schedule gives the bits of one device, the memory planned is the
// memory used, with chunks of uneven sizes down to one sample, and second derivatives run the same way.
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { slice } from '../../src/ops/shape.ts';
import { hessianVectorModel } from '../../src/optim/higher-order.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

const samples = 7;
const batch = {
  x: f32([samples, 5, 3], 1),
  t: f32([samples, 5, 2], 2),
  lengths: { type: { dtype: 'i32' as const, shape: [samples] }, data: Int32Array.of(5, 1, 3, 4, 2, 5, 3) },
} satisfies Record<string, HostTensor>;

const model = (name: string, body: (x: Tensor, graph: Graph, batch: number) => Tensor): Model => ({
  name,
  build: (size) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [size, 5, 3] });
    const t = graph.input('t', { shape: [size, 5, 2] });
    const y = graph.output('y', nn.linear(body(x, graph, size), 2, { name: 'head' }));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
});

const options = { batchFirst: true, name: 'body' } as const;
const models: readonly Model[] = [
  model(
    'stacked LSTM, both directions',
    (x) => nn.lstm(x, 5, { ...options, numLayers: 2, bidirectional: true }).output,
  ),
  model('GRU', (x) => nn.gru(x, 6, { ...options, numLayers: 2 }).output),
  model('RNN with relu', (x) => nn.rnn(x, 4, { ...options, nonlinearity: 'relu' }).output),
  model('LSTM of fed lengths', (x, graph, size) => {
    const lengths = graph.input('lengths', { dtype: 'i32', shape: [size] });
    return slice(nn.lstm(x, 3, { ...options, bidirectional: true, lengths }).output, { 2: [1, 5] });
  }),
];

type Overrides = NonNullable<Parameters<typeof planOf>[1]>;

const feedsOf = (plan: Plan): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.values(plan.programs)[0]!.feeds.flatMap(({ name, type }) => {
      if (name.startsWith('v/')) return [[name, f32(type.shape, name.length)]];
      return Object.hasOwn(batch, name) ? [[name, batch[name as keyof typeof batch]]] : [];
    }),
  );

async function train(of: Model, made: Overrides, steps: number, audit = true) {
  const plan = planOf(of, { batch: samples, ...made });
  await using session = await Session.open(plan, { seed: 3, audit, transport: 'local' });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) losses.push((await session.run('train', feedsOf(plan), { step })).loss);
  const parameters = [...(await session.parameters())].map(([name, t]) => [name, toHex(t)] as const);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return { losses, parameters };
}

describe.each(models)('$name', (of) => {
  it('learns', async () => {
    const { losses } = await train(of, { optimizer: { kind: 'adam', lr: 0.05 } }, 20, false);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]!);
  });

  it.each([1, 3, 7])('gives the same bits on one, two and three devices with %i microbatches', async (microbatches) => {
    const one = await train(of, { microbatches }, 1);
    for (const devices of [2, 3]) expect(await train(of, { microbatches, devices }, 1)).toEqual(one);
  });
});

it.each([models[0]!, models[3]!])('$name: a Hessian-vector product runs through the pipeline', async (of) => {
  const product = async (devices: number): Promise<string[]> => {
    const plan = planOf(hessianVectorModel(of), {
      batch: samples,
      microbatches: 3,
      devices,
      programs: { gradients: { batch: samples, mode: 'gradients', outputs: false } },
    });
    await using session = await Session.open(plan, { seed: 3, audit: true, transport: 'local' });
    const { results } = await session.run('gradients', feedsOf(plan));
    expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
    return [...results].map(([name, t]) => `${name} ${toHex(t)}`).sort();
  };
  const one = await product(1);
  expect(one.some((line) => /^hvp\/body\.weight_hh_l0 /.test(line) && !/ 0*$/.test(line))).toBe(true);
  expect(await product(2)).toEqual(one);
});
