/** What rules of host evaluation share. */
import { elementCount, type Shape } from '../../../core/types.ts';
import type { Known, OperatorContext } from '../operator.ts';

/**
 * Computes a node whose inputs are all known, exactly as ONNX says; undefined where it cannot (the operator's own rule is
 * asked then). Results may be empty: shapes are sliced and put together with nothing left in between.
 */
export type HostRule = (context: OperatorContext) => readonly Known[] | undefined;

/** Elements that one value on the host may have: shapes and index tables are small, and larger tensors belong into the graph. */
export const maxHostElements = 2 ** 20;

export const isSmall = (shape: Shape): boolean => elementCount(shape) <= maxHostElements;

/** Input i, which is known. */
export const value = (context: OperatorContext, i: number): Known => context.known(i, 'its input');

/** A position or axis counted from the end where it is negative. Fails where it lies outside. */
export function position(context: OperatorContext, index: number, size: number, what: string): number {
  const at = index < 0 ? index + size : index;
  if (!(at >= 0 && at < size)) context.invalid(`${what} ${index} lies outside of ${size}`);
  return at;
}

export const axisOf = (context: OperatorContext, axis: number, rank: number): number =>
  position(context, axis, rank, 'axis');

/** Sizes before, at and behind an axis: [outer, size, inner]. */
export const around = (shape: Shape, axis: number): readonly [number, number, number] => [
  elementCount(shape.slice(0, axis)),
  shape[axis] ?? 1,
  elementCount(shape.slice(axis + 1)),
];

/** For each element of `shape`, its index in a tensor of shape `from` that broadcasts to it. */
export function broadcastIndex(from: Shape, shape: Shape): (flat: number) => number {
  const offset = shape.length - from.length;
  const steps = new Array<number>(shape.length).fill(0);
  let step = 1;
  for (let axis = from.length - 1; axis >= 0; axis--) {
    if (from[axis] !== 1) steps[axis + offset] = step;
    step *= from[axis]!;
  }
  return stridedIndex(shape, steps);
}

/** For each element of `shape` in row-major order, `start` + Σ index·step. */
export function stridedIndex(shape: Shape, steps: readonly number[], start = 0): (flat: number) => number {
  return (flat) => {
    let at = start;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = shape[axis]!;
      at += (flat % size) * steps[axis]!;
      flat = Math.floor(flat / size);
    }
    return at;
  };
}

/** A tensor of `shape` with the elements of `from` at the indices of `at`. */
export function pick(from: Known, shape: Shape, at: (flat: number) => number): Known {
  const { data, dtype } = from;
  return { dtype, shape, data: Float64Array.from({ length: elementCount(shape) }, (_, i) => data[at(i)]!) };
}
