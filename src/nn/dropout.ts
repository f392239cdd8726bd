import { shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { dropout as drop, type DropoutOptions as OpOptions } from '../ops/dropout.ts';
import { mul } from '../ops/elementwise.ts';
import { broadcastTo, reshape } from '../ops/shape.ts';
import { refuse, requireShare } from './refuse.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface DropoutOptions extends LayerOptions {
  /** Probability that an element is dropped; default 0.5. */
  readonly p?: number;
  /**
   * The axis of the samples in x, default 0: the batch's, or one that joins the batch with the axes behind it. null where x
   * is not batched: the mask is then the same in every microbatch.
   */
  readonly axis?: number | null;
}

/** Samples that the graph is built for, by its batched inputs; undefined where it has none. */
function samplesOf(x: Tensor): number | undefined {
  for (const { node, shape } of x.graph.sources('input')) {
    const feed = node.source?.feed;
    if (feed?.kind === 'data' && feed.batchAxis !== null) return shape[feed.batchAxis];
  }
  return undefined;
}

/** How x is dropped from, of which each sample owns an equal part of the axis. */
export function dropoutOf(layer: string, x: Tensor, { p = 0.5, axis = 0 }: DropoutOptions): OpOptions {
  const samples = axis === null ? undefined : samplesOf(x);
  if (samples === undefined) return { ratio: p, axis: null };
  const size = x.shape[axis! < 0 ? axis! + x.rank : axis!];
  if (size === undefined || size % samples !== 0) {
    const what =
      size === undefined ? `there is no axis ${shown(axis)}` : `axis ${shown(axis)} does not hold ${samples} samples`;
    refuse(layer, x, what, '{ axis } names the axis of the samples; { axis: null } is for what is not batched');
  }
  return { ratio: p, axis, samples };
}

const isActive = (layer: string, x: Tensor, { p = 0.5 }: DropoutOptions): boolean => {
  requireShare(layer, x, 'p', p);
  return x.graph.mode === 'training' && p > 0;
};

/**
 * Dropout (Srivastava et al., 2014; PyTorch Dropout): in training each element becomes 0 with probability p, and the others
 * are divided by 1 − p; in evaluation the identity. What is dropped follows from seed, step, sample, the layer's name and
 * the place in the sample alone, so no layout, schedule or number of microbatches changes it.
 */
export const dropout = (x: Tensor, options: DropoutOptions = {}): Tensor =>
  scoped('dropout', x, options, { name: true, p: true, axis: true }, () =>
    isActive('dropout', x, options) ? drop(x, dropoutOf('dropout', x, options)) : x,
  );

/** As `dropout`, but whole channels of [N, C, …] at once. */
const channelDropout =
  (layer: string, takes: string, rank: number) =>
  (x: Tensor, options: Omit<DropoutOptions, 'axis'> = {}): Tensor => {
    return scoped(layer, x, options, { name: true, p: true }, () => {
      if (x.rank !== rank) refuse(layer, x, `takes ${takes}`);
      if (!isActive(layer, x, options)) return x;
      const kept = drop(broadcastTo(x.graph.scalar(1), x.shape.slice(0, 2)), dropoutOf(layer, x, options));
      return mul(
        x,
        reshape(
          kept,
          x.shape.map((d, axis) => (axis < 2 ? d : 1)),
        ),
      );
    });
  };

/** Dropout of whole channels of [N, C, L] (Tompson et al., 2015; PyTorch Dropout1d). */
export const dropout1d = channelDropout('dropout1d', '[N, C, L]', 3);
/** Dropout of whole channels of [N, C, H, W] (PyTorch Dropout2d). */
export const dropout2d = channelDropout('dropout2d', '[N, C, H, W]', 4);
/** Dropout of whole channels of [N, C, D, H, W] (PyTorch Dropout3d). */
export const dropout3d = channelDropout('dropout3d', '[N, C, D, H, W]', 5);
