import { GraphError } from '../core/errors.ts';
import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { MOST_PLACES, normalAxis } from './axes.ts';
import { add } from './binary.ts';
import { indexMap } from './broadcast.ts';
import { requireWord, wordsOf } from './options.ts';
import { resampleBy, takeBy } from './resample.ts';
import {
  type AxisResize,
  type AxisTaps,
  type CoordinateTransformation,
  type Interpolation,
  isIdentity,
  type NearestMode,
  resizeTaps,
} from './resize-taps.ts';

export interface ResizeOptions {
  /** Factors by axis … */
  readonly scales?: readonly number[];
  /** … or sizes. One of the two. */
  readonly sizes?: readonly number[];
  /** The axes that scales or sizes speak of; default all. */
  readonly axes?: readonly number[];
  /** default nearest */
  readonly mode?: Interpolation;
  /** default halfPixel */
  readonly coordinateTransformation?: CoordinateTransformation;
  /** default roundPreferFloor */
  readonly nearestMode?: NearestMode;
  /** default −0.75, PyTorch's */
  readonly cubicCoeffA?: number;
  readonly excludeOutside?: boolean;
  readonly antialias?: boolean;
  /** How sizes are met: as they are (default), or by one scale for all axes that exceeds none of them, or reaches all. */
  readonly keepAspectRatio?: 'stretch' | 'notLarger' | 'notSmaller';
  /** Of tfCropAndResize: [starts…, ends…] by axis, shares of the axis; and the value of what lies outside, default 0. */
  readonly roi?: readonly number[];
  readonly extrapolationValue?: number;
}

const words = {
  mode: wordsOf<Interpolation>({ nearest: true, linear: true, cubic: true }),
  coordinateTransformation: wordsOf<CoordinateTransformation>({
    halfPixel: true,
    halfPixelSymmetric: true,
    pytorchHalfPixel: true,
    alignCorners: true,
    asymmetric: true,
    tfHalfPixelForNn: true,
    tfCropAndResize: true,
  }),
  nearestMode: wordsOf<NearestMode>({ roundPreferFloor: true, roundPreferCeil: true, floor: true, ceil: true }),
  keepAspectRatio: wordsOf<NonNullable<ResizeOptions['keepAspectRatio']>>({
    stretch: true,
    notLarger: true,
    notSmaller: true,
  }),
} as const;

function requireWords(x: Tensor, options: ResizeOptions): void {
  for (const name of ['mode', 'coordinateTransformation', 'nearestMode', 'keepAspectRatio'] as const) {
    const word = options[name];
    if (word !== undefined) requireWord('resize', x, name, word, words[name]);
  }
}

/** Size and scale that an axis gets; without a scale it is the ratio of the sizes. */
interface Target {
  readonly to: number;
  readonly scale?: number;
}

const refuse = (x: Tensor, reason: string): never => {
  throw new GraphError('resize-options', `resize of ${x}: ${reason}${callerLine()}`, {
    fields: { reason },
    remedy: 'resize(x, { scales: [1, 1, 2, 2] }), or sizes: a positive number for each axis',
  });
};

function targetsOf(x: Tensor, axes: readonly number[], options: ResizeOptions): Target[] {
  const { scales, sizes, keepAspectRatio = 'stretch' } = options;
  const list = scales ?? sizes;
  if (!list || (scales && sizes)) return refuse(x, 'takes either scales or sizes');
  if (list.length !== axes.length) return refuse(x, `${list.length} numbers for ${axes.length} axes`);
  if (!list.every((v) => v > 0 && Number.isFinite(v))) return refuse(x, `[${list.join(', ')}] must be positive`);
  if (list.some((v) => v > MOST_PLACES)) return refuse(x, `[${list.join(', ')}]: at most ${MOST_PLACES}`);
  const from = axes.map((axis) => x.shape[axis]!);
  if (scales) return scales.map((scale, i) => scaled(from[i]!, scale));
  if (!list.every(Number.isInteger)) return refuse(x, `sizes [${list.join(', ')}] must be integers`);
  if (keepAspectRatio === 'stretch') return list.map((to) => ({ to }));
  const ratios = list.map((to, i) => to / from[i]!);
  const scale = keepAspectRatio === 'notLarger' ? Math.min(...ratios) : Math.max(...ratios);
  return from.map((n) => ({ to: Math.max(1, Math.floor(n * scale + 0.5)), scale }));
}

/** The size that a scale gives. */
export const scaledSize = (from: number, scale: number): number => scaled(from, scale).to;

/** A scale that f32 rounds from the ratio of two sizes means that ratio. */
function scaled(from: number, scale: number): Target {
  const near = Math.round(from * scale);
  if (Math.fround(near / from) === Math.fround(scale)) return { to: near };
  return { to: Math.floor(from * scale), scale };
}

/**
 * Interpolation of x along any of its axes, one after the other (f32; mode nearest: any dtype): ONNX Resize, which contains PyTorch's interpolate
 * (`nearest`: asymmetric with floor; `nearest-exact`: halfPixel with roundPreferCeil; `linear` … `bicubic`: pytorchHalfPixel
 * or alignCorners).
 */
export function resize(x: Tensor, options: ResizeOptions): Tensor {
  requireWords(x, options);
  if (options.axes !== undefined && !Array.isArray(options.axes)) {
    return refuse(x, `axes must be a list of numbers, got ${options.axes}`);
  }
  const axes = options.axes?.map((axis) => normalAxis(axis, x.rank)) ?? x.shape.map((_, i) => i);
  if (axes.some((axis, i) => !(axis >= 0 && axis < x.rank) || axes.indexOf(axis) !== i)) {
    return refuse(x, `axes [${options.axes!.join(', ')}] must be different axes of rank ${x.rank}`);
  }
  const roi = options.roi ?? [...axes.map(() => 0), ...axes.map(() => 1)];
  if (roi.length !== 2 * axes.length) return refuse(x, `the region has ${roi.length} numbers for ${axes.length} axes`);
  const resized = targetsOf(x, axes, options).map((target, i) => {
    const by: AxisResize = {
      ...target,
      from: x.shape[axes[i]!]!,
      mode: options.mode ?? 'nearest',
      coordinates: options.coordinateTransformation ?? 'halfPixel',
      nearestMode: options.nearestMode ?? 'roundPreferFloor',
      cubicCoeffA: options.cubicCoeffA ?? -0.75,
      excludeOutside: options.excludeOutside ?? false,
      antialias: options.antialias ?? false,
      roi: [roi[i]!, roi[axes.length + i]!],
    };
    if (by.to < 1) return refuse(x, `nothing is left of axis ${axes[i]}, ${by.from} elements`);
    return { axis: axes[i]!, growth: by.to / by.from, taps: resizeTaps(by) };
  });
  // Axes that shrink go first: what follows has less to do.
  const y = [...resized]
    .filter(({ axis, taps }) => !isIdentity(taps, x.shape[axis]!))
    .sort((a, b) => a.growth - b.growth)
    .reduce(
      (t, { axis, taps }) =>
        taps.weight.every(([w, ...more]) => w === 1 && more.length === 0)
          ? takeBy(
              t,
              axis,
              taps.index.map(([place]) => place!),
            )
          : resampleBy(t, axis, taps),
      x,
    );
  const value = options.extrapolationValue ?? 0;
  return value !== 0 && resized.some(({ taps }) => taps.outside.includes(true)) ? extrapolated(y, resized, value) : y;
}

/** y, which is 0 where any axis lies outside, with `value` there. */
function extrapolated(y: Tensor, axes: readonly { axis: number; taps: AxisTaps }[], value: number): Tensor {
  const first = Math.min(...axes.flatMap(({ axis, taps }) => (taps.outside.includes(true) ? [axis] : [])));
  const shape = y.shape.slice(first).map((d, i) => (axes.some(({ axis }) => axis === first + i) ? d : 1));
  const data = new Float32Array(elementCount(shape));
  for (const { axis, taps } of axes) {
    if (axis < first) continue;
    const positions = indexMap(
      shape,
      shape.map((_, i) => (i === axis - first ? 1 : 0)),
    );
    for (const [at, position] of positions.entries()) if (taps.outside[position]) data[at] = value;
  }
  return add(y, y.graph.constant({ type: { dtype: 'f32', shape }, data }, 'resize.outside'));
}
