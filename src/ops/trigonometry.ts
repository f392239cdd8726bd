import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { add, div, mul, sub } from './binary.ts';
import { neg, sqrt } from './unary.ts';
import { unary } from './unary-record.ts';

/** Arguments of many turns, up to the largest f32, and what has no sine. */
const large: Sample = {
  name: 'large and special values',
  inputs: [{ shape: [9], values: [-100, 1e5, -1234567, 3e8, 1e20, -3.4e38, Infinity, -Infinity, Number.NaN] }],
  attrs: {},
  gradientOf: [],
};

const range = { low: -4, high: 4 };

export const sinOp = unary({
  name: 'sin',
  doc: 'y = sin x, x in radians. ONNX Sin, torch.sin.',
  f: Math.sin,
  gradient: (x, _y, dy) => mul(dy, cos(x)),
  flops: 30,
  range,
  more: [large],
});

export const cosOp = unary({
  name: 'cos',
  doc: 'y = cos x, x in radians. ONNX Cos, torch.cos.',
  f: Math.cos,
  gradient: (x, _y, dy) => neg(mul(dy, sin(x))),
  flops: 30,
  range,
  more: [large],
});

export const tanOp = unary({
  name: 'tan',
  doc: 'y = tan x, x in radians. ONNX Tan, torch.tan.',
  f: Math.tan,
  gradient: (_x, y, dy) => mul(dy, add(mul(y, y), 1)),
  flops: 35,
  range: { low: -1.2, high: 1.2 },
  more: [large],
});

/** Edges of the domain, where the derivative is infinite, and what lies outside. */
const edges = (...values: number[]): Sample => ({
  name: 'edges and special values',
  inputs: [{ shape: [values.length], values }],
  attrs: {},
  gradientOf: [],
});

/** 1 − x² without cancellation near ±1. */
const oneMinusSquare = (x: Tensor): Tensor => mul(sub(1, x), add(x, 1));

export const asinOp = unary({
  name: 'asin',
  doc: 'y = arcsin x in radians, NaN beyond ±1. ONNX Asin, torch.asin.',
  f: Math.asin,
  gradient: (x, _y, dy) => div(dy, sqrt(oneMinusSquare(x))),
  flops: 35,
  range: { low: -0.9, high: 0.9 },
  more: [edges(-1, 1, 0, -1.5, 2, Infinity, Number.NaN)],
});

export const acosOp = unary({
  name: 'acos',
  doc: 'y = arccos x in radians, NaN beyond ±1. ONNX Acos, torch.acos.',
  f: Math.acos,
  gradient: (x, _y, dy) => neg(div(dy, sqrt(oneMinusSquare(x)))),
  flops: 35,
  range: { low: -0.9, high: 0.9 },
  more: [edges(-1, 1, 0, -1.5, 2, Infinity, Number.NaN)],
});

export const atanOp = unary({
  name: 'atan',
  doc: 'y = arctan x in radians. ONNX Atan, torch.atan.',
  f: Math.atan,
  gradient: (x, _y, dy) => div(dy, add(mul(x, x), 1)),
  flops: 30,
  range,
  more: [edges(1e-8, 1, -1, 1e20, Infinity, -Infinity, Number.NaN)],
});

export const sinhOp = unary({
  name: 'sinh',
  doc: 'y = (eˣ − e⁻ˣ)/2. ONNX Sinh, torch.sinh.',
  f: Math.sinh,
  gradient: (x, _y, dy) => mul(dy, cosh(x)),
  flops: 25,
  more: [edges(1e-8, 0.5, -80, 88, Infinity, -Infinity, Number.NaN)],
});

export const coshOp = unary({
  name: 'cosh',
  doc: 'y = (eˣ + e⁻ˣ)/2. ONNX Cosh, torch.cosh.',
  f: Math.cosh,
  gradient: (x, _y, dy) => mul(dy, sinh(x)),
  flops: 25,
  more: [edges(0, 80, -88, Infinity, -Infinity, Number.NaN)],
});

export const asinhOp = unary({
  name: 'asinh',
  doc: 'y = ln(x + √(x² + 1)), the inverse of sinh. ONNX Asinh, torch.asinh.',
  f: Math.asinh,
  gradient: (x, _y, dy) => div(dy, sqrt(add(mul(x, x), 1))),
  flops: 30,
  range,
  more: [edges(1e-8, -1e-3, 0.03125, 3e38, -Infinity, Number.NaN)],
});

export const acoshOp = unary({
  name: 'acosh',
  doc: 'y = ln(x + √(x² − 1)), the inverse of cosh on x ≥ 1; NaN below. ONNX Acosh, torch.acosh.',
  f: Math.acosh,
  gradient: (x, _y, dy) => div(dy, sqrt(mul(sub(x, 1), add(x, 1)))),
  flops: 30,
  range: { low: 1.2, high: 5 },
  scalar: 2.5,
  more: [edges(1, 1.0000001, 3e38, 0.5, -2, Infinity, Number.NaN)],
});

export const atanhOp = unary({
  name: 'atanh',
  doc: 'y = ½ ln((1 + x)/(1 − x)), the inverse of tanh; NaN beyond ±1. ONNX Atanh, torch.atanh.',
  f: Math.atanh,
  gradient: (x, _y, dy) => div(dy, oneMinusSquare(x)),
  flops: 30,
  range: { low: -0.9, high: 0.9 },
  more: [edges(-1, 1, 1e-8, -0.03125, 1.5, -2, Number.NaN)],
});

const build =
  (op: OpRecord) =>
  (x: Tensor): Tensor =>
    x.graph.add(op, [x], {})[0]!;

/** Sine of radians. */
export const sin = build(sinOp);
/** Cosine of radians. */
export const cos = build(cosOp);
/** Tangent of radians. */
export const tan = build(tanOp);
/** Angle in [−π/2, π/2] of this sine. */
export const asin = build(asinOp);
/** Angle in [0, π] of this cosine. */
export const acos = build(acosOp);
/** Angle in (−π/2, π/2) of this tangent. */
export const atan = build(atanOp);
/** Hyperbolic sine. */
export const sinh = build(sinhOp);
/** Hyperbolic cosine. */
export const cosh = build(coshOp);
/** Inverse hyperbolic sine. */
export const asinh = build(asinhOp);
/** Inverse hyperbolic cosine. */
export const acosh = build(acoshOp);
/** Inverse hyperbolic tangent. */
export const atanh = build(atanhOp);
