import { UsageError } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import { clipFactor } from '../ops/clip-factor.ts';
import { concat, reshape } from '../ops/shape.ts';

/** Norm clipping, PyTorch's `clip_grad_norm_`: all gradients times min(1, globalNorm / (norm + 1e-6)). */
export interface ClipConfig {
  /** Largest 2-norm of the gradient over all trained parameters. */
  readonly globalNorm: number;
}

/**
 * The factor of norm clipping, from Σ g² of each gradient, each on its parameter's device, in the order of the graph. It is
 * computed at one place and read by every update:
 *
 *     device 0   Σ g²(a) ─┐                        ┌─► update a
 *     device 1   Σ g²(b) ─┼─► √ of the sum, factor ┼─► update b
 *     device 2   Σ g²(c) ─┘                        └─► update c
 *
 * Order and place of the additions are the graph's, so every partition gives the same bits. Throws UsageError where the
 * norm is not a positive number.
 */
export function clippingFactor(squares: readonly Tensor[], { globalNorm }: ClipConfig, at: Node): Tensor {
  if (!(Number.isFinite(globalNorm) && globalNorm > 0)) {
    throw new UsageError('clip-norm', `clip: globalNorm must be a positive number, got ${shown(globalNorm)}`, {
      fields: { globalNorm },
      remedy: '--clip.globalNorm 1',
    });
  }
  return at.graph.inStep(at, () =>
    clipFactor(concat(squares.map((square) => reshape(square, [1]))), { maxNorm: globalNorm }),
  );
}
