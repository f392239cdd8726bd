import { expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { crossEntropy } from '../../src/losses/index.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { initialValue } from '../../src/train/fill.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, threeLayers } from '../support/models.ts';

it('first values belong to seed and name: no two parameters and no two seeds share them', () => {
  const draw = (seed: number, name: string) => [
    ...initialValue({ dtype: 'f32', shape: [8] }, { kind: 'uniform', low: -1, high: 1 }, seed, name).data,
  ];
  const base = draw(1, 'layer_1.weight');
  expect(draw(1, 'layer_1.weight')).toEqual(base);
  for (const [seed, name] of [
    [1, 'layer_2.weight'],
    [1, 'weight.layer_1'],
    [2, 'layer_1.weight'],
  ] as const) {
    const other = draw(seed, name);
    expect(other.filter((v, i) => v === base[i])).toEqual([]);
  }
});

it('ignored targets count nothing in the mean over the whole batch, whatever the microbatches', async () => {
  const model = {
    name: 'uniform',
    build: (batch: number) => {
      const graph = new Graph();
      const logits = matmul(graph.input('x', { shape: [batch, 2] }), graph.parameter('w', [2, 4], { kind: 'zeros' }));
      return { graph, objective: [{ loss: crossEntropy(logits, 'y', { ignoreIndex: -1 }), weight: 1 }] };
    },
  };
  const y = { type: { dtype: 'i32', shape: [7] } as const, data: Int32Array.of(0, -1, -1, 3, -1, 1, -1) };
  for (const microbatches of [1, 3]) {
    await using session = await Session.open(planOf(model, { batch: 7, microbatches }), { transport: 'local' });
    const { loss } = await session.run('train', { x: f32([7, 2], 1), y });
    expect(loss).toBeCloseTo(Math.log(4), 6);
  }
});

it('the gradient norm is the root of the squares of all parameters', async () => {
  const programs = {
    train: { batch: 8, mode: 'train', gradientNorm: true },
    gradients: { batch: 8, mode: 'gradients' },
  } as const;
  await using session = await Session.open(planOf(threeLayers, { programs, microbatches: 2 }), { transport: 'local' });
  const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };
  const { results } = await session.run('gradients', batch);
  const { gradNorm } = await session.run('train', batch);
  const gradients = [...results].filter(([name]) => name.startsWith('grad/')).flatMap(([, t]) => [...t.data]);
  expect(gradients.length).toBe(60 + 70 + 7 + 21);
  expect(gradNorm).toBeCloseTo(Math.hypot(...gradients), 6);
});
