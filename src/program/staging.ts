import { byteSize, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';
import type { StagedTensor } from './instruction.ts';

/** Chunks in the host's staging area are aligned alike to device memory, so that copies run at full speed. */
const ALIGNMENT = 16;

/** A tensor of each microbatch, and how many samples it holds one behind the other, each of the tensor's type. */
export interface Chunk {
  readonly tensor: Tensor;
  readonly samples: number;
}

/**
 * Where fed tensors and results lie in the area that the host shares with the devices. Cut tensors are stored chunk by
 * chunk, so that each microbatch's part is contiguous whatever the batch axis is; where samples are computed one by one,
 * each sample's part is.
 */
export function stage(
  named: ReadonlyMap<string, readonly Chunk[]>,
  axisOf: (name: string, tensor: Tensor) => number | null,
): { staged: StagedTensor[]; bytes: number } {
  let bytes = 0;
  const staged: StagedTensor[] = [];
  for (const [name, perMicrobatch] of named) {
    const { tensor: first } = perMicrobatch[0]!;
    const axis = isStepValue(first) ? null : axisOf(name, first);
    const chunks = isStepValue(first) ? [perMicrobatch[0]!] : perMicrobatch;
    const offsets: number[] = [];
    const pieces: StagedTensor['pieces'][number][] = [];
    for (const { tensor, samples } of chunks) {
      offsets.push(bytes);
      const size = byteSize(tensor.type);
      for (let s = 0; s < samples; s++) pieces.push({ offset: bytes + s * size, type: tensor.type });
      bytes += Math.ceil((samples * size) / ALIGNMENT) * ALIGNMENT;
    }
    staged.push({ name, type: joinedType(pieces, axis), axis, offsets, pieces });
  }
  return { staged, bytes };
}

function joinedType(pieces: StagedTensor['pieces'], axis: number | null): TensorType {
  const first = pieces[0]!.type;
  if (axis === null) return first;
  const shape = [...first.shape];
  shape[axis] = pieces.reduce((n, { type }) => n + type.shape[axis]!, 0);
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
