import type { Contribution } from '../autodiff/backward.ts';
import { GraphError } from '../core/errors.ts';
import { requireArgument } from '../core/options.ts';
import type { Graph, GraphMode, Node, Tensor } from '../graph/graph.ts';

/**
 * A model is a function of the batch size: microbatches of different sizes build the same nodes with the same names over
 * another leading dimension. `build` must be deterministic (names, order, shapes).
 */
export interface Model {
  readonly name: string;
  /** `mode` default training. */
  readonly build: (batch: number, mode?: ModelMode) => ModelGraph;
  /** The batch size it is made for, where it is made for one (an ONNX file with fixed sizes); it may fail for others. */
  readonly ownBatch?: number;
}

/** The model's graph for some batch size: for names, and for all that does not depend on the batch. */
export const someGraph = (model: Model, mode?: ModelMode): Graph => built(model, model.ownBatch ?? 1, mode).graph;

/** Throws UsageError for what is no model where the function `what` takes one. */
export function requireModel(what: string, model: unknown): asserts model is Model {
  const isModel = typeof (model as Partial<Model> | null | undefined)?.build === 'function';
  requireArgument(
    what,
    isModel,
    'a model, { name, build(samples) }',
    model,
    "nn.models.modelOf({ kind: 'lenet', size: 28, classes: 10 })",
  );
}

/** What `build` returns. Throws GraphError where a function in JavaScript returns something else. */
function built(model: Model, batch: number, mode: ModelMode | undefined): ModelGraph {
  const made: unknown = model.build(batch, mode);
  const { graph, objective, then } = (made ?? {}) as { graph?: unknown; objective?: unknown; then?: unknown };
  if (typeof graph === 'object' && graph !== null && Array.isArray(objective)) return made as ModelGraph;
  const what = typeof then === 'function' ? 'a promise' : `${made === null ? 'null' : typeof made} without them`;
  throw new GraphError(
    'model-graph',
    `model ${model.name}: build(${batch}) must return { graph, objective }, and returned ${what}`,
    {
      fields: { model: model.name },
      remedy: "return { graph, objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }] }",
    },
  );
}

/** Ops that only training has; and attention that drops weights. */
const trainingOps: ReadonlySet<string> = new Set(['dropout', 'dropoutMask', 'runningAverage']);

/**
 * The model's graph for a batch size and mode. Throws GraphError where evaluation is asked for and the model makes its
 * graph without being told so: it would drop elements, and normalise by what is evaluated.
 */
export function buildModel(model: Model, batch: number, mode: ModelMode): ModelGraph {
  const found = built(model, batch, mode);
  if (mode === 'training' || found.graph.mode === mode) return found;
  const layer = found.graph.nodes.find((n) => n.op && (trainingOps.has(n.op.name) || n.attrs.dropout !== undefined));
  if (!layer) return found;
  throw new GraphError(
    'training-graph',
    `model ${model.name} has ${layer.op!.name} (${layer.name}) in evaluation too`,
    {
      fields: { model: model.name, node: layer.name, op: layer.op!.name },
      remedy: 'tell its graph what it is built for: build(samples, mode) { const graph = new Graph({ mode }); … }',
    },
  );
}

/**
 * What the graph is built for: batch normalisation and dropout differ. A mode may leave nodes out, but parameters and
 * buffers are the same in both.
 */
export type ModelMode = GraphMode;

export interface ModelGraph {
  /** Forward graph; named results are its `outputs`. */
  readonly graph: Graph;
  /**
   * The chunk's share of the objective, f32 [] each: whole-batch normalisers are fed scalars (see `losses`), so that the
   * shares of all microbatches add up to the objective of the whole batch.
   */
  readonly objective: readonly { readonly loss: Tensor; readonly weight: number }[];
  /** What the objective's whole-batch value is called among the results; default `loss`. */
  readonly objectiveName?: string;
  /** Further results of the whole batch by name. */
  readonly totals?: ReadonlyMap<string, Total>;
  /**
   * Declares results that are computed once a step from the whole-batch gradients, which it is given by parameter name, in
   * place of the gradients themselves.
   */
  readonly fromGradients?: (gradients: ReadonlyMap<string, Tensor>) => void;
  /**
   * Declares results that are computed from the gradients' shares of one microbatch, one a use of each parameter, which it
   * is given by parameter name; beside all other results.
   */
  readonly fromContributions?: (uses: ReadonlyMap<string, readonly Contribution[]>) => void;
}

/** A result that is a sum over microbatches. */
export interface Total {
  /** Shares of one chunk, one shape, added over the microbatches each by itself, then in this order. */
  readonly parts: readonly TotalPart[];
  /** Adds what exists once a step, behind the sum of the parts (undefined where there are none). */
  readonly finish?: (sum: Tensor | undefined) => Tensor;
  /** The node beside which the parts are summed. */
  readonly at: Node;
}

export interface TotalPart {
  readonly tensor: Tensor;
  /** Runs `build` where the part's sum over microbatches belongs (`Graph.beside`, `Graph.gradientOf`). */
  readonly place: <T>(build: () => T) => T;
}
