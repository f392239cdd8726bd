/** Type rules, layouts and options that the normalisations share. */
import { allocate, elementCount, type Shape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { reshape } from './shape.ts';

export interface NormOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
}

/** Sizes of x [N, C, …] seen as [n, channels, spatial]. */
export const channelLayout = (x: Shape): { n: number; channels: number; spatial: number } => ({
  n: x[0]!,
  channels: x[1]!,
  spatial: elementCount(x.slice(2)),
});

/** x [N, C, …] seen as [N, C, spatial]. */
export function channelsOf(x: Tensor): Tensor {
  const { n, channels, spatial } = channelLayout(x.shape);
  return reshape(x, [n, channels, spatial]);
}

/**
 * A value a channel as [C, 1], which broadcasts to [N, C, spatial]. Without an axis for N: what is missing is always
 * summed by the gradient, where an axis of size 1 would not be in a chunk of one sample, whose graph would then differ.
 */
export const channelColumn = (t: Tensor): Tensor => reshape(t, [t.shape[0]!, 1]);

/** A constant of one value, of a weight that is left out. */
export function filled({ graph }: Tensor, shape: Shape, value: 0 | 1): Tensor {
  const type: TensorType = { dtype: 'f32', shape };
  return graph.constant({ type, data: allocate(type).fill(value) }, value === 1 ? 'ones' : 'zeros');
}
