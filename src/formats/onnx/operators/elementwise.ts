/**
 * Arithmetic, comparisons, logic and casts of ONNX, element by element with multidirectional broadcasting (opset 7 on).
 *
 * In a graph all floats are f32 and all integers i32: sums and products of narrower integers are wrapped to their width, those
 * of wider ones wrap at 32 bits. Integer division by zero is an error when it happens.
 */
import { Tensor } from '../../../graph/graph.ts';
import {
  and,
  cast,
  equal,
  greater,
  greaterEqual,
  isInf,
  isNan,
  less,
  lessEqual,
  not,
  or,
  where,
  xor,
} from '../../../ops/compare.ts';
import {
  abs,
  acos,
  acosh,
  add,
  asin,
  asinh,
  atan,
  atanh,
  ceil,
  clip,
  cos,
  cosh,
  div,
  erf,
  exp,
  floor,
  fmod,
  log,
  maximum,
  minimum,
  mod,
  mul,
  neg,
  pow,
  reciprocal,
  round,
  sign,
  sin,
  sinh,
  sqrt,
  sub,
  tan,
  tanh,
} from '../../../ops/elementwise.ts';
import { reshape } from '../../../ops/shape.ts';
import { graphDType } from '../known.ts';
import type { OnnxDType } from '../model.ts';
import { isTensor, type OperatorContext, type OperatorRule, type OperatorTable } from '../operator.ts';
import { onnxDTypeOf } from '../tensor-bytes.ts';

const unary =
  (f: (x: Tensor) => Tensor): OperatorRule =>
  ({ tensor }) => [f(tensor(0))];

const binary =
  (f: (a: Tensor, b: Tensor) => Tensor): OperatorRule =>
  ({ tensor }) => [f(tensor(0), tensor(1))];

/** Arithmetic whose results may go beyond a narrow type: of integers. */
const arithmetic =
  (f: (a: Tensor, b: Tensor) => Tensor): OperatorRule =>
  (context) => [wrapped(f(context.tensor(0), context.tensor(1)), context.dtypeOf(0))];

/** Any number of inputs, combined from the left; one is its own result. */
function combine(context: OperatorContext, f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  if (context.inputCount === 0) context.invalid('it has no inputs');
  return Array.from({ length: context.inputCount }, (_, i) => context.tensor(i)).reduce(f);
}

const variadic =
  (f: (a: Tensor, b: Tensor) => Tensor): OperatorRule =>
  (context) => [combine(context, f)];

const mean: OperatorRule = (context) => [div(combine(context, add), context.inputCount)];

/** Also of bools (opset 7 on), which the graph compares by logic. */
const equalTo: OperatorRule = ({ tensor }) => {
  const [a, b] = [tensor(0), tensor(1)];
  return [a.dtype === 'bool' ? not(xor(a, b)) : equal(a, b)];
};

/** fmod = 1: the sign of the dividend, as C's; else that of the divisor, which ONNX defines for integers only. */
const modulo: OperatorRule = (context) => {
  const [a, b] = [context.tensor(0), context.tensor(1)];
  if (context.int('fmod', 0) !== 0) return [fmod(a, b)];
  if (a.dtype === 'f32') context.invalid('floats need the attribute fmod = 1');
  return [mod(a, b)];
};

/**
 * The result has the base's type (opset 12 on): an integer to a float power is computed in f32 and truncated. A single known
 * exponent becomes a number, whose derivatives are simpler; squares are by far the most common.
 */
const power: OperatorRule = (context) => {
  const base = context.tensor(0);
  const exponent = context.input(1);
  if (!isTensor(exponent) && exponent.data.length === 1 && exponent.shape.length <= base.rank) {
    const value = exponent.data[0]!;
    if (value === 2) return [mul(base, base)];
    if (base.dtype === 'f32') return [pow(base, value)];
  }
  const by = context.tensor(1);
  if (base.dtype === by.dtype) return [pow(base, by)];
  return [cast(pow(cast(base, 'f32'), cast(by, 'f32')), base.dtype)];
};

/** The bound of a Clip: an attribute before opset 11, then an input; undefined where there is none. */
function bound(context: OperatorContext, name: 'min' | 'max', input: number): number | Tensor | undefined {
  if (context.opset < 11) return context.has(name) ? context.floatAttr(name) : undefined;
  const value = context.optional(input);
  if (!value) return undefined;
  if (isTensor(value)) return value.rank === 0 ? value : reshape(value, []);
  if (value.data.length !== 1) context.invalid(`${name} must be a scalar and has ${value.data.length} elements`);
  return value.data[0]!;
}

/** Bounds that are computed, or trained, get the gradient where they replace x (torch.clamp); x gets it at the bounds too. */
const clipTo: OperatorRule = (context) => {
  const x = context.tensor(0);
  const [low, high] = [bound(context, 'min', 1), bound(context, 'max', 2)];
  if (low instanceof Tensor || high instanceof Tensor) {
    const above = low === undefined ? x : where(less(x, low), low, x);
    return [high === undefined ? above : where(greater(above, high), high, above)];
  }
  return [clip(x, { ...(low === undefined ? {} : { low }), ...(high === undefined ? {} : { high }) })];
};

/** Narrow integers, which casts wrap to; wider ones hold all that an i32 is in a graph. */
const narrow: Readonly<Partial<Record<OnnxDType, readonly [bits: number, signed: boolean]>>> = {
  INT8: [8, true],
  UINT8: [8, false],
  INT16: [16, true],
  UINT16: [16, false],
};

/**
 * To integers towards zero; what does not fit 32 bits saturates, what does not fit a narrower type then wraps (both are
 * undefined in ONNX). Among floats nothing changes: a cast to FLOAT16 does not round. Negative numbers cast to UINT32 or
 * UINT64 stay negative.
 */
function castTo(context: OperatorContext, to: OnnxDType | undefined, what: string): Tensor {
  const x = context.tensor(0);
  const dtype = to && graphDType(to);
  if (!dtype) return context.unsupported(`a cast to ${what}`);
  const y = cast(x, dtype);
  return x.dtype === 'bool' ? y : wrapped(y, to);
}

/** An integer result as a narrow type holds it. */
function wrapped(y: Tensor, dtype: OnnxDType): Tensor {
  const width = narrow[dtype];
  if (!width) return y;
  const [bits, signed] = width;
  // Modulo 2^bits into [−half, 2^bits − half).
  if (!signed) return mod(y, 2 ** bits);
  const half = 2 ** (bits - 1);
  return sub(mod(add(y, half), 2 ** bits), half);
}

const castAttribute: OperatorRule = (context) => {
  const to = context.int('to');
  const dtype = onnxDTypeOf(to);
  return [castTo(context, dtype, dtype ?? `the element type of number ${to}`)];
};

const castLike: OperatorRule = (context) => {
  const dtype = context.dtypeOf(1);
  return [castTo(context, dtype, dtype)];
};

const select: OperatorRule = ({ tensor }) => {
  const [condition, a, b] = [tensor(0), tensor(1), tensor(2)];
  if (a.dtype === 'bool') return [or(and(condition, a), and(not(condition), b))];
  return [where(condition, a, b)];
};

const infinite: OperatorRule = (context) => [
  isInf(context.tensor(0), {
    positive: context.int('detect_positive', 1) !== 0,
    negative: context.int('detect_negative', 1) !== 0,
  }),
];

export const elementwise: OperatorTable = {
  Abs: (context) => [wrapped(abs(context.tensor(0)), context.dtypeOf(0))],
  Acos: unary(acos),
  Acosh: unary(acosh),
  Add: arithmetic(add),
  And: binary(and),
  Asin: unary(asin),
  Asinh: unary(asinh),
  Atan: unary(atan),
  Atanh: unary(atanh),
  Cast: castAttribute,
  CastLike: castLike,
  Ceil: unary(ceil),
  Clip: clipTo,
  Cos: unary(cos),
  Cosh: unary(cosh),
  Div: arithmetic(div),
  Equal: equalTo,
  Erf: unary(erf),
  Exp: unary(exp),
  Floor: unary(floor),
  Greater: binary(greater),
  GreaterOrEqual: binary(greaterEqual),
  IsInf: infinite,
  IsNaN: unary(isNan),
  Less: binary(less),
  LessOrEqual: binary(lessEqual),
  Log: unary(log),
  Max: variadic(maximum),
  Mean: mean,
  Min: variadic(minimum),
  Mod: modulo,
  Mul: arithmetic(mul),
  Neg: (context) => [wrapped(neg(context.tensor(0)), context.dtypeOf(0))],
  Not: unary(not),
  Or: binary(or),
  Pow: power,
  Reciprocal: unary(reciprocal),
  Round: unary(round),
  Sign: unary(sign),
  Sin: unary(sin),
  Sinh: unary(sinh),
  Sqrt: unary(sqrt),
  Sub: arithmetic(sub),
  Sum: variadic(add),
  Tan: unary(tan),
  Tanh: unary(tanh),
  Where: select,
  Xor: binary(xor),
};
