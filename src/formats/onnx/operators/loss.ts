/** Losses of class indices, of the chunk as it is; classes on axis 1. */
import type { Tensor } from '../../../graph/graph.ts';
import { type ClassLossOptions, crossEntropyLoss, nllLoss, type Reduction } from '../../../ops/class-loss.ts';
import { logSoftmax } from '../../../ops/softmax.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';

/** Target and options that both losses have. */
function lossOf(context: OperatorContext): { target: Tensor; options: ClassLossOptions } {
  const reduction = context.string('reduction', 'mean');
  if (!isReduction(reduction)) context.invalid(`reduction must be none, sum or mean, got ${reduction}`);
  const weight = context.optional(2) ? context.float(2) : undefined;
  const ignoreIndex = context.has('ignore_index') ? context.int('ignore_index') : null;
  const target = context.tensor(1);
  return { target, options: { reduction: reduction as Reduction, ignoreIndex, ...(weight ? { weight } : {}) } };
}

const isReduction = (name: string): name is Reduction => ['none', 'sum', 'mean'].includes(name);

function negativeLogLikelihoodLoss(context: OperatorContext) {
  const { target, options } = lossOf(context);
  return [nllLoss(context.float(0), target, options)];
}

/** Outputs the loss and log softmax(scores). */
function softmaxCrossEntropyLoss(context: OperatorContext) {
  const scores = context.float(0);
  const { target, options } = lossOf(context);
  const loss = context.wants(0) ? crossEntropyLoss(scores, target, options) : undefined;
  return [loss, context.wants(1) ? logSoftmax(scores, { axis: scores.rank > 1 ? 1 : 0 }) : undefined];
}

export const lossOperators: OperatorTable = {
  NegativeLogLikelihoodLoss: negativeLogLikelihoodLoss,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
};
