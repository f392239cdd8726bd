import type { Tensor } from '../../../graph/graph.ts';
import { add, mul } from '../../../ops/elementwise.ts';
import type { OperatorContext } from '../operator.ts';

/** Running statistics of a BatchNormalization, [C]: its inputs 3 and 4. */
export interface RunningStatistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** What a chunk of the batch measures: mean and biased variance, [C], of `count` values a channel. */
export interface BatchStatistics extends RunningStatistics {
  readonly count: number;
}

/**
 * The one place where a BatchNormalization in training meets its running statistics; called for every such node, whether
 * or not anybody uses the result. Gives ONNX's running outputs, where they are wanted:
 *
 *     running = input·momentum + batch·(1 − momentum), with the population (biased) variance
 */
export function trackStatistics(
  context: OperatorContext,
  input: RunningStatistics,
  batch: BatchStatistics,
  momentum: number,
): { readonly mean: Tensor | undefined; readonly variance: Tensor | undefined } {
  const average = (before: Tensor, now: Tensor): Tensor => add(mul(before, momentum), mul(now, 1 - momentum));
  return {
    mean: context.wants(1) ? average(input.mean, batch.mean) : undefined,
    variance: context.wants(2) ? average(input.variance, batch.variance) : undefined,
  };
}
