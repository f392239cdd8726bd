/**
 * What the recurrent ops share. They are scans: the same step for every time, each taking the state that the one before
 * left. Time is the first axis, [T, N, …]; a reverse scan goes from T − 1 to 0 and leaves every result at its own time.
 */
import { formatShape, type Shape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { add } from './binary.ts';
import { broadcastTo, concat, reshape, slice } from './shape.ts';
import { requireShape } from './type-rules.ts';

/** T steps of N samples with a state of `size` numbers each. */
export interface ScanSizes {
  readonly steps: number;
  readonly batch: number;
  readonly size: number;
}

/** Each is kernel calls of its own. */
const MOST_STEPS = 2 ** 16;

/** Sizes from `x` [T, N, gates·H], and a recurrent weight [gates·H, H] that fits it. */
export function requireScan(name: string, x: Shape, weight: Shape, gates: number): ScanSizes {
  require(x.length === 3, `${name} must be [T, N, ${gates === 1 ? 'H' : `${gates}·H`}], got ${formatShape(x)}`);
  const [steps, batch, wide] = x as [number, number, number];
  require(steps <= MOST_STEPS, `${name} has ${steps} steps, and a scan has at most ${MOST_STEPS}: cut the sequence`);
  require(wide % gates === 0, `the last axis of ${name}, ${wide}, must hold ${gates} gates of one size`);
  const size = wide / gates;
  requireShape('the recurrent weight', weight, [wide, size]);
  return { steps, batch, size };
}

/** The times in the order in which they are computed. */
export function timesOf(steps: number, reverse: boolean): number[] {
  const times = Array.from({ length: steps }, (_, t) => t);
  return reverse ? times.reverse() : times;
}

/** The time whose state a step takes; undefined: the initial state. */
export function timeBefore(t: number, steps: number, reverse: boolean): number | undefined {
  const before = reverse ? t + 1 : t - 1;
  return before >= 0 && before < steps ? before : undefined;
}

/** Of the reference: the state [N, H] that step t takes, as a view. */
export function stateBefore(
  states: Float64Array,
  initial: Float64Array,
  t: number,
  { steps }: ScanSizes,
  reverse: boolean,
): Float64Array {
  const before = timeBefore(t, steps, reverse);
  return before === undefined ? initial : atTime(states, before, steps);
}

/** Of the reference: what belongs to time t, as a view. */
export const atTime = (values: Float64Array, t: number, steps: number): Float64Array =>
  values.subarray((t * values.length) / steps, ((t + 1) * values.length) / steps);

/** Some columns of a row-major matrix of the reference. */
export interface Columns {
  readonly data: Float64Array;
  /** Elements from a row to the next. */
  readonly step: number;
  readonly from: number;
  readonly width: number;
}

export const columns = (data: Float64Array, step: number, from = 0, width = step): Columns => ({
  data,
  step,
  from,
  width,
});

/** Of the reference: y += a·w for every row, or a·wᵀ; w is row-major and its sizes follow from y and a. */
export function addProduct(y: Columns, a: Columns, w: Float64Array, transW: boolean): void {
  for (let n = 0; n < y.data.length / y.step; n++) {
    for (let j = 0; j < y.width; j++) {
      let sum = 0;
      for (let k = 0; k < a.width; k++) {
        sum += a.data[n * a.step + a.from + k]! * w[transW ? j * a.width + k : k * y.width + j]!;
      }
      y.data[n * y.step + y.from + j]! += sum;
    }
  }
}

/** The states [T, N, H] that the steps took: `initial` and all but the last. */
export function statesBefore(states: Tensor, initial: Tensor, reverse: boolean): Tensor {
  const first = reshape(initial, [1, ...initial.shape]);
  if (states.shape[0] === 1) return first;
  return reverse
    ? concat([slice(states, { 0: [1, null] }), first], { axis: 0 })
    : concat([first, slice(states, { 0: [0, -1] })], { axis: 0 });
}

/** The state that a scan ends with. */
export const lastState = (states: Tensor, reverse: boolean): Tensor =>
  reshape(slice(states, { 0: reverse ? [0, 1] : [-1, null] }), states.shape.slice(1));

/**
 * x [T, …] as T tensors, by halves: the adjoint of a slice is as large as what it was cut from, so that T slices of the
 * whole would move T² steps where halves move T·log T.
 */
export function unstack(x: Tensor): Tensor[] {
  const steps = x.shape[0]!;
  if (steps === 1) return [reshape(x, x.shape.slice(1))];
  const middle = steps >> 1;
  return [...unstack(slice(x, { 0: [0, middle] })), ...unstack(slice(x, { 0: [middle, null] }))];
}

/** Tensors [...] of successive times as one [T, …]. */
export const stack = (steps: readonly Tensor[]): Tensor =>
  concat(
    steps.map((t) => reshape(t, [1, ...t.shape])),
    { axis: 0 },
  );

/** The last axis in equal blocks. */
export function blocks(x: Tensor, count: number): Tensor[] {
  const width = x.shape.at(-1)! / count;
  return Array.from({ length: count }, (_, i) => slice(x, { [-1]: [i * width, (i + 1) * width] }));
}

/** Zeros as a node of the graph: a constant of the batch's size would differ from chunk to chunk. */
export const zerosLike = (x: Tensor): Tensor => broadcastTo(x.graph.scalar(0), x.shape);

/** The sum of what is there. */
export function addAll(...terms: readonly (Tensor | undefined)[]): Tensor | undefined {
  const present = terms.filter((t) => t !== undefined);
  return present.length ? present.reduce((sum, t) => add(sum, t)) : undefined;
}

/** [T, N, width] as rows [T·N, width]. */
export const rowsOf = (x: Tensor): Tensor => reshape(x, [x.shape[0]! * x.shape[1]!, x.shape[2]!]);
