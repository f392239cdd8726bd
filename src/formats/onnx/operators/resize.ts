/** Padding, interpolation, and channels as squares of pixels. */
import { formatShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { normalAxis } from '../../../ops/axes.ts';
import { type PadMode, pad as padTensor } from '../../../ops/pad.ts';
import { type ResizeOptions, resize as resizeTensor } from '../../../ops/resize.ts';
import type { CoordinateTransformation, Interpolation, NearestMode } from '../../../ops/resize-taps.ts';
import { depthToSpace, spaceToDepth } from '../../../ops/space-depth.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';
import { named } from './named.ts';

/** Axes that a list names, non-negative; all of them where there is none. */
function axesOf(context: OperatorContext, x: Tensor, list: readonly number[] | undefined): number[] {
  if (!list) return x.shape.map((_, i) => i);
  const axes = list.map((axis) => normalAxis(axis, x.rank));
  if (axes.some((axis, i) => axis < 0 || axis >= x.rank || axes.indexOf(axis) !== i)) {
    context.invalid(`axes ${formatShape(list)} must be different axes of rank ${x.rank}`);
  }
  return axes;
}

const padModes: Readonly<Record<string, PadMode>> = {
  constant: 'constant',
  reflect: 'reflect',
  edge: 'edge',
  wrap: 'wrap',
};

/** Amounts and value are attributes before version 11 and inputs since; axes came with version 18. */
const pad: OperatorRule = (context) => {
  const x = context.tensor(0);
  const old = context.opset < 11;
  const amounts = old ? context.ints('pads') : context.integers(1, 'pads');
  const axes = axesOf(context, x, context.optionalIntegers(3, 'axes'));
  const count = axes.length;
  if (amounts.length !== 2 * count) context.invalid(`pads must hold ${2 * count} integers, got ${amounts.length}`);
  const value = old ? context.floatAttr('value', 0) : (context.optionalScalar(2, 'the padding value') ?? 0);
  return [
    padTensor(x, Object.fromEntries(axes.map((axis, i) => [axis, [amounts[i]!, amounts[count + i]!] as const])), {
      mode: named(context, 'mode', 'constant', padModes),
      value,
    }),
  ];
};

const interpolations: Readonly<Record<string, Interpolation>> = {
  nearest: 'nearest',
  linear: 'linear',
  bilinear: 'linear', // Upsample-1's name
  cubic: 'cubic',
};

const coordinates: Readonly<Record<string, CoordinateTransformation>> = {
  half_pixel: 'halfPixel',
  half_pixel_symmetric: 'halfPixelSymmetric',
  pytorch_half_pixel: 'pytorchHalfPixel',
  align_corners: 'alignCorners',
  asymmetric: 'asymmetric',
  tf_half_pixel_for_nn: 'tfHalfPixelForNn',
  tf_crop_and_resize: 'tfCropAndResize',
};

const nearestModes: Readonly<Record<string, NearestMode>> = {
  round_prefer_floor: 'roundPreferFloor',
  round_prefer_ceil: 'roundPreferCeil',
  floor: 'floor',
  ceil: 'ceil',
};

const aspectPolicies: Readonly<Record<string, NonNullable<ResizeOptions['keepAspectRatio']>>> = {
  stretch: 'stretch',
  not_larger: 'notLarger',
  not_smaller: 'notSmaller',
};

/** The numbers of an optional input; one without elements counts as left out. */
function numbers(context: OperatorContext, i: number, what: string): number[] | undefined {
  const data = context.optionalKnown(i, what)?.data;
  return data && data.length > 0 ? [...data] : undefined;
}

/** x for an interpolation: any dtype where elements are only taken. */
const operand = (context: OperatorContext, mode: Interpolation): Tensor =>
  mode === 'nearest' ? context.tensor(0) : context.float(0);

/**
 * Resize since version 11. The batch keeps its size: a file holds the one it was written with, and the graph is built for
 * any.
 */
function resizeNow(context: OperatorContext): Tensor {
  const mode = named(context, 'mode', 'nearest', interpolations);
  const x = operand(context, mode);
  const axes = axesOf(context, x, context.has('axes') ? context.ints('axes') : undefined);
  const batch = context.batchAxisOf(x);
  const kept = axes.map((axis, i) => (axis === batch ? -1 : i)).filter((i) => i >= 0);
  const of = (list: readonly number[] | undefined, what: string): readonly number[] | undefined => {
    if (list && list.length !== axes.length) {
      context.invalid(`${what} must hold ${axes.length} numbers, got ${list.length}`);
    }
    return list && kept.map((i) => list[i]!);
  };
  const scales = of(numbers(context, 2, 'the scales'), 'scales');
  const sizes = of(numbers(context, 3, 'the sizes'), 'sizes');
  const region = numbers(context, 1, 'the region');
  const transformation = named(context, 'coordinate_transformation_mode', 'half_pixel', coordinates);
  const cropped = transformation === 'tfCropAndResize';
  if (cropped && region?.length !== 2 * axes.length) context.invalid(`roi must hold ${2 * axes.length} numbers`);
  return resizeTensor(x, {
    axes: kept.map((i) => axes[i]!),
    ...(scales ? { scales } : {}),
    ...(sizes ? { sizes } : {}),
    ...(cropped ? { roi: [...kept, ...kept.map((i) => axes.length + i)].map((i) => region![i]!) } : {}),
    mode,
    coordinateTransformation: transformation,
    nearestMode: named(context, 'nearest_mode', 'round_prefer_floor', nearestModes),
    cubicCoeffA: context.floatAttr('cubic_coeff_a', -0.75),
    excludeOutside: context.int('exclude_outside', 0) !== 0,
    antialias: context.int('antialias', 0) !== 0,
    keepAspectRatio: named(context, 'keep_aspect_ratio_policy', 'stretch', aspectPolicies),
    extrapolationValue: context.floatAttr('extrapolation_value', 0),
  });
}

/**
 * Upsample, and Resize-10: positions are divided by the scale; nearest takes the element before where an axis grows, and
 * the one behind where it shrinks, as ONNX's cases have it.
 */
function resizeThen(context: OperatorContext, scales: readonly number[]): Tensor {
  const mode = named(context, 'mode', 'nearest', interpolations);
  const x = operand(context, mode);
  if (scales.length !== x.rank) context.invalid(`scales must hold ${x.rank} numbers, got ${scales.length}`);
  const all = scales.map((_, axis) => axis);
  return [true, false].reduce((y, shrinks) => {
    const axes = all.filter((axis) => scales[axis]! < 1 === shrinks && scales[axis] !== 1);
    if (axes.length === 0) return y;
    return resizeTensor(y, {
      axes,
      scales: axes.map((axis) => scales[axis]!),
      mode,
      coordinateTransformation: 'asymmetric',
      nearestMode: shrinks ? 'ceil' : 'floor',
    });
  }, x);
}

const resize: OperatorRule = (context) => [
  context.opset < 11 ? resizeThen(context, numbers(context, 1, 'the scales') ?? []) : resizeNow(context),
];

/** Scales are an attribute before version 9, and an input since. */
const upsample: OperatorRule = (context) => [
  resizeThen(context, context.has('scales') ? context.floats('scales') : (numbers(context, 1, 'the scales') ?? [])),
];

export const resizeOperators: OperatorTable = {
  DepthToSpace: (context) => [
    depthToSpace(context.tensor(0), {
      blockSize: context.int('blocksize'),
      order: named(context, 'mode', 'DCR', { DCR: 'DCR', CRD: 'CRD' } as const),
    }),
  ],
  Pad: pad,
  Resize: resize,
  SpaceToDepth: (context) => [spaceToDepth(context.tensor(0), { blockSize: context.int('blocksize') })],
  Upsample: upsample,
};
