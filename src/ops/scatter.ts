/** What scatterElements and scatterND share: how an update meets what is there, and the gradients of that. */
import { elementCount, type Shape, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { type RefTensor, require } from '../graph/op-record.ts';
import { div, mul } from './binary.ts';
import { and, cast, equal, greater, where } from './compare.ts';
import { broadcastTo } from './shape.ts';
import { sqrt } from './unary.ts';

/** `none`: the update takes the place of what is there; of several for one place the last wins. */
export type ScatterReduction = 'none' | 'add' | 'mul' | 'max' | 'min';
export const reductions: readonly ScatterReduction[] = ['none', 'add', 'mul', 'max', 'min'];

const combine: Readonly<Record<ScatterReduction, (there: number, update: number) => number>> = {
  none: (_, update) => update,
  add: (there, update) => there + update,
  mul: (there, update) => there * update,
  max: Math.max,
  min: Math.min,
};

/** i32 wraps around. */
const combineIntegers: typeof combine = {
  ...combine,
  add: (there, update) => (there + update) | 0,
  mul: Math.imul,
};

export function requireScatter(data: TensorType, updates: TensorType, reduction: string): void {
  require(reductions.some(
    (r) => r === reduction,
  ), `reduction must be one of ${reductions.join(', ')}, not ${reduction}`);
  require(data.dtype === updates.dtype, `data and updates must have one dtype, not ${data.dtype} and ${updates.dtype}`);
  require(reduction === 'none' || data.dtype !== 'bool', `bool has no reduction ${reduction}`);
}

/** y = data, then each run of `width` updates, in order, meets the one of y that `places` names. */
export function scatterInto(
  data: RefTensor,
  updates: RefTensor,
  places: Int32Array,
  reduction: ScatterReduction,
): Float64Array {
  const f = (data.type.dtype === 'i32' ? combineIntegers : combine)[reduction];
  const y = data.data.slice();
  const width = updates.data.length / places.length;
  for (const [i, place] of places.entries()) {
    for (let k = 0; k < width; k++) y[place * width + k] = f(y[place * width + k]!, updates.data[i * width + k]!);
  }
  return y;
}

/** One scatter under differentiation: its tensors, and how to read and write through the same indices. */
export interface ScatterView {
  readonly data: Tensor;
  readonly updates: Tensor;
  readonly y: Tensor;
  readonly dy: Tensor;
  readonly reduction: ScatterReduction;
  /** Places that one index names: `data` without the axes of a slice; and the shape of the indices themselves. */
  readonly places: { readonly of: Shape; readonly by: Shape };
  /** The elements of a tensor like y that updates went to, at the updates' shape. */
  readonly read: (from: Tensor) => Tensor;
  readonly write: (into: Tensor, updates: Tensor, reduction: ScatterReduction) => Tensor;
  /** A mask of index places at a shape that broadcasts with the updates. */
  readonly overSlices: (mask: Tensor) => Tensor;
  readonly needs: (input: number) => boolean;
}

/** Cotangents of [data, indices, updates]. */
export function scatterGradients(s: ScatterView): readonly (Tensor | undefined)[] {
  return [s.needs(0) ? dataGradient(s) : undefined, undefined, s.needs(2) ? updatesGradient(s) : undefined];
}

function dataGradient(s: ScatterView): Tensor {
  const { data, updates, y, dy, write } = s;
  switch (s.reduction) {
    case 'none':
      return write(dy, filled(dy.graph, 0, updates.shape), 'none');
    case 'add':
      return dy;
    case 'mul':
      return mul(dy, write(filled(dy.graph, 1, data.shape), updates, 'mul'));
    case 'max':
    case 'min':
      return where(equal(data, y), shareOfTies(s), 0);
  }
}

function updatesGradient(s: ScatterView): Tensor {
  const { updates, y, dy, read } = s;
  switch (s.reduction) {
    case 'none':
      return where(s.overSlices(lastOfEachPlace(s)), read(dy), 0);
    case 'add':
      return read(dy);
    case 'mul':
      return productGradient(s);
    case 'max':
    case 'min':
      return where(equal(updates, read(y)), read(shareOfTies(s)), 0);
  }
}

/** Whether an index is the last that names its place: only that one's update is in y. */
function lastOfEachPlace({ places, write, read, dy: { graph } }: ScatterView): Tensor {
  const count = elementCount(places.by);
  const order = graph.constant(
    { type: { dtype: 'i32', shape: places.by }, data: Int32Array.from({ length: count }, (_, i) => i) },
    'order',
  );
  return equal(read(write(filled(graph, 0, places.of, 'i32'), order, 'none')), order);
}

/**
 * dy · Π of the factors at the update's place but itself. The product is y / update, but for an update of 0: that of all
 * others, where it is the only 0 of its place; where there are several all products are 0 (PyTorch's
 * rule, scatter_reduce 'prod'). With several zeros the second derivatives would need products without two of them, which no
 * such quotient gives: the zero is then a root of the update, so that they come out infinite or NaN instead of wrong.
 */
function productGradient({ data, updates, y, dy, read, write }: ScatterView): Tensor {
  const zero = equal(updates, 0);
  const zeros = read(write(filled(dy.graph, 0, data.shape), cast(zero, 'f32'), 'add'));
  const several = and(zero, greater(zeros, 1));
  const others = where(zero, 1, updates);
  const withoutIt = read(mul(dy, write(data, others, 'mul')));
  const ofZero = where(several, sqrt(where(several, updates, 1)), withoutIt);
  return where(zero, ofZero, div(read(mul(dy, y)), others));
}

/** dy divided evenly among the data and the updates that attain y (PyTorch's scatter_reduce 'amax', 'amin'). */
function shareOfTies({ data, updates, y, dy, read, write }: ScatterView): Tensor {
  const attained = (t: Tensor, extremum: Tensor) => cast(equal(t, extremum), 'f32');
  return div(dy, write(attained(data, y), attained(updates, read(y)), 'add'));
}

/** A tensor of one value. */
export function filled(graph: Graph, value: number, shape: Shape, dtype: 'f32' | 'i32' = 'f32'): Tensor {
  const data = dtype === 'f32' ? Float32Array.of(value) : Int32Array.of(value);
  return broadcastTo(graph.constant({ type: { dtype, shape: [] }, data }, 'scalar'), shape);
}
