import type { Tensor } from '../graph/graph.ts';
import { fanIn, fanInUniform, kaimingUniform } from '../init/index.ts';
import * as ops from '../ops/conv.ts';
import * as transposed from '../ops/conv-transpose.ts';
import { type PerAxis, perAxis } from '../ops/window.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface ConvLayerOptions extends LayerOptions, ops.ConvOptions {
  readonly kernel: PerAxis;
  /** default true */
  readonly bias?: boolean;
}

export interface ConvTransposeLayerOptions extends ConvLayerOptions, transposed.ConvTransposeOptions {}

type Convolve<Options> = (x: Tensor, weight: Tensor, bias: Tensor | undefined, options: Options) => Tensor;

/** A layer whose weight has the axes that `channels` says, then the kernel's. */
const layer =
  <Options extends ConvLayerOptions>(
    rank: number,
    convolve: Convolve<Omit<Options, keyof LayerOptions | 'kernel' | 'bias'>>,
    channels: (inside: number, outside: number, groups: number) => readonly [number, number],
  ) =>
  (x: Tensor, outChannels: number, options: Options): Tensor =>
    scoped(x, options, () => {
      const { name: _, kernel, bias, ...sliding } = options;
      const shape = [...channels(x.shape[1]!, outChannels, sliding.groups ?? 1), ...perAxis(kernel, rank)];
      const weight = x.graph.parameter('weight', shape, kaimingUniform(shape));
      const offset = bias === false ? undefined : x.graph.parameter('bias', [outChannels], fanInUniform(fanIn(shape)));
      return convolve(x, weight, offset, sliding);
    });

const forward = (inside: number, outside: number, groups: number) => [outside, inside / groups] as const;
const backward = (inside: number, outside: number, groups: number) => [inside, outside / groups] as const;

/** 1-D convolution of [N, C, L] (PyTorch Conv1d). weight [out, C / groups, k], bias [out]. */
export const conv1d = layer<ConvLayerOptions>(1, ops.conv1d, forward);

/** 2-D convolution of [N, C, H, W] (PyTorch Conv2d). weight [out, C / groups, kh, kw], bias [out]. */
export const conv2d = layer<ConvLayerOptions>(2, ops.conv2d, forward);

/** 3-D convolution of [N, C, D, H, W] (PyTorch Conv3d). weight [out, C / groups, kd, kh, kw], bias [out]. */
export const conv3d = layer<ConvLayerOptions>(3, ops.conv3d, forward);

/** 1-D transposed convolution of [N, C, L] (PyTorch ConvTranspose1d). weight [C, out / groups, k], bias [out]. */
export const convTranspose1d = layer<ConvTransposeLayerOptions>(1, transposed.convTranspose1d, backward);

/** 2-D transposed convolution of [N, C, H, W] (PyTorch ConvTranspose2d). weight [C, out / groups, kh, kw], bias [out]. */
export const convTranspose2d = layer<ConvTransposeLayerOptions>(2, transposed.convTranspose2d, backward);

/** 3-D transposed convolution of [N, C, D, H, W] (ConvTranspose3d). weight [C, out / groups, kd, kh, kw], bias [out]. */
export const convTranspose3d = layer<ConvTransposeLayerOptions>(3, transposed.convTranspose3d, backward);
