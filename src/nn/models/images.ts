/** What the models of images share. */
import type { Tensor } from '../../graph/graph.ts';
import { zeros } from '../../init/index.ts';
import { batchNorm2d } from '../batch-norm.ts';
import { groupNorm } from '../norm.ts';
import { refuse } from '../refuse.ts';
import { type Check, either, oneOf, positive } from './config.ts';

export type Norm = 'batch' | 'group' | 'none';

export interface ImageConfig {
  /** Channels of the image; default 1. */
  readonly channels?: number;
  /** Height and width of the image: [h, w], or one number for both. */
  readonly size: number | readonly number[];
  readonly classes: number;
  /**
   * Normalisation behind each convolution: by the statistics of the microbatch and running ones, by those of groups of
   * channels of each sample (any number of microbatches gives the same), or none; default batch.
   */
  readonly norm?: Norm;
  /** Groups of channels of norm `group`; default 8. */
  readonly groups?: number;
}

const heightAndWidth: Check = (v) =>
  Array.isArray(v) && v.length <= 2 && v.length > 0 && v.every((d) => !positive(d)) ? undefined : '[height, width]';

export const imageSize: Check = either(positive, heightAndWidth);

export const imageChecks: Readonly<Record<keyof ImageConfig, Check>> = {
  channels: positive,
  size: imageSize,
  classes: positive,
  norm: oneOf('batch', 'group', 'none'),
  groups: positive,
};

/** [height, width] */
export function sizeOf(size: number | readonly number[]): readonly [height: number, width: number] {
  const [height, width = height] = typeof size === 'number' ? [size] : size;
  return [height!, width!];
}

export interface Normalizer {
  /** Whether there is one: a convolution in front of it needs no bias then. */
  readonly normalizes: boolean;
  /** `zeroInit`: begins with weight 0. */
  readonly apply: (x: Tensor, name: string, options?: { readonly zeroInit?: boolean }) => Tensor;
}

/** The normalisation that a configuration asks for. */
export function normalizer(
  model: string,
  { norm = 'batch', groups = 8 }: Pick<ImageConfig, 'norm' | 'groups'>,
): Normalizer {
  if (norm === 'none') return { normalizes: false, apply: (x) => x };
  return {
    normalizes: true,
    apply: (x, name, { zeroInit = false } = {}) => {
      const options = { name, ...(zeroInit ? { init: zeros } : {}) };
      if (norm === 'batch') return batchNorm2d(x, options);
      if (x.shape[1]! % groups === 0) return groupNorm(x, groups, options);
      return refuse(
        model,
        x,
        `${x.shape[1]} channels do not make ${groups} groups`,
        'choose model.groups so that it divides every width',
      );
    },
  };
}
