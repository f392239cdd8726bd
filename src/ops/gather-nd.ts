/** Slices by index vectors: the last axis of the indices holds coordinates of the first axes of the data. */
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require, type Sample } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { requireCount, requireIndices, sliceNumbers } from './indices.ts';
import { filled, reductions, requireScatter, type ScatterReduction, scatterGradients, scatterInto } from './scatter.ts';
import { concat, reshape } from './shape.ts';

export type GatherNDAttrs = { readonly batchDims: number };

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: 'i32', shape });

/** Axes of the slices that index vectors of this depth name. */
const sliceOf = (data: Shape, indices: Shape, batchDims: number): Shape => data.slice(batchDims + indices.at(-1)!);

function requireVectors(data: TensorType, indices: TensorType, batchDims: number): void {
  requireIndices(indices);
  require(indices.shape.length >= 1, 'the indices must have an axis of coordinates, got a scalar');
  require(Number.isInteger(batchDims) &&
    batchDims >= 0 &&
    batchDims <
      Math.min(
        indices.shape.length,
        data.shape.length,
      ), `batchDims ${batchDims} must lie below the ranks of both ${formatShape(data.shape)} and ${formatShape(indices.shape)}`);
  require(sameShape(
    data.shape.slice(0, batchDims),
    indices.shape.slice(0, batchDims),
  ), `the first ${batchDims} axes of ${formatShape(data.shape)} and ${formatShape(indices.shape)} must agree`);
  const depth = indices.shape.at(-1)!;
  require(batchDims + depth <=
    data.shape.length, `index vectors of ${depth} coordinates do not fit ${formatShape(data.shape.slice(batchDims))}`);
}

export const gatherNDOp: OpRecord<GatherNDAttrs> = defineOp<GatherNDAttrs>({
  name: 'gatherND',
  doc: 'y[b…, i…, :] = x[b…, indices[b…, i…, 0], …, indices[b…, i…, k − 1], :]: i32 indices [B…, I…, k] name slices of x [B…, D1…Dk, S…], y is [B…, I…, S…]; `batchDims` counts B…. Negative indices count from the end. f32, i32 or bool. ONNX GatherND, x[indices.unbind(-1)] in PyTorch.',
  infer: (inputs, { batchDims }) => {
    requireCount(inputs, 2, 'a tensor and indices');
    const [x, indices] = inputs as [TensorType, TensorType];
    requireVectors(x, indices, batchDims);
    return [{ dtype: x.dtype, shape: [...indices.shape.slice(0, -1), ...sliceOf(x.shape, indices.shape, batchDims)] }];
  },
  reference: ([x, indices], { batchDims }, [out]) => {
    const places = sliceNumbers(indices!, x!.type.shape, batchDims);
    const width = elementCount(out!.shape) / places.length;
    const y = new Float64Array(places.length * width);
    for (const [i, place] of places.entries()) {
      y.set(x!.data.subarray(place * width, (place + 1) * width), i * width);
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs: [x, indices], attrs: { batchDims }, grads: [dy] }) => [
      scatterND(filled(dy!.graph, 0, x!.shape), withBatch(indices!, batchDims), dy!, { reduction: 'add' }),
      undefined,
    ],
  },
  cost: ([, indices], [y]) => ({ flops: 0, bytes: elementwiseBytes([indices!, y!], [y!]) }),
  samples: [
    {
      name: 'elements, one twice',
      inputs: [{ shape: [3, 4] }, { shape: [4, 2], dtype: 'i32', values: [0, 1, 2, 3, -1, -1, 1, 0] }],
      attrs: { batchDims: 0 },
    },
    {
      name: 'slices',
      inputs: [{ shape: [3, 2, 5] }, { shape: [2, 2, 1], dtype: 'i32', values: [2, 0, -2, 2] }],
      attrs: { batchDims: 0 },
    },
    {
      name: 'one batch axis',
      inputs: [{ shape: [2, 3, 4] }, { shape: [2, 3, 1], dtype: 'i32', values: [0, 2, 2, 1, 0, -1] }],
      attrs: { batchDims: 1 },
    },
    {
      name: 'two batch axes, elements',
      inputs: [{ shape: [2, 2, 3] }, { shape: [2, 2, 1], dtype: 'i32', values: [0, 2, 1, -1] }],
      attrs: { batchDims: 2 },
    },
    {
      name: 'one vector',
      inputs: [{ shape: [3, 4] }, { shape: [1], dtype: 'i32', values: [1] }],
      attrs: { batchDims: 0 },
    },
    {
      name: 'bool',
      inputs: [
        { shape: [3, 4], dtype: 'bool' },
        { shape: [3, 2], dtype: 'i32', low: 0, high: 3 },
      ],
      attrs: { batchDims: 0 },
    },
    {
      name: 'i32',
      inputs: [
        { shape: [3, 4], dtype: 'i32', low: -9, high: 9 },
        { shape: [2, 1], dtype: 'i32', low: 0, high: 3 },
      ],
      attrs: { batchDims: 0 },
    },
  ],
  badSamples: [
    { inputs: [f32(3, 4), f32(2, 1)], attrs: { batchDims: 0 }, message: 'takes i32 indices, got f32' },
    { inputs: [f32(3, 4), i32(2, 3)], attrs: { batchDims: 0 }, message: 'vectors of 3 coordinates do not fit [3, 4]' },
    { inputs: [f32(3, 4), i32(2, 1)], attrs: { batchDims: 1 }, message: 'the first 1 axes' },
    { inputs: [f32(3, 4), i32(3)], attrs: { batchDims: 1 }, message: 'batchDims 1 must lie below' },
    { inputs: [f32(3, 4), i32()], attrs: { batchDims: 0 }, message: 'got a scalar' },
  ],
});

export type ScatterNDAttrs = { readonly reduction: ScatterReduction };

export const scatterNDOp: OpRecord<ScatterNDAttrs> = defineOp<ScatterNDAttrs>({
  name: 'scatterND',
  doc: 'y = data, then y[indices[i…, 0], …, indices[i…, k − 1], :] = updates[i…, :], or + · max min of both by `reduction`, in ascending order: of several updates for one place the last stays. i32 indices [I…, k], updates [I…, S…]; f32 and i32, bool without reduction. Ties of max and min share the gradient evenly; second derivatives of mul are infinite or NaN where several updates of a place are 0. ONNX ScatterND, torch.Tensor.index_put.',
  infer: (inputs, { reduction }) => {
    requireCount(inputs, 3, 'data, indices and updates');
    const [data, indices, updates] = inputs as [TensorType, TensorType, TensorType];
    requireVectors(data, indices, 0);
    requireScatter(data, updates, reduction);
    const shape = [...indices.shape.slice(0, -1), ...sliceOf(data.shape, indices.shape, 0)];
    require(sameShape(
      shape,
      updates.shape,
    ), `updates must be ${formatShape(shape)}, as the indices are ${formatShape(indices.shape)}, not ${formatShape(updates.shape)}`);
    return [data];
  },
  reference: ([data, indices, updates], { reduction }) => [
    scatterInto(data!, updates!, sliceNumbers(indices!, data!.type.shape, 0), reduction),
  ],
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs: { reduction }, grads, needs }) => {
      const [data, indices, updates] = inputs as [Tensor, Tensor, Tensor];
      const by = indices.shape.slice(0, -1);
      const slice = sliceOf(data.shape, indices.shape, 0);
      return scatterGradients({
        ...{ data, updates, y: outputs[0]!, dy: grads[0]!, reduction, needs },
        places: { of: data.shape.slice(0, indices.shape.at(-1)!), by },
        read: (from) => gatherND(from, indices),
        write: (into, values, how) => scatterND(into, indices, values, { reduction: how }),
        overSlices: (mask) => reshape(mask, [...by, ...slice.map(() => 1)]),
      });
    },
  },
  cost: (inputs, outputs, { reduction }) => ({
    flops: reduction === 'none' ? 0 : elementCount(inputs[2]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...reductions.map(slicesSample),
    {
      name: 'none, elements',
      inputs: [
        { shape: [3, 4] },
        { shape: [2, 2, 2], dtype: 'i32', values: [0, 1, 2, 3, -1, -1, 1, 0] },
        { shape: [2, 2] },
      ],
      attrs: { reduction: 'none' },
    },
    {
      name: 'mul, one factor of zero',
      inputs: [
        { shape: [2, 2], values: [0.5, 1.5, -1.5, 2] },
        { shape: [3, 1], dtype: 'i32', values: [0, 0, 1] },
        { shape: [3, 2], values: [0, 1.25, 0.5, 0.75, -2, 1.5] },
      ],
      attrs: { reduction: 'mul' },
    },
    ...reductions.map(
      (reduction): Sample<ScatterNDAttrs> => ({
        name: `${reduction}, i32`,
        inputs: [
          { shape: [3, 5], dtype: 'i32', low: -9, high: 9 },
          { shape: [4, 1], dtype: 'i32', values: [2, 0, -1, 2] },
          { shape: [4, 5], dtype: 'i32', low: -1000000, high: 1000000 },
        ],
        attrs: { reduction },
      }),
    ),
    {
      name: 'none, bool',
      inputs: [
        { shape: [3, 5], dtype: 'bool' },
        { shape: [2, 1], dtype: 'i32', values: [2, 0] },
        { shape: [2, 5], dtype: 'bool' },
      ],
      attrs: { reduction: 'none' },
    },
  ],
  badSamples: [
    {
      inputs: [f32(3, 4), i32(2, 1), f32(2, 3)],
      attrs: { reduction: 'none' },
      message: 'updates must be [2, 4], as the indices are [2, 1], not [2, 3]',
    },
    {
      inputs: [f32(3, 4), i32(2, 1), i32(2, 4)],
      attrs: { reduction: 'none' },
      message: 'data and updates must have one dtype',
    },
  ],
});

/** Row 2 gets three updates, row 1 none; the values lie on two grids, so that no two tie. */
function slicesSample(reduction: ScatterReduction): Sample<ScatterNDAttrs> {
  const grid = (count: number, offset: number) =>
    Array.from({ length: count }, (_, i) => (((i * 5) % 13) - 6) * 0.25 + offset);
  return {
    name: `${reduction}, slices, one place thrice`,
    inputs: [
      { shape: [4, 3], values: grid(12, 0.125) },
      { shape: [5, 1], dtype: 'i32', values: [2, 0, -2, 3, 2] },
      { shape: [5, 3], values: grid(15, 0.0625) },
    ],
    attrs: { reduction },
  };
}

/** Index vectors with the coordinates of their batch axes in front: the same slices without batch axes. */
function withBatch(indices: Tensor, batchDims: number): Tensor {
  if (batchDims === 0) return indices;
  const shape = [...indices.shape.slice(0, -1), 1];
  const count = elementCount(shape);
  const coordinates = Array.from({ length: batchDims }, (_, axis) => {
    const inner = elementCount(shape.slice(axis + 1));
    const data = Int32Array.from({ length: count }, (_, i) => Math.floor(i / inner) % shape[axis]!);
    return indices.graph.constant({ type: { dtype: 'i32', shape }, data }, 'coordinates');
  });
  return concat([...coordinates, indices], { axis: -1 });
}

/** Slices of x named by index vectors; the first `batchDims` axes of both go together. */
export const gatherND = (x: Tensor, indices: Tensor, options: { readonly batchDims?: number } = {}): Tensor =>
  x.graph.add(gatherNDOp, [x, indices], { batchDims: options.batchDims ?? 0 })[0]!;

/** `data` with the updates at the slices that index vectors name; `reduction` joins them with what is there. */
export function scatterND(
  data: Tensor,
  indices: Tensor,
  updates: Tensor,
  options: { readonly reduction?: ScatterReduction } = {},
): Tensor {
  return data.graph.add(scatterNDOp, [data, indices, updates], { reduction: options.reduction ?? 'none' })[0]!;
}
