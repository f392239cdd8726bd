// The functions of four lanes that fused kernels are put together from: those of the kernels themselves, so that a chain in
// one pass has the bits of its ops one by one. They become a module of their own, which the build puts into the kernels' as
// the custom section `vectors`; `src/backends/wasm/vectors.ts` takes each body out and lays it into a loop. So a body runs
// straight through: no memory, no branch, no call. Bools are lane masks here. What p, q and r are, activations.ts says.
import {
  CLIP, ELU, HARD_SIGMOID, LEAKY_RELU, THRESHOLDED_RELU, activation, slope as activationSlope,
} from './activations';
import {
  ADD, ADD_I32, DIV, EQUAL, EQUAL_I32, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, LESS_I32, MAXIMUM, MAXIMUM_I32, MINIMUM,
  MINIMUM_I32, MUL, MUL_I32, NOT_EQUAL, PRELU, SUB, SUB_I32, binary,
} from './broadcast';
import {
  ABS, CEIL, ERF, EXP, FLOOR, GELU, GELU_TANH, HARD_SWISH, LOG, NEG, RECIPROCAL, RELU, ROUND, SIGMOID, SIGN, SOFTPLUS,
  SOFTSIGN, SQRT, TANH, slope, unary,
} from './elementwise';
import { ACOSH, ASINH, ATANH, COSH, SINH, hyperbolic4 } from './hyperbolic';
import { ACOS, ASIN, ATAN, inverse4 } from './inverseTrig';
import { vpow } from './pow';

export function neg(x: v128): v128 {
  return unary(NEG, x);
}

export function exp(x: v128): v128 {
  return unary(EXP, x);
}

export function log(x: v128): v128 {
  return unary(LOG, x);
}

export function sqrt(x: v128): v128 {
  return unary(SQRT, x);
}

export function tanh(x: v128): v128 {
  return unary(TANH, x);
}

export function sigmoid(x: v128): v128 {
  return unary(SIGMOID, x);
}

export function relu(x: v128): v128 {
  return unary(RELU, x);
}

export function gelu(x: v128): v128 {
  return unary(GELU, x);
}

export function erf(x: v128): v128 {
  return unary(ERF, x);
}

export function abs(x: v128): v128 {
  return unary(ABS, x);
}

export function reciprocal(x: v128): v128 {
  return unary(RECIPROCAL, x);
}

export function floor(x: v128): v128 {
  return unary(FLOOR, x);
}

export function ceil(x: v128): v128 {
  return unary(CEIL, x);
}

export function round(x: v128): v128 {
  return unary(ROUND, x);
}

export function sign(x: v128): v128 {
  return unary(SIGN, x);
}

export function softplus(x: v128): v128 {
  return unary(SOFTPLUS, x);
}

export function softsign(x: v128): v128 {
  return unary(SOFTSIGN, x);
}

export function hardSwish(x: v128): v128 {
  return unary(HARD_SWISH, x);
}

export function geluTanh(x: v128): v128 {
  return unary(GELU_TANH, x);
}

export function reluGrad(saved: v128, dy: v128): v128 {
  return slope(RELU, saved, dy);
}

export function tanhGrad(saved: v128, dy: v128): v128 {
  return slope(TANH, saved, dy);
}

export function sigmoidGrad(saved: v128, dy: v128): v128 {
  return slope(SIGMOID, saved, dy);
}

export function geluGrad(saved: v128, dy: v128): v128 {
  return slope(GELU, saved, dy);
}

export function geluTanhGrad(saved: v128, dy: v128): v128 {
  return slope(GELU_TANH, saved, dy);
}

export function softsignGrad(saved: v128, dy: v128): v128 {
  return slope(SOFTSIGN, saved, dy);
}

export function hardSwishGrad(saved: v128, dy: v128): v128 {
  return slope(HARD_SWISH, saved, dy);
}

export function add(a: v128, b: v128): v128 {
  return binary(ADD, 4, a, b);
}

export function sub(a: v128, b: v128): v128 {
  return binary(SUB, 4, a, b);
}

export function mul(a: v128, b: v128): v128 {
  return binary(MUL, 4, a, b);
}

export function div(a: v128, b: v128): v128 {
  return binary(DIV, 4, a, b);
}

export function maximum(a: v128, b: v128): v128 {
  return binary(MAXIMUM, 4, a, b);
}

export function minimum(a: v128, b: v128): v128 {
  return binary(MINIMUM, 4, a, b);
}

export function prelu(a: v128, b: v128): v128 {
  return binary(PRELU, 4, a, b);
}

export function addI32(a: v128, b: v128): v128 {
  return binary(ADD_I32, 4, a, b);
}

export function subI32(a: v128, b: v128): v128 {
  return binary(SUB_I32, 4, a, b);
}

export function mulI32(a: v128, b: v128): v128 {
  return binary(MUL_I32, 4, a, b);
}

export function maximumI32(a: v128, b: v128): v128 {
  return binary(MAXIMUM_I32, 4, a, b);
}

export function minimumI32(a: v128, b: v128): v128 {
  return binary(MINIMUM_I32, 4, a, b);
}

export function equal(a: v128, b: v128): v128 {
  return binary(EQUAL, 4, a, b);
}

export function notEqual(a: v128, b: v128): v128 {
  return binary(NOT_EQUAL, 4, a, b);
}

export function less(a: v128, b: v128): v128 {
  return binary(LESS, 4, a, b);
}

export function lessEqual(a: v128, b: v128): v128 {
  return binary(LESS_EQUAL, 4, a, b);
}

export function greater(a: v128, b: v128): v128 {
  return binary(GREATER, 4, a, b);
}

export function greaterEqual(a: v128, b: v128): v128 {
  return binary(GREATER_EQUAL, 4, a, b);
}

export function equalI32(a: v128, b: v128): v128 {
  return binary(EQUAL_I32, 4, a, b);
}

export function lessI32(a: v128, b: v128): v128 {
  return binary(LESS_I32, 4, a, b);
}

export function pow(a: v128, b: v128): v128 {
  return vpow(a, b);
}

export function acosh(x: v128): v128 {
  return hyperbolic4(ACOSH, x);
}

export function asinh(x: v128): v128 {
  return hyperbolic4(ASINH, x);
}

export function atanh(x: v128): v128 {
  return hyperbolic4(ATANH, x);
}

export function cosh(x: v128): v128 {
  return hyperbolic4(COSH, x);
}

export function sinh(x: v128): v128 {
  return hyperbolic4(SINH, x);
}

export function acos(x: v128): v128 {
  return inverse4(ACOS, x);
}

export function asin(x: v128): v128 {
  return inverse4(ASIN, x);
}

export function atan(x: v128): v128 {
  return inverse4(ATAN, x);
}

export function elu(x: v128, p: v128, q: v128, r: v128): v128 {
  return activation(ELU, x, p, q, r);
}

export function eluGrad(x: v128, dy: v128, p: v128, q: v128, r: v128): v128 {
  return activationSlope(ELU, x, dy, p, q, r);
}

export function leakyRelu(x: v128, p: v128): v128 {
  return activation(LEAKY_RELU, x, p, f32x4.splat(0), f32x4.splat(0));
}

export function leakyReluGrad(x: v128, dy: v128, p: v128): v128 {
  return activationSlope(LEAKY_RELU, x, dy, p, f32x4.splat(0), f32x4.splat(0));
}

export function hardSigmoid(x: v128, p: v128, q: v128): v128 {
  return activation(HARD_SIGMOID, x, p, q, f32x4.splat(0));
}

export function hardSigmoidGrad(x: v128, dy: v128, p: v128, q: v128): v128 {
  return activationSlope(HARD_SIGMOID, x, dy, p, q, f32x4.splat(0));
}

export function clip(x: v128, p: v128, q: v128): v128 {
  return activation(CLIP, x, p, q, f32x4.splat(0));
}

export function clipGrad(x: v128, dy: v128, p: v128, q: v128): v128 {
  return activationSlope(CLIP, x, dy, p, q, f32x4.splat(0));
}

export function thresholdedRelu(x: v128, p: v128): v128 {
  return activation(THRESHOLDED_RELU, x, p, f32x4.splat(0), f32x4.splat(0));
}

export function thresholdedReluGrad(x: v128, dy: v128, p: v128): v128 {
  return activationSlope(THRESHOLDED_RELU, x, dy, p, f32x4.splat(0), f32x4.splat(0));
}

export function negI32(x: v128): v128 {
  return i32x4.neg(x);
}

export function absI32(x: v128): v128 {
  return i32x4.abs(x);
}

export function not(x: v128): v128 {
  return v128.not(x);
}

export function and(a: v128, b: v128): v128 {
  return v128.and(a, b);
}

export function or(a: v128, b: v128): v128 {
  return v128.or(a, b);
}

export function xor(a: v128, b: v128): v128 {
  return v128.xor(a, b);
}

/** c ? a : b */
export function where(c: v128, a: v128, b: v128): v128 {
  return v128.bitselect(a, b, c);
}

export function castBoolF32(x: v128): v128 {
  return v128.and(x, f32x4.splat(1));
}

export function castBoolI32(x: v128): v128 {
  return v128.and(x, i32x4.splat(1));
}

export function castI32F32(x: v128): v128 {
  return f32x4.convert_i32x4_s(x);
}

export function castF32I32(x: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(x);
}

export function castF32Bool(x: v128): v128 {
  return f32x4.ne(x, f32x4.splat(0));
}

export function castI32Bool(x: v128): v128 {
  return i32x4.ne(x, i32x4.splat(0));
}
