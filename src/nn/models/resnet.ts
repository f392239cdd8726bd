import { GraphError } from '../../core/errors.ts';
import type { Tensor } from '../../graph/graph.ts';
import { kaimingNormal, zeros } from '../../init/index.ts';
import { globalAvgPool } from '../../ops/adaptive-pool.ts';
import { relu } from '../../ops/elementwise.ts';
import { maxPool2d } from '../../ops/max-pool.ts';
import { flatten, residual } from '../compose.ts';
import { conv2d } from '../conv.ts';
import { linear } from '../linear.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, either, flag, layerCount, layerCounts, nonEmptySizes, oneOf } from './config.ts';
import { type ImageConfig, imageChecks, type Normalizer, normalizer, sizeOf } from './images.ts';

export interface ResnetConfig extends ImageConfig {
  /** Channels of each stage; every stage but the first halves the image. Default [16, 32, 64]. */
  readonly widths?: readonly number[];
  /** Blocks of each stage, or one number for all; default 3 (with the other defaults, ResNet-20). */
  readonly blocks?: number | readonly number[];
  /** Two 3×3 convolutions, or 1×1, 3×3 and a 1×1 to four times the width; default basic. */
  readonly block?: 'basic' | 'bottleneck';
  /** A 3×3 convolution; or 7×7 with stride 2 and a pooling, for large images. Default cifar. */
  readonly stem?: 'cifar' | 'imagenet';
  /** Blocks begin as the identity (Goyal et al., 2017): their last weight is 0. Default: where norm is none. */
  readonly zeroInit?: boolean;
}

export const resnetChecks: Readonly<Record<keyof ResnetConfig, Check>> = {
  ...imageChecks,
  widths: nonEmptySizes,
  blocks: either(layerCount, layerCounts),
  block: oneOf('basic', 'bottleneck'),
  stem: oneOf('cifar', 'imagenet'),
  zeroInit: flag,
};

interface Style {
  readonly norm: Normalizer;
  readonly zeroInit: boolean;
}

interface ConvOptions {
  readonly name: string;
  readonly norm: string;
  readonly kernel: number;
  readonly stride?: number;
  /** The last convolution of a block. */
  readonly last?: boolean;
}

/** A convolution that keeps the size but for its stride, and its normalisation. */
function convolved(x: Tensor, out: number, style: Style, { name, norm, kernel, stride, last }: ConvOptions): Tensor {
  const zeroInit = last === true && style.zeroInit;
  const y = conv2d(x, out, {
    name,
    kernel,
    stride,
    padding: (kernel - 1) / 2,
    bias: !style.norm.normalizes,
    init: (shape) => (zeroInit && !style.norm.normalizes ? zeros : kaimingNormal(shape, { mode: 'fanOut' })),
  });
  return style.norm.apply(y, norm, { zeroInit });
}

type Body = (x: Tensor, width: number, stride: number, style: Style) => Tensor;

const basic: Body = (x, width, stride, style) => {
  const h = relu(convolved(x, width, style, { name: 'conv1', norm: 'bn1', kernel: 3, stride }));
  return convolved(h, width, style, { name: 'conv2', norm: 'bn2', kernel: 3, last: true });
};

/** The stride stands at the 3×3 convolution, as in torchvision ("ResNet v1.5"), not at the first as in the paper. */
const bottleneck: Body = (x, width, stride, style) => {
  const narrow = relu(convolved(x, width, style, { name: 'conv1', norm: 'bn1', kernel: 1 }));
  const h = relu(convolved(narrow, width, style, { name: 'conv2', norm: 'bn2', kernel: 3, stride }));
  return convolved(h, 4 * width, style, { name: 'conv3', norm: 'bn3', kernel: 1, last: true });
};

/** One block: relu(body(x) + x), x projected where the body changes its shape. */
function blockOf(x: Tensor, body: Body, width: number, stride: number, style: Style): Tensor {
  const out = body === bottleneck ? 4 * width : width;
  const project = (t: Tensor): Tensor =>
    t.graph.scope('downsample', () => convolved(t, out, style, { name: '0', norm: '1', kernel: 1, stride }));
  const shortcut = stride !== 1 || x.shape[1] !== out ? project : undefined;
  return relu(residual((h) => body(h, width, stride, style), { shortcut })(x));
}

/**
 * A residual network (He et al., "Deep Residual Learning for Image Recognition", 2015), with projections where the shape
 * changes. Parameters have torchvision's names and shapes (`conv1`, `bn1`, `layer1.0.conv1` …, `layer2.0.downsample.0`,
 * `fc`) and first values. Input `x` [N, C, H, W], target `y` i32 [N], output `logits` [N, classes].
 *
 *     widths [16, 32, 64], blocks n                                                      ResNet-(6n + 2) of the paper's §4.2
 *     widths [64, 128, 256, 512], blocks [2, 2, 2, 2], stem imagenet                     ResNet-18
 *     widths [64, 128, 256, 512], blocks [3, 4, 6, 3], stem imagenet, block bottleneck   ResNet-50
 */
export const resnet: ModelBuilder<ResnetConfig> = modelBuilder(
  'resnet',
  resnetChecks,
  ['size', 'classes'],
  (graph, batch, config, options) => {
    const { channels = 1, classes, widths = [16, 32, 64], blocks = 3, block = 'basic', stem = 'cifar' } = config;
    const counts = typeof blocks === 'number' ? widths.map(() => blocks) : blocks;
    if (counts.length !== widths.length) {
      throw new GraphError('resnet-stages', `widths has ${widths.length} stages and blocks ${counts.length}`, {
        fields: { widths, blocks },
        remedy: 'give one number of blocks for each width, or one number for all',
      });
    }
    const norm = normalizer('resnet', config);
    const style: Style = { norm, zeroInit: config.zeroInit ?? !norm.normalizes };
    const x = graph.input('x', { shape: [batch, channels, ...sizeOf(config.size)] });
    const first = { name: 'conv1', norm: 'bn1', ...(stem === 'imagenet' ? { kernel: 7, stride: 2 } : { kernel: 3 }) };
    let h = relu(convolved(x, widths[0]!, style, first));
    if (stem === 'imagenet') h = maxPool2d(h, { kernel: 3, stride: 2, padding: 1 });
    const body = block === 'basic' ? basic : bottleneck;
    widths.forEach((width, stage) => {
      for (let i = 0; i < counts[stage]!; i++) {
        const stride = stage > 0 && i === 0 ? 2 : 1;
        h = graph.scope(`layer${stage + 1}.${i}`, () => blockOf(h, body, width, stride, style));
      }
    });
    return classifier(x, linear(flatten(globalAvgPool(h)), classes, { name: 'fc' }), options);
  },
);
