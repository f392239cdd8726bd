/**
 * What gathers and scatters share. An index counts from the end where it is negative; outside −size … size − 1 it is an
 * error, found when the node runs: the reference throws, a kernel traps.
 */
import { elementCount, type Shape, stridesOf, type TensorType } from '../core/types.ts';
import type { RefTensor } from '../graph/op-record.ts';
import { OpValueError, require } from '../graph/op-record.ts';
import { indexMap } from './broadcast.ts';

export const requireIndices = (indices: TensorType | undefined): void =>
  require(indices?.dtype === 'i32', `takes i32 indices, got ${indices?.dtype}`);

export const requireCount = (inputs: readonly TensorType[], count: number, names: string): void =>
  require(inputs.length === count, `takes ${names}, got ${inputs.length} input${inputs.length === 1 ? '' : 's'}`);

export const requireAxis = (axis: number, rank: number): void =>
  require(Number.isInteger(axis) &&
    axis >= 0 &&
    axis < rank, `axis ${axis < 0 ? axis - rank : axis} is out of range for rank ${rank}`);

/** A tensor seen along one axis: `outer` blocks of `size` entries of `inner` elements. */
export interface AxisLayout {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

export const axisLayout = (shape: Shape, axis: number): AxisLayout => ({
  outer: elementCount(shape.slice(0, axis)),
  size: shape[axis]!,
  inner: elementCount(shape.slice(axis + 1)),
});

/** The entry that an index names. */
export function entryAt(index: number, size: number): number {
  const entry = index < 0 ? index + size : index;
  if (entry < 0 || entry >= size) throw new OpValueError(`index ${index} is outside an axis of ${size}`);
  return entry;
}

/** gatherElements, scatterElements: for each index the element of `shape` at its own place, but for the axis. */
export function elementOffsets(indices: RefTensor, shape: Shape, axis: number): Int32Array {
  const strides = stridesOf(shape);
  const own = indexMap(
    indices.type.shape,
    strides.map((s, i) => (i === axis ? 0 : s)),
  );
  return own.map((at, i) => at + entryAt(indices.data[i]!, shape[axis]!) * strides[axis]!);
}

/**
 * gatherND, scatterND: for each index vector (the last axis of the indices) the slice of `shape` that it names, counted in
 * slices. The first `batchDims` axes go together.
 */
export function sliceNumbers(indices: RefTensor, shape: Shape, batchDims: number): Int32Array {
  const depth = indices.type.shape.at(-1)!;
  const vectors = indices.data.length / depth;
  const perBatch = vectors / elementCount(shape.slice(0, batchDims));
  return Int32Array.from({ length: vectors }, (_, i) => {
    let slice = Math.floor(i / perBatch);
    for (let c = 0; c < depth; c++) {
      const size = shape[batchDims + c]!;
      slice = slice * size + entryAt(indices.data[i * depth + c]!, size);
    }
    return slice;
  });
}
