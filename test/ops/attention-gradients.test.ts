import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import type { Shape } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import {
  scaledDotProductAttentionGradOp,
  scaledDotProductAttentionOp,
  scaledDotProductAttentionWithLogSumExp,
} from '../../src/ops/attention.ts';
import type { AttentionLayout } from '../../src/ops/attention-sizes.ts';
import { mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';

const valuesOf = (shape: Shape, seed: number): RefTensor => ({
  type: { dtype: 'f32', shape },
  data: Float64Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(1.7 * i + seed)),
});

/** [N, A, B, D] → [N, B, A, D] */
const exchanged = ({ type, data }: RefTensor): RefTensor => {
  const [n, a, b, d] = type.shape as [number, number, number, number];
  const out = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const [s, x, y, c] = [Math.floor(i / (a * b * d)), Math.floor(i / (b * d)) % a, Math.floor(i / d) % b, i % d];
    out[((s * b + y) * a + x) * d + c] = data[i]!;
  }
  return { type: { ...type, shape: [n, b, a, d] }, data: out };
};

describe('gradients of attention', () => {
  it('by its log-sum-exp alone are the same in both layouts', () => {
    // [N, H, T, D], with other keys than queries.
    const values = [valuesOf([2, 3, 4, 5], 1), valuesOf([2, 3, 6, 5], 2), valuesOf([2, 3, 6, 2], 3)];
    const weights = valuesOf([2, 3, 4], 4);
    const gradientsIn = (layout: AttentionLayout): RefTensor[] => {
      const graph = new Graph();
      const input = (name: string, value: RefTensor): [Tensor, RefTensor] => [
        graph.input(name, { shape: value.type.shape, batchAxis: null }),
        value,
      ];
      const move = (t: RefTensor): RefTensor => (layout === 'NTHD' ? exchanged(t) : t);
      const given = [...values.map((v, i) => input('qkv'[i]!, move(v))), input('c', weights)];
      const [q, k, v, c] = given.map(([t]) => t) as [Tensor, Tensor, Tensor, Tensor];
      const { logSumExp } = scaledDotProductAttentionWithLogSumExp(q, k, v, { causal: true, layout });
      const objective = sum(mul(logSumExp, c));
      const [dq, dk, dv] = gradients([{ tensor: objective, cotangent: graph.scalar(1) }], [q, k, v]);
      expect(dv).toBeUndefined();
      return evaluate([dq!, dk!], new Map(given)).map(move);
    };
    const [front, beside] = [gradientsIn('NHTD'), gradientsIn('NTHD')];
    for (const [i, { type, data }] of front.entries()) {
      expect(beside[i]!.type).toEqual(type);
      expect(Math.max(...data.map(Math.abs))).toBeGreaterThan(0.1);
      for (const [j, value] of data.entries()) expect(beside[i]!.data[j]).toBeCloseTo(value, 12);
    }
  });

  it('are refused for a cotangent of another shape', () => {
    const types = [[3, 4], [5, 4], [5, 2], [3, 2], [3], [3, 4]].map((shape) => ({ dtype: 'f32' as const, shape }));
    const attrs = { causal: false, scale: 1, layout: 'NHTD' } as const;
    expect(() => scaledDotProductAttentionGradOp.infer(types, attrs)).toThrow('dy must have the shape [3, 2]');
  });

  it.each([
    [5, 3],
    [3, 5],
    [4, 4],
  ])('cost what the pairs of a query and a key that it sees do: %i queries, %i keys', (queries, keys) => {
    const [heads, size, valueSize] = [2, 3, 7];
    let seen = 0;
    for (let i = 0; i < queries; i++) seen += Math.min(i + 1, keys);
    const type = (...shape: number[]) => ({ dtype: 'f32' as const, shape });
    const inputs = [type(heads, queries, size), type(heads, keys, size), type(heads, keys, valueSize)];
    const attrs = { causal: true, scale: 1, layout: 'NHTD' } as const;
    const outputs = scaledDotProductAttentionOp.infer(inputs, attrs);
    // Two products forward; the scores again, and two each for two gradients. Besides the softmax, 25 a weight.
    const forward = scaledDotProductAttentionOp.cost(inputs, outputs, attrs).flops;
    expect(forward).toBe(heads * seen * (2 * size + 2 * valueSize + 25));
    const all = [...inputs, ...outputs, outputs[0]!];
    const backward = scaledDotProductAttentionGradOp.cost(all, inputs, attrs).flops;
    expect(backward).toBe(heads * seen * (3 * 2 * size + 2 * 2 * valueSize + 25));
  });
});
