import { GraphError } from '../../core/errors.ts';
import type { Tensor } from '../../graph/graph.ts';
import { kaimingNormal } from '../../init/index.ts';
import { relu } from '../../ops/elementwise.ts';
import { maxPool2d } from '../../ops/max-pool.ts';
import { concat, transpose } from '../../ops/shape.ts';
import { conv2d, convTranspose2d } from '../conv.ts';
import { dropout } from '../dropout.ts';
import { upsample } from '../upsample.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, layerCount, oneOf, positive, share } from './config.ts';
import { type ImageConfig, imageChecks, type Normalizer, normalizer, sizeOf } from './images.ts';

export interface UnetConfig extends ImageConfig {
  /** How often the image is halved; default 2. Height and width are multiples of 2^depth. */
  readonly depth?: number;
  /** Channels at full size, twice as many at each half of it; default 16. */
  readonly width?: number;
  /** Convolutions of each level and way; default 2. */
  readonly convs?: number;
  /**
   * How an image is doubled: by a transposed convolution 2×2, or by repeating or interpolating its pixels before a
   * convolution 3×3 (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016). Default transpose.
   */
  readonly upsampling?: 'transpose' | 'nearest' | 'bilinear';
  /** Probability that an element is dropped in training at the bottom, as in the paper; default 0. */
  readonly dropout?: number;
}

export const unetChecks: Readonly<Record<keyof UnetConfig, Check>> = {
  ...imageChecks,
  depth: positive,
  width: positive,
  convs: layerCount,
  upsampling: oneOf('transpose', 'nearest', 'bilinear'),
  dropout: share,
};

interface Style {
  readonly norm: Normalizer;
  readonly convs: number;
}

/** A convolution that keeps the size, its normalisation and relu; first values as the paper, N(0, 2 / fanIn). */
function convolved(x: Tensor, width: number, { norm }: Style, name: string, normName: string): Tensor {
  const y = conv2d(x, width, { name, kernel: 3, padding: 1, bias: !norm.normalizes, init: (w) => kaimingNormal(w) });
  return relu(norm.apply(y, normName));
}

function level(x: Tensor, width: number, style: Style): Tensor {
  let h = x;
  for (let i = 1; i <= style.convs; i++) h = convolved(h, width, style, `conv${i}`, `norm${i}`);
  return h;
}

/** Twice the size, `width` channels. */
function doubled(x: Tensor, width: number, upsampling: NonNullable<UnetConfig['upsampling']>): Tensor {
  if (upsampling === 'transpose') return convTranspose2d(x, width, { name: 'up', kernel: 2, stride: 2 });
  const large = upsample(x, { scaleFactor: 2, mode: upsampling });
  return conv2d(large, width, { name: 'up', kernel: 3, padding: 1 });
}

/**
 * A U-shaped network for a class a pixel (Ronneberger et al., "U-Net", 2015), of convolutions that keep the size, so that
 * nothing is cropped. Input `x` [N, C, H, W], target `y` i32 [N, H, W], output `logits` [N, H, W, classes].
 *
 *     down.0 ──────────── concat ───────────► up.0 ── head     H × W,  width channels
 *        └ down.1 ─────── concat ──────► up.1 ┘                half of it, twice the channels
 *             └ bottom ─────────────────┘                      a quarter
 */
export const unet: ModelBuilder<UnetConfig> = modelBuilder(
  'unet',
  unetChecks,
  ['size', 'classes'],
  (graph, batch, config, options) => {
    const { channels = 1, classes, depth = 2, width = 16, convs = 2, upsampling = 'transpose' } = config;
    const [height, breadth] = sizeOf(config.size);
    if (height % 2 ** depth !== 0 || breadth % 2 ** depth !== 0) {
      throw new GraphError('image-size', `an image of ${height} × ${breadth} cannot be halved ${depth} times`, {
        fields: { size: [height, breadth], depth },
        remedy: `choose a smaller model.depth${depth < 16 ? `, or images whose sizes are multiples of ${2 ** depth}` : ''}`,
      });
    }
    const style: Style = { norm: normalizer('unet', config), convs };
    const x = graph.input('x', { shape: [batch, channels, height, breadth] });
    const skips: Tensor[] = [];
    let h = x;
    for (let i = 0; i < depth; i++) {
      h = graph.scope(`down.${i}`, () => {
        skips.push(level(h, width * 2 ** i, style));
        return maxPool2d(skips[i]!, { kernel: 2 });
      });
    }
    h = graph.scope('bottom', () => dropout(level(h, width * 2 ** depth, style), { p: config.dropout ?? 0 }));
    for (let i = depth - 1; i >= 0; i--) {
      h = graph.scope(`up.${i}`, () => {
        const joined = concat([skips[i]!, doubled(h, width * 2 ** i, upsampling)], { axis: 1 });
        return level(joined, width * 2 ** i, style);
      });
    }
    const logits = graph.scope('head', () => transpose(conv2d(h, classes, { kernel: 1 }), [0, 2, 3, 1]));
    return classifier(x, logits, options);
  },
);
