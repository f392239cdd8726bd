/**
 * The functions that ONNX allows in the cells of recurrent operators, made of ordinary ops. Derivatives at kinks are
 * PyTorch's: 0 at the corner of relu and at both of hardSigmoid, `alpha` on the left side of leakyRelu's and elu's.
 */
import type { Tensor } from '../graph/graph.ts';
import { add, div, maximum, mul, sub } from './binary.ts';
import { greater, greaterEqual, less, lessEqual, where } from './compare.ts';
import { abs, exp, log, neg, relu, sigmoid, tanh } from './unary.ts';

export interface CellFunction {
  /** Defaults of the parameters that the function has. */
  readonly alpha?: number;
  readonly beta?: number;
  readonly f: (x: Tensor, alpha: number, beta: number) => Tensor;
}

/** By name; `affine` is alpha·x + beta, the others are ONNX's operators of these names. */
export const cellFunctions = {
  affine: { alpha: 1, beta: 0, f: (x, alpha, beta) => add(mul(x, alpha), beta) },
  // The exponential is taken of 0 where x > 0, lest it overflow and poison the gradient.
  elu: {
    alpha: 1,
    f: (x, alpha) => where(greater(x, 0), x, mul(sub(exp(where(greater(x, 0), 0, x)), 1), alpha)),
  },
  hardSigmoid: {
    alpha: 0.2,
    beta: 0.5,
    f: (x, alpha, beta) => {
      const y = add(mul(x, alpha), beta);
      return where(lessEqual(y, 0), 0, where(greaterEqual(y, 1), 1, y));
    },
  },
  leakyRelu: { alpha: 0.01, f: (x, alpha) => where(greater(x, 0), x, mul(x, alpha)) },
  relu: { f: relu },
  /** alpha·tanh(beta·x) */
  scaledTanh: { alpha: 1, beta: 1, f: (x, alpha, beta) => mul(tanh(mul(x, beta)), alpha) },
  sigmoid: { f: sigmoid },
  /** log(1 + eˣ); the halves that maximum and abs give at 0 make the derivative ½ there too. */
  softplus: { f: (x) => add(maximum(x, 0), log(add(exp(neg(abs(x))), 1))) },
  softsign: { f: (x) => div(x, add(abs(x), 1)) },
  tanh: { f: tanh },
  /** x above alpha, 0 elsewhere */
  thresholdedRelu: { alpha: 1, f: (x, alpha) => where(greater(x, alpha), x, 0) },
} satisfies Readonly<Record<string, CellFunction>>;

export type CellFunctionName = keyof typeof cellFunctions;

export interface CellActivation {
  readonly kind: CellFunctionName;
  /** Default: the function's own. */
  readonly alpha?: number;
  readonly beta?: number;
}

/** A function of a cell, with its parameters where it has any: `'relu'`, `{ kind: 'leakyRelu', alpha: 0.1 }`. */
export type CellActivationOption = CellFunctionName | CellActivation;

/** The name alone; undefined where the function is none of `names`. */
export const plainActivation = <N extends CellFunctionName>(
  option: CellActivationOption,
  ...names: readonly N[]
): N | undefined => names.find((name) => name === (typeof option === 'string' ? option : option.kind));

export function activate(x: Tensor, option: CellActivationOption): Tensor {
  const { kind, alpha, beta } = typeof option === 'string' ? { kind: option } : option;
  const { f, ...defaults }: CellFunction = cellFunctions[kind];
  return f(x, alpha ?? defaults.alpha ?? 1, beta ?? defaults.beta ?? 0);
}

/** x held within ±limit; the derivative is 1 up to the bounds and at them. */
export const clip = (x: Tensor, limit: number): Tensor =>
  where(less(x, -limit), -limit, where(greater(x, limit), limit, x));
