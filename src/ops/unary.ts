import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { div, mul } from './binary.ts';
import { greater, less, where } from './compare.ts';
import { erf as erf64 } from './erf.ts';
import { geluGrad, reluGrad, sigmoidGrad, tanhGrad } from './unary-grad.ts';
import { awayFrom, unary } from './unary-record.ts';

/** Integers, with the one that has no positive counterpart: −2^31 stays under −x and |x|. */
const integerSample: Sample = {
  name: 'i32',
  inputs: [{ shape: [7], dtype: 'i32', values: [0, 5, -7, 16777217, 2147483647, -2147483647, -2147483648] }],
  attrs: {},
};

export const negOp = unary({
  name: 'neg',
  doc: 'y = −x. ONNX Neg, torch.neg.',
  f: (x) => -x,
  integers: (x) => -x,
  gradient: (_x, _y, dy) => neg(dy),
  more: [integerSample],
});

export const expOp = unary({
  name: 'exp',
  doc: 'y = eˣ. ONNX Exp, torch.exp.',
  f: Math.exp,
  gradient: (_x, y, dy) => mul(dy, y),
  flops: 12,
});

export const logOp = unary({
  name: 'log',
  doc: 'y = ln x. ONNX Log, torch.log.',
  f: Math.log,
  gradient: (x, _y, dy) => div(dy, x),
  flops: 15,
  range: { low: 0.25, high: 3 },
});

export const sqrtOp = unary({
  name: 'sqrt',
  doc: 'y = √x. ONNX Sqrt, torch.sqrt.',
  f: Math.sqrt,
  gradient: (_x, y, dy) => div(mul(dy, 0.5), y),
  range: { low: 0.25, high: 3 },
});

export const tanhOp = unary({
  name: 'tanh',
  doc: 'y = tanh x. ONNX Tanh, torch.tanh.',
  f: Math.tanh,
  gradient: (_x, y, dy) => tanhGrad(y, dy),
  flops: 15,
  more: [{ name: 'saturated', inputs: [{ shape: [4], values: [-30, -8, 8, 30] }], attrs: {}, gradientOf: [] }],
});

/** 1/(1 + e^−x) without overflow of the intermediate. */
export const sigmoid64 = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

export const sigmoidOp = unary({
  name: 'sigmoid',
  doc: 'y = 1/(1 + e⁻ˣ). ONNX Sigmoid, torch.sigmoid.',
  f: sigmoid64,
  gradient: (_x, y, dy) => sigmoidGrad(y, dy),
  flops: 15,
  more: [{ name: 'saturated', inputs: [{ shape: [4], values: [-80, -20, 20, 80] }], attrs: {}, gradientOf: [] }],
});

export const reluOp = unary({
  name: 'relu',
  doc: 'y = max(x, 0), with derivative 0 at 0. ONNX Relu, torch.relu.',
  f: (x) => Math.max(x, 0),
  gradient: (_x, y, dy) => reluGrad(y, dy),
  range: awayFrom(0),
  scalar: 0.7, // half of all draws are negative, where the gradient is 0 and proves nothing
});

export const geluOp = unary({
  name: 'gelu',
  doc: 'y = x·Φ(x) = x/2·(1 + erf(x/√2)). ONNX Gelu (approximate = none), torch.nn.functional.gelu.',
  f: (x) => 0.5 * x * (1 + erf64(x * Math.SQRT1_2)),
  gradient: (x, _y, dy) => geluGrad(x, dy),
  flops: 25,
});

export const erfOp = unary({
  name: 'erf',
  doc: 'y = 2/√π ∫₀ˣ e^(−t²) dt. ONNX Erf, torch.erf.',
  f: erf64,
  gradient: (x, _y, dy) => mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
  flops: 20,
});

export const absOp = unary({
  name: 'abs',
  doc: 'y = |x|, with derivative 0 at 0. ONNX Abs, torch.abs.',
  f: Math.abs,
  integers: Math.abs,
  gradient: (x, _y, dy) => where(greater(x, 0), dy, where(less(x, 0), neg(dy), 0)),
  range: awayFrom(0),
  more: [integerSample],
});

export const reciprocalOp = unary({
  name: 'reciprocal',
  doc: 'y = 1/x. ONNX Reciprocal, torch.reciprocal.',
  f: (x) => 1 / x,
  gradient: (_x, y, dy) => neg(mul(dy, mul(y, y))),
  range: { low: 0.5, high: 2 },
});

const build =
  (op: OpRecord) =>
  (x: Tensor): Tensor =>
    x.graph.add(op, [x], {})[0]!;

/** −x */
export const neg = build(negOp);
/** eˣ */
export const exp = build(expOp);
/** Natural logarithm. */
export const log = build(logOp);
/** √x */
export const sqrt = build(sqrtOp);
/** Hyperbolic tangent. */
export const tanh = build(tanhOp);
/** 1/(1 + e⁻ˣ) */
export const sigmoid = build(sigmoidOp);
/** max(x, 0) */
export const relu = build(reluOp);
/** x·Φ(x), by the error function. */
export const gelu = build(geluOp);
/** The error function. */
export const erf = build(erfOp);
/** |x| */
export const abs = build(absOp);
/** 1/x */
export const reciprocal = build(reciprocalOp);
