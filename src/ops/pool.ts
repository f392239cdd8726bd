import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import {
  axisName,
  type PaddingOption,
  type PerAxis,
  perAxis,
  requireImage,
  type Sliding,
  sides,
  slide,
  spatialRank,
} from './window.ts';

/**
 * Pooling over one to three spatial axes of [N, C, D…]. Maximum pooling saves where each maximum was, so that its gradient
 * is a scatter and the gradient of that a gather: linear in their data, each other's transpose, hence closed under
 * differentiation.
 */
export type MaxPoolAttrs = {
  /** One number for each spatial axis: says how many there are. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [begins…, ends…]; padding never wins. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
};
export type AvgPoolAttrs = MaxPoolAttrs & {
  /** Whether the divisor counts the padding (PyTorch's default) or only elements of the input. */
  readonly countIncludePad: boolean;
};
type ScatterAttrs = { readonly inputShape: readonly number[] };
type AvgPoolGradAttrs = AvgPoolAttrs & { readonly inputShape: readonly number[] };

export interface MaxPoolOptions {
  readonly kernel: PerAxis;
  /** default: the kernel */
  readonly stride?: PerAxis;
  readonly padding?: PaddingOption;
  readonly dilation?: PerAxis;
  readonly ceilMode?: boolean;
}

export interface AvgPoolOptions extends MaxPoolOptions {
  /** default true */
  readonly countIncludePad?: boolean;
}

/** Output type of a pooling, after checking that every window holds an element of the input. */
function pooled(x: TensorType, by: Sliding): TensorType {
  require(x.dtype === 'f32', `takes f32, got ${x.dtype}`);
  const rank = spatialRank(by.kernel);
  requireImage('the input', x.shape, rank);
  const [n, c, ...size] = x.shape as [number, number, ...number[]];
  const out = slide(size, by);
  for (const [axis, count] of out.entries()) {
    const empty = emptyWindow(axis, count, size[axis]!, by);
    require(empty ===
      undefined, `window ${empty} along the ${axisName(axis, rank)} lies wholly in the padding [${by.padding.join(', ')}]; padding must be smaller than the kernel`);
  }
  return { dtype: 'f32', shape: [n, c, ...out] };
}

/**
 * A window that covers nothing of an axis. Where two taps are no further apart than the axis is long, none can step over
 * it: then only the first and the last window can lie outside. Sizes may be any that a file states, so nothing runs over
 * all windows in that case.
 */
function emptyWindow(axis: number, count: number, size: number, by: Sliding): number | undefined {
  const [kernel, stride, dilation, pad] = [by.kernel, by.stride, by.dilation, by.padding].map(
    (list) => list[axis]!,
  ) as [number, number, number, number];
  const isEmpty = (at: number): boolean => {
    const start = at * stride - pad;
    const first = Math.max(0, Math.ceil(-start / dilation));
    return first >= kernel || start + first * dilation >= size;
  };
  const last = count - 1;
  if (dilation <= size) return [0, last].find((at) => at >= 0 && isEmpty(at));
  for (let at = 0; at < count; at++) if (isEmpty(at)) return at;
  return undefined;
}

/** Positions along one axis that window `at` covers inside the input. */
function taps(axis: number, at: number, size: number, by: Sliding): number[] {
  const positions: number[] = [];
  for (let k = 0; k < by.kernel[axis]!; k++) {
    const position = at * by.stride[axis]! + k * by.dilation[axis]! - by.padding[axis]!;
    if (position >= 0 && position < size) positions.push(position);
  }
  return positions;
}

/** Elements of a channel: all axes but the first two. */
const planeSize = (shape: Shape): number => elementCount(shape.slice(2));

/**
 * One output element: its flat index, that of its plane's first input element, and the places in the plane that its
 * window covers, ascending.
 */
interface Window {
  readonly at: number;
  readonly plane: number;
  readonly places: readonly number[];
}

function eachWindow(x: Shape, y: Shape, by: Sliding, visit: (window: Window) => void): void {
  const sizes = x.slice(2);
  // All windows of a plane: axis by axis, each window so far meets each window of the next axis.
  let windows: (readonly number[])[] = [[0]];
  for (const [axis, size] of sizes.entries()) {
    const along = Array.from({ length: y[axis + 2]! }, (_, at) => taps(axis, at, size, by));
    windows = windows.flatMap((outer) => along.map((inner) => outer.flatMap((o) => inner.map((i) => o * size + i))));
  }
  const inside = planeSize(x);
  for (let plane = 0; plane < x[0]! * x[1]!; plane++) {
    for (const [i, places] of windows.entries())
      visit({ at: plane * windows.length + i, plane: plane * inside, places });
  }
}

const requireCount = (inputs: readonly TensorType[], count: number): void =>
  require(inputs.length === count, `takes ${count} input${count === 1 ? '' : 's'}, got ${inputs.length}`);

const square = (k: number, more: Partial<MaxPoolAttrs> = {}, rank = 2): MaxPoolAttrs => ({
  kernel: perAxis(k, rank),
  stride: perAxis(k, rank),
  padding: sides(0, rank),
  dilation: perAxis(1, rank),
  ceilMode: false,
  ...more,
});

export const maxPoolOp = defineOp<MaxPoolAttrs>({
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
  if (index < 0 || index >= inPlane) throw new RangeError(`index ${index} lies outside a plane of ${inPlane} elements`);
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

/**
 * What the divisor of each window of a plane counts. With `countIncludePad` a window that hangs over the padding behind the
 * input (ceil mode) counts up to the padding's end, as in PyTorch.
 */
export function divisors(x: Shape, y: Shape, attrs: AvgPoolAttrs): number[] {
  const rank = attrs.kernel.length;
  let counts = [1];
  for (const [axis, size] of x.slice(2).entries()) {
    const end = size + (attrs.countIncludePad ? attrs.padding[axis + rank]! : 0);
    const along = Array.from({ length: y[axis + 2]! }, (_, at) => {
      if (!attrs.countIncludePad) return taps(axis, at, size, attrs).length;
      const first = at * attrs.stride[axis]! - attrs.padding[axis]!;
      return Math.min(attrs.kernel[axis]!, Math.ceil((end - first) / attrs.dilation[axis]!));
    });
    counts = counts.flatMap((outer) => along.map((inner) => outer * inner));
  }
  return counts;
}

const averaging = (
  kernel: readonly number[],
  stride: readonly number[],
  padding: readonly number[],
  more: Partial<AvgPoolAttrs> = {},
): AvgPoolAttrs => ({
  kernel,
  stride,
  padding,
  dilation: kernel.map(() => 1),
  countIncludePad: true,
  ceilMode: false,
  ...more,
});

const avgCases: readonly { name: string; x: number[]; attrs: AvgPoolAttrs; y: number[] }[] = [
  { name: 'halves', x: [2, 3, 4, 6], attrs: averaging([2, 2], [2, 2], [0, 0, 0, 0]), y: [2, 3, 2, 3] },
  {
    name: 'overlapping, padding counts',
    x: [1, 2, 5, 6],
    attrs: averaging([3, 2], [2, 1], [1, 1, 1, 0]),
    y: [1, 2, 3, 6],
  },
  {
    name: 'overlapping, padding does not count',
    x: [1, 2, 5, 6],
    attrs: averaging([3, 2], [2, 1], [1, 1, 1, 0], { countIncludePad: false }),
    y: [1, 2, 3, 6],
  },
  {
    name: 'ceil mode, padding counts up to its end',
    x: [1, 1, 6, 5],
    attrs: averaging([3, 3], [2, 3], [1, 1, 1, 1], { ceilMode: true }),
    y: [1, 1, 4, 2],
  },
  {
    name: 'more padding behind than before counts',
    x: [1, 2, 4, 5],
    attrs: averaging([2, 3], [1, 2], [0, 1, 1, 2]),
    y: [1, 2, 4, 3],
  },
  {
    name: 'dilated, padding counts',
    x: [1, 2, 7, 6],
    attrs: averaging([2, 3], [2, 1], [1, 2, 0, 1], { dilation: [3, 2] }),
    y: [1, 2, 3, 5],
  },
  {
    name: 'dilated, ceil mode, padding does not count',
    x: [1, 1, 8, 6],
    attrs: averaging([3, 2], [3, 2], [1, 0, 2, 1], { dilation: [2, 2], ceilMode: true, countIncludePad: false }),
    y: [1, 1, 3, 3],
  },
  { name: 'the whole plane', x: [2, 3, 3, 5], attrs: averaging([3, 5], [3, 5], [0, 0, 0, 0]), y: [2, 3, 1, 1] },
  { name: 'one axis', x: [2, 2, 9], attrs: averaging([3], [2], [1, 1]), y: [2, 2, 5] },
  {
    name: 'three axes, overlapping',
    x: [1, 2, 4, 3, 5],
    attrs: averaging([2, 3, 2], [1, 2, 2], [1, 1, 0, 0, 1, 1]),
    y: [1, 2, 4, 2, 3],
  },
  {
    name: 'three axes, ceil mode, padding does not count',
    x: [2, 1, 5, 4, 3],
    attrs: averaging([2, 2, 2], [2, 3, 2], [1, 0, 0, 0, 1, 1], { ceilMode: true, countIncludePad: false }),
    y: [2, 1, 3, 2, 2],
  },
];

export const avgPoolOp = defineOp<AvgPoolAttrs>({
  name: 'avgPool',
  doc: 'y = mean of each window over one to three spatial axes of [N, C, D…], the padding counted in the divisor if `countIncludePad` (ONNX AveragePool, PyTorch avg_pool1d, 2d, 3d).',
  infer: (inputs, attrs) => {
    requireCount(inputs, 1);
    return [pooled(inputs[0]!, attrs)];
  },
  reference: ([x], attrs, [out]) => {
    const y = new Float64Array(elementCount(out!.shape));
    const counts = divisors(x!.type.shape, out!.shape, attrs);
    eachWindow(x!.type.shape, out!.shape, attrs, ({ at, plane, places }) => {
      let total = 0;
      for (const place of places) total += x!.data[plane + place]!;
      y[at] = total / counts[at % counts.length]!;
    });
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads }) => [avgPoolGrad(grads[0]!, { ...attrs, inputShape: inputs[0]!.shape })],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(outputs[0]!.shape) * elementCount(kernel),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: avgCases.map(({ name, x, attrs }) => ({ name, inputs: [{ shape: x }], attrs })),
  badSamples: [
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: averaging([2, 2], [2, 2], [0, 2, 0, 0]),
      message: 'window 0 along the width lies wholly in the padding',
    },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: averaging([2, 2], [2, 2], [0, 0]),
      message: 'padding must be 4 integers of at least 0',
    },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4] }],
      attrs: averaging([2], [0], [0, 0]),
      message: 'stride must be 1 integer of at least 1',
    },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4] }],
      attrs: averaging([], [], []),
      message: 'one to three spatial axes',
    },
  ],
});

export const avgPoolGradOp = defineOp<AvgPoolGradAttrs>({
  name: 'avgPoolGrad',
  doc: "dx = each window's dy / divisor spread over the window's elements of `inputShape`; the transpose of avgPool.",
  infer: (inputs, { inputShape, ...attrs }) => {
    requireCount(inputs, 1);
    const [dy] = inputs as [TensorType];
    require(dy.dtype === 'f32', `takes f32, got ${dy.dtype}`);
    const y = pooled({ dtype: 'f32', shape: inputShape }, attrs);
    require(sameShape(
      y.shape,
      dy.shape,
    ), `dy must have the pooled shape ${formatShape(y.shape)}, got ${formatShape(dy.shape)}`);
    return [{ dtype: 'f32', shape: inputShape }];
  },
  reference: ([dy], { inputShape, ...attrs }) => {
    const dx = new Float64Array(elementCount(inputShape));
    const counts = divisors(inputShape, dy!.type.shape, attrs);
    eachWindow(inputShape, dy!.type.shape, attrs, ({ at, plane, places }) => {
      const share = dy!.data[at]! / counts[at % counts.length]!;
      for (const place of places) dx[plane + place] = dx[plane + place]! + share;
    });
    return [dx];
  },
  gradient: {
    kind: 'rule',
    rule: ({ attrs: { inputShape: _, ...attrs }, grads }) => [avgPool(grads[0]!, attrs)],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(inputs[0]!.shape) * elementCount(kernel),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: avgCases.map(({ name, x, attrs, y }) => ({
    name,
    inputs: [{ shape: y }],
    attrs: { ...attrs, inputShape: x },
  })),
  badSamples: [
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 3, 3] }],
      attrs: { ...avgCases[0]!.attrs, inputShape: [1, 1, 4, 4] },
      message: 'dy must have the pooled shape [1, 1, 2, 2]',
    },
  ],
});

const completeMax = (options: MaxPoolOptions, rank: number): MaxPoolAttrs => ({
  kernel: perAxis(options.kernel, rank),
  stride: perAxis(options.stride ?? options.kernel, rank),
  padding: sides(options.padding ?? 0, rank),
  dilation: perAxis(options.dilation ?? 1, rank),
  ceilMode: options.ceilMode ?? false,
});

const completeAvg = (options: AvgPoolOptions, rank: number): AvgPoolAttrs => ({
  ...completeMax(options, rank),
  countIncludePad: options.countIncludePad ?? true,
});

/** Maxima of the windows, and their places in each channel. */
export const maxPool = (x: Tensor, attrs: MaxPoolAttrs): readonly [y: Tensor, indices: Tensor] =>
  x.graph.add(maxPoolOp, [x], attrs) as unknown as readonly [Tensor, Tensor];

/** Gradient of `maxPool`: scatters dy to the saved places (`max_unpool` that adds). */
export const maxPoolGrad = (dy: Tensor, indices: Tensor, options: { readonly inputShape: Shape }): Tensor =>
  dy.graph.add(maxPoolGradOp, [dy, indices], { inputShape: options.inputShape })[0]!;

/** Takes from each channel the elements at the saved places. */
export const maxPoolGather = (x: Tensor, indices: Tensor): Tensor => x.graph.add(maxPoolGatherOp, [x, indices], {})[0]!;

/** Means of the windows. */
export const avgPool = (x: Tensor, attrs: AvgPoolAttrs): Tensor => x.graph.add(avgPoolOp, [x], attrs)[0]!;

/** Gradient of `avgPool`. */
export const avgPoolGrad = (dy: Tensor, attrs: AvgPoolGradAttrs): Tensor =>
  dy.graph.add(avgPoolGradOp, [dy], attrs)[0]!;

/** Maximum of each window of [N, C, L]. */
export const maxPool1d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool(x, completeMax(options, 1))[0];

/** Maximum of each window of [N, C, H, W]. */
export const maxPool2d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool(x, completeMax(options, 2))[0];

/** Maximum of each window of [N, C, D, H, W]. */
export const maxPool3d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool(x, completeMax(options, 3))[0];

/** Mean of each window of [N, C, L]. */
export const avgPool1d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 1));

/** Mean of each window of [N, C, H, W]. */
export const avgPool2d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 2));

/** Mean of each window of [N, C, D, H, W]. */
export const avgPool3d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 3));
