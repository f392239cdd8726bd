// Group and batch normalisation against the f64 references, over sizes that cross every block, run and column boundary.
import { describe, expect, it } from 'vitest';
import type { TensorType } from '../../src/core/types.ts';
import type { Attrs, RefTensor } from '../../src/graph/op-record.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';
import { expectClose, f32, normal, run } from './harness.ts';

const eps = 1e-3;

interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The kernel's outputs beside the reference's. */
function both(op: OpName, sizes: number[], inputs: readonly Values[], attrs: Attrs) {
  const record = recordOf(op);
  const types = inputs.map(({ shape }): TensorType => ({ dtype: 'f32', shape }));
  const given = inputs.map(({ data }, i): RefTensor => ({ type: types[i]!, data: Float64Array.from(data) }));
  const outputs = record.infer(types, attrs);
  const count = (t: TensorType) => t.shape.reduce((n, d) => n * d, 1);
  const results = run(
    op,
    ...sizes,
    ...inputs.map(({ data }) => ({ in: data })),
    ...outputs.map((t) => f32(count(t))),
    ...(typeof attrs.eps === 'number' ? [attrs.eps] : []),
  );
  return { results, expected: record.reference(given, attrs, outputs) };
}

function agree({ results, expected }: ReturnType<typeof both>, atol: number) {
  results.forEach((r, i) => {
    expectClose(r, expected[i]!, 2e-5, atol);
  });
}

const draw = (shape: number[], seed: number, shift = 0): Values => ({
  shape,
  data: normal(
    shape.reduce((n, d) => n * d, 1),
    seed,
  ).map((v) => v + shift),
});
/** About 1, away from 0. */
const positive = (shape: number[], seed: number): Values => {
  const { data } = draw(shape, seed);
  return { shape, data: data.map((v) => 0.5 + v * v) };
};

describe('groupNorm', () => {
  it.each([
    [1, 1, 1, 2],
    [2, 3, 5, 1],
    [3, 2, 300, 1],
    [2, 2, 3, 17],
    [1, 4, 2, 263],
    [2, 1, 2, 4099],
    [1, 3, 1, 9001],
  ])('%i samples, %i groups of %i channels, %i places', (n, groups, size, spatial) => {
    const sizes = [n, groups, size, spatial];
    const x = draw([n, groups * size, spatial], 1, 2);
    const gamma = draw([groups * size], 2);
    const dy = draw([n, groups * size, spatial], 4);
    const [mean, rstd] = [draw([n, groups], 5), positive([n, groups], 6)];
    agree(both('groupNorm', sizes, [x, gamma, draw([groups * size], 3)], { groups, eps }), 2e-5);
    agree(both('groupNormInputGrad', sizes, [x, gamma, mean, rstd, dy], { groups }), 1e-4);
    agree(both('groupNormWeightGrad', sizes, [x, mean, rstd, dy], { groups }), 2e-3);
  });
});

describe('batchNorm', () => {
  it.each([
    [1, 1, 1],
    [1, 5, 1],
    [7, 3, 1],
    [300, 9, 1],
    [2, 3, 2],
    [3, 5, 17],
    [70, 2, 4],
    [3, 3, 16],
    [2, 2, 48],
    [3, 2, 64],
    [2, 2, 263],
    [2, 1, 9001],
  ])('%i samples, %i channels, %i places', (n, channels, spatial) => {
    const sizes = [n, channels, spatial];
    const x = draw([n, channels, spatial], 1, 2);
    const dy = draw([n, channels, spatial], 4);
    const [gamma, beta, mean] = [draw([channels], 2), draw([channels], 3), draw([channels], 5)];
    const variance = positive([channels], 6);
    agree(both('batchNorm', sizes, [x, gamma, beta], { eps }), 2e-5);
    agree(both('batchNormInference', sizes, [x, gamma, beta, mean, variance], { eps }), 2e-5);
    agree(both('batchNormInputGrad', sizes, [x, gamma, mean, variance, dy], { eps }), 1e-4);
    agree(both('batchNormWeightGrad', sizes, [x, mean, variance, dy], { eps }), 2e-3);
  });

  it.each([
    [1, 5, 1],
    [7, 3, 1],
    [30, 9, 1],
    [3, 5, 17],
    [2, 2, 263],
  ])('by moments, gradient by x: %i samples, %i channels, %i places', (n, channels, spatial) => {
    const shape = [n, channels, spatial];
    const all = n * channels * spatial;
    const [x, dy] = [normal(all, 1), normal(all, 4)];
    const [gamma, mean, sumDyH, sumDy] = [2, 5, 7, 8].map((seed) => normal(channels, seed));
    const variance = positive([channels], 6).data;
    const count = new Float32Array(channels).fill(2.5 * n * spatial); // of more microbatches than this
    const [dx] = run(
      'batchNormWithMomentsInputGrad',
      ...[n, channels, spatial],
      ...[x, gamma!, count, mean!, variance, dy, sumDyH!, sumDy!].map((data) => ({ in: data })),
      ...[f32(all), eps],
    );
    const column: TensorType = { dtype: 'f32', shape: [channels] };
    const tensor = (type: TensorType, data: Float32Array): RefTensor => ({ type, data: Float64Array.from(data) });
    const moments = Float32Array.of(...count, ...mean!, ...variance);
    const [expected] = recordOf('batchNormWithMomentsInputGrad').reference(
      [
        tensor({ dtype: 'f32', shape }, x),
        tensor(column, gamma!),
        tensor({ dtype: 'f32', shape: [3, channels] }, moments),
        tensor({ dtype: 'f32', shape }, dy),
        tensor(column, sumDyH!),
        tensor(column, sumDy!),
      ],
      { eps },
      [{ dtype: 'f32', shape }],
    );
    expectClose(dx!, expected!, 2e-5, 2e-5);
  });

  it.each([
    [5, 6, 1],
    [3, 5, 7],
    [2, 2, 263],
  ])('channelMoments has the bits that batchNorm normalises by: %i×%i×%i', (n, channels, spatial) => {
    const all = n * channels * spatial;
    const x = { in: normal(all, 1) };
    const [gamma, beta] = [{ in: normal(channels, 2) }, { in: normal(channels, 3) }];
    const sizes = [n, channels, spatial];
    const [, mean, variance] = run('batchNorm', ...sizes, x, gamma, beta, f32(all), f32(channels), f32(channels), eps);
    const moments = run('channelMoments', ...sizes, x, f32(channels), f32(channels));
    expect(moments.map((t) => [...t])).toEqual([[...mean!], [...variance!]]);
  });

  it.each([
    [5, 6, 1],
    [3, 5, 7],
  ])('gives the bits of batchNormInference with its own statistics: %i×%i×%i', (n, channels, spatial) => {
    const sizes = [n, channels, spatial];
    const x = { in: normal(n * channels * spatial, 1) };
    const [gamma, beta] = [{ in: normal(channels, 2) }, { in: normal(channels, 3) }];
    const all = n * channels * spatial;
    const [y, mean, variance] = run(
      'batchNorm',
      ...sizes,
      x,
      gamma,
      beta,
      f32(all),
      f32(channels),
      f32(channels),
      eps,
    ) as Float32Array[];
    const statistics = [{ in: mean! }, { in: variance! }];
    const [again] = run('batchNormInference', ...sizes, x, gamma, beta, ...statistics, f32(all), eps);
    expect([...again!]).toEqual([...y!]);
  });

  it('two passes: a mean a million times the deviation costs no more than its rounding', () => {
    const [n, spatial] = [4, 100];
    // Exact in f32: 2²⁰ + k/8.
    const x = Float32Array.from({ length: n * spatial }, (_, i) => 2 ** 20 + ((i * 37) % 16) / 8);
    const [, mean, variance] = run('batchNorm', n, 1, spatial, { in: x }, one, zero, f32(x.length), f32(1), f32(1), 0);
    const exact = x.reduce((s, v) => s + (v - 2 ** 20), 0) / x.length;
    const spread = x.reduce((s, v) => s + (v - 2 ** 20 - exact) ** 2, 0) / x.length;
    expect(Math.abs(mean![0]! - 2 ** 20 - exact)).toBeLessThan(0.0626);
    expect(Math.abs(variance![0]! - spread)).toBeLessThan(0.004); // the square of the mean's rounding
  });
});

const one = { in: Float32Array.of(1) };
const zero = { in: Float32Array.of(0) };
