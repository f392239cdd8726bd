/** How ONNX's convolutions and poolings say where their windows lie. */
import { type Shape, sameShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { spanOf } from '../../../ops/window.ts';
import type { OperatorContext } from '../operator.ts';

/** Input 0 as [N, C, D…] with one to three spatial axes, and these. */
export function imageOf(context: OperatorContext): { readonly x: Tensor; readonly size: Shape } {
  const x = context.float(0);
  const size = x.shape.slice(2);
  if (size.length < 1) context.invalid(`the input must have the axes [N, C, …], got ${x.rank}`);
  if (size.length > 3) context.unsupported(`${size.length} spatial axes: at most three are`);
  return { x, size };
}

/** A list of one integer for each of `rank` axes. */
export function perAxisInts(context: OperatorContext, name: string, rank: number, whenMissing?: number): number[] {
  const filler = whenMissing === undefined ? undefined : new Array<number>(rank).fill(whenMissing);
  const list = [...context.ints(name, filler)];
  if (list.length !== rank) context.invalid(`${name} must hold ${rank} integers, got ${list.length}`);
  return list;
}

const autoPads = ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] as const;
export type AutoPad = (typeof autoPads)[number];

export function autoPadOf(context: OperatorContext): AutoPad {
  const name = context.string('auto_pad', 'NOTSET');
  return autoPads.find((a) => a === name) ?? context.invalid(`auto_pad ${name} is none of ${autoPads.join(', ')}`);
}

/** Padding that is `total` in all by axis, the odd one in front (`lower`) or behind. */
export function halved(total: readonly number[], lower: boolean): number[] {
  const front = total.map((t) => (lower ? Math.ceil(t / 2) : Math.floor(t / 2)));
  return [...front, ...total.map((t, i) => t - front[i]!)];
}

/** Stride, dilation and padding of a window that slides over `size`. */
export function slidingOf(context: OperatorContext, size: Shape, kernel: readonly number[]) {
  const rank = size.length;
  const stride = perAxisInts(context, 'strides', rank, 1);
  const dilation = perAxisInts(context, 'dilations', rank, 1);
  const auto = autoPadOf(context);
  const padding = auto === 'NOTSET' ? explicit(context, rank) : automatic(auto);
  checkPads(context, auto, padding);
  return { kernel, stride, dilation, padding };

  function automatic(by: AutoPad): number[] {
    if (by === 'VALID') return new Array<number>(2 * rank).fill(0);
    // SAME: as many outputs as strides fit the input.
    const total = size.map((n, axis) => {
      const out = Math.ceil(n / stride[axis]!);
      return Math.max(0, (out - 1) * stride[axis]! + spanOf(kernel[axis]!, dilation[axis]!) - n);
    });
    return halved(total, by === 'SAME_LOWER');
  }
}

/** Pads beside an `auto_pad` that says something else: nobody could tell which the file means. */
export function checkPads(context: OperatorContext, auto: AutoPad, padding: readonly number[]): void {
  if (auto === 'NOTSET' || !context.has('pads')) return;
  const stated = context.ints('pads');
  if (sameShape(stated, padding)) return;
  context.invalid(`pads [${stated.join(', ')}] contradict auto_pad ${auto}, which makes [${padding.join(', ')}]`);
}

/** `pads`, all begins, then all ends. */
export function explicit(context: OperatorContext, rank: number): number[] {
  const pads = [...context.ints('pads', new Array<number>(2 * rank).fill(0))];
  if (pads.length !== 2 * rank) context.invalid(`pads must hold ${2 * rank} integers, got ${pads.length}`);
  if (pads.some((p) => p < 0)) context.unsupported(`negative pads [${pads.join(', ')}]`);
  return pads;
}

/** The window's sizes by the weight's axes behind the first two, which `kernel_shape` may repeat. */
export function kernelOf(context: OperatorContext, weight: Tensor, rank: number): number[] {
  const kernel = weight.shape.slice(2);
  if (weight.rank !== rank + 2) context.invalid(`the weight has ${weight.rank} axes, the input ${rank + 2}`);
  if (context.has('kernel_shape')) {
    const said = perAxisInts(context, 'kernel_shape', rank);
    if (said.some((k, i) => k !== kernel[i])) {
      context.invalid(`kernel_shape [${said.join(', ')}] is not the weight's [${kernel.join(', ')}]`);
    }
  }
  return [...kernel];
}
