import type { Graph, Tensor } from '../../graph/graph.ts';
import { crossEntropy, type Objective } from '../../losses/index.ts';

/** A model put into a graph. */
export interface BuiltModel {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Undefined where the model was asked for without one. */
  readonly objective?: Objective;
}

/** Options of every model beside its sizes. */
export interface ModelOptions {
  /** false: the forward graph only, without target and loss. Default true. */
  readonly objective?: boolean;
}

/** Builds a model for one batch size; the same nodes in the same order whatever the batch. */
export type ModelBuilder<C> = (graph: Graph, batch: number, config: C, options?: ModelOptions) => BuiltModel;

/** Ends a model of classes: names its `logits` […, C], and asks for the target `y` i32 […] and its cross entropy. */
export function classifier(x: Tensor, logits: Tensor, options: ModelOptions = {}): BuiltModel {
  logits.graph.output('logits', logits);
  if (options.objective === false) return { inputs: { x }, outputs: { logits } };
  const y = logits.graph.input('y', { dtype: 'i32', shape: logits.shape.slice(0, -1) });
  return { inputs: { x, y }, outputs: { logits }, objective: [{ loss: crossEntropy(logits, y), weight: 1 }] };
}
