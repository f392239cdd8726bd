/** Mean pooling and its transpose: linear, hence closed under differentiation. */
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import {
  completePool,
  eachWindow,
  type PoolAttrs,
  type PoolOptions,
  pooled,
  requireCount,
  taps,
} from './pool-windows.ts';

export type AvgPoolAttrs = PoolAttrs & {
  /** Whether the divisor counts the padding (PyTorch's default) or only elements of the input. */
  readonly countIncludePad: boolean;
};
type AvgPoolGradAttrs = AvgPoolAttrs & { readonly inputShape: readonly number[] };

export interface AvgPoolOptions extends PoolOptions {
  /** default true */
  readonly countIncludePad?: boolean;
}

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

const completeAvg = (options: AvgPoolOptions, rank: number): AvgPoolAttrs => ({
  ...completePool(options, rank),
  countIncludePad: options.countIncludePad ?? true,
});

/** Means of the windows. */
export const avgPool = (x: Tensor, attrs: AvgPoolAttrs): Tensor => x.graph.add(avgPoolOp, [x], attrs)[0]!;

/** Gradient of `avgPool`. */
export const avgPoolGrad = (dy: Tensor, attrs: AvgPoolGradAttrs): Tensor =>
  dy.graph.add(avgPoolGradOp, [dy], attrs)[0]!;

/** Mean of each window of [N, C, L]. */
export const avgPool1d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 1));

/** Mean of each window of [N, C, H, W]. */
export const avgPool2d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 2));

/** Mean of each window of [N, C, D, H, W]. */
export const avgPool3d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool(x, completeAvg(options, 3));
