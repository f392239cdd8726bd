import { sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { add } from './binary.ts';
import { type ConvAttrs, type ConvOptions, completeConv, convInputGrad } from './conv.ts';
import { refuseOptions } from './options.ts';
import { reshape, sliceScatter } from './shape.ts';
import { begins, type PerAxis, perAxis, spanOf } from './window.ts';

export interface ConvTransposeOptions extends ConvOptions {
  /** Added to the end of each axis: tells apart the sizes that a strided convolution takes to one. */
  readonly outputPadding?: PerAxis;
}

/** Sizes that the taps of a transposed convolution reach before padding crops them. */
export const reachedSizes = (size: readonly number[], kernel: readonly number[], attrs: ConvAttrs): number[] =>
  size.map((n, axis) => (n - 1) * attrs.stride[axis]! + spanOf(kernel[axis]!, attrs.dilation[axis]!));

/**
 * Transposed convolution of x [N, C, D…] with weight [C, O / groups, k…] to the spatial sizes `size`: the gradient of `conv`
 * for its input. Output p is what the taps reach at p + the padding's begin; where they reach nothing it is the bias.
 */
export function convTransposeTo(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  attrs: ConvAttrs,
  size: readonly number[],
): Tensor {
  const before = begins(attrs);
  const reached = reachedSizes(x.shape.slice(2), weight.shape.slice(2), attrs).map((r, i) => r - before[i]!);
  // The convolution that this is the gradient of leaves less than a stride over: what lies further is zeros.
  const made = size.map((s, i) => (s - reached[i]! < attrs.stride[i]! ? s : reached[i]!));
  const after = made.map((s, i) => Math.max(0, reached[i]! - s));
  const outer = [x.shape[0]!, (weight.shape[1] ?? 0) * attrs.groups];
  const product = convInputGrad(x, weight, {
    ...attrs,
    padding: [...before, ...after],
    inputShape: [...outer, ...made],
  });
  const whole = sameShape(made, size)
    ? product
    : sliceScatter(product, { shape: [...outer, ...size], starts: product.shape.map(() => 0) });
  return bias ? add(whole, reshape(bias, [...bias.shape, ...size.map(() => 1)])) : whole;
}

function convTranspose(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  options: ConvTransposeOptions,
  rank: number,
): Tensor {
  const attrs = completeConv(options, rank);
  const more = perAxis(options.outputPadding ?? 0, rank);
  if (more.length !== rank || !more.every((v) => Number.isInteger(v) && v >= 0)) {
    const reason = `outputPadding must be ${rank} integers of at least 0, got [${more.join(', ')}]`;
    refuseOptions(`convTranspose${rank}d`, x, reason, 'outputPadding: 1 lengthens each axis, padding shortens it');
  }
  const reached = reachedSizes(x.shape.slice(2), weight.shape.slice(2), attrs);
  const size = reached.map((r, axis) => r - attrs.padding[axis]! - attrs.padding[axis + rank]! + more[axis]!);
  return convTransposeTo(x, weight, bias, attrs, size);
}

/** 1-D transposed convolution of [N, C, L] with [C, O / groups, k], as PyTorch's `conv_transpose1d`. */
export const convTranspose1d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose(x, weight, bias, options, 1);

/** 2-D transposed convolution of [N, C, H, W] with [C, O / groups, kh, kw], as PyTorch's `conv_transpose2d`. */
export const convTranspose2d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose(x, weight, bias, options, 2);

/** 3-D transposed convolution of [N, C, D, H, W] with [C, O / groups, kd, kh, kw], as PyTorch's `conv_transpose3d`. */
export const convTranspose3d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose(x, weight, bias, options, 3);
