import type { Tensor } from '../graph/graph.ts';
import { fanIn, fanInUniform, kaimingUniform } from '../init/index.ts';
import { type ConvOptions, conv2d as convolve } from '../ops/conv.ts';
import { type PairOption, pair } from '../ops/window.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface Conv2dOptions extends LayerOptions, ConvOptions {
  readonly kernel: PairOption;
  /** default true */
  readonly bias?: boolean;
}

/** 2-D convolution of [N, C, H, W] (PyTorch Conv2d). weight [out, C / groups, kh, kw], bias [out]. */
export const conv2d = (x: Tensor, outChannels: number, options: Conv2dOptions): Tensor =>
  scoped(x, options, () => {
    const { name: _, kernel, bias, ...sliding } = options;
    const shape = [outChannels, x.shape[1]! / (sliding.groups ?? 1), ...pair(kernel)];
    const weight = x.graph.parameter('weight', shape, kaimingUniform(shape));
    const offset = bias === false ? undefined : x.graph.parameter('bias', [outChannels], fanInUniform(fanIn(shape)));
    return convolve(x, weight, offset, sliding);
  });
