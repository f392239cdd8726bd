/** Pooling that is told the size of its output instead of its windows. */

import { GraphError } from '../core/errors.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { avgPool } from './avg-pool.ts';
import { MOST_PLACES } from './axes.ts';
import { maxPool } from './max-pool.ts';
import type { PoolAttrs } from './pool-windows.ts';
import { mean } from './reduce.ts';
import { resampleBy } from './resample.ts';
import { concat, slice } from './shape.ts';
import { type PerAxis, perAxis, sides } from './window.ts';

/** Mean of each channel of [N, C, D…], its spatial axes kept as 1 (ONNX GlobalAveragePool). */
export const globalAvgPool = (x: Tensor): Tensor =>
  mean(x, { axes: x.shape.slice(2).map((_, i) => i + 2), keepDims: true });

/** Maximum of each channel of [N, C, D…], its spatial axes kept as 1 (ONNX GlobalMaxPool); the first one has the gradient. */
export const globalMaxPool = (x: Tensor): Tensor => maxPool(x, windows(x.shape.slice(2), x.shape.slice(2)))[0];

const windows = (kernel: readonly number[], stride: readonly number[]): PoolAttrs => ({
  kernel,
  stride,
  padding: sides(0, kernel.length),
  dilation: perAxis(1, kernel.length),
  ceilMode: false,
});

/** Window i of an axis: [⌊i·from / to⌋, ⌈(i + 1)·from / to⌉), as PyTorch's adaptive pooling cuts it. */
const cutsOf = (from: number, to: number): (readonly [start: number, end: number])[] =>
  Array.from({ length: to }, (_, i) => [Math.floor((i * from) / to), Math.ceil(((i + 1) * from) / to)] as const);

/** The same cuts as windows of a pooling, where on every axis all are of one length and one distance apart. */
function evenly(cuts: readonly (readonly (readonly [start: number, end: number])[])[]): PoolAttrs | undefined {
  const kernel = cuts.map((along) => along[0]![1]);
  const stride = cuts.map((along, axis) => (along.length > 1 ? along[1]![0] : kernel[axis]!));
  const even = cuts.every((along, axis) =>
    along.every(([start, end], i) => start === i * stride[axis]! && end - start === kernel[axis]),
  );
  // Windows on one place that is repeated are 0 apart, which no pooling strides.
  return even && stride.every((n) => n > 0) ? windows(kernel, stride) : undefined;
}

/** The cuts of every spatial axis of x. */
function cutsFor(x: Tensor, size: PerAxis, rank: number) {
  const to = perAxis(size, rank);
  const from = x.shape.slice(2);
  if (
    from.length !== rank ||
    to.length !== rank ||
    !to.every((n) => Number.isInteger(n) && n >= 1 && n <= MOST_PLACES)
  ) {
    const what = `${rank} spatial axes and as many positive output sizes`;
    throw new GraphError(
      'adaptive-pool',
      `adaptive pooling of ${x} to [${to.join(', ')}]: takes ${what}${callerLine()}`,
      { remedy: rank === 1 ? '[4]' : `[${new Array(rank).fill(4).join(', ')}]` },
    );
  }
  return from.map((n, axis) => cutsOf(n, to[axis]!));
}

function adaptiveAvgPool(x: Tensor, size: PerAxis, rank: number): Tensor {
  const cuts = cutsFor(x, size, rank);
  const even = evenly(cuts);
  if (even) return avgPool(x, { ...even, countIncludePad: true });
  return cuts.reduce((y, along, axis) => {
    const longest = Math.max(...along.map(([start, end]) => end - start));
    const taps = Array.from({ length: longest }, (_, k) => k);
    return resampleBy(y, axis + 2, {
      // Shorter windows are filled with their first place, of weight 0.
      index: along.map(([start, end]) => taps.map((k) => (start + k < end ? start + k : start))),
      weight: along.map(([start, end]) => taps.map((k) => (start + k < end ? 1 / (end - start) : 0))),
    });
  }, x);
}

function adaptiveMaxPool(x: Tensor, size: PerAxis, rank: number): Tensor {
  const cuts = cutsFor(x, size, rank);
  const even = evenly(cuts);
  if (even) return maxPool(x, even)[0];
  // Window by window along one axis at a time. The last axis goes first: so the first maximum in row-major order wins.
  return cuts.reduceRight((y, along, axis) => {
    const parts = along.map(([start, end]) => {
      const kernel = cuts.map((_, i) => (i === axis ? end - start : 1));
      return maxPool(slice(y, { [axis + 2]: [start, end] }), windows(kernel, kernel))[0];
    });
    return concat(parts, { axis: axis + 2 });
  }, x);
}

/** Means over windows that cut [N, C, L] into `size` parts, as PyTorch's `adaptive_avg_pool1d`. */
export const adaptiveAvgPool1d = (x: Tensor, size: PerAxis): Tensor => adaptiveAvgPool(x, size, 1);
/** Means over windows that cut [N, C, H, W] into `size` parts, as PyTorch's `adaptive_avg_pool2d`. */
export const adaptiveAvgPool2d = (x: Tensor, size: PerAxis): Tensor => adaptiveAvgPool(x, size, 2);
/** Means over windows that cut [N, C, D, H, W] into `size` parts, as PyTorch's `adaptive_avg_pool3d`. */
export const adaptiveAvgPool3d = (x: Tensor, size: PerAxis): Tensor => adaptiveAvgPool(x, size, 3);
/** Maxima over windows that cut [N, C, L] into `size` parts, as PyTorch's `adaptive_max_pool1d`. */
export const adaptiveMaxPool1d = (x: Tensor, size: PerAxis): Tensor => adaptiveMaxPool(x, size, 1);
/** Maxima over windows that cut [N, C, H, W] into `size` parts, as PyTorch's `adaptive_max_pool2d`. */
export const adaptiveMaxPool2d = (x: Tensor, size: PerAxis): Tensor => adaptiveMaxPool(x, size, 2);
/** Maxima over windows that cut [N, C, D, H, W] into `size` parts, as PyTorch's `adaptive_max_pool3d`. */
export const adaptiveMaxPool3d = (x: Tensor, size: PerAxis): Tensor => adaptiveMaxPool(x, size, 3);
