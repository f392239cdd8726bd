import type { Tensor } from '../../../graph/graph.ts';
import { batchNorm, batchNormInference } from '../../../ops/batch-norm.ts';
import { reshape } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';
import { runningOutputs } from './track-statistics.ts';

/**
 * Whether a node normalises by the statistics of its batch: it says so by `training_mode`, before version 14 by having
 * more outputs than one, unless `is_test` (before version 7) denies it. A graph built for evaluation never does.
 */
function isTraining(context: OperatorContext): boolean {
  const asked =
    context.opset >= 14
      ? context.int('training_mode', 0) !== 0
      : context.int('is_test', 0) === 0 && context.node.outputs.some((name, i) => i > 0 && name !== '');
  return asked && context.mode === 'training';
}

/**
 * BatchNormalization. Outputs before version 14: Y, running mean and variance, saved mean and variance (of the batch, for
 * the gradient); from 14: Y, running mean and variance.
 */
function batchNormalization(context: OperatorContext) {
  if (context.opset < 9 && context.int('spatial', 1) !== 1) {
    context.unsupported('spatial = 0: statistics of every activation by itself');
  }
  const eps = context.floatAttr('epsilon', 1e-5);
  const momentum = context.floatAttr('momentum', 0.9);
  const given = context.float(0);
  // A vector is a batch of one channel.
  const x = given.rank === 1 ? reshape(given, [given.shape[0]!, 1]) : given;
  const [gamma, beta, runningMean, runningVariance] = [1, 2, 3, 4].map((i) => context.float(i)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  if (!isTraining(context)) {
    const y = batchNormInference(x, runningMean, runningVariance, gamma, beta, { eps });
    return [reshape(y, given.shape), runningMean, runningVariance, runningMean, runningVariance];
  }
  const { y, mean, variance } = batchNorm(x, gamma, beta, { eps });
  const count = x.shape.reduce((n, d) => n * d, 1) / x.shape[1]!;
  const statistics = { mean, variance, count };
  const running = runningOutputs(context, { mean: runningMean, variance: runningVariance }, statistics, momentum);
  return [reshape(y, given.shape), running.mean, running.variance, mean, variance];
}

export const batchNormOperators: OperatorTable = { BatchNormalization: batchNormalization };
