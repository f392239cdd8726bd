import type { Tensor } from '../graph/graph.ts';
import { mul } from './elementwise.ts';
import { trackAverage } from './running-average.ts';

/** Mean and variance of every channel, [C]; running ones are buffers. */
export interface ChannelStatistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** What a chunk of the batch measures: the variance is biased, over `count` values a channel. */
export interface ChunkStatistics extends ChannelStatistics {
  readonly count: number;
}

/**
 * The one place where a normalisation in training meets its running statistics, a layer's or an ONNX node's: behind the
 * step each buffer holds (1 − momentum)·buffer + momentum·statistic, once for each microbatch in their order, and of the
 * variance the unbiased one, as PyTorch's. A buffer that is left out is not kept.
 */
export function trackStatistics(running: Partial<ChannelStatistics>, chunk: ChunkStatistics, momentum: number): void {
  const { mean, variance, count } = chunk;
  if (running.mean) trackAverage(running.mean, mean, momentum);
  // Of one value the variance is 0, biased or not; a factor of 1 keeps the nodes those of other chunks.
  if (running.variance) trackAverage(running.variance, mul(variance, count > 1 ? count / (count - 1) : 1), momentum);
}
