/**
 * The same elements under another shape, in another order or number. Shapes, axes and bounds must be known at import; a
 * node that only changes the shape stays a node also where it changes nothing, so that every batch size builds the same graph.
 */
import { broadcastShapes, elementCount, type Shape } from '../../../core/types.ts';
import { normalAxis } from '../../../ops/axes.ts';
import { broadcastTo, concat, type SliceRange, slice, transpose, view } from '../../../ops/shape.ts';
import { trilu } from '../../../ops/trilu.ts';
import { constantOf, known } from '../known.ts';
import { isTensor, type Known, type OperatorContext, type OperatorRule, type OperatorTable } from '../operator.ts';
import { partsOf } from '../parts.ts';
import { onnxDTypeOf } from '../tensor-bytes.ts';

const text = (shape: Shape): string => `[${shape.join(', ')}]`;

/** A non-negative axis below `rank`. */
export function axisOf(context: OperatorContext, axis: number, rank: number): number {
  const at = normalAxis(axis, rank);
  return at >= 0 && at < rank ? at : context.invalid(`axis ${axis} is out of range for rank ${rank}`);
}

/** `axes`, an attribute in older versions and input i in newer ones; undefined where neither is given. */
function axesOf(context: OperatorContext, i: number, rank: number): number[] | undefined {
  const axes = context.has('axes') ? context.ints('axes') : context.optionalIntegers(i, 'axes');
  return axes?.map((axis) => axisOf(context, axis, rank));
}

/** A tensor without elements, which a graph cannot hold. */
const empty = (context: OperatorContext, shape: Shape): Known => known(context.dtypeOf(0), shape, []);

const reshapeRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  // An attribute before version 5.
  const wanted = context.has('shape') ? [...context.ints('shape')] : context.integers(1, 'the shape');
  const copyZeros = context.int('allowzero', 0) === 0;
  const shape = wanted.map((d, i) => {
    if (d !== 0 || !copyZeros) return d;
    return x.shape[i] ?? context.invalid(`the shape ${text(wanted)} has a 0 where ${text(x.shape)} has no axis`);
  });
  const free = shape.indexOf(-1);
  if (free >= 0) {
    const others = -elementCount(shape);
    shape[free] = elementCount(x.shape) / others;
  }
  if (!shape.every((d) => Number.isInteger(d) && d > 0)) {
    context.invalid(`${text(x.shape)} does not fit the shape ${text(wanted)}`);
  }
  return [view(x, shape)];
};

const flatten: OperatorRule = (context) => {
  const x = context.tensor(0);
  const axis = context.int('axis', 1);
  // The axis may be the rank: all goes into the rows.
  const at = axis === x.rank ? axis : axisOf(context, axis, x.rank);
  return [view(x, [elementCount(x.shape.slice(0, at)), elementCount(x.shape.slice(at))])];
};

/** Without axes all of size 1 go, but for the batch's: it stays whatever its size, as a chunk may hold one sample. */
const squeeze: OperatorRule = (context) => {
  const x = context.tensor(0);
  const batch = context.batchAxisOf(x);
  const axes = axesOf(context, 1, x.rank) ?? x.shape.flatMap((d, i) => (d === 1 && i !== batch ? [i] : []));
  const wide = axes.find((axis) => x.shape[axis] !== 1);
  if (wide !== undefined) context.invalid(`axis ${wide} of ${text(x.shape)} is not of size 1`);
  return [
    view(
      x,
      x.shape.filter((_, i) => !axes.includes(i)),
    ),
  ];
};

const unsqueeze: OperatorRule = (context) => {
  const x = context.tensor(0);
  const given = context.has('axes') ? context.ints('axes') : context.integers(1, 'axes');
  const rank = x.rank + given.length;
  const axes = new Set(given.map((axis) => axisOf(context, axis, rank)));
  if (axes.size < given.length) context.invalid(`axes ${text(given)} name one twice`);
  const sizes = [...x.shape];
  return [
    view(
      x,
      Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : sizes.shift()!)),
    ),
  ];
};

const transposeRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  return [transpose(x, context.has('perm') ? context.ints('perm') : undefined)];
};

/** The shape and x's broadcast both ways. */
const expand: OperatorRule = (context) => {
  const x = context.tensor(0);
  const shape = context.integers(1, 'the shape');
  const out =
    broadcastShapes(x.shape, shape) ?? context.invalid(`${text(x.shape)} does not broadcast to ${text(shape)}`);
  return [out.includes(0) ? empty(context, out) : broadcastTo(x, out)];
};

/** Each axis becomes [repeats, size] and then one. */
const tile: OperatorRule = (context) => {
  const x = context.tensor(0);
  const repeats = context.integers(1, 'the repeats');
  if (repeats.length !== x.rank) context.invalid(`there are ${repeats.length} repeats for ${x.rank} axes`);
  const out = x.shape.map((d, i) => d * repeats[i]!);
  if (out.includes(0)) return [empty(context, out)];
  const split = x.shape.flatMap((d) => [1, d]);
  return [
    view(
      broadcastTo(
        view(x, split),
        x.shape.flatMap((d, i) => [repeats[i]!, d]),
      ),
      out,
    ),
  ];
};

/** What is empty adds nothing. */
const concatRule: OperatorRule = (context) => {
  const all = Array.from({ length: context.inputCount }, (_, i) => context.input(i));
  const present = all.filter((value) => isTensor(value) || !value.shape.includes(0)).map(context.lift);
  const rank = present[0]?.rank ?? 0;
  return [concat(present, { axis: axisOf(context, context.int('axis', context.opset < 4 ? 1 : undefined), rank) })];
};

/** Bounds and steps: attributes before version 10, then inputs. Bounds beyond the axis (up to ±2^63) are cut off. */
const sliceRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  const inputs = !context.has('starts');
  const starts = inputs ? context.integers(1, 'the starts') : context.ints('starts');
  const ends = inputs ? context.integers(2, 'the ends') : context.ints('ends');
  const axes = axesOf(context, 3, x.rank) ?? starts.map((_, i) => axisOf(context, i, x.rank));
  const steps = (inputs ? context.optionalIntegers(4, 'the steps') : undefined) ?? starts.map(() => 1);
  if ([ends, axes, steps].some((list) => list.length !== starts.length)) {
    context.invalid(
      `${starts.length} starts, ${ends.length} ends, ${axes.length} axes and ${steps.length} steps differ`,
    );
  }
  if (steps.includes(0)) context.invalid('a step is 0');
  const twice = axes.find((axis, i) => axes.indexOf(axis) !== i);
  if (twice !== undefined) context.invalid(`axis ${twice} is sliced twice`);
  const ranges = axes.map((axis, i): [number, SliceRange] => [axis, [starts[i]!, ends[i]!, steps[i]!]]);
  const shape = [...x.shape];
  for (const [axis, range] of ranges) shape[axis] = sliceSize(x.shape[axis]!, range as [number, number, number]);
  return [shape.includes(0) ? empty(context, shape) : slice(x, Object.fromEntries(ranges))];
};

function sliceSize(size: number, [start, end, step]: readonly [number, number, number]): number {
  const [low, high] = step < 0 ? [-1, size - 1] : [0, size];
  const position = (p: number) => Math.min(Math.max(p < 0 ? p + size : p, low), high);
  return Math.max(0, Math.ceil((position(end) - position(start)) / step));
}

const split: OperatorRule = (context) => {
  const x = context.tensor(0);
  const axis = axisOf(context, context.int('axis', 0), x.rank);
  let start = 0;
  return partsOf(context, x.shape, axis).map((part, i) => {
    const end = start + part;
    const range: SliceRange = [start, end];
    start = end;
    if (!context.wants(i)) return undefined;
    return part === 0 ? empty(context, x.shape.with(axis, 0)) : slice(x, { [axis]: range });
  });
};

/** One value in all places; small tensors are made at import already. */
const constantOfShape: OperatorRule = (context) => {
  const shape = context.integers(0, 'the shape');
  const value = context.has('value') ? constantOf(context.tensorAttr('value')) : known('FLOAT', [1], [0]);
  if (value.data.length !== 1) context.invalid(`its value has ${value.data.length} elements`);
  return [broadcastTo(context.lift(scalarOf(value)), shape)];
};

const scalarOf = ({ dtype, data }: Known): Known => ({ dtype, shape: [], data });

/** start, start + delta … before limit; short ranges are made at import already. */
const range: OperatorRule = (context) => {
  const [start, limit, delta] = ['the start', 'the limit', 'the step'].map((what, i) => {
    return context.scalar(i, what);
  }) as [number, number, number];
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  if (!Number.isFinite(count)) context.invalid(`a range from ${start} to ${limit} by ${delta} has no end`);
  const values = Float64Array.from({ length: count }, (_, i) => start + i * delta);
  return [known(context.dtypeOf(0), [count], values)];
};

/** 1 on diagonal k of the shape of x, whose values do not matter. */
const eyeLike: OperatorRule = (context) => {
  const { shape } = context.input(0);
  if (shape.length !== 2) context.invalid(`it takes a matrix, not ${text(shape)}`);
  const [rows, columns] = shape as [number, number];
  const k = context.int('k', 0);
  const dtype = context.has('dtype')
    ? (onnxDTypeOf(context.int('dtype')) ?? context.unsupported('its dtype'))
    : context.dtypeOf(0);
  const data = new Float64Array(rows * columns);
  for (let row = Math.max(0, -k); row < rows && row + k < columns; row++) data[row * columns + row + k] = 1;
  return [known(dtype, shape, data)];
};

const triluRule: OperatorRule = (context) => {
  const k = context.optionalInteger(1, 'k') ?? 0;
  return [trilu(context.tensor(0), { upper: context.int('upper', 1) !== 0, k })];
};

export const shapeOperators: OperatorTable = {
  Concat: concatRule,
  ConstantOfShape: constantOfShape,
  Expand: expand,
  EyeLike: eyeLike,
  Flatten: flatten,
  Range: range,
  Reshape: reshapeRule,
  Slice: sliceRule,
  Split: split,
  Squeeze: squeeze,
  Tile: tile,
  Transpose: transposeRule,
  Trilu: triluRule,
  Unsqueeze: unsqueeze,
};
