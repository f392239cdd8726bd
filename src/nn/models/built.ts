import { checkOptions, requireKinds } from '../../core/options.ts';
import type { Graph, Tensor } from '../../graph/graph.ts';
import { requireGraph } from '../../graph/require-graph.ts';
import { crossEntropy, type Objective } from '../../losses/index.ts';
import { type Check, checkConfig, oneOf } from './config.ts';

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

/** A model whose arguments are looked at first: all of it is built, or nothing. Throws UsageError, GraphError. */
export const modelBuilder =
  <C extends object>(
    kind: string,
    checks: Readonly<Record<string, Check>>,
    required: readonly string[],
    build: ModelBuilder<C>,
  ): ModelBuilder<C> =>
  (graph, batch, config, options = {}) => {
    requireGraph(kind, graph);
    requireKinds(kind, { batch: ['count', batch], config: ['record', config] });
    checkOptions(kind, options, { objective: 'flag' });
    // The configuration of any model says its kind; that it is this one's is all there is to say of it here.
    const itsChecks = Object.hasOwn(config, 'kind') ? { ...checks, kind: oneOf(kind) } : checks;
    checkConfig(kind, config as Readonly<Record<string, unknown>>, itsChecks, required);
    return graph.whole(() => build(graph, batch, config, options));
  };

/** Ends a model of classes: names its `logits` […, C], and asks for the target `y` i32 […] and its cross entropy. */
export function classifier(x: Tensor, logits: Tensor, options: ModelOptions = {}): BuiltModel {
  logits.graph.output('logits', logits);
  if (options.objective === false) return { inputs: { x }, outputs: { logits } };
  const y = logits.graph.input('y', { dtype: 'i32', shape: logits.shape.slice(0, -1) });
  return { inputs: { x, y }, outputs: { logits }, objective: [{ loss: crossEntropy(logits, y), weight: 1 }] };
}
