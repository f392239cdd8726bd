import type { Graph, ParameterInit, Tensor } from '../graph/graph.ts';
import { normal } from '../init/index.ts';
import { gather } from '../ops/gather.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface EmbeddingTable extends LayerOptions {
  readonly rows: number;
  readonly dim: number;
  /** default N(0, 1), as PyTorch */
  readonly init?: ParameterInit;
}

/** The weight [rows, dim] of an embedding, by itself: to be passed to `embedding` and, tied, to `linear`. */
export function embeddingWeight(graph: Graph, { rows, dim, name, init = normal() }: EmbeddingTable): Tensor {
  const build = (): Tensor => graph.parameter('weight', [rows, dim], init);
  return name === undefined ? build() : graph.scope(name, build);
}

/** Rows of a table by i32 index (PyTorch Embedding): indices […] → […, dim]. Takes a weight, or makes one. */
export const embedding = (
  indices: Tensor,
  options: EmbeddingTable | { readonly weight: Tensor; readonly name?: string },
): Tensor =>
  'weight' in options
    ? scoped(indices, options, () => gather(options.weight, indices))
    : scoped(indices, options, () => gather(embeddingWeight(indices.graph, { ...options, name: undefined }), indices));
