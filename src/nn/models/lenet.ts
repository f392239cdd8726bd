import { GraphError } from '../../core/errors.ts';
import { avgPool2d } from '../../ops/avg-pool.ts';
import { maxPool2d } from '../../ops/max-pool.ts';
import { flatten } from '../compose.ts';
import { conv2d } from '../conv.ts';
import { dropout } from '../dropout.ts';
import { linear } from '../linear.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, nonEmptySizes, oneOf, positive, share, sizes } from './config.ts';
import { imageSize, sizeOf } from './images.ts';
import { type Activation, activationCheck, activations } from './mlp.ts';

export interface LenetConfig {
  /** Channels of the image; default 1. */
  readonly channels?: number;
  /** Height and width of the image: [h, w], or one number for both. */
  readonly size: number | readonly number[];
  readonly classes: number;
  /** Channels of the convolutions, each followed by a pooling that halves the image; default [8, 16]. */
  readonly widths?: readonly number[];
  /** Widths of the hidden linear layers; default [64]. */
  readonly hidden?: readonly number[];
  /** default relu */
  readonly activation?: Activation;
  /** default max */
  readonly pool?: 'max' | 'avg';
  /** Probability that an element of a hidden linear layer is dropped in training; default 0. */
  readonly dropout?: number;
}

export const lenetChecks: Readonly<Record<keyof LenetConfig, Check>> = {
  channels: positive,
  size: imageSize,
  classes: positive,
  widths: nonEmptySizes,
  hidden: sizes,
  activation: activationCheck,
  pool: oneOf('max', 'avg'),
  dropout: share,
};

/**
 * A small convolutional network after LeNet (LeCun et al., 1998) with today's parts: 3×3 convolutions that keep the size,
 * activation, 2×2 pooling; then linear layers. Input `x` [N, C, H, W], target `y` i32 [N], output `logits` [N, classes].
 * Layers `conv.0` …, `fc.0` …
 */
export const lenet: ModelBuilder<LenetConfig> = modelBuilder(
  'lenet',
  lenetChecks,
  ['size', 'classes'],
  (graph, batch, config, options) => {
    const [height, width] = sizeOf(config.size);
    const { channels = 1, widths = [8, 16], hidden = [64], pool = 'max', dropout: p = 0 } = config;
    if (Math.min(height, width) < 2 ** widths.length) {
      throw new GraphError(
        'image-too-small',
        `${widths.length} halvings leave nothing of an image of ${height} × ${width}`,
        {
          fields: { size: [height, width], widths },
          remedy: 'give fewer widths',
        },
      );
    }
    const activate = activations[config.activation ?? 'relu'];
    const halve = pool === 'max' ? maxPool2d : avgPool2d;
    const x = graph.input('x', { shape: [batch, channels, height, width] });
    const features = widths.reduce(
      (h, out, i) =>
        graph.scope(`conv.${i}`, () => halve(activate(conv2d(h, out, { kernel: 3, padding: 1 })), { kernel: 2 })),
      x,
    );
    const last = hidden.reduce(
      (h, out, i) => graph.scope(`fc.${i}`, () => dropout(activate(linear(h, out)), { p })),
      flatten(features),
    );
    const logits = linear(last, config.classes, { name: `fc.${hidden.length}` });
    return classifier(x, logits, options);
  },
);
