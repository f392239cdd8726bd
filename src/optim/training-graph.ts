import { backward, type Contribution } from '../autodiff/backward.ts';
import { GraphError, UsageError } from '../core/errors.ts';
import { requireKinds, shown } from '../core/options.ts';
import { allocate } from '../core/types.ts';
import { type Graph, type Node, shownTensor, Tensor } from '../graph/graph.ts';
import { mergeCommonSubexpressions } from '../graph/passes/common-subexpressions.ts';
import { foldConstants } from '../graph/passes/constant-folding.ts';
import { eliminateDeadCode } from '../graph/passes/dead-code.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isForward, isStepValue } from '../graph/values.ts';
import { verify } from '../graph/verify.ts';
import { accumulate } from '../ops/accumulate.ts';
import { add, mul } from '../ops/elementwise.ts';
import { sumOfSquares } from '../ops/reduce.ts';
import { broadcastTo } from '../ops/shape.ts';
import { inBatchNormMode } from './batch-norm.ts';
import type { BatchNormMode } from './batch-norm-modes.ts';
import { type ClipConfig, clippingFactor } from './clip.ts';
import { declareMicrobatchSquares } from './microbatch-squares.ts';
import type { ModelGraph, Total } from './model.ts';
import { type Optimizer, requireOptimizer } from './optimizer.ts';

export interface L2Penalty {
  readonly lambda: number;
  /** Full parameter names. */
  readonly parameters: readonly string[];
}

export interface TrainingGraphOptions {
  /** Updates the parameters; without it the graph only computes. */
  readonly optimizer?: Optimizer;
  /** Scales the gradients on their way into the update; what is fetched of them is as it was before. */
  readonly clip?: ClipConfig;
  readonly l2?: L2Penalty;
  /** What batch normalisation takes its statistics of; default `micro`. */
  readonly batchNorm?: BatchNormMode;
  /** Named results to keep besides the loss. */
  readonly fetch?: {
    /** `output/NAME` of every model output. */
    readonly outputs?: boolean;
    /** `grad/PARAMETER`: whole-batch gradients. */
    readonly gradients?: boolean;
    /** `buffer/NAME`: running statistics behind the step. */
    readonly buffers?: boolean;
    /** `grad_square/PARAMETER`: Σ g² of each whole-batch gradient; their sum's root is the global norm. */
    readonly gradientSquares?: boolean;
    /** What the gradient noise is estimated from (`microbatch-squares.ts`). */
    readonly microbatchSquares?: boolean;
    /** `grad_input/INPUT` of every f32 data input. */
    readonly inputGradients?: boolean;
  };
}

const noObjective = (): GraphError =>
  new GraphError('no-objective', 'the model has no objective, and an optimizer has nothing to make smaller', {
    remedy: "objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }]",
  });

/** Throws GraphError for what is no term of an objective. */
function requireTerm(term: ModelGraph['objective'][number], at: number): void {
  const { loss, weight } = (term ?? {}) as Partial<typeof term>;
  if (!(loss instanceof Tensor) || loss.rank !== 0 || loss.dtype !== 'f32') {
    throw new GraphError('objective-scalar', `objective.${at}.loss must be f32[] and is ${shownTensor(loss)}`, {
      fields: { term: at },
      remedy: "{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }",
    });
  }
  if (typeof weight !== 'number' || !Number.isFinite(weight)) {
    throw new GraphError('objective-weight', `objective.${at}.weight must be a finite number, got ${shown(weight)}`, {
      fields: { term: at, weight: String(weight) },
      remedy: 'weight: 1',
    });
  }
}

/** A term of the objective, weight·loss. */
const termOf = ({ loss, weight }: ModelGraph['objective'][number]): Tensor => (weight === 1 ? loss : mul(loss, weight));

/**
 * Forward, backward and update as one graph.
 *
 *     micro   inputs ─► forward ─► objective shares        (once a microbatch)
 *                           └─► backward ─► one gradient a use of each parameter
 *     ------------------------- accumulate: Σ over microbatches, in their order -------------------------
 *     step    gradient of a parameter = Σ of its uses in graph order (+ λw) ─► (clip) ─► update ─► assignments
 *
 * A parameter used in several places has one accumulator a use, so that the order of additions is fixed by the graph and
 * not by the partition: this is what keeps the bits when tied weights are cut apart.
 */
export function buildTrainingGraph(built: ModelGraph, options: TrainingGraphOptions = {}): Graph {
  requireGraph('buildTrainingGraph', built?.graph);
  requireKinds('buildTrainingGraph', { objective: ['list', built.objective], options: ['record', options] });
  requireOptimizer('buildTrainingGraph', options.optimizer);
  const model = inBatchNormMode(built, options.batchNorm ?? 'micro');
  const { graph, objective } = model;
  objective.forEach(requireTerm);
  const outputs = [...graph.outputs];
  graph.outputs.clear();
  fetchForward(graph, outputs, options.fetch ?? {});
  // Only training leaves anything behind.
  if (!options.optimizer) graph.assignments.length = 0;
  for (const [name, total] of model.totals ?? [])
    graph.output(name, wholeBatch(graph, name, total), { batchAxis: null });
  if (objective.length > 0) appendBackward(model, outputs, options);
  else if (options.optimizer) throw noObjective();
  const simplified = simplify(graph);
  verify(simplified);
  return simplified;
}

type Fetch = NonNullable<TrainingGraphOptions['fetch']>;
type ModelOutputs = readonly (readonly [name: string, tensor: Tensor])[];

/** What is asked for of the forward pass: the model's own outputs, and its buffers behind the step. */
function fetchForward(graph: Graph, outputs: ModelOutputs, fetch: Fetch): void {
  if (fetch.outputs) {
    for (const [name, tensor] of outputs)
      graph.output(`output/${name}`, tensor, { batchAxis: graph.batchAxisOf(name) });
  }
  if (fetch.buffers) {
    const followed = new Map(graph.assignments.map(({ target, value }) => [target, value]));
    for (const buffer of graph.sources('buffer')) {
      graph.output(`buffer/${buffer.name}`, followed.get(buffer) ?? buffer, { batchAxis: null });
    }
  }
}

/** The objective's whole-batch value, its gradients as far as they are asked for, and the update. */
function appendBackward(model: ModelGraph, outputs: ModelOutputs, options: TrainingGraphOptions): void {
  const { graph } = model;
  const { fetch = {}, optimizer, l2 } = options;
  const share = model.objective.map(termOf).reduce((a, b) => add(a, b));
  const isWanted = optimizer || fetch.gradients || model.fromGradients;
  const wanted = isWanted ? graph.parameters.filter((p) => !p.node.source!.frozen) : [];
  const inputs = fetch.inputGradients ? differentiableInputs(graph, outputs) : [];
  const contributions = contributionsTo([...wanted, ...inputs], share);

  const penalised = penalisedParameters(graph, l2);
  const lambda = l2?.lambda ?? 0;
  const name = model.objectiveName ?? 'loss';
  graph.output(name, totalLoss(graph, name, share, penalised, lambda));
  const totals = new Map<string, Tensor>();
  for (const parameter of wanted) {
    const gradient = totalGradient(graph, parameter, contributions.get(parameter)!, penalised, lambda);
    totals.set(parameter.name, gradient);
    if (fetch.gradients && !model.fromGradients) graph.output(`grad/${parameter.name}`, gradient);
  }
  if (fetch.microbatchSquares) {
    declareMicrobatchSquares(
      wanted.map((p) => ({
        parameter: p,
        uses: contributions.get(p)!,
        gradient: totals.get(p.name)!,
        penalised: penalised.has(p),
      })),
    );
  }
  const squares = fetch.gradientSquares || (optimizer && options.clip) ? squaresOf(wanted, totals) : [];
  if (fetch.gradientSquares) {
    wanted.forEach((p, i) => {
      graph.output(`grad_square/${p.name}`, squares[i]!, { batchAxis: null });
    });
  }
  if (optimizer) {
    parametersNamed('optimizer.noDecay', optimizer.config.noDecay ?? [], graph);
    // As in PyTorch, where such a parameter has no gradient: it is left alone, by weight decay too.
    const updated = wanted.filter((p) => contributions.get(p)!.length > 0 || penalised.has(p));
    if (updated.length > 0) appendUpdates(updated, totals, squares, share.node, options);
  }
  model.fromGradients?.(totals);
  model.fromContributions?.(new Map(wanted.map((p) => [p.name, contributions.get(p)!])));
  for (const input of inputs) {
    const { feed } = input.node.source!;
    const batchAxis = feed!.kind === 'data' ? feed!.batchAxis : null;
    graph.output(`grad_input/${input.name}`, inputGradient(graph, input, contributions.get(input)!), { batchAxis });
  }
}

/** A microbatch's gradients of the objective's share by their uses. */
function contributionsTo(sources: readonly Tensor[], share: Tensor): ReadonlyMap<Tensor, readonly Contribution[]> {
  if (sources.length === 0) return new Map();
  const { graph, node } = share;
  return backward([{ tensor: share, cotangent: graph.derivativeOf(node, () => graph.scalar(1)) }], sources);
}

/**
 * Computes what is constant in the model, merges what the backward pass computes twice, drops what nothing needs.
 * - Constants that only the backward pass makes (a broadcast 1/n) stay nodes: as constants they would take memory for good.
 * - Forward nodes are not merged: partitions and users refer to them by name.
 */
function simplify(graph: Graph): Graph {
  const folded = foldConstants(graph, { keep: (node) => !isForward(node) });
  return eliminateDeadCode(mergeCommonSubexpressions(folded, { keep: isForward }));
}

/** Float inputs of the model. Targets are fed too, but no output of the model depends on them. */
function differentiableInputs(graph: Graph, outputs: ModelOutputs): Tensor[] {
  const needed = new Set(outputs.map(([, t]) => t.node));
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    if (needed.has(node)) for (const t of node.inputs) needed.add(t.node);
  }
  return graph
    .sources('input')
    .filter((t) => t.dtype === 'f32' && t.node.source!.feed!.kind === 'data' && needed.has(t.node));
}

/** The parameters that an L2 penalty names. Throws UsageError where one is unknown. */
export function penalisedParameters(graph: Graph, l2: L2Penalty | undefined): ReadonlySet<Tensor> {
  return new Set(parametersNamed('l2.parameters', l2?.parameters ?? [], graph));
}

/** The parameters of these names, in their order; `key`: where they are named. Throws UsageError where one is unknown. */
function parametersNamed(key: string, names: readonly string[], graph: Graph): Tensor[] {
  const byName = new Map(graph.parameters.map((p) => [p.name, p]));
  return names.map((name) => {
    const parameter = byName.get(name);
    if (!parameter) {
      throw new UsageError('unknown-parameter', `${key}: no parameter is named ${name}`, {
        fields: { parameter: name, parameters: [...byName.keys()] },
        remedy: `use one of: ${[...byName.keys()].join(', ')}`,
      });
    }
    return parameter;
  });
}

/** Σ over microbatches of the shares, plus λ/2 Σ‖w‖² once. */
function totalLoss(graph: Graph, name: string, share: Tensor, penalised: ReadonlySet<Tensor>, lambda: number): Tensor {
  let loss = graph.derivativeOf(share.node, () => accumulate(share, name));
  for (const parameter of penalised) {
    const penalty = graph.inStep(parameter.node, () => mul(sumOfSquares(parameter), lambda / 2));
    loss = graph.inStep(share.node, () => add(loss, penalty));
  }
  return loss;
}

/** Each part has its own sum over microbatches, so that the order of additions is fixed by the graph. */
function wholeBatch(graph: Graph, name: string, { parts, finish, at }: Total): Tensor {
  const sums = parts.map(({ tensor, place }, i) => place(() => accumulate(tensor, `${name}#${i}`)));
  return graph.inStep(at, () => {
    const sum = sums.length > 0 ? sums.reduce((a, b) => add(a, b)) : undefined;
    return finish ? finish(sum) : sum!;
  });
}

function totalGradient(
  graph: Graph,
  parameter: Tensor,
  uses: readonly Contribution[],
  penalised: ReadonlySet<Tensor>,
  lambda: number,
): Tensor {
  const total = totalOfUses(graph, parameter, uses);
  return graph.inStep(parameter.node, () => {
    if (penalised.has(parameter)) {
      const penalty = mul(parameter, lambda);
      return total ? add(total, penalty) : penalty;
    }
    return total ?? graph.constant({ type: parameter.type, data: allocate(parameter.type) }, 'zeros');
  });
}

/** Σ over microbatches of each use's share, then over the uses; undefined where there are none. */
function totalOfUses(graph: Graph, parameter: Tensor, uses: readonly Contribution[]): Tensor | undefined {
  // Where the use is, so that the sum stands in the same place for every chunk size.
  const totals = uses.map(({ use, cotangent }, i) =>
    graph.derivativeOf(use ?? cotangent.node, () => accumulate(cotangent, `${parameter.name}#${i}`)),
  );
  return totals.length > 0 ? graph.inStep(parameter.node, () => totals.reduce((a, b) => add(a, b))) : undefined;
}

function inputGradient(graph: Graph, input: Tensor, uses: readonly Contribution[]): Tensor {
  if (isStepValue(input)) return totalGradient(graph, input, uses, new Set(), 0);
  return graph.derivativeOf(input.node, () => {
    if (uses.length === 0) return broadcastTo(graph.scalar(0), input.shape);
    return uses.map((u) => u.cotangent).reduce((a, b) => add(a, b));
  });
}

/** Σ g² of each gradient, on its parameter's device. */
const squaresOf = (parameters: readonly Tensor[], gradients: ReadonlyMap<string, Tensor>): Tensor[] =>
  parameters.map((p) => p.graph.inStep(p.node, () => sumOfSquares(gradients.get(p.name)!)));

/** The updates of all parameters; `at`: where the factor of clipping is computed. */
function appendUpdates(
  parameters: readonly Tensor[],
  gradients: ReadonlyMap<string, Tensor>,
  squares: readonly Tensor[],
  at: Node,
  { optimizer, clip }: TrainingGraphOptions,
): void {
  const { graph } = at;
  const hyper = feedHyper(graph, optimizer!);
  const factor = clip && clippingFactor(squares, clip, at);
  for (const p of parameters) {
    graph.inStep(p.node, () => optimizer!.update(graph, p, gradients.get(p.name)!, { hyper, factor }));
  }
}

const feedHyper = (graph: Graph, optimizer: Optimizer): Tensor =>
  graph.feed(
    'optimizer/hyper',
    { dtype: 'f32', shape: [optimizer.hyper(0, 0).length] },
    { kind: 'hyper', rule: optimizer.config.kind },
  );
