/** The functions that ONNX allows in the cells of recurrent operators. */
import { nearest } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { elu, hardSigmoid, leakyRelu, softplus, softsign, thresholdedRelu } from './activations.ts';
import { add, mul } from './binary.ts';
import { refuseOptions, requireOptions } from './options.ts';
import { relu, sigmoid, tanh } from './unary.ts';

export interface CellFunction {
  /** Defaults of the parameters that the function has: those of the ONNX operator of its name. */
  readonly alpha?: number;
  readonly beta?: number;
  readonly f: (x: Tensor, alpha: number, beta: number) => Tensor;
}

export const cellFunctions = {
  /** alpha·x + beta */
  affine: { alpha: 1, beta: 0, f: (x, alpha, beta) => add(mul(x, alpha), beta) },
  elu: { alpha: 1, f: (x, alpha) => elu(x, { alpha }) },
  hardSigmoid: { alpha: 0.2, beta: 0.5, f: (x, alpha, beta) => hardSigmoid(x, { alpha, beta }) },
  leakyRelu: { alpha: 0.01, f: (x, alpha) => leakyRelu(x, { slope: alpha }) },
  relu: { f: relu },
  /** alpha·tanh(beta·x) */
  scaledTanh: { alpha: 1, beta: 1, f: (x, alpha, beta) => mul(tanh(mul(x, beta)), alpha) },
  sigmoid: { f: sigmoid },
  softplus: { f: softplus },
  softsign: { f: softsign },
  tanh: { f: tanh },
  thresholdedRelu: { alpha: 1, f: (x, alpha) => thresholdedRelu(x, { alpha }) },
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

/** Throws GraphError where it is no function, or has options that none has; `where` it stands in the options of `op`. */
export function requireActivation(op: string, x: Tensor, option: CellActivationOption, where: string): void {
  if (typeof option !== 'string') requireOptions(op, x, option, { kind: 'required', alpha: true, beta: true }, where);
  const kind: unknown = typeof option === 'string' ? option : option.kind;
  if (typeof kind !== 'string') {
    refuseOptions(op, x, `${where}: kind must be a string, got ${shown(kind)}`, `${where}: 'relu'`, { where });
  }
  if (Object.hasOwn(cellFunctions, kind)) return;
  const known = Object.keys(cellFunctions);
  const meant = nearest(kind, known);
  const reason = `${where}: no function ${kind}${meant === undefined ? '' : `, did you mean "${meant}"?`}`;
  refuseOptions(op, x, reason, `functions: ${known.join(', ')}`, { where, unknown: [kind], missing: [] });
}

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
