/** Entries of an axis by index, and their sum by index: each the other's transpose, so closed under differentiation. */
import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { axisLayout, entryAt, requireAxis, requireCount, requireIndices } from './indices.ts';

export type GatherAttrs = { readonly axis: number };

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: 'i32', shape });

export const gatherOp: OpRecord<GatherAttrs> = defineOp<GatherAttrs>({
  name: 'gather',
  doc: 'y = x with the entries of an axis that `indices` name in its place: [A…, size, B…] by i32 [I…] → [A…, I…, B…]; f32, i32 or bool. A negative index counts from the end; one outside −size … size − 1 is an error. ONNX Gather, torch.index_select, of axis 0 torch.nn.functional.embedding.',
  infer: (inputs, { axis }) => {
    requireCount(inputs, 2, 'a tensor and indices');
    const [x, indices] = inputs as [TensorType, TensorType];
    requireIndices(indices);
    requireAxis(axis, x.shape.length);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)] }];
  },
  reference: ([x, indices], { axis }) => {
    const { outer, size, inner } = axisLayout(x!.type.shape, axis);
    const count = indices!.data.length;
    const y = new Float64Array(outer * count * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const from = (o * size + entryAt(indices!.data[i]!, size)) * inner;
        y.set(x!.data.subarray(from, from + inner), (o * count + i) * inner);
      }
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs: [x, indices], attrs: { axis }, grads }) => [
      scatterAdd(indices!, grads[0]!, { axis, size: x!.shape[axis]! }),
      undefined,
    ],
  },
  // Of x only the entries that are named are read.
  cost: ([, indices], [y]) => ({ flops: 0, bytes: elementwiseBytes([indices!, y!], [y!]) }),
  samples: [
    {
      name: 'rows, one twice',
      inputs: [{ shape: [5, 3] }, { shape: [2, 3], dtype: 'i32', values: [4, 0, 2, 2, 1, 4] }],
      attrs: { axis: 0 },
    },
    {
      name: 'scalars',
      inputs: [{ shape: [7] }, { shape: [4], dtype: 'i32', values: [6, 1, 1, 0] }],
      attrs: { axis: 0 },
    },
    {
      name: 'one index',
      inputs: [{ shape: [3, 2, 5] }, { shape: [], dtype: 'i32', values: [1] }],
      attrs: { axis: 0 },
    },
    {
      name: 'last axis, from the end',
      inputs: [{ shape: [3, 4] }, { shape: [5], dtype: 'i32', values: [-1, 0, -4, 3, -1] }],
      attrs: { axis: 1 },
    },
    {
      name: 'middle axis',
      inputs: [{ shape: [2, 4, 3] }, { shape: [1, 3], dtype: 'i32', values: [2, -2, 0] }],
      attrs: { axis: 1 },
    },
    {
      name: 'i32',
      inputs: [
        { shape: [2, 5], dtype: 'i32', low: -9, high: 9 },
        { shape: [3], dtype: 'i32', values: [4, 4, -5] },
      ],
      attrs: { axis: 1 },
    },
    {
      name: 'bool',
      inputs: [
        { shape: [3, 2, 5], dtype: 'bool' },
        { shape: [2], dtype: 'i32', values: [1, -1] },
      ],
      attrs: { axis: 1 },
    },
  ],
  badSamples: [
    { inputs: [f32(5, 3), f32(2)], attrs: { axis: 0 }, message: 'takes i32 indices, got f32' },
    { inputs: [f32(), i32(2)], attrs: { axis: 0 }, message: 'axis 0 is out of range for rank 0' },
    { inputs: [f32(5, 3), i32(2)], attrs: { axis: 2 }, message: 'axis 2 is out of range for rank 2' },
    { inputs: [f32(5, 3)], attrs: { axis: 0 }, message: 'takes a tensor and indices, got 1 input' },
  ],
});

/** `size`: of y's axis. */
export type ScatterAddAttrs = { readonly axis: number; readonly size: number };

export const scatterAddOp: OpRecord<ScatterAddAttrs> = defineOp<ScatterAddAttrs>({
  name: 'scatterAdd',
  doc: 'y = 0, then y[a…, indices[i…], b…] += dy[a…, i…, b…] in ascending order of i: the adjoint of gather, i32 [I…] and f32 [A…, I…, B…] → [A…, size, B…]. torch.index_add.',
  infer: (inputs, { axis, size }) => {
    requireCount(inputs, 2, 'indices and values');
    const [indices, dy] = inputs as [TensorType, TensorType];
    requireIndices(indices);
    require(dy.dtype === 'f32', `takes f32 values, got ${dy.dtype}`);
    require(Number.isInteger(size) && size >= 1, `size must be a positive integer, got ${size}`);
    const end = axis + indices.shape.length;
    require(Number.isInteger(axis) &&
      axis >= 0 &&
      end <= dy.shape.length &&
      sameShape(
        dy.shape.slice(axis, end),
        indices.shape,
      ), `the values' axes from ${axis} on must be those of the indices, ${formatShape(indices.shape)}, got ${formatShape(dy.shape)}`);
    return [{ dtype: 'f32', shape: [...dy.shape.slice(0, axis), size, ...dy.shape.slice(end)] }];
  },
  reference: ([indices, dy], { axis }, [out]) => {
    const { outer, size, inner } = axisLayout(out!.shape, axis);
    const count = indices!.data.length;
    const y = new Float64Array(outer * size * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const to = (o * size + entryAt(indices!.data[i]!, size)) * inner;
        const from = (o * count + i) * inner;
        for (let k = 0; k < inner; k++) y[to + k] = y[to + k]! + dy!.data[from + k]!;
      }
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { axis }, grads }) => [undefined, gather(grads[0]!, inputs[0]!, { axis })],
  },
  cost: (inputs, outputs) => ({ flops: elementCount(inputs[1]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    {
      name: 'rows, one twice',
      inputs: [{ shape: [2, 3], dtype: 'i32', values: [4, 0, 2, 2, 1, 4] }, { shape: [2, 3, 3] }],
      attrs: { axis: 0, size: 6 },
    },
    {
      name: 'scalars',
      inputs: [{ shape: [4], dtype: 'i32', values: [6, 1, 1, 0] }, { shape: [4] }],
      attrs: { axis: 0, size: 7 },
    },
    {
      name: 'last axis, from the end',
      inputs: [{ shape: [4], dtype: 'i32', values: [-1, 0, -3, 2] }, { shape: [3, 4] }],
      attrs: { axis: 1, size: 3 },
    },
    {
      name: 'middle axis, one index',
      inputs: [{ shape: [], dtype: 'i32', values: [1] }, { shape: [2, 5] }],
      attrs: { axis: 1, size: 4 },
    },
  ],
  badSamples: [
    {
      inputs: [i32(2, 3), f32(3, 2, 4)],
      attrs: { axis: 0, size: 5 },
      message: "the values' axes from 0 on must be those of the indices, [2, 3]",
    },
    { inputs: [i32(2), f32(2)], attrs: { axis: 0, size: 0 }, message: 'size must be a positive integer' },
    { inputs: [i32(2), i32(2)], attrs: { axis: 0, size: 3 }, message: 'takes f32 values, got i32' },
  ],
});

/**
 * The entries of an axis (default 0) that the i32 `indices` name: `gather(table, tokens)` are the rows of an embedding,
 * [V, D] by [B, T] → [B, T, D]. Negative indices count from the end.
 */
export const gather = (x: Tensor, indices: Tensor, options: { readonly axis?: number } = {}): Tensor =>
  x.graph.add(gatherOp, [x, indices], { axis: normalAxis(options.axis ?? 0, x.rank) })[0]!;

/**
 * Zeros with `size` entries along an axis (default 0), and the values added to the entries that the indices name; the
 * values' axes from there on are those of the indices. The adjoint of `gather`.
 */
export function scatterAdd(
  indices: Tensor,
  values: Tensor,
  options: { readonly size: number; readonly axis?: number },
): Tensor {
  const axis = normalAxis(options.axis ?? 0, values.rank - indices.rank + 1);
  return values.graph.add(scatterAddOp, [indices, values], { axis, size: options.size })[0]!;
}
