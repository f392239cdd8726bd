/** Known values in another arrangement: nothing is computed but indices. */
import { broadcastShapes, elementCount, type Shape, stridesOf } from '../../../core/types.ts';
import { reshaped } from '../known.ts';
import type { Known, OperatorContext } from '../operator.ts';
import { partsOf } from '../parts.ts';
import { around, axisOf, broadcastIndex, type HostRule, isSmall, pick, stridedIndex, value } from './host.ts';

/** Axes from an attribute (old versions) or an input (from version 13 on); undefined: not given. */
export function axesOf(context: OperatorContext, input: number, rank: number): number[] | undefined {
  const axes = context.has('axes') ? [...context.ints('axes')] : context.optionalIntegers(input, 'axes');
  return axes?.map((axis) => axisOf(context, axis, rank));
}

const identity: HostRule = (context) => [value(context, 0)];

const reshape: HostRule = (context) => {
  const x = value(context, 0);
  const count = elementCount(x.shape);
  const wanted = context.has('shape') ? [...context.ints('shape')] : context.integers(1, 'the shape');
  const keepZero = context.int('allowzero', 0) !== 0;
  const shape = wanted.map((d, i) =>
    d === 0 && !keepZero ? (x.shape[i] ?? context.invalid('a 0 behind its axes')) : d,
  );
  const open = shape.indexOf(-1);
  const rest = elementCount(shape.filter((_, i) => i !== open));
  if (open >= 0) shape[open] = rest === 0 ? 0 : count / rest;
  if (shape.some((d) => !Number.isInteger(d) || d < 0) || elementCount(shape) !== count) {
    context.invalid(`[${x.shape.join(', ')}] cannot take the shape [${wanted.join(', ')}]`);
  }
  return [reshaped(x, shape)];
};

const flatten: HostRule = (context) => {
  const x = value(context, 0);
  const given = context.int('axis', 1);
  const axis = given === x.shape.length ? given : axisOf(context, given, x.shape.length);
  return [reshaped(x, [elementCount(x.shape.slice(0, axis)), elementCount(x.shape.slice(axis))])];
};

const squeeze: HostRule = (context) => {
  const x = value(context, 0);
  const axes = axesOf(context, 1, x.shape.length);
  const wrong = axes?.find((axis) => x.shape[axis] !== 1);
  if (wrong !== undefined) context.invalid(`axis ${wrong} of [${x.shape.join(', ')}] is not 1`);
  return [
    reshaped(
      x,
      x.shape.filter((d, axis) => (axes ? !axes.includes(axis) : d !== 1)),
    ),
  ];
};

const unsqueeze: HostRule = (context) => {
  const x = value(context, 0);
  const given = context.has('axes') ? [...context.ints('axes')] : context.integers(1, 'axes');
  const rank = x.shape.length + given.length;
  const axes = new Set(given.map((axis) => axisOf(context, axis, rank)));
  if (axes.size !== given.length) context.invalid(`axes [${given.join(', ')}] name one axis twice`);
  const rest = [...x.shape];
  return [
    reshaped(
      x,
      Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : rest.shift()!)),
    ),
  ];
};

const transpose: HostRule = (context) => {
  const x = value(context, 0);
  const reversed = x.shape.map((_, i) => x.shape.length - 1 - i);
  const perm = context.ints('perm', reversed);
  if ([...perm].sort((a, b) => a - b).some((axis, i) => axis !== i) || perm.length !== x.shape.length) {
    context.invalid(`perm [${perm.join(', ')}] is no order of ${x.shape.length} axes`);
  }
  const strides = stridesOf(x.shape);
  const shape = perm.map((axis) => x.shape[axis]!);
  return [
    pick(
      x,
      shape,
      stridedIndex(
        shape,
        perm.map((axis) => strides[axis]!),
      ),
    ),
  ];
};

const expand: HostRule = (context) => {
  const x = value(context, 0);
  const wanted = context.integers(1, 'the shape');
  const shape = broadcastShapes(x.shape, wanted);
  if (!shape) return context.invalid(`[${x.shape.join(', ')}] does not broadcast with [${wanted.join(', ')}]`);
  return isSmall(shape) ? [pick(x, shape, broadcastIndex(x.shape, shape))] : undefined;
};

const tile: HostRule = (context) => {
  const x = value(context, 0);
  const repeats = context.integers(1, 'repeats');
  if (repeats.length !== x.shape.length || repeats.some((r) => r < 0)) {
    context.invalid(`repeats [${repeats.join(', ')}] for [${x.shape.join(', ')}]`);
  }
  const shape = x.shape.map((d, axis) => d * repeats[axis]!);
  if (!isSmall(shape)) return undefined;
  const strides = stridesOf(x.shape);
  const at = (flat: number): number => {
    let index = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index += ((flat % shape[axis]!) % x.shape[axis]!) * strides[axis]!;
      flat = Math.floor(flat / shape[axis]!);
    }
    return index;
  };
  return [pick(x, shape, at)];
};

const concat: HostRule = (context) => {
  const inputs = Array.from({ length: context.inputCount }, (_, i) => value(context, i));
  const [first] = inputs;
  if (!first) return context.invalid('it has no inputs');
  const axis = axisOf(context, context.int('axis'), first.shape.length);
  if (
    inputs.some(
      (x) => x.shape.length !== first.shape.length || x.shape.some((d, i) => i !== axis && d !== first.shape[i]),
    )
  ) {
    context.invalid(`shapes ${inputs.map((x) => `[${x.shape.join(', ')}]`).join(', ')} do not fit along axis ${axis}`);
  }
  const size = inputs.reduce((n, x) => n + x.shape[axis]!, 0);
  const shape = first.shape.with(axis, size);
  if (!isSmall(shape)) return undefined;
  const data = new Float64Array(elementCount(shape));
  const [outer] = around(shape, axis);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const x of inputs) {
      const width = x.data.length / outer;
      data.set(x.data.subarray(o * width, (o + 1) * width), at);
      at += width;
    }
  }
  return [{ dtype: first.dtype, shape, data }];
};

/** Elements start, start + step … of axes: `Slice`, and the parts of `Split`. */
function window(x: Known, shape: Shape, starts: readonly number[], steps: readonly number[]): Known {
  const strides = stridesOf(x.shape);
  const start = starts.reduce((sum, s, axis) => sum + s * strides[axis]!, 0);
  return pick(
    x,
    shape,
    stridedIndex(
      shape,
      steps.map((s, axis) => s * strides[axis]!),
      start,
    ),
  );
}

/** ONNX clamps starts and ends into the axis, −1 being one before the first for a negative step. */
const slice: HostRule = (context) => {
  const x = value(context, 0);
  const old = context.has('starts');
  const starts = old ? context.ints('starts') : context.integers(1, 'starts');
  const ends = old ? context.ints('ends') : context.integers(2, 'ends');
  const axes =
    (old
      ? context.ints(
          'axes',
          starts.map((_, i) => i),
        )
      : context.optionalIntegers(3, 'axes')) ?? starts.map((_, i) => i);
  const steps = (old ? undefined : context.optionalIntegers(4, 'steps')) ?? starts.map(() => 1);
  if (new Set([starts.length, ends.length, axes.length, steps.length]).size > 1) {
    context.invalid('starts, ends, axes and steps differ in length');
  }
  const from = x.shape.map(() => 0);
  const by = x.shape.map(() => 1);
  const shape = [...x.shape];
  const sliced = new Set<number>();
  axes.forEach((given, i) => {
    const axis = axisOf(context, given, x.shape.length);
    if (sliced.has(axis)) context.invalid(`axis ${axis} is sliced twice`);
    sliced.add(axis);
    const size = x.shape[axis]!;
    const step = steps[i]!;
    if (step === 0) context.invalid('a step is 0');
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const clamp = (p: number): number => Math.min(Math.max(p < 0 ? p + size : p, low), high);
    from[axis] = Math.max(clamp(starts[i]!), 0);
    by[axis] = step;
    shape[axis] = Math.max(Math.ceil((clamp(ends[i]!) - clamp(starts[i]!)) / step), 0);
  });
  return [window(x, shape, from, by)];
};

const split: HostRule = (context) => {
  const x = value(context, 0);
  const axis = axisOf(context, context.int('axis', 0), x.shape.length);
  let at = 0;
  return partsOf(context, x.shape, axis).map((part) => {
    const starts = x.shape.map((_, i) => (i === axis ? at : 0));
    at += part;
    return window(
      x,
      x.shape.with(axis, part),
      starts,
      x.shape.map(() => 1),
    );
  });
};

/** Pad with a constant: of shapes and masks. Other modes are left to the operator's rule. */
const pad: HostRule = (context) => {
  const x = value(context, 0);
  if (context.string('mode', 'constant') !== 'constant' || context.optional(3)) return undefined;
  const pads = context.has('pads') ? [...context.ints('pads')] : context.integers(1, 'pads');
  const rank = x.shape.length;
  if (pads.length !== 2 * rank) context.invalid(`${pads.length} pads for ${rank} axes`);
  const fill = context.optionalScalar(2, 'the value') ?? (context.has('value') ? context.floatAttr('value') : 0);
  const shape = x.shape.map((d, axis) => d + pads[axis]! + pads[axis + rank]!);
  if (shape.some((d) => d < 0)) context.invalid(`pads [${pads.join(', ')}] for [${x.shape.join(', ')}]`);
  if (!isSmall(shape)) return undefined;
  const strides = stridesOf(x.shape);
  const data = Float64Array.from({ length: elementCount(shape) }, (_, flat) => {
    let at = 0;
    for (let axis = rank - 1; axis >= 0; axis--) {
      const index = (flat % shape[axis]!) - pads[axis]!;
      if (index < 0 || index >= x.shape[axis]!) return fill;
      at += index * strides[axis]!;
      flat = Math.floor(flat / shape[axis]!);
    }
    return x.data[at]!;
  });
  return [{ dtype: x.dtype, shape, data }];
};

export const move: Readonly<Record<string, HostRule>> = {
  Concat: concat,
  Expand: expand,
  Flatten: flatten,
  Identity: identity,
  Pad: pad,
  Reshape: reshape,
  Slice: slice,
  Split: split,
  Squeeze: squeeze,
  Tile: tile,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};
