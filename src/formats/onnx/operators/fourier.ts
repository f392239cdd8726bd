/**
 * Discrete Fourier transforms as products with constant matrices, for lengths that are known: complex numbers are the last
 * axis, [real] or [real, imaginary].
 */
import type { Tensor } from '../../../graph/graph.ts';
import { add, mul, sub } from '../../../ops/elementwise.ts';
import { gather } from '../../../ops/gather.ts';
import { matmul } from '../../../ops/matmul.ts';
import { pad } from '../../../ops/pad.ts';
import { concat, reshape, slice, transpose } from '../../../ops/shape.ts';
import { known } from '../known.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';
import { axisOf } from './shape.ts';

/** A signal along the last axis; undefined: no imaginary part. */
interface Signal {
  readonly re: Tensor;
  readonly im: Tensor | undefined;
}

/** Elements of a constant: matrices for one side of up to 8192 values, or both of 5792; places of frames. */
const maxConstant = 8192 * 4097;

/** Refuses a transform whose matrices would not fit. */
function requireSmall(context: OperatorContext, n: number, bins: number): void {
  if (n * bins > maxConstant) {
    context.unsupported(`a transform of ${n} values to ${bins}: its matrices may have ${maxConstant} elements`);
  }
}

/** scale·cos and scale·sin of 2πjk/n, as [rows, columns] of j and k; `weight` multiplies rows. */
function waves(
  context: OperatorContext,
  n: number,
  [rows, columns]: readonly [number, number],
  weight: (row: number) => number,
): readonly [cos: Tensor, sin: Tensor] {
  const matrix = (wave: (angle: number) => number): Tensor => {
    // Whole turns are taken off first: they would cost digits.
    const at = (i: number, k: number): number => weight(i) * wave((2 * Math.PI * ((i * k) % n)) / n);
    const data = Float64Array.from({ length: rows * columns }, (_, e) => at(Math.floor(e / columns), e % columns));
    return context.lift(known('FLOAT', [rows, columns], data));
  };
  return [matrix(Math.cos), matrix(Math.sin)];
}

/** Σⱼ x[j]·e^(∓2πijk/n) for the first `bins` k; the inverse divides by n. */
function transformed(context: OperatorContext, x: Signal, n: number, bins: number, inverse: boolean): Required<Signal> {
  const [cos, sin] = waves(context, n, [n, bins], () => (inverse ? 1 / n : 1));
  const [even, odd] = [matmul(x.re, cos), matmul(x.re, sin)];
  if (!x.im) return { re: even, im: inverse ? odd : sub(0, odd) };
  const [evenOfIm, oddOfIm] = [matmul(x.im, cos), matmul(x.im, sin)];
  return inverse
    ? { re: sub(even, oddOfIm), im: add(evenOfIm, odd) }
    : { re: add(even, oddOfIm), im: sub(evenOfIm, odd) };
}

/** The real signal of n values whose one-sided spectrum this is: the other side is its mirror. */
function realInverse(context: OperatorContext, { re, im }: Signal, n: number, bins: number): Tensor {
  // Bins without a mirror.
  const isAlone = (k: number): boolean => k === 0 || 2 * k === n;
  const [cos, sin] = waves(context, n, [bins, n], (k) => (isAlone(k) ? 1 : 2) / n);
  const even = matmul(re, cos);
  return im ? sub(even, matmul(im, sin)) : even;
}

/** The first n entries of the last axis, zeros where there are fewer. */
function sized(x: Tensor, n: number): Tensor {
  const last = x.rank - 1;
  const size = x.shape[last]!;
  if (size === n) return x;
  return size > n ? slice(x, { [last]: [0, n] }) : pad(x, { [last]: [0, n - size] });
}

/** Real and imaginary part of a tensor [..., 1 or 2], and an axis of it as the last one. */
function signalOf(context: OperatorContext, x: Tensor, axis: number): Signal {
  const last = x.rank - 1;
  const parts = x.shape[last]!;
  if (parts !== 1 && parts !== 2) context.invalid(`its last axis is ${parts}: 1 (real) or 2 (complex) belong there`);
  const perm = [...x.shape.keys()].filter((i) => i !== axis && i !== last);
  const part = (i: number): Tensor => {
    const one = transpose(slice(x, { [last]: [i, i + 1] }), [...perm, axis, last]);
    return reshape(one, one.shape.slice(0, -1));
  };
  return { re: part(0), im: parts === 2 ? part(1) : undefined };
}

/** Parts side by side along a new last axis, the signal's axis back in its place. */
function complexOf(parts: readonly Tensor[], axis: number): Tensor {
  const joined = concat(
    parts.map((t) => reshape(t, [...t.shape, 1])),
    { axis: -1 },
  );
  const others = [...joined.shape.keys()].slice(0, -2);
  const order = others.toSpliced(axis, 0, joined.rank - 2);
  return transpose(joined, [...order, joined.rank - 1]);
}

function dft(context: OperatorContext): Tensor {
  const x = context.float(0);
  const since20 = context.opset >= 20;
  const given = since20 ? (context.optionalInteger(2, 'the axis') ?? -2) : context.int('axis', 1);
  const axis = axisOf(context, given, x.rank);
  if (axis === x.rank - 1) context.invalid(`axis ${given} is the last one, of the complex numbers`);
  const [inverse, oneSided] = [context.int('inverse', 0) !== 0, context.int('onesided', 0) !== 0];
  const signal = signalOf(context, x, axis);
  const size = x.shape[axis]!;
  const toReal = inverse && oneSided;
  const n = context.optionalInteger(1, 'dft_length') ?? (toReal ? 2 * (size - 1) : size);
  if (n < 1) context.invalid(`dft_length is ${n}`);
  const bins = oneSided ? Math.floor(n / 2) + 1 : n;
  requireSmall(context, n, bins);
  const [re, im] = [signal.re, signal.im].map((t) => t && sized(t, toReal ? bins : n)) as [Tensor, Tensor | undefined];
  if (toReal) return complexOf([realInverse(context, { re, im }, n, bins)], axis);
  if (oneSided && im) context.invalid('a one-sided transform takes real numbers, and these are complex');
  const y = transformed(context, { re, im }, n, bins, inverse);
  return complexOf([y.re, y.im!], axis);
}

/** [batch, length] or [batch, length, 1 or 2] → [batch, frames, bins, 2]: frames every `frame_step` values, times the window. */
function stft(context: OperatorContext): Tensor {
  const given = context.float(0);
  // PyTorch's exporter leaves the last axis out, of real numbers.
  const x = given.rank === 2 ? reshape(given, [...given.shape, 1]) : given;
  if (x.rank !== 3) context.invalid(`the signal must be [batch, length, 1 or 2], and is [${x.shape.join(', ')}]`);
  const step = context.integer(1, 'frame_step');
  const window = context.optional(2) && context.float(2);
  const n = context.optionalInteger(3, 'frame_length') ?? window?.shape[0] ?? x.shape[1]!;
  const [batch, length] = x.shape as [number, number];
  if (step < 1 || n < 1 || n > length) context.invalid(`frames of ${n} every ${step} of ${length} values`);
  if (window && (window.rank !== 1 || window.shape[0] !== n)) {
    context.invalid(`the window, [${window.shape.join(', ')}], is not as long as a frame, ${n}`);
  }
  const frames = Math.floor((length - n) / step) + 1;
  if (frames * n > maxConstant) {
    context.unsupported(`${frames} frames of ${n} values: they may have ${maxConstant} together`);
  }
  const oneSided = context.int('onesided', 1) !== 0;
  const bins = oneSided ? Math.floor(n / 2) + 1 : n;
  requireSmall(context, n, bins);
  const places = Array.from({ length: frames * n }, (_, i) => Math.floor(i / n) * step + (i % n));
  const indices = context.lift(known('INT32', [places.length], places));
  const framed = (t: Tensor): Tensor => {
    const cut = reshape(gather(t, indices, { axis: 1 }), [batch, frames, n]);
    return window ? mul(cut, window) : cut;
  };
  const signal = signalOf(context, x, 1);
  if (oneSided && signal.im) context.invalid('a one-sided transform takes real numbers, and these are complex');
  const cut = { re: framed(signal.re), im: signal.im && framed(signal.im) };
  const y = transformed(context, cut, n, bins, false);
  return complexOf([y.re, y.im!], 2);
}

export const fourierOperators: OperatorTable = {
  DFT: (context) => [dft(context)],
  STFT: (context) => [stft(context)],
};
