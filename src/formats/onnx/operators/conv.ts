import { conv as convolve } from '../../../ops/conv.ts';
import { convTransposeTo, reachedSizes } from '../../../ops/conv-transpose.ts';
import type { OperatorRule, OperatorTable } from '../operator.ts';
import { autoPadOf, checkPads, explicit, halved, imageOf, kernelOf, perAxisInts, slidingOf } from './window.ts';

const conv: OperatorRule = (context) => {
  const { x, size } = imageOf(context);
  const weight = context.float(1);
  const bias = context.optional(2) === undefined ? undefined : context.float(2);
  const { kernel: _, ...sliding } = slidingOf(context, size, kernelOf(context, weight, size.length));
  return [convolve(x, weight, bias, { ...sliding, groups: context.int('group', 1) })];
};

/**
 * Its size is `output_shape`, or (auto_pad SAME) the input's times the stride, or what the taps reach without the padding.
 * Where the size is said, padding follows from it, the odd one behind for SAME_UPPER and in front otherwise.
 */
const convTranspose: OperatorRule = (context) => {
  const { x, size } = imageOf(context);
  const rank = size.length;
  const weight = context.float(1);
  const bias = context.optional(2) === undefined ? undefined : context.float(2);
  const kernel = kernelOf(context, weight, rank);
  const stride = perAxisInts(context, 'strides', rank, 1);
  const dilation = perAxisInts(context, 'dilations', rank, 1);
  const more = perAxisInts(context, 'output_padding', rank, 0);
  const auto = autoPadOf(context);
  const attrs = { stride, dilation, groups: context.int('group', 1), padding: new Array<number>(2 * rank).fill(0) };
  const reached = reachedSizes(size, kernel, attrs).map((r, axis) => r + more[axis]!);
  const same = auto === 'SAME_UPPER' || auto === 'SAME_LOWER';
  const said = context.has('output_shape')
    ? outputShape()
    : same
      ? size.map((n, axis) => n * stride[axis]!)
      : undefined;
  if (said) {
    const total = said.map((out, axis) => Math.max(0, reached[axis]! - out));
    const around = halved(total, auto !== 'SAME_UPPER');
    checkPads(context, auto, around);
    return [convTransposeTo(x, weight, bias, { ...attrs, padding: around }, said)];
  }
  const padding = auto === 'NOTSET' ? explicit(context, rank) : attrs.padding;
  checkPads(context, auto, padding);
  const out = reached.map((r, axis) => r - padding[axis]! - padding[axis + rank]!);
  return [convTransposeTo(x, weight, bias, { ...attrs, padding }, out)];

  /** Spatial sizes; some exporters write the whole shape. */
  function outputShape(): number[] {
    const list = context.ints('output_shape');
    if (list.length !== rank && list.length !== rank + 2) {
      context.invalid(`output_shape must hold ${rank} integers, got ${list.length}`);
    }
    return list.slice(-rank);
  }
};

/** Convolutions over one to three spatial axes. */
export const convOperators: OperatorTable = { Conv: conv, ConvTranspose: convTranspose };
