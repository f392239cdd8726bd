/** How the windows of a pooling lie over one to three spatial axes of [N, C, D…]: what maximum and mean share. */
import { elementCount, type Shape, type TensorType } from '../core/types.ts';
import { require } from '../graph/op-record.ts';
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

export type PoolAttrs = {
  /** One number for each spatial axis: says how many there are. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [begins…, ends…]; padding never wins. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
};

export interface PoolOptions {
  readonly kernel: PerAxis;
  /** default: the kernel */
  readonly stride?: PerAxis;
  readonly padding?: PaddingOption;
  readonly dilation?: PerAxis;
  readonly ceilMode?: boolean;
}

/** Fills an option's short forms and defaults. */
export const completePool = (options: PoolOptions, rank: number): PoolAttrs => ({
  kernel: perAxis(options.kernel, rank),
  stride: perAxis(options.stride ?? options.kernel, rank),
  padding: sides(options.padding ?? 0, rank),
  dilation: perAxis(options.dilation ?? 1, rank),
  ceilMode: options.ceilMode ?? false,
});

/** Output type of a pooling, after checking that every window holds an element of the input. */
export function pooled(x: TensorType, by: Sliding): TensorType {
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
export function taps(axis: number, at: number, size: number, by: Sliding): number[] {
  const positions: number[] = [];
  for (let k = 0; k < by.kernel[axis]!; k++) {
    const position = at * by.stride[axis]! + k * by.dilation[axis]! - by.padding[axis]!;
    if (position >= 0 && position < size) positions.push(position);
  }
  return positions;
}

/** Elements of a channel: all axes but the first two. */
export const planeSize = (shape: Shape): number => elementCount(shape.slice(2));

/**
 * One output element: its flat index, that of its plane's first input element, and the places in the plane that its
 * window covers, ascending.
 */
interface Window {
  readonly at: number;
  readonly plane: number;
  readonly places: readonly number[];
}

export function eachWindow(x: Shape, y: Shape, by: Sliding, visit: (window: Window) => void): void {
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

export const requireCount = (inputs: readonly TensorType[], count: number): void =>
  require(inputs.length === count, `takes ${count} input${count === 1 ? '' : 's'}, got ${inputs.length}`);
