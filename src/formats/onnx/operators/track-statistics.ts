import type { Tensor } from '../../../graph/graph.ts';
import { add, mul } from '../../../ops/elementwise.ts';
import { trackAverage } from '../../../ops/running-average.ts';
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
 * or not anybody uses the result.
 *
 * - The model's buffers follow the microbatches as PyTorch's do: momentum 1 − that of ONNX, the unbiased variance.
 * - ONNX's running outputs, where they are wanted, are those of the chunk alone, with the population (biased) variance:
 *   running = input·momentum + batch·(1 − momentum).
 */
export function trackStatistics(
  context: OperatorContext,
  input: RunningStatistics,
  batch: BatchStatistics,
  momentum: number,
): { readonly mean: Tensor | undefined; readonly variance: Tensor | undefined } {
  follow(context, input.mean, batch.mean, momentum);
  const { count } = batch;
  // Of one value the variance is 0, biased or not; a factor of 1 keeps the nodes those of other chunks.
  follow(context, input.variance, mul(batch.variance, count > 1 ? count / (count - 1) : 1), momentum);
  const average = (before: Tensor, now: Tensor): Tensor => add(mul(before, momentum), mul(now, 1 - momentum));
  return {
    mean: context.wants(1) ? average(input.mean, batch.mean) : undefined,
    variance: context.wants(2) ? average(input.variance, batch.variance) : undefined,
  };
}

function follow(context: OperatorContext, running: Tensor, sample: Tensor, momentum: number): void {
  const { graph, source } = running.node;
  // Statistics that are computed, or fed, belong to nobody: there is nothing to keep.
  if (source?.kind !== 'buffer') return;
  if (graph.assignments.some(({ target }) => target === running)) {
    context.unsupported(`running statistics "${source.name}" that another node in training updates too`);
  }
  trackAverage(running, sample, 1 - momentum);
}
