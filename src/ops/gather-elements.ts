/** Single elements by their index along one axis, all other coordinates being the index's own. */
import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require, type Sample } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { elementOffsets, requireAxis, requireCount, requireIndices } from './indices.ts';
import { filled, reductions, requireScatter, type ScatterReduction, scatterGradients, scatterInto } from './scatter.ts';

export type GatherElementsAttrs = { readonly axis: number };

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: 'i32', shape });

function requireElements(x: TensorType, indices: TensorType, axis: number): void {
  requireIndices(indices);
  requireAxis(axis, x.shape.length);
  require(indices.shape.length === x.shape.length &&
    indices.shape.every(
      (d, i) => i === axis || d <= x.shape[i]!,
    ), `indices ${formatShape(indices.shape)} must have the rank of ${formatShape(x.shape)} and be no larger but along axis ${axis}`);
}

export const gatherElementsOp: OpRecord<GatherElementsAttrs> = defineOp<GatherElementsAttrs>({
  name: 'gatherElements',
  doc: 'y[i, j, k] = x[i, indices[i, j, k], k] (axis 1): i32 indices of x’s rank, no larger than x but along the axis; y has their shape. Negative indices count from the end. f32, i32 or bool. ONNX GatherElements, torch.gather.',
  infer: (inputs, { axis }) => {
    requireCount(inputs, 2, 'a tensor and indices');
    const [x, indices] = inputs as [TensorType, TensorType];
    requireElements(x, indices, axis);
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
  reference: ([x, indices], { axis }) => [
    Float64Array.from(elementOffsets(indices!, x!.type.shape, axis), (at) => x!.data[at]!),
  ],
  gradient: {
    kind: 'rule',
    rule: ({ inputs: [x, indices], attrs: { axis }, grads: [dy] }) => [
      scatterElements(filled(dy!.graph, 0, x!.shape), indices!, dy!, { axis, reduction: 'add' }),
      undefined,
    ],
  },
  cost: ([, indices], [y]) => ({ flops: 0, bytes: elementwiseBytes([indices!, y!], [y!]) }),
  samples: [
    {
      name: 'last axis, some twice',
      inputs: [{ shape: [3, 4] }, { shape: [3, 5], dtype: 'i32', low: -4, high: 4 }],
      attrs: { axis: 1 },
    },
    {
      name: 'first axis',
      inputs: [{ shape: [4, 3] }, { shape: [2, 3], dtype: 'i32', low: -4, high: 4 }],
      attrs: { axis: 0 },
    },
    {
      name: 'middle axis, smaller indices',
      inputs: [{ shape: [3, 4, 5] }, { shape: [2, 6, 3], dtype: 'i32', low: 0, high: 4 }],
      attrs: { axis: 1 },
    },
    {
      name: 'six axes, all smaller',
      inputs: [{ shape: [2, 3, 3, 2, 3, 3] }, { shape: [1, 2, 2, 2, 2, 2], dtype: 'i32', low: 0, high: 2 }],
      attrs: { axis: 3 },
    },
    { name: 'vector', inputs: [{ shape: [5] }, { shape: [1], dtype: 'i32', values: [-2] }], attrs: { axis: 0 } },
    {
      name: 'i32',
      inputs: [
        { shape: [2, 3], dtype: 'i32', low: -9, high: 9 },
        { shape: [2, 2], dtype: 'i32', low: 0, high: 3 },
      ],
      attrs: { axis: 1 },
    },
    {
      name: 'bool',
      inputs: [
        { shape: [3, 3], dtype: 'bool' },
        { shape: [3, 3], dtype: 'i32', low: 0, high: 3 },
      ],
      attrs: { axis: 0 },
    },
  ],
  badSamples: [
    { inputs: [f32(3, 4), f32(3, 2)], attrs: { axis: 1 }, message: 'takes i32 indices, got f32' },
    { inputs: [f32(3, 4), i32(4, 2)], attrs: { axis: 1 }, message: 'be no larger but along axis 1' },
    { inputs: [f32(3, 4), i32(3)], attrs: { axis: 1 }, message: 'must have the rank of [3, 4]' },
    { inputs: [f32(3, 4), i32(3, 2)], attrs: { axis: 2 }, message: 'axis 2 is out of range' },
  ],
});

export type ScatterElementsAttrs = { readonly axis: number; readonly reduction: ScatterReduction };

export const scatterElementsOp: OpRecord<ScatterElementsAttrs> = defineOp<ScatterElementsAttrs>({
  name: 'scatterElements',
  doc: 'y = data, then y[i, indices[i, j, k], k] = updates[i, j, k] (axis 1), or + · max min of both by `reduction`, in ascending order: of several updates for one place the last stays. indices and updates have one shape; f32 and i32, bool without reduction. Ties of max and min share the gradient evenly; second derivatives of mul are infinite or NaN where several updates of a place are 0. ONNX ScatterElements, torch.scatter and scatter_reduce.',
  infer: (inputs, { axis, reduction }) => {
    requireCount(inputs, 3, 'data, indices and updates');
    const [data, indices, updates] = inputs as [TensorType, TensorType, TensorType];
    requireElements(data, indices, axis);
    requireScatter(data, updates, reduction);
    require(sameShape(
      indices.shape,
      updates.shape,
    ), `indices ${formatShape(indices.shape)} and updates ${formatShape(updates.shape)} must have one shape`);
    return [data];
  },
  reference: ([data, indices, updates], { axis, reduction }) => [
    scatterInto(data!, updates!, elementOffsets(indices!, data!.type.shape, axis), reduction),
  ],
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs: { axis, reduction }, grads, needs }) => {
      const [data, indices, updates] = inputs as [Tensor, Tensor, Tensor];
      return scatterGradients({
        ...{ data, updates, y: outputs[0]!, dy: grads[0]!, reduction, needs },
        places: { of: data.shape, by: indices.shape },
        read: (from) => gatherElements(from, indices, { axis }),
        write: (into, values, how) => scatterElements(into, indices, values, { axis, reduction: how }),
        overSlices: (mask) => mask,
      });
    },
  },
  cost: (inputs, outputs, { reduction }) => ({
    flops: reduction === 'none' ? 0 : elementCount(inputs[2]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...reductions.map(sample),
    {
      name: 'none, middle axis, smaller updates',
      inputs: [
        { shape: [3, 4, 3] },
        { shape: [2, 3, 2], dtype: 'i32', values: [0, 1, 3, 3, 0, -1, 2, 2, 1, 0, -3, 2] },
        { shape: [2, 3, 2] },
      ],
      attrs: { axis: 1, reduction: 'none' },
    },
    {
      name: 'mul, one factor of zero',
      inputs: [
        { shape: [4], values: [0.5, 0, -1.5, 2] },
        { shape: [6], dtype: 'i32', values: [0, 0, 1, 2, 2, 2] },
        { shape: [6], values: [0, 1.25, -0.75, 0.5, -2, 1.5] },
      ],
      attrs: { axis: 0, reduction: 'mul' },
    },
    {
      name: 'mul, two factors of zero',
      inputs: [
        { shape: [2], values: [0.5, 3] },
        { shape: [4], dtype: 'i32', values: [0, 0, 0, 1] },
        { shape: [4], values: [0, 1.25, 0, 2] },
      ],
      attrs: { axis: 0, reduction: 'mul' },
      gradientOf: [],
    },
    {
      name: 'max, ties and NaN',
      inputs: [
        { shape: [4], values: [1, 2, Number.NaN, 0] },
        { shape: [5], dtype: 'i32', values: [0, 0, 1, 2, 3] },
        { shape: [5], values: [1, 1, 3, 5, Number.NaN] },
      ],
      attrs: { axis: 0, reduction: 'max' },
      gradientOf: [],
    },
    ...reductions.map(
      (reduction): Sample<ScatterElementsAttrs> => ({
        name: `${reduction}, i32`,
        inputs: [
          { shape: [3, 4], dtype: 'i32', low: -9, high: 9 },
          { shape: [3, 5], dtype: 'i32', low: -4, high: 4 },
          { shape: [3, 5], dtype: 'i32', values: [3, -4, 1 << 30, 2, 7, 1 << 30, 5, -6, 0, 9, -9, 4, 8, 1 << 30, 3] },
        ],
        attrs: { axis: 1, reduction },
      }),
    ),
    {
      name: 'none, bool',
      inputs: [
        { shape: [3, 3], dtype: 'bool' },
        { shape: [2, 3], dtype: 'i32', low: 0, high: 3 },
        { shape: [2, 3], dtype: 'bool' },
      ],
      attrs: { axis: 0, reduction: 'none' },
    },
  ],
  badSamples: [
    {
      inputs: [f32(3, 4), i32(3, 2), f32(3, 3)],
      attrs: { axis: 1, reduction: 'none' },
      message: 'indices [3, 2] and updates [3, 3] must have one shape',
    },
    {
      inputs: [f32(3, 4), i32(3, 2), i32(3, 2)],
      attrs: { axis: 1, reduction: 'none' },
      message: 'data and updates must have one dtype, not f32 and i32',
    },
    {
      inputs: [{ dtype: 'bool', shape: [3] }, i32(3), { dtype: 'bool', shape: [3] }],
      attrs: { axis: 0, reduction: 'add' },
      message: 'bool has no reduction add',
    },
    {
      inputs: [f32(3), i32(3), f32(3)],
      attrs: { axis: 0, reduction: 'mean' as ScatterReduction },
      message: 'reduction must be one of none, add, mul, max, min, not mean',
    },
  ],
});

/** Some places get several updates, some none; data and updates lie on two grids, so that no two values tie. */
function sample(reduction: ScatterReduction): Sample<ScatterElementsAttrs> {
  const grid = (count: number, offset: number) =>
    Array.from({ length: count }, (_, i) => (((i * 5) % 13) - 6) * 0.25 + offset);
  return {
    name: `${reduction}, some twice`,
    inputs: [
      { shape: [3, 4], values: grid(12, 0.0625) },
      { shape: [3, 5], dtype: 'i32', values: [0, 1, 0, -1, 0, 2, 2, -2, 2, 2, 3, 1, 2, 0, -1] },
      { shape: [3, 5], values: grid(15, 0.125) },
    ],
    attrs: { axis: 1, reduction },
  };
}

/** x[…, indices[…], …] along an axis, element by element: y has the indices' shape. PyTorch's `gather`. */
export const gatherElements = (x: Tensor, indices: Tensor, options: { readonly axis: number }): Tensor =>
  x.graph.add(gatherElementsOp, [x, indices], { axis: normalAxis(options.axis, x.rank) })[0]!;

/** `data` with the updates at the places that the indices name along an axis; `reduction` joins them with what is there. */
export function scatterElements(
  data: Tensor,
  indices: Tensor,
  updates: Tensor,
  options: { readonly axis: number; readonly reduction?: ScatterReduction },
): Tensor {
  const attrs = { axis: normalAxis(options.axis, data.rank), reduction: options.reduction ?? 'none' };
  return data.graph.add(scatterElementsOp, [data, indices, updates], attrs)[0]!;
}
