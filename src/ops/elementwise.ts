/** Elementwise arithmetic: two operands with broadcasting, or one. */
export {
  celu,
  clip,
  elu,
  geluTanh,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  mish,
  prelu,
  selu,
  softplus,
  softsign,
  thresholdedRelu,
} from './activations.ts';
export { add, div, maximum, minimum, mul, pow, sub } from './binary.ts';
export { fmod, mod } from './remainder.ts';
export { ceil, floor, round, sign } from './rounding.ts';
export { acos, acosh, asin, asinh, atan, atanh, cos, cosh, sin, sinh, tan } from './trigonometry.ts';
export { abs, erf, exp, gelu, log, neg, reciprocal, relu, sigmoid, sqrt, tanh } from './unary.ts';
