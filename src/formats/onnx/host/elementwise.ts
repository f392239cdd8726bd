/** Arithmetic, comparisons, logic and casts of known values. Integers behave as in C: division truncates. */
import { broadcastShapes, elementCount } from '../../../core/types.ts';
import { isFloatDType, storedAs } from '../known.ts';
import type { OnnxDType } from '../model.ts';
import type { Known, OperatorContext } from '../operator.ts';
import { onnxDTypeOf } from '../tensor-bytes.ts';
import { broadcastIndex, type HostRule, isSmall, value } from './host.ts';

/** Applies `f` to broadcast inputs; undefined where the result is too large for the host. */
function combine(
  context: OperatorContext,
  inputs: readonly Known[],
  dtype: OnnxDType,
  f: (...values: number[]) => number,
): Known | undefined {
  const shape = broadcastShapes(...inputs.map((x) => x.shape));
  if (!shape)
    return context.invalid(`shapes ${inputs.map((x) => `[${x.shape.join(', ')}]`).join(' and ')} do not broadcast`);
  if (!isSmall(shape)) return undefined;
  const stored = storedAs(dtype);
  const at = inputs.map((x) => broadcastIndex(x.shape, shape));
  const data = new Float64Array(elementCount(shape));
  for (let i = 0; i < data.length; i++) data[i] = stored(f(...inputs.map((x, k) => x.data[at[k]!(i)]!)));
  return { dtype, shape, data };
}

const listed = (result: Known | undefined): readonly Known[] | undefined => result && [result];

const unary =
  (f: (x: number) => number): HostRule =>
  (context) => {
    const x = value(context, 0);
    return listed(combine(context, [x], x.dtype, f));
  };

const binary =
  (f: (a: number, b: number, integers: boolean, context: OperatorContext) => number, result?: OnnxDType): HostRule =>
  (context) => {
    const [a, b] = [value(context, 0), value(context, 1)];
    const integers = !isFloatDType(a.dtype);
    return listed(combine(context, [a, b], result ?? a.dtype, (x, y) => f(x!, y!, integers, context)));
  };

/** Of any number of inputs, combined from the left. */
const variadic =
  (f: (a: number, b: number) => number, finish: (x: number, count: number) => number = (x) => x): HostRule =>
  (context) => {
    const inputs = Array.from({ length: context.inputCount }, (_, i) => value(context, i));
    if (inputs.length === 0) context.invalid('it has no inputs');
    return listed(combine(context, inputs, inputs[0]!.dtype, (...xs) => finish(xs.reduce(f), xs.length)));
  };

function divide(a: number, b: number, integers: boolean, context: OperatorContext): number {
  if (!integers) return a / b;
  if (b === 0) context.invalid('an integer is divided by 0');
  return Math.trunc(a / b);
}

/** ONNX Mod: with fmod = 1 the sign is the dividend's, as in C; else the divisor's, as in Python. */
function modulo(a: number, b: number, integers: boolean, context: OperatorContext): number {
  if (integers && b === 0) context.invalid('an integer is divided by 0');
  if (!integers && context.int('fmod', 0) === 0) context.invalid('floats need the attribute fmod = 1');
  const rest = a % b;
  if (context.int('fmod', 0) === 1 || rest === 0 || rest < 0 === b < 0) return rest;
  return rest + b;
}

/** Halves go to the even neighbour. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** NaN stays NaN whichever side it is on. */
const larger = (a: number, b: number): number => Math.max(a, b);
const smaller = (a: number, b: number): number => Math.min(a, b);

const where: HostRule = (context) => {
  const [condition, x, y] = [value(context, 0), value(context, 1), value(context, 2)];
  return listed(combine(context, [condition, x, y], x.dtype, (c, a, b) => (c ? a! : b!)));
};

function castTo(context: OperatorContext, dtype: OnnxDType | undefined): readonly Known[] | undefined {
  const x = value(context, 0);
  if (!dtype || dtype === 'STRING' || dtype.startsWith('COMPLEX') || x.dtype === 'STRING') return undefined;
  const toInteger = !isFloatDType(dtype) && dtype !== 'BOOL';
  // Undefined by ONNX; 0 for NaN is what hardware and NumPy's narrow types give.
  return listed(combine(context, [x], dtype, (v) => (toInteger ? (Number.isNaN(v) ? 0 : Math.trunc(v!)) : v!)));
}

export const elementwise: Readonly<Record<string, HostRule>> = {
  Abs: unary(Math.abs),
  Add: binary((a, b) => a + b),
  And: binary((a, b) => a & b),
  Cast: (context) => castTo(context, onnxDTypeOf(context.int('to'))),
  CastLike: (context) => castTo(context, context.dtypeOf(1)),
  Ceil: unary(Math.ceil),
  Div: binary(divide),
  Equal: binary((a, b) => Number(a === b), 'BOOL'),
  Exp: unary(Math.exp),
  Floor: unary(Math.floor),
  Greater: binary((a, b) => Number(a > b), 'BOOL'),
  GreaterOrEqual: binary((a, b) => Number(a >= b), 'BOOL'),
  Less: binary((a, b) => Number(a < b), 'BOOL'),
  LessOrEqual: binary((a, b) => Number(a <= b), 'BOOL'),
  Log: unary(Math.log),
  Max: variadic(larger),
  Mean: variadic(
    (a, b) => a + b,
    (sum, count) => sum / count,
  ),
  Min: variadic(smaller),
  Mod: binary(modulo),
  Mul: binary((a, b) => a * b),
  Neg: unary((x) => -x),
  Not: unary((x) => Number(x === 0)),
  Or: binary((a, b) => a | b),
  Pow: binary((a, b) => a ** b),
  Reciprocal: unary((x) => 1 / x),
  Round: unary(roundHalfEven),
  Sign: unary(Math.sign),
  Sqrt: unary(Math.sqrt),
  Sub: binary((a, b) => a - b),
  Sum: variadic((a, b) => a + b),
  Where: where,
  Xor: binary((a, b) => a ^ b),
};
