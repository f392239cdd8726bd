import type { Graph, Tensor } from '../graph/graph.ts';

/**
 * A model is a function of the batch size: microbatches of different sizes build the same nodes with the same names over
 * another leading dimension. `build` must be deterministic (names, order, shapes).
 */
export interface Model {
  readonly name: string;
  /** `mode` default training. */
  readonly build: (batch: number, mode?: ModelMode) => ModelGraph;
}

/**
 * What the graph is built for: batch normalisation and dropout differ. A mode may leave nodes out, but parameters and
 * buffers are the same in both.
 */
export type ModelMode = 'training' | 'evaluation';

export interface ModelGraph {
  /** Forward graph; named results are its `outputs`. */
  readonly graph: Graph;
  /**
   * The chunk's share of the objective, f32 [] each: whole-batch normalisers are fed scalars (see `losses`), so that the
   * shares of all microbatches add up to the objective of the whole batch.
   */
  readonly objective: readonly { readonly loss: Tensor; readonly weight: number }[];
}
