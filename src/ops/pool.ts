import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { sliceScatter } from './shape.ts';
import { type PaddingOption, type PairOption, pair, requireImage, type Sliding, sides, slide } from './window.ts';

/**
 * Pooling over [N, C, H, W]. Maximum pooling saves where each maximum was, so that its gradient is a scatter and the
 * gradient of that a gather: linear in their data, each other's transpose, hence closed under differentiation.
 */
export type MaxPoolAttrs = {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [top, left, bottom, right]; padding never wins. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
};
export type AvgPoolAttrs = {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [top, left, bottom, right] */
  readonly padding: readonly number[];
  /** Whether the divisor counts the padding (PyTorch's default) or only elements of the input. */
  readonly countIncludePad: boolean;
  readonly ceilMode: boolean;
};
type ScatterAttrs = { readonly inputShape: readonly number[] };
type AvgPoolGradAttrs = AvgPoolAttrs & { readonly inputShape: readonly number[] };

export interface MaxPoolOptions {
  readonly kernel: PairOption;
  /** default: the kernel */
  readonly stride?: PairOption;
  readonly padding?: PaddingOption;
  readonly dilation?: PairOption;
  readonly ceilMode?: boolean;
}

export interface AvgPoolOptions {
  readonly kernel: PairOption;
  /** default: the kernel */
  readonly stride?: PairOption;
  readonly padding?: PaddingOption;
  readonly countIncludePad?: boolean;
  readonly ceilMode?: boolean;
}

/** Output type of a pooling, after checking that every window holds an element of the input. */
function pooled(x: TensorType, by: Sliding): TensorType {
  require(x.dtype === 'f32', `takes f32, got ${x.dtype}`);
  requireImage('the input', x.shape);
  const [n, c, ...size] = x.shape as [number, number, number, number];
  const out = slide(size, by);
  for (const axis of [0, 1] as const) {
    for (let at = 0; at < out[axis]; at++) {
      require(taps(axis, at, size[axis]!, by).length >
        0, `window ${at} along the ${axis === 0 ? 'height' : 'width'} lies wholly in the padding [${by.padding.join(', ')}]; padding must be smaller than the kernel`);
    }
  }
  return { dtype: 'f32', shape: [n, c, ...out] };
}

/** Positions along one axis that window `at` covers inside the input. */
function taps(axis: 0 | 1, at: number, size: number, by: Sliding): number[] {
  const positions: number[] = [];
  for (let k = 0; k < by.kernel[axis]!; k++) {
    const position = at * by.stride[axis]! + k * by.dilation[axis]! - by.padding[axis]!;
    if (position >= 0 && position < size) positions.push(position);
  }
  return positions;
}

/** One output element: its flat index, its plane n·C + c, its position, and the rows and columns its window covers. */
interface Window {
  readonly at: number;
  readonly plane: number;
  readonly p: number;
  readonly q: number;
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

function eachWindow(x: Shape, y: Shape, by: Sliding, visit: (window: Window) => void): void {
  const [n, c, h, w] = x as [number, number, number, number];
  const [, , oh, ow] = y as [number, number, number, number];
  const rows = Array.from({ length: oh }, (_, p) => taps(0, p, h, by));
  const columns = Array.from({ length: ow }, (_, q) => taps(1, q, w, by));
  let at = 0;
  for (let plane = 0; plane < n * c; plane++) {
    for (let p = 0; p < oh; p++)
      for (let q = 0; q < ow; q++) visit({ at: at++, plane, p, q, rows: rows[p]!, columns: columns[q]! });
  }
}

const requireCount = (inputs: readonly TensorType[], count: number): void =>
  require(inputs.length === count, `takes ${count} input${count === 1 ? '' : 's'}, got ${inputs.length}`);

const square = (k: number, more: Partial<MaxPoolAttrs> = {}): MaxPoolAttrs => ({
  kernel: [k, k],
  stride: [k, k],
  padding: [0, 0, 0, 0],
  dilation: [1, 1],
  ceilMode: false,
  ...more,
});

export const maxPool2dOp = defineOp<MaxPoolAttrs>({
  name: 'maxPool2d',
  doc: 'y = maximum of each window; indices i32 = its flat position row·W + column in the plane, the first in row-major order where several are equal; NaN counts as the largest (ONNX MaxPool, PyTorch max_pool2d with return_indices).',
  infer: (inputs, attrs) => {
    requireCount(inputs, 1);
    const y = pooled(inputs[0]!, attrs);
    return [y, { dtype: 'i32', shape: y.shape }];
  },
  reference: ([x], attrs, [out]) => {
    const [, , h, w] = x!.type.shape as [number, number, number, number];
    const y = new Float64Array(elementCount(out!.shape));
    const indices = new Float64Array(y.length);
    eachWindow(x!.type.shape, out!.shape, attrs, ({ at, plane, rows, columns }) => {
      let best = rows[0]! * w + columns[0]!;
      for (const row of rows) {
        for (const column of columns) {
          const value = x!.data[plane * h * w + row * w + column]!;
          const largest = x!.data[plane * h * w + best]!;
          if (value > largest || (Number.isNaN(value) && !Number.isNaN(largest))) best = row * w + column;
        }
      }
      y[at] = x!.data[plane * h * w + best]!;
      indices[at] = best;
    });
    return [y, indices];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, grads }) => [
      grads[0] ? maxPool2dGrad(grads[0], outputs[1]!, { inputShape: inputs[0]!.shape }) : undefined,
    ],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(outputs[0]!.shape) * kernel[0]! * kernel[1]!, // one comparison a tap
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
      name: 'a tie goes to the first',
      inputs: [{ shape: [1, 1, 2, 4], values: [1, 3, 0, 0, 3, 2, 0, 0] }],
      attrs: square(2),
      gradientOf: [], // a kink: only the values and the positions are checked
    },
  ],
  badSamples: [
    { inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }], attrs: square(5), message: "window's height 5 exceeds" },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: square(2, { padding: [2, 0, 0, 0] }),
      message: 'lies wholly in the padding',
    },
    { inputs: [{ dtype: 'f32', shape: [4, 4] }], attrs: square(2), message: '[N, C, H, W]' },
    { inputs: [{ dtype: 'i32', shape: [1, 1, 4, 4] }], attrs: square(2), message: 'takes f32, got i32' },
  ],
});

/** dy and indices of one shape that has the batch and channels of `inputShape`. */
function requireIndexed(values: TensorType, indices: TensorType, inputShape: Shape): void {
  require(values.dtype === 'f32', `takes f32 values, got ${values.dtype}`);
  require(indices.dtype === 'i32', `takes i32 indices, got ${indices.dtype}`);
  requireImage('the input', inputShape);
  requireImage('the indices', indices.shape);
  require(sameShape(
    indices.shape.slice(0, 2),
    inputShape.slice(0, 2),
  ), `batch and channels of the indices ${formatShape(indices.shape)} and of the input ${formatShape(inputShape)} must agree`);
}

/** Elements of a plane [H, W], the last two axes. */
const planeSize = (shape: Shape): number => shape[2]! * shape[3]!;

/** Flat position in the input of the element that output `at` took. */
function takenFrom(indices: Float64Array, at: number, outPlane: number, inPlane: number): number {
  const index = indices[at]!;
  if (index < 0 || index >= inPlane) throw new RangeError(`index ${index} lies outside a plane of ${inPlane} elements`);
  return Math.floor(at / outPlane) * inPlane + index;
}

const somePositions = [0, 5, 3, 14, 10, 10, 0, 1, 15, 5, 5, 12]; // with repeats: windows overlap

export const maxPool2dGradOp = defineOp<ScatterAttrs>({
  name: 'maxPool2dGrad',
  doc: 'dx[n, c, indices[n, c, p, q]] += dy[n, c, p, q]: scatters into planes of `inputShape`, in row-major order of dy.',
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
    rule: ({ inputs, grads }) => [maxPool2dGather(grads[0]!, inputs[1]!), undefined],
  },
  cost: (inputs, outputs) => ({ flops: elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    {
      inputs: [{ shape: [1, 2, 2, 3] }, { shape: [1, 2, 2, 3], dtype: 'i32', values: somePositions }],
      attrs: { inputShape: [1, 2, 4, 4] },
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

export const maxPool2dGatherOp = defineOp({
  name: 'maxPool2dGather',
  doc: 'y[n, c, p, q] = x[n, c, indices[n, c, p, q]], the transpose of maxPool2dGrad.',
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
    rule: ({ inputs, grads }) => [maxPool2dGrad(grads[0]!, inputs[1]!, { inputShape: inputs[0]!.shape }), undefined],
  },
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes([inputs[1]!, outputs[0]!], outputs) }),
  samples: [
    {
      inputs: [{ shape: [1, 2, 4, 4] }, { shape: [1, 2, 2, 3], dtype: 'i32', values: somePositions }],
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

const undilated = (attrs: AvgPoolAttrs): Sliding => ({ ...attrs, dilation: [1, 1] });

/**
 * What each window's divisor counts along both axes. With `countIncludePad` a window that hangs over the padding behind
 * the input (ceil mode) counts up to the padding's end, as in PyTorch.
 */
function counted(x: Shape, y: Shape, attrs: AvgPoolAttrs): [rows: number[], columns: number[]] {
  const along = (axis: 0 | 1): number[] =>
    Array.from({ length: y[axis + 2]! }, (_, at) => {
      const size = x[axis + 2]!;
      const first = at * attrs.stride[axis]! - attrs.padding[axis]!;
      const end = first + attrs.kernel[axis]!;
      return attrs.countIncludePad
        ? Math.min(end, size + attrs.padding[axis + 2]!) - first
        : taps(axis, at, size, undilated(attrs)).length;
    });
  return [along(0), along(1)];
}

/** The kernels know the padding before the input only; with a divisor that counts padding, the other side must follow. */
function unevenSides({ padding: [top, left, bottom, right], countIncludePad, ceilMode }: AvgPoolAttrs): boolean {
  if (!countIncludePad) return false;
  return ceilMode ? bottom !== top || right !== left : bottom! > top! || right! > left!;
}

function averaged(x: TensorType, attrs: AvgPoolAttrs): TensorType {
  const y = pooled(x, undilated(attrs));
  require(!unevenSides(
    attrs,
  ), `padding [${attrs.padding.join(', ')}] (top, left, bottom, right) is larger behind than before and counted in the mean: pad the input itself`);
  return y;
}

const avgCases: readonly { name: string; x: number[]; attrs: AvgPoolAttrs; y: number[] }[] = [
  {
    name: 'halves',
    x: [2, 3, 4, 6],
    attrs: { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0], countIncludePad: true, ceilMode: false },
    y: [2, 3, 2, 3],
  },
  {
    name: 'overlapping, padding counts',
    x: [1, 2, 5, 6],
    attrs: { kernel: [3, 2], stride: [2, 1], padding: [1, 1, 1, 0], countIncludePad: true, ceilMode: false },
    y: [1, 2, 3, 6],
  },
  {
    name: 'overlapping, padding does not count',
    x: [1, 2, 5, 6],
    attrs: { kernel: [3, 2], stride: [2, 1], padding: [1, 1, 1, 0], countIncludePad: false, ceilMode: false },
    y: [1, 2, 3, 6],
  },
  {
    name: 'ceil mode, padding counts up to its end',
    x: [1, 1, 6, 5],
    attrs: { kernel: [3, 3], stride: [2, 3], padding: [1, 1, 1, 1], countIncludePad: true, ceilMode: true },
    y: [1, 1, 4, 2],
  },
  {
    name: 'the whole plane',
    x: [2, 3, 3, 5],
    attrs: { kernel: [3, 5], stride: [3, 5], padding: [0, 0, 0, 0], countIncludePad: true, ceilMode: false },
    y: [2, 3, 1, 1],
  },
];

export const avgPool2dOp = defineOp<AvgPoolAttrs>({
  name: 'avgPool2d',
  doc: 'y = mean of each window, the padding counted in the divisor if `countIncludePad` (ONNX AveragePool, PyTorch avg_pool2d).',
  infer: (inputs, attrs) => {
    requireCount(inputs, 1);
    return [averaged(inputs[0]!, attrs)];
  },
  reference: ([x], attrs, [out]) => {
    const [, , h, w] = x!.type.shape as [number, number, number, number];
    const y = new Float64Array(elementCount(out!.shape));
    const [countRows, countColumns] = counted(x!.type.shape, out!.shape, attrs);
    eachWindow(x!.type.shape, out!.shape, undilated(attrs), ({ at, plane, p, q, rows, columns }) => {
      let total = 0;
      for (const row of rows) for (const column of columns) total += x!.data[(plane * h + row) * w + column]!;
      y[at] = total / (countRows[p]! * countColumns[q]!);
    });
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads }) => [avgPool2dGrad(grads[0]!, { ...attrs, inputShape: inputs[0]!.shape })],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(outputs[0]!.shape) * kernel[0]! * kernel[1]!,
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: avgCases.map(({ name, x, attrs }) => ({ name, inputs: [{ shape: x }], attrs })),
  badSamples: [
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: { kernel: [2, 2], stride: [2, 2], padding: [0, 2, 0, 0], countIncludePad: true, ceilMode: false },
      message: 'window 0 along the width lies wholly in the padding',
    },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: { kernel: [2], stride: [2, 2], padding: [0, 0, 0, 0], countIncludePad: true, ceilMode: false },
      message: 'kernel must be 2 integers',
    },
    {
      inputs: [{ dtype: 'f32', shape: [1, 1, 4, 4] }],
      attrs: { kernel: [2, 2], stride: [1, 1], padding: [0, 0, 1, 1], countIncludePad: true, ceilMode: false },
      message: 'larger behind than before',
    },
  ],
});

export const avgPool2dGradOp = defineOp<AvgPoolGradAttrs>({
  name: 'avgPool2dGrad',
  doc: "dx = each window's dy / divisor spread over the window's elements of `inputShape`; the transpose of avgPool2d.",
  infer: (inputs, { inputShape, ...attrs }) => {
    requireCount(inputs, 1);
    const [dy] = inputs as [TensorType];
    require(dy.dtype === 'f32', `takes f32, got ${dy.dtype}`);
    const y = averaged({ dtype: 'f32', shape: inputShape }, attrs);
    require(sameShape(
      y.shape,
      dy.shape,
    ), `dy must have the pooled shape ${formatShape(y.shape)}, got ${formatShape(dy.shape)}`);
    return [{ dtype: 'f32', shape: inputShape }];
  },
  reference: ([dy], { inputShape, ...attrs }) => {
    const [, , h, w] = inputShape as [number, number, number, number];
    const dx = new Float64Array(elementCount(inputShape));
    const [countRows, countColumns] = counted(inputShape, dy!.type.shape, attrs);
    eachWindow(inputShape, dy!.type.shape, undilated(attrs), ({ at, plane, p, q, rows, columns }) => {
      const share = dy!.data[at]! / (countRows[p]! * countColumns[q]!);
      for (const row of rows) {
        for (const column of columns) {
          const to = (plane * h + row) * w + column;
          dx[to] = dx[to]! + share;
        }
      }
    });
    return [dx];
  },
  gradient: {
    kind: 'rule',
    rule: ({ attrs: { inputShape: _, ...attrs }, grads }) => [avgPool2d(grads[0]!, attrs)],
  },
  cost: (inputs, outputs, { kernel }) => ({
    flops: elementCount(inputs[0]!.shape) * kernel[0]! * kernel[1]!,
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

/** Maximum of each window of [N, C, H, W]. */
export const maxPool2d = (x: Tensor, options: MaxPoolOptions): Tensor =>
  x.graph.add(maxPool2dOp, [x], {
    kernel: pair(options.kernel),
    stride: pair(options.stride ?? options.kernel),
    padding: sides(options.padding ?? 0),
    dilation: pair(options.dilation ?? 1),
    ceilMode: options.ceilMode ?? false,
  })[0]!;

/** Gradient of `maxPool2d`: scatters dy to the saved positions (`max_unpool2d` that adds). */
export const maxPool2dGrad = (dy: Tensor, indices: Tensor, options: { readonly inputShape: Shape }): Tensor =>
  dy.graph.add(maxPool2dGradOp, [dy, indices], { inputShape: options.inputShape })[0]!;

/** Takes from each plane the elements at the saved positions. */
export const maxPool2dGather = (x: Tensor, indices: Tensor): Tensor =>
  x.graph.add(maxPool2dGatherOp, [x, indices], {})[0]!;

const completeAvg = (options: AvgPoolOptions): AvgPoolAttrs => ({
  kernel: pair(options.kernel),
  stride: pair(options.stride ?? options.kernel),
  padding: sides(options.padding ?? 0),
  countIncludePad: options.countIncludePad ?? true,
  ceilMode: options.ceilMode ?? false,
});

/** Mean of each window of [N, C, H, W]. */
export function avgPool2d(x: Tensor, options: AvgPoolOptions): Tensor {
  const attrs = completeAvg(options);
  if (!unevenSides(attrs) || x.rank !== 4) return x.graph.add(avgPool2dOp, [x], attrs)[0]!;
  const [top, left, bottom, right] = attrs.padding as [number, number, number, number];
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const padded = sliceScatter(x, { shape: [n, c, top + h + bottom, left + w + right], starts: [0, 0, top, left] });
  return x.graph.add(avgPool2dOp, [padded], { ...attrs, padding: [0, 0, 0, 0] })[0]!;
}

/** Gradient of `avgPool2d`. */
export const avgPool2dGrad = (dy: Tensor, options: AvgPoolOptions & { readonly inputShape: Shape }): Tensor =>
  dy.graph.add(avgPool2dGradOp, [dy], { ...completeAvg(options), inputShape: options.inputShape })[0]!;
