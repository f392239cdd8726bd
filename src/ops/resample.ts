import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { OpValueError, require, type Sample } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { mul } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { gather } from './gather.ts';
import { sum } from './reduce.ts';
import { view } from './shape.ts';

/**
 * Weighted sums of places along one axis: interpolation, padding by places of the input, pooling over uneven windows. With
 * x the input, w the weights and y the output it is the trilinear form
 *
 *   S(x, w, y) = Σ over i, k and the other axes of  x[…, index[i, k], …] · w[i, k] · y[…, i, …]
 *
 * `resample` is ∂S/∂y and `resampleGrad` is ∂S/∂x; ∂S/∂w is a gather, a product and a sum.
 */
export type ResampleAttrs = { readonly axis: number };
/** `size` is that of x along the axis. */
type GradAttrs = ResampleAttrs & { readonly size: number };

/** Which places of an axis make output i, and how much of each: m rows of equally many taps. */
export interface Taps {
  readonly index: readonly (readonly number[])[];
  readonly weight: readonly (readonly number[])[];
}

/** The kernels' view of an axis: [outer, size, inner]. */
export function around(shape: Shape, axis: number): { outer: number; size: number; inner: number } {
  return {
    outer: elementCount(shape.slice(0, axis)),
    size: shape[axis]!,
    inner: elementCount(shape.slice(axis + 1)),
  };
}

function requireTables(inputs: readonly TensorType[], axis: number): void {
  require(inputs.length === 3, `takes a tensor, indices and weights, got ${inputs.length} inputs`);
  const [x, index, weight] = inputs as [TensorType, TensorType, TensorType];
  require(x.dtype === 'f32' &&
    weight.dtype === 'f32', `takes f32 values and weights, got ${x.dtype} and ${weight.dtype}`);
  require(index.dtype === 'i32', `takes i32 indices, got ${index.dtype}`);
  require(Number.isInteger(axis) &&
    axis >= 0 &&
    axis < x.shape.length, `axis ${axis} is out of range for rank ${x.shape.length}`);
  require(index.shape.length === 2 &&
    sameShape(
      index.shape,
      weight.shape,
    ), `indices and weights must have one shape [outputs, taps], got ${formatShape(index.shape)} and ${formatShape(weight.shape)}`);
}

/** Calls `visit` with the flat places of every product: in x, in the tables, in y. */
function eachProduct(
  x: Shape,
  y: Shape,
  axis: number,
  index: Float64Array,
  visit: (x: number, table: number, y: number) => void,
): void {
  const { outer, size, inner } = around(x, axis);
  const outputs = y[axis]!;
  const taps = index.length / outputs;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < outputs; i++) {
      for (let k = i * taps; k < (i + 1) * taps; k++) {
        const place = index[k]!;
        if (place < 0 || place >= size) throw new OpValueError(`index ${place} lies outside an axis of ${size}`);
        for (let j = 0; j < inner; j++) visit((o * size + place) * inner + j, k, (o * outputs + i) * inner + j);
      }
    }
  }
}

/** ∂S/∂w: [outputs, taps]. */
function weightGradient(x: Tensor, index: Tensor, y: Tensor, axis: number): Tensor {
  const places = gather(x, index, { axis }); // [outer…, outputs, taps, inner…]
  const outputs = view(y, [...y.shape.slice(0, axis + 1), 1, ...y.shape.slice(axis + 1)]);
  const others = places.shape.flatMap((_, i) => (i === axis || i === axis + 1 ? [] : [i]));
  return sum(mul(places, outputs), { axes: others });
}

const cases: readonly { name: string; x: number[]; y: number[]; axis: number; taps: number; index: number[] }[] = [
  { name: 'last axis', x: [2, 3, 4], y: [2, 3, 5], axis: 2, taps: 2, index: [0, 1, 0, 1, 1, 2, 3, 2, 3, 3] },
  { name: 'middle axis', x: [2, 3, 5], y: [2, 2, 5], axis: 1, taps: 3, index: [0, 1, 2, 1, 1, 0] },
  { name: 'first axis, one tap', x: [3, 2, 2], y: [4, 2, 2], axis: 0, taps: 1, index: [2, 0, 0, 1] },
  { name: 'vector, an entry not taken', x: [4], y: [3], axis: 0, taps: 2, index: [0, 3, 3, 1, 0, 0] },
  { name: 'one sample', x: [1, 2, 3], y: [1, 2, 1], axis: 2, taps: 4, index: [0, 0, 1, 2] },
];

const table = ({ y, axis, taps }: (typeof cases)[number]): number[] => [y[axis]!, taps];

export const resampleOp = defineOp<ResampleAttrs>({
  name: 'resample',
  doc: 'y[…, i, …] = Σ_k weight[i, k]·x[…, index[i, k], …] along one axis; index i32 and weight [m, taps]. One axis of ONNX Resize, torch interpolate; Pad by places of the input. An index outside the axis is an error.',
  infer: (inputs, { axis }) => {
    requireTables(inputs, axis);
    const [x, index] = inputs as [TensorType, TensorType];
    return [{ dtype: 'f32', shape: x.shape.map((d, i) => (i === axis ? index.shape[0]! : d)) }];
  },
  reference: ([x, index, weight], { axis }, [out]) => {
    const y = new Float64Array(elementCount(out!.shape));
    eachProduct(x!.type.shape, out!.shape, axis, index!.data, (xAt, k, yAt) => {
      y[yAt] = y[yAt]! + weight!.data[k]! * x!.data[xAt]!;
    });
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { axis }, grads, needs }) => {
      const [x, index, weight] = inputs as [Tensor, Tensor, Tensor];
      const dy = grads[0]!;
      return [
        needs(0) ? resampleGrad(dy, index, weight, { axis, size: x.shape[axis]! }) : undefined,
        undefined,
        needs(2) ? weightGradient(x, index, dy, axis) : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({
    flops: 2 * elementCount(outputs[0]!.shape) * inputs[1]!.shape[1]!,
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(
    (c): Sample<ResampleAttrs> => ({
      name: c.name,
      inputs: [{ shape: c.x }, { shape: table(c), dtype: 'i32', values: c.index }, { shape: table(c) }],
      attrs: { axis: c.axis },
    }),
  ),
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2, 4] },
        { dtype: 'f32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { axis: 1 },
      message: 'takes i32 indices, got f32',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2, 4] },
        { dtype: 'i32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 1] },
      ],
      attrs: { axis: 1 },
      message: 'one shape [outputs, taps], got [3, 2] and [3, 1]',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2, 4] },
        { dtype: 'i32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { axis: 2 },
      message: 'axis 2 is out of range for rank 2',
    },
    {
      inputs: [
        { dtype: 'i32', shape: [2, 4] },
        { dtype: 'i32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { axis: 1 },
      message: 'takes f32 values and weights, got i32 and f32',
    },
  ],
});

export const resampleGradOp = defineOp<GradAttrs>({
  name: 'resampleGrad',
  doc: 'dx = 0, then dx[…, index[i, k], …] += weight[i, k]·dy[…, i, …] in ascending order of i, then of k: the adjoint of resample, whose x has `size` along the axis.',
  infer: (inputs, { axis, size }) => {
    requireTables(inputs, axis);
    const [dy, index] = inputs as [TensorType, TensorType];
    require(Number.isInteger(size) && size >= 1, `size must be a positive integer, got ${size}`);
    require(dy.shape[axis] ===
      index.shape[0], `dy has ${dy.shape[axis]} entries along axis ${axis}, the tables ${index.shape[0]}`);
    return [{ dtype: 'f32', shape: dy.shape.map((d, i) => (i === axis ? size : d)) }];
  },
  reference: ([dy, index, weight], { axis }, [out]) => {
    const dx = new Float64Array(elementCount(out!.shape));
    eachProduct(out!.shape, dy!.type.shape, axis, index!.data, (xAt, k, yAt) => {
      dx[xAt] = dx[xAt]! + weight!.data[k]! * dy!.data[yAt]!;
    });
    return [dx];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { axis }, grads, needs }) => {
      const [dy, index, weight] = inputs as [Tensor, Tensor, Tensor];
      const g = grads[0]!;
      return [
        needs(0) ? resample(g, index, weight, { axis }) : undefined,
        undefined,
        needs(2) ? weightGradient(g, index, dy, axis) : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({
    flops: 2 * elementCount(inputs[0]!.shape) * inputs[1]!.shape[1]!,
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(
    (c): Sample<GradAttrs> => ({
      name: c.name,
      inputs: [{ shape: c.y }, { shape: table(c), dtype: 'i32', values: c.index }, { shape: table(c) }],
      attrs: { axis: c.axis, size: c.x[c.axis]! },
    }),
  ),
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2, 4] },
        { dtype: 'i32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { axis: 1, size: 5 },
      message: 'dy has 4 entries along axis 1, the tables 3',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2, 3] },
        { dtype: 'i32', shape: [3, 2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { axis: 1, size: 0 },
      message: 'size must be a positive integer, got 0',
    },
  ],
});

/** Σ_k weight[i, k]·x[…, index[i, k], …] for every row i of the tables [m, taps], along an axis. */
export const resample = (x: Tensor, index: Tensor, weight: Tensor, options: { readonly axis: number }): Tensor =>
  x.graph.add(resampleOp, [x, index, weight], { axis: normalAxis(options.axis, x.rank) })[0]!;

/** Gradient of `resample` for its input, whose size along the axis is `size`. */
export const resampleGrad = (
  dy: Tensor,
  index: Tensor,
  weight: Tensor,
  options: { readonly axis: number; readonly size: number },
): Tensor =>
  dy.graph.add(resampleGradOp, [dy, index, weight], {
    axis: normalAxis(options.axis, dy.rank),
    size: options.size,
  })[0]!;

const tableShape = (rows: readonly (readonly number[])[]): number[] => [rows.length, rows[0]!.length];

/** `resample` by tables that are known when the graph is built. */
export function resampleBy(x: Tensor, axis: number, { index, weight }: Taps): Tensor {
  const places = { type: { dtype: 'i32' as const, shape: tableShape(index) }, data: Int32Array.from(index.flat()) };
  const weights = {
    type: { dtype: 'f32' as const, shape: tableShape(weight) },
    data: Float32Array.from(weight.flat()),
  };
  const { graph } = x;
  return resample(x, graph.constant(places, 'resample.index'), graph.constant(weights, 'resample.weight'), { axis });
}

/** Entry index[i] of an axis for every i: taps of weight 1, for any dtype. */
export function takeBy(x: Tensor, axis: number, index: readonly number[]): Tensor {
  const type = { dtype: 'i32' as const, shape: [index.length] };
  return gather(x, x.graph.constant({ type, data: Int32Array.from(index) }, 'take.index'), { axis });
}
