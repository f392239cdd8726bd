import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as losses from '../../src/losses/index.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { div, mul, neg, relu, sub, tanh } from '../../src/ops/elementwise.ts';
import * as ops from '../../src/ops/functions.ts';
import type { Model } from '../../src/optim/model.ts';
import {
  type CompareOptions,
  compareGradients,
  compareMicrobatches,
  compareTensors,
  type GradientComparison,
} from '../../src/train/compare-gradients.ts';
import { grad } from '../../src/train/derivatives.ts';
import { f32, threeLayers, values } from '../support/models.ts';
import { randomModel } from '../support/random-model.ts';

const i32 = (shape: readonly number[], below: number, seed: number): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    (v) => Math.floor(((v + 1) / 2) * below),
  ),
});

const compared = (options: Omit<CompareOptions, 'transport'>) =>
  compareMicrobatches({ ...options, transport: 'local', audit: false });

const rowsOf = async (model: Model, data: CompareOptions['data'], microbatches: readonly number[]) =>
  (await compared({ model, data, microbatches })).flatMap((c) => c.rows);

const vector = (...data: number[]): HostTensor => ({
  type: { dtype: 'f32', shape: [data.length] },
  data: Float32Array.from(data),
});

describe('two tensors', () => {
  it('differ by bits, ulps and absolutely', () => {
    const next = 1 + 2 ** -23;
    expect(compareTensors(vector(1, 2), vector(1, 2))).toEqual({
      equalBits: true,
      maxUlps: 0,
      maxDifference: 0,
      relative: 0,
    });
    expect(compareTensors(vector(0, 1), vector(-0, next))).toEqual({
      equalBits: false,
      maxUlps: 1,
      maxDifference: 2 ** -23,
      relative: 2 ** -23,
    });
    // Both zeros are one value: two steps from the smallest number to its negative.
    expect(compareTensors(vector(2 ** -149), vector(-(2 ** -149))).maxUlps).toBe(2);
    expect(compareTensors(vector(0), vector(-0))).toMatchObject({ equalBits: false, maxUlps: 0, maxDifference: 0 });
    const missing = compareTensors(vector(1, 1), vector(Number.NaN, 2));
    expect(missing).toMatchObject({ equalBits: false, maxUlps: Number.POSITIVE_INFINITY, maxDifference: Number.NaN });
  });

  it('must have one shape, and each set all names', () => {
    expect(() => compareTensors(vector(1), vector(1, 2), 'w')).toThrow('w: f32[1] and f32[2] cannot be compared');
    expect(() => compareGradients(new Map([['w', vector(1)]]), new Map())).toThrow('lacks w');
  });
});

describe('microbatches against the whole batch', () => {
  const expectInside = (rows: readonly GradientComparison[]) => {
    expect(rows.filter((r) => !r.within || !r.sameTerms)).toEqual([]);
  };
  const B = 13;
  const classes = (kind: object) => modelOf(kind as Parameters<typeof modelOf>[0]);

  it.each([
    ['mlp', { kind: 'mlp', inputs: 40, hidden: [33, 20], classes: 10, activation: 'relu' }, [40]],
    ['lenet', { kind: 'lenet', channels: 1, size: [8, 8], classes: 10 }, [1, 8, 8]],
  ])(
    'the terms of %s are the same bits for every chunk size, and all gradients inside their bounds',
    async (_, config, x) => {
      const rows = await rowsOf(classes(config), { x: f32([B, ...x], 1), y: i32([B], 10, 2) }, [2, 4, 13]);
      expectInside(rows);
      expect(rows.some((r) => !r.equalBits)).toBe(true);
    },
  );

  it('so are those of a transformer with tied weights', async () => {
    const model = classes({
      kind: 'gpt',
      vocab: 11,
      context: 8,
      layers: 2,
      heads: 2,
      width: 16,
      mlpRatio: 4,
      tied: true,
    });
    const rows = await rowsOf(model, { x: i32([B, 8], 11, 1), y: i32([B, 8], 11, 2) }, [3, 13]);
    expectInside(rows);
    expect(rows.find((r) => r.parameter === 'embedding.token.weight')).toMatchObject({ terms: 2 * 8 * B });
    expect(rows.find((r) => r.parameter === 'norm.bias')).toMatchObject({ terms: 8 * B });
  });

  /** A model of one or two inputs [b, …], mean squared error of its output. */
  const modelWith = (
    build: (graph: Graph, x: Tensor, parameter: typeof Graph.prototype.parameter) => Tensor,
    shape: readonly number[],
  ): Model => ({
    name: 'with',
    build: (batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, ...shape] });
      const y = graph.output('y', build(graph, x, graph.parameter.bind(graph)));
      return { graph, objective: [{ loss: losses.mse(y, 't'), weight: 1 }] };
    },
  });
  const init = { kind: 'uniform', low: -1, high: 1 } as const;
  const models: readonly [string, Model, number[], number[]][] = [
    [
      'groups of channels, strides and dilation',
      modelWith(
        (_, x, p) => {
          const y = ops.conv2d(x, p('w', [4, 2, 3, 3], init), p('b', [4], init), { groups: 2, stride: 2, padding: 1 });
          return ops.groupNorm(y, 2, p('gamma', [4], init), p('beta', [4], init));
        },
        [4, 6, 5],
      ),
      [4, 6, 5],
      [4, 3, 3],
    ],
    [
      'a transposed convolution',
      modelWith(
        (_, x, p) => ops.convTranspose2d(x, p('w', [2, 3, 2, 2], init), p('b', [3], init), { stride: 2 }),
        [2, 3, 3],
      ),
      [2, 3, 3],
      [3, 6, 6],
    ],
    [
      'weights that are computed, sliced, joined, divided and negated',
      modelWith(
        (_, x, p) => {
          const [v, g] = [p('v', [5, 4], init), p('g', [4], { kind: 'constant', value: 1.5 })];
          const w = div(mul(v, g), 3);
          const wide = ops.concat([ops.slice(w, { 1: [0, 2] }), neg(ops.slice(w, { 1: [2, 4] }))], { axis: 1 });
          return sub(ops.matmul(x, wide), ops.broadcastTo(ops.reshape(g, [1, 4]), [x.shape[0]!, 4]));
        },
        [5],
      ),
      [5],
      [4],
    ],
    [
      'a recurrent layer',
      modelWith(
        (_, x, p) => {
          const steps = ops.transpose(x, [1, 0, 2]);
          const weights = {
            weightIh: p('weightIh', [12, 2], init),
            weightHh: p('weightHh', [12, 3], init),
            biasIh: p('biasIh', [12], init),
            biasHh: p('biasHh', [12], init),
          };
          const { output: y } = ops.lstm(steps, weights);
          return ops.transpose(y, [1, 0, 2]);
        },
        [5, 2],
      ),
      [5, 2],
      [5, 3],
    ],
    [
      'rows of all positions, one position after another',
      modelWith(
        (_, x, p) => {
          const [b, steps] = x.shape as [number, number, number];
          const rows = ops.reshape(ops.transpose(x, [1, 0, 2]), [steps * b, 2]);
          const hidden = tanh(ops.matmul(rows, p('w', [2, 3], init)));
          const y = ops.matmul(hidden, p('v', [3, 2], init));
          return ops.transpose(ops.reshape(y, [steps, b, 2]), [1, 0, 2]);
        },
        [4, 2],
      ),
      [4, 2],
      [4, 2],
    ],
    [
      'layer normalisation over positions',
      modelWith((_, x, p) => ops.layerNorm(relu(x), p('gamma', [6], init), p('beta', [6], init)), [3, 6]),
      [3, 6],
      [3, 6],
    ],
  ];
  it.each(models)('%s', async (_, model, x, t) => {
    expectInside(await rowsOf(model, { x: f32([7, ...x], 1), t: f32([7, ...t], 2) }, [2, 3, 7]));
  });

  it('random graphs stay inside, and use a good part of their bounds', { timeout: 120_000 }, async () => {
    const used: number[] = [];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const model = randomModel(seed);
        const width = model.build(2).graph.sources('input')[0]!.shape[1]!;
        const batch = { x: f32([9, width], seed), z: f32([9, width], seed + 1), t: f32([9, width], seed + 2) };
        const rows = await rowsOf(model, batch, [2, 4]);
        // A graph may put a parameter behind an op that is not linear; then the reason is told.
        for (const row of rows) expect(row.within ?? row.why).toBeTruthy();
        used.push(...rows.flatMap((r) => (r.boundUsed ? [r.boundUsed] : [])));
      }),
      { numRuns: 25 },
    );
    used.sort((a, b) => a - b);
    // Errors of n terms grow as √n where the bound grows as n: with some ten terms a few percent are used.
    expect(used[Math.floor(used.length / 2)]).toBeGreaterThan(0.005);
    expect(used.at(-1)).toBeLessThan(1);
  });

  it('in invariant mode are the same bits', async () => {
    const data = { x: f32([6, 6], 1), t: f32([6, 3], 2) };
    for (const { rows } of await compared({ model: threeLayers, data, microbatches: [2, 4], invariant: true })) {
      for (const row of rows) expect(row).toMatchObject({ terms: 6, equalBits: true, bound: 0, within: true });
    }
  });

  it('are the gradients of `grad`, whatever the layout', async () => {
    const data = { x: f32([6, 6], 1), t: f32([6, 3], 2) };
    const options = { model: threeLayers, data, l2: { lambda: 0.2, parameters: ['a'] }, transport: 'local' } as const;
    const [one] = await compareMicrobatches({ ...options, microbatches: [4] });
    expectInside(one!.rows);
    const whole = await grad({ ...options, microbatches: 1 });
    const four = await grad({ ...options, microbatches: 4 });
    const expected = compareGradients(whole, four);
    for (const row of one!.rows) expect(row).toMatchObject(expected.get(row.parameter)!);
    const [three] = await compareMicrobatches({ ...options, devices: 3, schedule: 'gpipe', microbatches: [4] });
    expect(three).toEqual(one);
  });

  // The objective is linear in x·w: the gradient's terms x_i·t_i do not depend on what the product is, so that only the sum
  // over samples can be wrong. `wrong` changes x for chunks smaller than the batch.
  const linear = (wrong: (x: Tensor) => Tensor): Model => ({
    name: 'linear',
    build: (batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 5] });
      const t = graph.input('t', { shape: [batch, 4] });
      const w = graph.parameter('w', [5, 4], init);
      // In a scope of its own, so that all other nodes keep their names.
      const y = ops.matmul(batch < 8 ? graph.scope('wrong', () => wrong(x)) : x, w);
      return { graph, objective: [{ loss: losses.mean(mul(y, t)), weight: 1 }] };
    },
  });
  const dropLast = (x: Tensor): Tensor => {
    const mask = Float32Array.from({ length: x.shape[0]! }, (_, i) => (i === x.shape[0]! - 1 ? 0 : 1));
    return mul(x, x.graph.constant({ type: { dtype: 'f32', shape: [mask.length, 1] }, data: mask }));
  };
  it.each([
    ['nothing', (x: Tensor) => x, true],
    ['a sample is dropped', dropLast, false],
    ['the share is 1/M too small', (x: Tensor) => mul(x, 0.5), false],
    ['a factor is 1.0001', (x: Tensor) => mul(x, 1.0001), false],
    ['a factor is 1.00001', (x: Tensor) => mul(x, 1.00001), false],
  ])('a wrong sum is outside: %s', async (_, wrong, within) => {
    const [row] = await rowsOf(linear(wrong), { x: f32([8, 5], 3), t: f32([8, 4], 4) }, [2]);
    expect(row).toMatchObject({ parameter: 'w', sameTerms: true, within });
    if (!within) expect(row!.boundUsed).toBeGreaterThan(2);
  });

  it('no bound is made up where the terms differ, or a rule is missing', async () => {
    const chunked = modelWith(
      (_, x, p) => mul(sub(x, ops.mean(x, { axes: [0], keepDims: true })), p('w', [4], init)),
      [4],
    );
    const data = { x: f32([6, 4], 1), t: f32([6, 4], 2) };
    const [differ] = await rowsOf(chunked, data, [2]);
    expect(differ).toMatchObject({ bound: null, within: null, boundUsed: null, sameTerms: false });
    expect(differ!.why).toContain('the terms themselves differ: ');

    const curved = modelWith((_, x, p) => mul(x, tanh(p('w', [4], init))), [4]);
    const [unknown] = await rowsOf(curved, data, [2]);
    expect(unknown).toMatchObject({ bound: null, within: null, sameTerms: false });
    expect(unknown!.why).toMatch(/no rule for op tanhGrad/);

    const normal = modelWith((_, x, p) => ops.batchNorm(x, p('gamma', [4], init), p('beta', [4], init)).y, [4]);
    const [gamma] = await rowsOf(normal, data, [2]);
    expect(gamma!.why).toContain('takes the statistics of each microbatch');
  });

  it('a parameter that the objective does not depend on has no terms', async () => {
    const model = modelWith(
      (_, x, p) => {
        p('unused', [2], init);
        return mul(x, p('w', [4], init));
      },
      [4],
    );
    const rows = await rowsOf(model, { x: f32([6, 4], 1), t: f32([6, 4], 2) }, [3]);
    expect(rows.find((r) => r.parameter === 'unused')).toMatchObject({
      terms: 0,
      bound: 0,
      within: true,
      equalBits: true,
    });
  });
});
