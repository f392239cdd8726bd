// The normalisations as users call them: options, defaults, and how they are special cases of one another.
import { describe, expect, it } from 'vitest';
import { uniform } from '../../src/core/random.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { batchNorm, batchNormInference } from '../../src/ops/batch-norm.ts';
import { groupNorm, groupNormWithStatistics, instanceNorm } from '../../src/ops/group-norm.ts';
import { layerNorm, layerNormWithStatistics } from '../../src/ops/norm.ts';
import { reshape, transpose } from '../../src/ops/shape.ts';

const graph = new Graph();
const feeds = new Map<Tensor, RefTensor>();
function input(name: string, ...shape: number[]): Tensor {
  const t = graph.input(name, { shape, batchAxis: null });
  feeds.set(t, { type: t.type, data: uniform({ seed: 1, stream: name }, elementCount(shape)) });
  return t;
}
const valuesOf = (...tensors: Tensor[]): number[][] => evaluate(tensors, feeds).map((v) => [...v.data]);

function expectEqual(a: Tensor, b: Tensor): void {
  expect(a.shape).toEqual(b.shape);
  const [va, vb] = valuesOf(a, b);
  va!.forEach((v, i) => {
    expect(v).toBeCloseTo(vb![i]!, 12);
  });
}

const x = input('x', 2, 4, 3, 5);
const [gamma, beta] = [input('gamma', 4), input('beta', 4)];

describe('normalisations', () => {
  it('groupNorm of one group is layerNorm of all but the batch, of as many as channels instanceNorm', () => {
    expectEqual(groupNorm(x, 1), layerNorm(x, undefined, undefined, { axes: 3 }));
    expectEqual(groupNorm(x, 4, gamma, beta), instanceNorm(x, gamma, beta));
  });

  it('instanceNorm is batchNorm of a batch that holds every channel of every sample as a channel', () => {
    const { y } = batchNorm(reshape(x, [1, 8, 3, 5]));
    expectEqual(instanceNorm(x), reshape(y, x.shape));
  });

  it('batchNorm is layerNorm over batch and places', () => {
    const rows = layerNormWithStatistics(reshape(transpose(x, [1, 0, 2, 3]), [4, 30]), undefined, undefined, {
      eps: 0.1,
    });
    const { y, mean, variance } = batchNorm(x, undefined, undefined, { eps: 0.1 });
    expectEqual(y, transpose(reshape(rows.y, [4, 2, 3, 5]), [1, 0, 2, 3]));
    expectEqual(mean, reshape(rows.mean, [4]));
    const [v, rstd] = valuesOf(variance, rows.rstd);
    v!.forEach((value, i) => {
      expect(1 / Math.sqrt(value + 0.1)).toBeCloseTo(rstd![i]!, 12);
    });
    expectEqual(
      batchNormInference(x, mean, variance, gamma, beta, { eps: 0.1 }),
      batchNorm(x, gamma, beta, { eps: 0.1 }).y,
    );
  });

  it('layerNorm over the axes that its weights span', () => {
    const [g, b] = [input('g', 3, 5), input('b', 3, 5)];
    const joined = layerNorm(reshape(x, [8, 15]), reshape(g, [15]), reshape(b, [15]));
    expectEqual(layerNorm(x, g, b), reshape(joined, x.shape));
    const { mean, rstd } = layerNormWithStatistics(x, g, b);
    expect([mean.shape, rstd.shape]).toEqual([
      [2, 4, 1, 1],
      [2, 4, 1, 1],
    ]);
  });

  it('weights left out are 1 and 0', () => {
    const ones = graph.constant({ type: { dtype: 'f32', shape: [4] }, data: new Float32Array(4).fill(1) });
    const zeros = graph.constant({ type: { dtype: 'f32', shape: [4] }, data: new Float32Array(4) });
    expectEqual(groupNorm(x, 2, gamma), groupNorm(x, 2, gamma, zeros));
    expectEqual(groupNorm(x, 2, undefined, beta), groupNorm(x, 2, ones, beta));
    expectEqual(batchNorm(x, gamma).y, batchNorm(x, gamma, zeros).y);
  });

  it('statistics of groupNorm', () => {
    const { mean, rstd } = groupNormWithStatistics(x, 2);
    expect([mean.shape, rstd.shape]).toEqual([
      [2, 2],
      [2, 2],
    ]);
  });

  it('name what does not fit', () => {
    expect(() => groupNorm(x, 3)).toThrow('4 channels are not divisible by 3 groups');
    expect(() => batchNorm(x, input('short', 3))).toThrow('gamma must have the shape [4], got [3]');
    expect(() => layerNorm(x, input('wide', 5, 3))).toThrow('gamma must have the shape [3, 5], got [5, 3]');
    expect(() => layerNorm(x, input('four', 4))).toThrow('gamma must have the shape [5], got [4]');
    expect(() => instanceNorm(input('vector', 4))).toThrow('two axes or more');
  });
});
