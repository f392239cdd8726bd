/** Elementwise arithmetic: two operands with broadcasting, or one. */
export { add, div, maximum, minimum, mul, pow, sub } from './binary.ts';
export { abs, erf, exp, gelu, log, neg, reciprocal, relu, sigmoid, sqrt, tanh } from './unary.ts';
