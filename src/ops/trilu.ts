/** Triangles of matrices. */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/** `k`: the diagonal where the triangle begins, 0 the main one, positive above it. */
export type TriluAttrs = { readonly upper: boolean; readonly k: number };

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const triluOp: OpRecord<TriluAttrs> = defineOp<TriluAttrs>({
  name: 'trilu',
  doc: 'x where column − row ≥ k (upper) or ≤ k (lower) in the last two axes, else 0. f32, i32 or bool. ONNX Trilu, torch.triu and torch.tril.',
  infer: ([x], { k }) => {
    require(x, 'takes one tensor');
    require(x.shape.length >= 2, `x must have at least 2 axes, not ${x.shape.length}`);
    require(Number.isInteger(k), `k must be an integer, got ${k}`);
    return [x];
  },
  reference: ([x], { upper, k }) => {
    const [rows, columns] = x!.type.shape.slice(-2) as [number, number];
    return [
      x!.data.map((v, i) => {
        const diagonal = (i % columns) - (Math.floor(i / columns) % rows);
        return (upper ? diagonal >= k : diagonal <= k) ? v : 0;
      }),
    ];
  },
  gradient: { kind: 'rule', rule: ({ attrs, grads }) => [trilu(grads[0]!, attrs)] },
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    { name: 'upper', inputs: [{ shape: [3, 5] }], attrs: { upper: true, k: 0 } },
    { name: 'lower', inputs: [{ shape: [5, 3] }], attrs: { upper: false, k: 0 } },
    { name: 'batch, above the diagonal', inputs: [{ shape: [2, 3, 4, 7] }], attrs: { upper: true, k: 2 } },
    { name: 'below the diagonal', inputs: [{ shape: [2, 4, 3] }], attrs: { upper: false, k: -1 } },
    { name: 'all', inputs: [{ shape: [3, 4] }], attrs: { upper: true, k: -5000000000 } },
    { name: 'nothing', inputs: [{ shape: [3, 4] }], attrs: { upper: true, k: 9 }, gradientOf: [] },
    { name: 'one row', inputs: [{ shape: [1, 6] }], attrs: { upper: false, k: 3 } },
    { name: 'i32', inputs: [{ shape: [4, 4], dtype: 'i32', low: -9, high: 9 }], attrs: { upper: true, k: -1 } },
    { name: 'bool', inputs: [{ shape: [5, 5], dtype: 'bool' }], attrs: { upper: false, k: 1 } },
    {
      name: 'NaN outside the triangle',
      inputs: [{ shape: [2, 2], values: [1, Number.NaN, Number.NaN, 2] }],
      attrs: { upper: true, k: 0 },
      gradientOf: [],
    },
  ],
  badSamples: [
    { inputs: [f32(3)], attrs: { upper: true, k: 0 }, message: 'must have at least 2 axes' },
    { inputs: [f32(3, 3)], attrs: { upper: true, k: 0.5 }, message: 'k must be an integer' },
  ],
});

/** The upper (or lower) triangle of the last two axes from diagonal `k` (default 0) on; zeros elsewhere. */
export const trilu = (x: Tensor, options: { readonly upper?: boolean; readonly k?: number } = {}): Tensor =>
  x.graph.add(triluOp, [x], { upper: options.upper ?? true, k: options.k ?? 0 })[0]!;
