/**
 * Maximum pooling saves where each maximum was, so that its gradient is a scatter and the gradient of that a gather: linear
 * in their data, each other's transpose, hence closed under differentiation.
 */
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { OpValueError, require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import {
  completePool,
  eachWindow,
  type PoolAttrs,
  type PoolOptions,
  planeSize,
  pooled,
  requireCount,
} from './pool-windows.ts';
import { perAxis, requireImage, sides } from './window.ts';

type ScatterAttrs = { readonly inputShape: readonly number[] };

const square = (k: number, more: Partial<PoolAttrs> = {}, rank = 2): PoolAttrs => ({
  kernel: perAxis(k, rank),
  stride: perAxis(k, rank),
  padding: sides(0, rank),
  dilation: perAxis(1, rank),
  ceilMode: false,
  ...more,
});

export const maxPoolOp = defineOp<PoolAttrs>({
  name: 'maxPool',
  doc: 'y = maximum of each window over one to three spatial axes of [N, C, D…]; indices i32 = its flat row-major position in the channel, the first where several are equal; NaN counts as the largest (ONNX MaxPool, PyTorch max_pool1d, 2d, 3d with return_indices).',
  infer: (inputs, attrs) => {
    requireCount(inputs, 1);
    const y = pooled(inputs[0]!, attrs);
    return [y, { dtype: 'i32', shape: y.shape }];
  },
  reference: ([x], attrs, [out]) => {
    const y = new Float64Array(elementCount(out!.shape));
    const indices = new Float64Array(y.length);
    eachWindow(x!.type.shape, out!.shape, attrs, ({ at, plane, places }) => {
      let best = places[0]!;
      for (const place of places) {
        const value = x!.data[plane + place]!;
        const largest = x!.data[plane + best]!;
        if (value > largest || (Number.isNaN(value) && !Number.isNaN(largest))) best = place;
      }
      y[at] = x!.data[plane + best]!;
      indices[at] = best;
    });
    return [y, indices];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, grads }) => [
      grads[0] ? maxPoolGrad(grads[0], outputs[1]!, { inputShape: inputs[0]!.shape }) : undefined,
    ],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(outputs[0]!.shape) * elementCount(kernel), // one comparison a tap
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    { name: 'halves', inputs: [{ shape: [2, 3, 4, 6], distinct: 1e-3 }], attrs: square(2), differentiateOutputs: [0] },
    {
      name: 'overlapping, padded',
      inputs: [{ shape: [1, 2, 5, 6], distinct: 1e-3 }],
      attrs: square(3, { stride: [2, 1], padding: [1, 1, 1, 1] }),
      differentiateOutputs: [0],
    },
    {
      name: 'dilated, uneven padding',
      inputs: [{ shape: [1, 1, 7, 6], distinct: 1e-3 }],
      attrs: square(2, { stride: [1, 2], dilation: [3, 2], padding: [1, 0, 2, 1] }),
      differentiateOutputs: [0],
    },
    {
      name: 'ceil mode',
      inputs: [{ shape: [2, 1, 5, 6], distinct: 1e-3 }],
      attrs: square(3, { stride: [2, 2], ceilMode: true }),
      differentiateOutputs: [0],
    },
    {
      name: 'one axis, dilated, ceil mode',
      inputs: [{ shape: [2, 2, 13], distinct: 1e-3 }],
      attrs: { kernel: [2], stride: [3], dilation: [2], padding: [0, 0], ceilMode: true },
      differentiateOutputs: [0],
    },
    {
      name: 'one axis, dilated, padded',
      inputs: [{ shape: [2, 2, 9], distinct: 1e-3 }],
      attrs: square(3, { stride: [2], dilation: [2], padding: [2, 1] }, 1),
      differentiateOutputs: [0],
    },
    {
      name: 'three axes',
      inputs: [{ shape: [2, 1, 4, 3, 5], distinct: 1e-3 }],
      attrs: square(2, { stride: [2, 1, 2] }, 3),
      differentiateOutputs: [0],
    },
    {
      name: 'three axes, dilated, padded, ceil mode',
      inputs: [{ shape: [1, 2, 5, 4, 3], distinct: 1e-3 }],
      attrs: square(2, { dilation: [2, 1, 2], padding: [1, 0, 1, 1, 1, 0], ceilMode: true }, 3),
      differentiateOutputs: [0],
    },
    {
      name: 'a tie goes to the first',
      inputs: [{ shape: [1, 1, 2, 4], values: [1, 3, 0, 0, 3, 2, 0, 0] }],
      attrs: square(2),
      gradientOf: [], // a kink: only the values and the positions are checked
    },
    {
      name: 'a tie between slices goes to the first',
      inputs: [{ shape: [1, 1, 2, 2, 2], values: [0, 2, 1, 0, 2, 2, 1, 1] }],
      attrs: square(2, {}, 3),
      gradientOf: [],
    },
    {
      name: 'NaN and −∞',
      inputs: [{ shape: [1, 1, 8], values: [1, NaN, 9, NaN, -Infinity, -Infinity, NaN, 2] }],
      attrs: square(2, {}, 1),
      gradientOf: [],
    },
  ],
  badSamples: [
    { inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }], attrs: square(5), message: "window's height 5 exceeds" },
    { inputs: [{ dtype: 'f32', shape: [1, 1, 4] }], attrs: square(5, {}, 1), message: "window's length 5 exceeds" },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: square(2, { padding: [2, 0, 0, 0] }),
      message: 'lies wholly in the padding',
    },
    { inputs: [{ dtype: 'f32', shape: [4, 4] }], attrs: square(2), message: '[N, C, H, W]' },
    { inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }], attrs: square(2, {}, 3), message: '[N, C, D, H, W]' },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 2, 2, 2, 2] }],
      attrs: square(2, {}, 4),
      message: 'one to three spatial axes, got 4',
    },
    { inputs: [{ dtype: 'i32', shape: [1, 1, 4, 4] }], attrs: square(2), message: 'takes f32, got i32' },
  ],
});

/** dy and indices of one shape that has the batch and channels of `inputShape`. */
function requireIndexed(values: TensorType, indices: TensorType, inputShape: Shape): void {
  require(values.dtype === 'f32', `takes f32 values, got ${values.dtype}`);
  require(indices.dtype === 'i32', `takes i32 indices, got ${indices.dtype}`);
  const rank = inputShape.length - 2;
  require(rank >= 1 &&
    rank <= 3, `the input must have one to three axes behind [N, C], got ${formatShape(inputShape)}`);
  requireImage('the indices', indices.shape, rank);
  require(sameShape(
    indices.shape.slice(0, 2),
    inputShape.slice(0, 2),
  ), `batch and channels of the indices ${formatShape(indices.shape)} and of the input ${formatShape(inputShape)} must agree`);
}

/** Flat position in the input of the element that output `at` took. */
function takenFrom(indices: Float64Array, at: number, outPlane: number, inPlane: number): number {
  const index = indices[at]!;
  if (index < 0 || index >= inPlane)
    throw new OpValueError(`index ${index} lies outside a plane of ${inPlane} elements`);
  return Math.floor(at / outPlane) * inPlane + index;
}

const somePositions = [0, 5, 3, 14, 10, 10, 0, 1, 15, 5, 5, 12]; // with repeats: windows overlap

export const maxPoolGradOp = defineOp<ScatterAttrs>({
  name: 'maxPoolGrad',
  doc: 'dx[n, c, indices[n, c, p…]] += dy[n, c, p…]: scatters into the channels of `inputShape`, in row-major order of dy (ONNX MaxUnpool that adds, PyTorch max_unpool1d, 2d, 3d).',
  infer: (inputs, { inputShape }) => {
    requireCount(inputs, 2);
    const [dy, indices] = inputs as [TensorType, TensorType];
    requireIndexed(dy, indices, inputShape);
    require(sameShape(
      dy.shape,
      indices.shape,
    ), `dy ${formatShape(dy.shape)} and indices ${formatShape(indices.shape)} must have one shape`);
    return [{ dtype: 'f32', shape: inputShape }];
  },
  reference: ([dy, indices], { inputShape }) => {
    const dx = new Float64Array(elementCount(inputShape));
    const outPlane = planeSize(dy!.type.shape);
    dy!.data.forEach((value, at) => {
      const to = takenFrom(indices!.data, at, outPlane, planeSize(inputShape));
      dx[to] = dx[to]! + value;
    });
    return [dx];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, grads }) => [maxPoolGather(grads[0]!, inputs[1]!), undefined],
  },
  cost: (inputs, outputs) => ({ flops: elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    {
      inputs: [{ shape: [1, 2, 2, 3] }, { shape: [1, 2, 2, 3], dtype: 'i32', values: somePositions }],
      attrs: { inputShape: [1, 2, 4, 4] },
    },
    {
      name: 'one axis',
      inputs: [{ shape: [2, 1, 3] }, { shape: [2, 1, 3], dtype: 'i32', values: [4, 1, 1, 0, 2, 4] }],
      attrs: { inputShape: [2, 1, 5] },
    },
    {
      name: 'three axes',
      inputs: [{ shape: [1, 2, 1, 2, 3] }, { shape: [1, 2, 1, 2, 3], dtype: 'i32', values: somePositions }],
      attrs: { inputShape: [1, 2, 2, 2, 4] },
    },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [1, 2, 2, 3] },
        { dtype: 'f32', shape: [1, 2, 2, 3] },
      ],
      attrs: { inputShape: [1, 2, 4, 4] },
      message: 'takes i32 indices',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [1, 2, 2, 3] },
        { dtype: 'i32', shape: [1, 2, 2, 3] },
      ],
      attrs: { inputShape: [1, 3, 4, 4] },
      message: 'must agree',
    },
  ],
});

export const maxPoolGatherOp = defineOp({
  name: 'maxPoolGather',
  doc: 'y[n, c, p…] = x[n, c, indices[n, c, p…]], the transpose of maxPoolGrad.',
  infer: (inputs) => {
    requireCount(inputs, 2);
    const [x, indices] = inputs as [TensorType, TensorType];
    requireIndexed(x, indices, x.shape);
    return [{ dtype: 'f32', shape: indices.shape }];
  },
  reference: ([x, indices]) => {
    const outPlane = planeSize(indices!.type.shape);
    const inPlane = planeSize(x!.type.shape);
    return [Float64Array.from(indices!.data, (_, at) => x!.data[takenFrom(indices!.data, at, outPlane, inPlane)]!)];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, grads }) => [maxPoolGrad(grads[0]!, inputs[1]!, { inputShape: inputs[0]!.shape }), undefined],
  },
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes([inputs[1]!, outputs[0]!], outputs) }),
  samples: [
    {
      inputs: [{ shape: [1, 2, 4, 4] }, { shape: [1, 2, 2, 3], dtype: 'i32', values: somePositions }],
      attrs: {},
    },
    {
      name: 'one axis',
      inputs: [{ shape: [2, 1, 5] }, { shape: [2, 1, 3], dtype: 'i32', values: [4, 1, 1, 0, 2, 4] }],
      attrs: {},
    },
    {
      name: 'three axes',
      inputs: [{ shape: [1, 2, 2, 2, 4] }, { shape: [1, 2, 1, 2, 3], dtype: 'i32', values: somePositions }],
      attrs: {},
    },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2, 2, 4, 4] },
        { dtype: 'i32', shape: [1, 2, 2, 3] },
      ],
      attrs: {},
      message: 'must agree',
    },
  ],
});

/** Maxima of the windows, and their places in each channel. */
export const maxPool = (x: Tensor, attrs: PoolAttrs): readonly [y: Tensor, indices: Tensor] =>
  x.graph.add(maxPoolOp, [x], attrs) as unknown as readonly [Tensor, Tensor];

/** Gradient of `maxPool`: scatters dy to the saved places (`max_unpool` that adds). */
export const maxPoolGrad = (dy: Tensor, indices: Tensor, options: { readonly inputShape: Shape }): Tensor =>
  dy.graph.add(maxPoolGradOp, [dy, indices], { inputShape: options.inputShape })[0]!;

/** Takes from each channel the elements at the saved places. */
export const maxPoolGather = (x: Tensor, indices: Tensor): Tensor => x.graph.add(maxPoolGatherOp, [x, indices], {})[0]!;

/** Maximum of each window of [N, C, L]. */
export const maxPool1d = (x: Tensor, options: PoolOptions): Tensor => maxPool(x, completePool(options, 1))[0];

/** Maximum of each window of [N, C, H, W]. */
export const maxPool2d = (x: Tensor, options: PoolOptions): Tensor => maxPool(x, completePool(options, 2))[0];

/** Maximum of each window of [N, C, D, H, W]. */
export const maxPool3d = (x: Tensor, options: PoolOptions): Tensor => maxPool(x, completePool(options, 3))[0];
