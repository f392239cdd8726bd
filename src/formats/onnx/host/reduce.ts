/** Known values reduced or scanned along axes. */
import { elementCount } from '../../../core/types.ts';
import { known, storedAs } from '../known.ts';
import { around, axisOf, type HostRule, value } from './host.ts';
import { axesOf } from './move.ts';

/** A reduction: start, step, and what is made of the result and the number of elements. */
function reduction(
  start: number,
  step: (sum: number, x: number) => number,
  finish: (sum: number, count: number) => number = (sum) => sum,
): HostRule {
  return (context) => {
    const x = value(context, 0);
    const rank = x.shape.length;
    const given = axesOf(context, 1, rank);
    const none = given === undefined || given.length === 0;
    if (none && context.int('noop_with_empty_axes', 0) !== 0) return [x];
    const axes = none ? x.shape.map((_, i) => i) : given;
    const kept = x.shape.map((d, axis) => (axes.includes(axis) ? 1 : d));
    const data = new Float64Array(elementCount(kept)).fill(start);
    x.data.forEach((v, flat) => {
      let at = 0;
      let width = 1;
      for (let axis = rank - 1, rest = flat; axis >= 0; axis--) {
        const size = x.shape[axis]!;
        if (kept[axis] !== 1) at += (rest % size) * width;
        width *= kept[axis]!;
        rest = Math.floor(rest / size);
      }
      data[at] = step(data[at]!, v);
    });
    const count = x.data.length / Math.max(data.length, 1);
    const stored = storedAs(x.dtype);
    const shape = context.int('keepdims', 1) !== 0 ? kept : x.shape.filter((_, axis) => !axes.includes(axis));
    return [{ dtype: x.dtype, shape, data: data.map((sum) => stored(finish(sum, count))) }];
  };
}

/** The first of equal ones, the last with `select_last_index`. */
const argument =
  (better: (x: number, best: number) => boolean): HostRule =>
  (context) => {
    const x = value(context, 0);
    const axis = axisOf(context, context.int('axis', 0), x.shape.length);
    const last = context.int('select_last_index', 0) !== 0;
    const [outer, size, inner] = around(x.shape, axis);
    if (size === 0) context.invalid('its axis is empty');
    const data = Float64Array.from({ length: outer * inner }, (_, flat) => {
      const base = Math.floor(flat / inner) * size * inner + (flat % inner);
      let best = 0;
      for (let i = 1; i < size; i++) {
        const [v, top] = [x.data[base + i * inner]!, x.data[base + best * inner]!];
        if (better(v, top) || (last && v === top)) best = i;
      }
      return best;
    });
    const shape = context.int('keepdims', 1) !== 0 ? x.shape.with(axis, 1) : x.shape.toSpliced(axis, 1);
    return [known('INT64', shape, data)];
  };

const cumSum: HostRule = (context) => {
  const x = value(context, 0);
  const axis = axisOf(context, context.integer(1, 'the axis'), x.shape.length);
  const exclusive = context.int('exclusive', 0) !== 0;
  const reverse = context.int('reverse', 0) !== 0;
  const [outer, size, inner] = around(x.shape, axis);
  const stored = storedAs(x.dtype);
  const data = new Float64Array(x.data.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      for (let k = 0; k < size; k++) {
        const at = (o * size + (reverse ? size - 1 - k : k)) * inner + i;
        const next = stored(sum + x.data[at]!);
        data[at] = exclusive ? sum : next;
        sum = next;
      }
    }
  }
  return [{ dtype: x.dtype, shape: x.shape, data }];
};

const topK: HostRule = (context) => {
  const x = value(context, 0);
  const axis = axisOf(context, context.int('axis', -1), x.shape.length);
  const k = context.has('k') ? context.int('k') : context.integer(1, 'k');
  const sign = context.int('largest', 1) !== 0 ? -1 : 1;
  const [outer, size, inner] = around(x.shape, axis);
  if (k < 0 || k > size) context.invalid(`the ${k} largest of ${size}`);
  const shape = x.shape.with(axis, k);
  const values = new Float64Array(elementCount(shape));
  const indices = new Float64Array(values.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (j: number): number => x.data[(o * size + j) * inner + i]!;
      // Equal ones in the order of their indices.
      const order = Array.from({ length: size }, (_, j) => j).sort((a, b) => sign * (at(a) - at(b)) || a - b);
      for (let j = 0; j < k; j++) {
        const to = (o * k + j) * inner + i;
        indices[to] = order[j]!;
        values[to] = at(order[j]!);
      }
    }
  }
  return [
    { dtype: x.dtype, shape, data: values },
    { dtype: 'INT64', shape, data: indices },
  ];
};

const mean = (sum: number, count: number): number => sum / count;

export const reduce: Readonly<Record<string, HostRule>> = {
  ArgMax: argument((x, best) => x > best),
  ArgMin: argument((x, best) => x < best),
  CumSum: cumSum,
  ReduceMax: reduction(Number.NEGATIVE_INFINITY, Math.max),
  ReduceMean: reduction(0, (sum, x) => sum + x, mean),
  ReduceMin: reduction(Number.POSITIVE_INFINITY, Math.min),
  ReduceProd: reduction(1, (product, x) => product * x),
  ReduceSum: reduction(0, (sum, x) => sum + x),
  TopK: topK,
};
