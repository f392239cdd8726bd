import type { Graph, Tensor } from '../../../graph/graph.ts';
import { cast } from '../../../ops/compare.ts';
import { dropoutWithMask } from '../../../ops/dropout.ts';
import { broadcastTo } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';

/** Samples that the graph is built for; undefined where no input is batched. */
function batchOf(graph: Graph): number | undefined {
  for (const { node, shape } of graph.sources('input')) {
    const feed = node.source?.feed;
    if (feed?.kind === 'data' && feed.batchAxis !== null) return shape[feed.batchAxis];
  }
  return undefined;
}

/** All elements kept: a mask of true, before version 10 of 1. */
function fullMask(context: OperatorContext, x: Tensor): Tensor {
  const one =
    context.opset >= 10
      ? context.graph.constant({ type: { dtype: 'bool', shape: [] }, data: Uint8Array.of(1) }, 'true')
      : context.graph.scalar(1);
  return broadcastTo(one, x.shape);
}

function ratioOf(context: OperatorContext): number {
  const ratio = context.opset >= 12 ? (context.optionalScalar(1, 'the ratio') ?? 0.5) : context.floatAttr('ratio', 0.5);
  return ratio >= 0 && ratio <= 1 ? ratio : context.invalid(`the ratio must lie between 0 and 1, got ${ratio}`);
}

/**
 * Whether a node drops anything: it says so by its input `training_mode` from version 12 on, and before version 7 by
 * `is_test`, which is 0 where it is missing. In between it could not say, and was the identity.
 */
function isTraining(context: OperatorContext): boolean {
  if (context.opset >= 12) return (context.optionalScalar(2, 'training_mode') ?? 0) !== 0;
  return context.opset < 7 && context.int('is_test', 0) === 0;
}

/**
 * Dropout: the identity, except in training where the node itself asks for it. Masks
 * follow the session's seed, the step, the sample and this node (and the node's `seed`, where it has one).
 */
function dropout(context: OperatorContext) {
  const x = context.float(0);
  const training = isTraining(context);
  // Where nothing is dropped, nobody needs to know the ratio.
  const ratio = training && context.mode === 'training' ? ratioOf(context) : 0;
  if (ratio === 0) return [x, context.wants(1) ? fullMask(context, x) : undefined];
  const axis = context.batchAxisOf(x);
  // Names of values are unique, those of nodes need not be.
  const own = context.node.outputs[0] || 'dropout';
  const { y, mask } = dropoutWithMask(x, {
    ratio,
    axis,
    samples: axis === null ? undefined : batchOf(context.graph),
    name: context.has('seed') ? `${own}/seed=${context.int('seed')}` : own,
    mask: context.wants(1),
  });
  return [y, mask && context.opset < 10 ? cast(mask, 'f32') : mask];
}

export const dropoutOperators: OperatorTable = { Dropout: dropout };
