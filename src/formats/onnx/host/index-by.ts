/** Known values taken from, or put to, the places that other values name. */
import { elementCount, stridesOf } from '../../../core/types.ts';
import { known } from '../known.ts';
import type { Known, OperatorContext } from '../operator.ts';
import { around, axisOf, type HostRule, isSmall, position, value } from './host.ts';

const gather: HostRule = (context) => {
  const [x, indices] = [value(context, 0), value(context, 1)];
  const axis = axisOf(context, context.int('axis', 0), x.shape.length);
  const [outer, size, inner] = around(x.shape, axis);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  if (!isSmall(shape)) return undefined;
  const rows = Array.from(indices.data, (i) => position(context, i, size, 'index'));
  const data = new Float64Array(elementCount(shape));
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const row of rows) {
      const from = (o * size + row) * inner;
      data.set(x.data.subarray(from, from + inner), to);
      to += inner;
    }
  }
  return [{ dtype: x.dtype, shape, data }];
};

/** Calls `visit` with each element of `indices` and the place it names in `x` along an axis. */
function alongAxis(
  context: OperatorContext,
  x: Known,
  indices: Known,
  visit: (place: number, element: number) => void,
): void {
  const axis = axisOf(context, context.int('axis', 0), x.shape.length);
  if (indices.shape.length !== x.shape.length || indices.shape.some((d, i) => i !== axis && d > x.shape[i]!)) {
    context.invalid(`indices [${indices.shape.join(', ')}] for [${x.shape.join(', ')}]`);
  }
  const strides = stridesOf(x.shape);
  indices.data.forEach((index, element) => {
    let rest = element;
    let place = 0;
    for (let i = x.shape.length - 1; i >= 0; i--) {
      const size = indices.shape[i]!;
      const at = i === axis ? position(context, index, x.shape[axis]!, 'index') : rest % size;
      place += at * strides[i]!;
      rest = Math.floor(rest / size);
    }
    visit(place, element);
  });
}

const gatherElements: HostRule = (context) => {
  const [x, indices] = [value(context, 0), value(context, 1)];
  const data = new Float64Array(indices.data.length);
  alongAxis(context, x, indices, (place, element) => {
    data[element] = x.data[place]!;
  });
  return [{ dtype: x.dtype, shape: indices.shape, data }];
};

const reductions: Readonly<Record<string, (old: number, update: number) => number>> = {
  none: (_, update) => update,
  add: (old, update) => old + update,
  mul: (old, update) => old * update,
  max: Math.max,
  min: Math.min,
};

const reductionOf = (context: OperatorContext) => {
  const name = context.string('reduction', 'none');
  return reductions[name] ?? context.invalid(`reduction "${name}" is unknown`);
};

const scatterElements: HostRule = (context) => {
  const [x, indices, updates] = [value(context, 0), value(context, 1), value(context, 2)];
  if (updates.shape.join() !== indices.shape.join()) {
    context.invalid(`updates [${updates.shape.join(', ')}] for indices [${indices.shape.join(', ')}]`);
  }
  const combine = reductionOf(context);
  const data = x.data.slice();
  alongAxis(context, x, indices, (place, element) => {
    data[place] = combine(data[place]!, updates.data[element]!);
  });
  return [{ dtype: x.dtype, shape: x.shape, data }];
};

/** Places named by the last axis of `indices`: [offset of a slice in x, …], and the slice's size. */
function slices(context: OperatorContext, x: Known, indices: Known, batchDims: number) {
  const depth = indices.shape.at(-1) ?? context.invalid('indices are a scalar');
  const leading = x.shape.slice(0, batchDims);
  if (depth + batchDims > x.shape.length || leading.join() !== indices.shape.slice(0, batchDims).join()) {
    context.invalid(`indices [${indices.shape.join(', ')}] for [${x.shape.join(', ')}] with batch_dims ${batchDims}`);
  }
  const strides = stridesOf(x.shape);
  const inner = elementCount(x.shape.slice(batchDims + depth));
  const count = elementCount(indices.shape.slice(0, -1));
  const perBatch = count / Math.max(elementCount(leading), 1);
  const batchWidth = elementCount(x.shape.slice(batchDims));
  const offsets = Array.from({ length: count }, (_, k) => {
    let at = Math.floor(k / perBatch) * batchWidth;
    for (let j = 0; j < depth; j++) {
      const axis = batchDims + j;
      at += position(context, indices.data[k * depth + j]!, x.shape[axis]!, 'index') * strides[axis]!;
    }
    return at;
  });
  return { offsets, inner, rest: x.shape.slice(batchDims + depth) };
}

const gatherND: HostRule = (context) => {
  const [x, indices] = [value(context, 0), value(context, 1)];
  const { offsets, inner, rest } = slices(context, x, indices, context.int('batch_dims', 0));
  const shape = [...indices.shape.slice(0, -1), ...rest];
  if (!isSmall(shape)) return undefined;
  const data = new Float64Array(elementCount(shape));
  offsets.forEach((from, k) => void data.set(x.data.subarray(from, from + inner), k * inner));
  return [{ dtype: x.dtype, shape, data }];
};

const scatterND: HostRule = (context) => {
  const [x, indices, updates] = [value(context, 0), value(context, 1), value(context, 2)];
  const { offsets, inner, rest } = slices(context, x, indices, 0);
  const wanted = [...indices.shape.slice(0, -1), ...rest];
  if (updates.shape.join() !== wanted.join()) {
    context.invalid(`updates are [${updates.shape.join(', ')}], and [${wanted.join(', ')}] belongs there`);
  }
  const combine = reductionOf(context);
  const data = x.data.slice();
  offsets.forEach((to, k) => {
    for (let i = 0; i < inner; i++) data[to + i] = combine(data[to + i]!, updates.data[k * inner + i]!);
  });
  return [{ dtype: x.dtype, shape: x.shape, data }];
};

/** Positions of what is not 0, [rank, n], in row-major order. */
const nonZero: HostRule = (context) => {
  const x = value(context, 0);
  const strides = stridesOf(x.shape);
  const found = Array.from(x.data.keys()).filter((i) => x.data[i] !== 0);
  const rows = x.shape.flatMap((size, axis) => found.map((i) => Math.floor(i / strides[axis]!) % size));
  return [known('INT64', [x.shape.length, found.length], rows)];
};

export const indexBy: Readonly<Record<string, HostRule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  NonZero: nonZero,
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
};
