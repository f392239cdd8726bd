import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { batchNormInference, batchNorm as normalize } from '../ops/batch-norm.ts';
import { trackStatistics } from '../ops/running-statistics.ts';
import { type ChannelNormOptions, channelAffine, runningNormOptions, runningStatistics } from './norm.ts';
import { refuse, requireShare } from './refuse.ts';
import { scoped } from './scope.ts';

export interface BatchNormOptions extends ChannelNormOptions {
  /** Share of the new statistics in the running ones; default 0.1. */
  readonly momentum?: number;
  /** Keeps running statistics, and normalises by them in evaluation; default true. */
  readonly trackRunningStats?: boolean;
}

/**
 * Batch normalisation (Ioffe, Szegedy, 2015; PyTorch BatchNorm): by the chunk's own mean and biased variance in training,
 * by the running statistics in evaluation. Parameters weight, bias [C]; buffers running_mean, running_var [C], which follow
 * the microbatches with the unbiased variance. PyTorch's counter num_batches_tracked, which nothing but `momentum=None`
 * reads, is not kept.
 *
 * A channel needs several values: of a microbatch of one sample without other places the result is the bias, whatever x.
 */
const batchNorm =
  (layer: string, takes: string, ...ranks: readonly number[]) =>
  (x: Tensor, options: BatchNormOptions = {}): Tensor =>
    scoped(layer, x, options, runningNormOptions, () => {
      const { eps, momentum = 0.1, affine = true, trackRunningStats = true } = options;
      if (!ranks.includes(x.rank)) refuse(layer, x, `takes ${takes}`);
      requireShare(layer, x, 'momentum', momentum);
      const [weight, bias] = affine ? channelAffine(x, options) : [];
      const running = trackRunningStats ? runningStatistics(x) : undefined;
      if (running && x.graph.mode === 'evaluation') {
        return batchNormInference(x, running.mean, running.variance, weight, bias, { eps });
      }
      const { y, mean, variance } = normalize(x, weight, bias, { eps });
      const count = elementCount(x.shape) / x.shape[1]!;
      if (running && x.graph.mode === 'training') trackStatistics(running, { mean, variance, count }, momentum);
      return y;
    });

/** Batch normalisation of [N, C] or [N, C, L] (PyTorch BatchNorm1d). */
export const batchNorm1d = batchNorm('batchNorm1d', '[N, C] or [N, C, L]', 2, 3);
/** Batch normalisation of [N, C, H, W] (PyTorch BatchNorm2d). */
export const batchNorm2d = batchNorm('batchNorm2d', '[N, C, H, W]', 4);
/** Batch normalisation of [N, C, D, H, W] (PyTorch BatchNorm3d). */
export const batchNorm3d = batchNorm('batchNorm3d', '[N, C, D, H, W]', 5);
