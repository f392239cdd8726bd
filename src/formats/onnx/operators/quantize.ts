/**
 * Quantisation: integers that stand for (q − zero point)·scale, with one scale for all elements or one an entry of an axis.
 * Rounding has the gradient 0, as ONNX's operators are differentiated as they stand: nothing goes straight through.
 */
import type { Tensor } from '../../../graph/graph.ts';
import { cast, equal, where } from '../../../ops/compare.ts';
import { add, clip, div, maximum, minimum, mul, round, sub } from '../../../ops/elementwise.ts';
import { max, min } from '../../../ops/reduce.ts';
import { reshape } from '../../../ops/shape.ts';
import type { OnnxDType } from '../model.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';
import { onnxDTypeOf } from '../tensor-bytes.ts';
import { axisOf } from './shape.ts';

/** Least and largest integer of the types that ONNX quantises to. */
const ranges: Readonly<Partial<Record<OnnxDType, readonly [low: number, high: number]>>> = {
  INT8: [-128, 127],
  UINT8: [0, 255],
  INT16: [-32768, 32767],
  UINT16: [0, 65535],
};

/** Input i, a scale or zero point in f32: a number, or one an entry of the axis, which stands beside x as [n, 1, …]. */
function alongAxis(context: OperatorContext, i: number, x: Tensor): Tensor {
  const given = context.float(i);
  if (given.rank === 0 || (given.rank === 1 && given.shape[0] === 1)) return reshape(given, []);
  const axis = axisOf(context, context.int('axis', 1), x.rank);
  if (given.rank !== 1 || given.shape[0] !== x.shape[axis]) {
    context.invalid(
      `input ${i}, of shape [${given.shape.join(', ')}], is neither a number nor one an entry of axis ${axis} of [${x.shape.join(', ')}]`,
    );
  }
  return reshape(given, [given.shape[0]!, ...x.shape.slice(axis + 1).map(() => 1)]);
}

function requireNoBlocks(context: OperatorContext): void {
  const size = context.int('block_size', 0);
  if (size !== 0) context.unsupported(`quantisation in blocks of ${size}`);
}

/** The element type that is quantised to: that of the zero point, an attribute (version 21), or UINT8. */
function quantizedType(context: OperatorContext): OnnxDType {
  const number = context.int('output_dtype', 0);
  const stated = number === 0 ? undefined : (onnxDTypeOf(number) ?? context.unsupported(`output_dtype ${number}`));
  const zero = context.optional(2) && context.dtypeOf(2);
  if (stated && zero && stated !== zero) context.invalid(`output_dtype is ${stated}, and the zero point ${zero}`);
  return stated ?? zero ?? 'UINT8';
}

const quantized = (
  x: Tensor,
  scale: Tensor,
  zero: Tensor | undefined,
  [low, high]: readonly [number, number],
): Tensor => {
  const steps = round(div(x, scale));
  return cast(clip(zero ? add(steps, zero) : steps, { low, high }), 'i32');
};

function quantizeLinear(context: OperatorContext) {
  requireNoBlocks(context);
  const x = context.float(0);
  const type = quantizedType(context);
  const range = ranges[type] ?? context.unsupported(`quantisation to ${type}`);
  const zero = context.optional(2) && alongAxis(context, 2, x);
  return [quantized(x, alongAxis(context, 1, x), zero, range)];
}

function dequantizeLinear(context: OperatorContext) {
  requireNoBlocks(context);
  const x = context.float(0);
  const zero = context.optional(2) && alongAxis(context, 2, x);
  return [mul(zero ? sub(x, zero) : x, alongAxis(context, 1, x))];
}

/** To UINT8, by a scale and a zero point for the range of x with 0 in it. Where x is all 0 the scale is 1. */
function dynamicQuantizeLinear(context: OperatorContext) {
  const x = context.float(0);
  const range = ranges.UINT8!;
  const low = minimum(min(x), 0);
  const span = div(sub(maximum(max(x), 0), low), range[1]);
  const scale = where(equal(span, 0), 1, span);
  const zero = round(clip(sub(0, div(low, scale)), { low: range[0], high: range[1] }));
  return [quantized(x, scale, zero, range), scale, cast(zero, 'i32')];
}

export const quantizeOperators: OperatorTable = {
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  QuantizeLinear: quantizeLinear,
};
