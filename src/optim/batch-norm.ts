/**
 * The modes of batch normalisation: what its statistics are of where a batch is cut into microbatches.
 *
 * Models are built in the first mode (`ops/batch-norm.ts`, `trackAverage`); the others are rewritings of such a graph, so
 * that layers, users' own models and imported files have them alike.
 */
import { GraphError, UsageError } from '../core/errors.ts';
import { elementCount } from '../core/types.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { rewriteWithCopies } from '../graph/rewrite.ts';
import {
  accumulateMoments,
  channelMoments,
  joinMoments,
  type MomentStatistic,
  runningMomentsOp,
  valuesPerChannel,
} from '../ops/batch-moments.ts';
import { type BatchNormAttrs, batchNormInputGradOp, batchNormOp, batchNormWeightGradOp } from '../ops/batch-norm.ts';
import { batchNormWithMomentsOp } from '../ops/batch-norm-moments.ts';
import { mulOp } from '../ops/binary.ts';
import { type RunningAverageAttrs, runningAverageOp } from '../ops/running-average.ts';
import type { BatchNormMode } from './batch-norm-modes.ts';
import type { Model, ModelGraph } from './model.ts';

/** The model in another mode; one without batch normalisation is the same in all of them. */
export const withBatchNorm = (model: Model, mode: BatchNormMode): Model =>
  mode === 'micro' ? model : { ...model, build: (batch, of) => inBatchNormMode(model.build(batch, of), mode) };

/** Whether a graph normalises by statistics that are complete only behind all microbatches. */
export const normalizesByWholeBatch = (graph: Graph): boolean => wholeBatchNorms(graph).length > 0;

/** The nodes that do, in graph order. */
export const wholeBatchNorms = (graph: Graph): Node[] =>
  graph.nodes.filter((n) => n.op?.name === batchNormWithMomentsOp.name);

/**
 * A model's graph in another mode. What `batchNorm` gives (y, mean, variance) keeps its name, its readers, and their order;
 * the nodes of the mode stand beside it.
 *
 *     deferred   x ─► batchNorm ─► y                   exact   x ─► channelMoments ─► accumulateMoments
 *                       └─► mean, variance                     x, gamma, beta, moments ─► batchNormWithMoments ─► y
 *          joinMoments ─► accumulateMoments                                                └─► mean, variance
 *
 *     both       buffer, moments ─► runningMoments ─► buffer behind the step
 *
 * Throws UsageError where the model takes a gradient through an exact batch normalisation within itself, and GraphError
 * where a running average follows something made of the statistics that is neither mean nor variance.
 */
export function inBatchNormMode(model: ModelGraph, mode: BatchNormMode): ModelGraph {
  const norms = model.graph.nodes.filter((n) => n.op?.name === batchNormOp.name);
  if (mode === 'micro' || norms.length === 0) return model;
  if (model.totals || model.fromGradients) {
    throw new GraphError(
      'batch-norm-late',
      'a model of gradients is built already: its batch normalisation is settled',
      {
        fields: { mode },
        remedy: 'give the model that is differentiated its mode, by withBatchNorm, before',
      },
    );
  }
  if (mode === 'exact') refuseInnerGradients(model.graph, new Set(norms));
  const followers = followersOf(model.graph);
  /** Moments of the whole batch, by the node of the source whose chunks they are of. */
  const moments = new Map<Node, Tensor>();
  const merge = (norm: Node, chunk: Tensor): Tensor => {
    const total = accumulateMoments(chunk, `moments/${norm.name}`, `${norm.name}.accumulateMoments`);
    moments.set(norm, total);
    return total;
  };
  const { graph, copyOf } = rewriteWithCopies(model.graph, {
    replace: (node, inputs, into) => {
      if (mode === 'exact' && node.op?.name === batchNormOp.name) {
        const [x, gamma, beta] = inputs as [Tensor, Tensor, Tensor];
        const total = merge(node, channelMoments(x, `${node.name}.channelMoments`));
        return into.add(batchNormWithMomentsOp, [x, gamma, beta, total], node.attrs as BatchNormAttrs, node.name);
      }
      const follows = followers.get(node);
      if (!follows) return undefined;
      const { norm, statistic } = follows;
      const total = moments.get(norm) ?? merge(norm, momentsOf(norm, into));
      const { momentum } = node.attrs as RunningAverageAttrs;
      return into.inStep(undefined, () =>
        into.add(runningMomentsOp, [inputs[0]!, total], { momentum, statistic }, node.name),
      );
    },
  });
  return {
    ...model,
    graph,
    objective: model.objective.map(({ loss, weight }) => ({ loss: copyOf(loss, 'the objective'), weight })),
  };
}

/** Moments of a chunk whose batchNorm was copied as it is. */
function momentsOf(norm: Node, into: Graph): Tensor {
  const [, mean, variance] = into.node(norm.name).outputs;
  return joinMoments(mean!, variance!, valuesPerChannel(norm.inputs[0]!.type), `${norm.name}.joinMoments`);
}

interface Follows {
  readonly norm: Node;
  readonly statistic: MomentStatistic;
}

/** The running averages that follow statistics of a batchNorm. */
function followersOf(graph: Graph): Map<Node, Follows> {
  const found = new Map<Node, Follows>();
  for (const node of graph.nodes) {
    if (node.op?.name !== runningAverageOp.name) continue;
    const sample = node.inputs[1]!;
    const follows = followed(sample);
    if (follows) found.set(node, follows);
    else refuseDerivedStatistics(node, sample);
  }
  return found;
}

function followed(sample: Tensor): Follows | undefined {
  const { node } = sample;
  if (isStatistic(sample)) return { norm: node, statistic: sample.index === 1 ? 'mean' : 'variance' };
  if (node.op?.name !== mulOp.name) return undefined;
  const [variance, factor] = isStatistic(node.inputs[0]!) ? node.inputs : [...node.inputs].reverse();
  if (!variance || !isStatistic(variance) || variance.index !== 2) return undefined;
  const count = valuesPerChannel(variance.node.inputs[0]!.type);
  // Of one value the factor would be 1/0, and is anything: the variance is 0.
  const unbiased = count === 1 || factor!.node.source?.value?.[0] === Math.fround(count / (count - 1));
  return unbiased && elementCount(factor!.shape) === 1
    ? { norm: variance.node, statistic: 'unbiasedVariance' }
    : undefined;
}

/** Mean or variance that a batchNorm has found. */
const isStatistic = ({ node, index }: Tensor): boolean => node.op?.name === batchNormOp.name && index > 0;

/** What a running average follows may lead back to a batchNorm's y, but to its statistics only in the known forms. */
function refuseDerivedStatistics(follower: Node, sample: Tensor): void {
  const seen = new Set<Tensor>();
  const stack = [sample];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    if (isStatistic(t)) {
      const running = follower.inputs[0]!.name;
      throw new GraphError(
        'batch-norm-running',
        `${running} follows something computed from the batch statistics of ${t.node.name}, which has no counterpart for the whole batch`,
        {
          fields: { buffer: running, node: t.node.name },
          remedy: 'let it follow the mean, the variance, or variance·n/(n − 1); or use batchNorm micro',
        },
      );
    }
    // y is the chunk's own value, and what follows it is no statistic of the normalisation.
    if (t.node.op?.name !== batchNormOp.name) stack.push(...t.node.inputs);
  }
}

/** Gradients that the model takes within itself were built from the statistics of each microbatch. */
function refuseInnerGradients(graph: Graph, norms: ReadonlySet<Node>): void {
  const gradients = new Set([batchNormInputGradOp.name, batchNormWeightGradOp.name]);
  for (const { op, inputs } of graph.nodes) {
    const norm = op && gradients.has(op.name) ? inputs.find((t) => norms.has(t.node))?.node : undefined;
    if (!norm) continue;
    throw new UsageError(
      'batch-norm-gradient',
      `the model takes a gradient through batch normalisation ${norm.name} within itself, and batchNorm exact has first derivatives only`,
      { fields: { node: norm.name }, remedy: '--batchNorm deferred' },
    );
  }
}
