import type { Tensor } from '../graph/graph.ts';

/** What every layer takes. */
export interface LayerOptions {
  /**
   * Prefix of the layer's parameters and nodes: `fc1` makes `fc1.weight`. Without one they carry the surrounding scope's
   * name only (in `sequential`, the layer's position).
   */
  readonly name?: string;
}

/** Builds in the scope of the layer's name, if it has one. */
export const scoped = <T>(like: Tensor, { name }: LayerOptions, build: () => T): T =>
  name === undefined ? build() : like.graph.scope(name, build);
