import { byteSize, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';
import type { StagedTensor } from './instruction.ts';

/** Chunks in the host's staging area are aligned alike to device memory, so that copies run at full speed. */
const ALIGNMENT = 16;

/**
 * Where fed tensors and results lie in the area that the host shares with the devices. Cut tensors are stored chunk by
 * chunk, so that each microbatch's part is contiguous whatever the batch axis is.
 */
export function stage(
  named: ReadonlyMap<string, readonly Tensor[]>,
  axisOf: (name: string, tensor: Tensor) => number | null,
): { staged: StagedTensor[]; bytes: number } {
  let bytes = 0;
  const staged: StagedTensor[] = [];
  for (const [name, perMicrobatch] of named) {
    const first = perMicrobatch[0]!;
    const axis = isStepValue(first) ? null : axisOf(name, first);
    const pieces = isStepValue(first) ? [first] : perMicrobatch;
    const offsets: number[] = [];
    for (const piece of pieces) {
      offsets.push(bytes);
      bytes += Math.ceil(byteSize(piece.type) / ALIGNMENT) * ALIGNMENT;
    }
    const chunkTypes = pieces.map((t) => t.type);
    staged.push({ name, type: joinedType(chunkTypes, axis), axis, offsets, chunkTypes });
  }
  return { staged, bytes };
}

function joinedType(chunks: readonly TensorType[], axis: number | null): TensorType {
  const first = chunks[0]!;
  if (axis === null) return first;
  const shape = [...first.shape];
  shape[axis] = chunks.reduce((n, c) => n + c.shape[axis]!, 0);
  return { dtype: first.dtype, shape };
}

/**
 * The axis along which a result's chunks are joined: the one declared with the output. null where it has none, or where
 * that axis does not grow with the chunk, so that it cannot be the batch. Results with one entry a microbatch are joined too.
 */
export function batchAxisOf(graphs: readonly Graph[], chunks: readonly number[], name: string): number | null {
  if (graphs[0]!.isPerMicrobatch(name)) return 0;
  const axis = graphs[0]!.batchAxisOf(name);
  if (axis === null) return null;
  const sizes = graphs.map((g) => g.outputs.get(name)!.shape[axis] ?? 0);
  const perSample = sizes[0]! / chunks[0]!;
  const isBatch = perSample >= 1 && Number.isInteger(perSample) && sizes.every((s, m) => s === perSample * chunks[m]!);
  return isBatch ? axis : null;
}
