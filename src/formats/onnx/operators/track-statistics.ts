import type { Tensor } from '../../../graph/graph.ts';
import { add, mul } from '../../../ops/elementwise.ts';
import { type ChannelStatistics, type ChunkStatistics, trackStatistics } from '../../../ops/running-statistics.ts';
import type { OperatorContext } from '../operator.ts';

/**
 * What a BatchNormalization in training does with its running statistics (its inputs 3 and 4); called for every such node,
 * whether or not anybody uses the result.
 *
 * - The model's buffers follow the microbatches as PyTorch's do: momentum 1 − that of ONNX, the unbiased variance.
 * - ONNX's running outputs, where they are wanted, are those of the chunk alone, with the population (biased) variance:
 *   running = input·momentum + batch·(1 − momentum).
 */
export function runningOutputs(
  context: OperatorContext,
  input: ChannelStatistics,
  batch: ChunkStatistics,
  momentum: number,
): { readonly mean: Tensor | undefined; readonly variance: Tensor | undefined } {
  const taken = context.graph.assignments.map(({ target }) => target);
  const mean = bufferOf(context, input.mean, taken);
  const variance = bufferOf(context, input.variance, mean ? [...taken, mean] : taken);
  trackStatistics({ mean, variance }, batch, 1 - momentum);
  const average = (before: Tensor, now: Tensor): Tensor => add(mul(before, momentum), mul(now, 1 - momentum));
  return {
    mean: context.wants(1) ? average(input.mean, batch.mean) : undefined,
    variance: context.wants(2) ? average(input.variance, batch.variance) : undefined,
  };
}

/** Statistics that are computed, or fed, belong to nobody: there is nothing to keep. */
function bufferOf(context: OperatorContext, running: Tensor, taken: readonly Tensor[]): Tensor | undefined {
  const { source } = running.node;
  if (source?.kind !== 'buffer') return undefined;
  if (taken.includes(running)) {
    context.unsupported(`running statistics "${source.name}" that another node in training updates too`);
  }
  return running;
}
