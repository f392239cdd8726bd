/**
 * First values of parameters, as PyTorch's layers choose them. These are descriptions: the values are drawn when a
 * session starts, from a stream keyed by seed and parameter name.
 */

import { UsageError } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import { checkOptions, requireKinds, shown } from '../core/options.ts';
import { elementCount, type Shape } from '../core/types.ts';
import type { ParameterInit } from '../graph/source.ts';

export const zeros: ParameterInit = { kind: 'zeros' };
export const ones: ParameterInit = { kind: 'ones' };
export const constant = (value: number): ParameterInit => ({ kind: 'constant', value });
export const uniform = (low: number, high: number): ParameterInit => ({ kind: 'uniform', low, high });
export const normal = (mean = 0, std = 1): ParameterInit => ({ kind: 'normal', mean, std });

/** Inputs of one output of a weight [out, in, …window]. */
export const fanIn = (weight: Shape): number => elementCount(shapeOf(weight).slice(1));

/** Outputs that one input of a weight [out, in, …window] reaches. */
export const fanOut = (weight: Shape): number => shapeOf(weight)[0]! * elementCount(weight.slice(2));

/** Whether it holds sizes is the parameter's to say, which names itself. */
function shapeOf(weight: Shape): Shape {
  if (isOfKind('numbers', weight) && weight.length > 0) return weight;
  throw new UsageError('options-invalid', `init: the weight must be a shape [out, in, …], got ${shown(weight)}`, {
    fields: { function: 'init' },
    remedy: 'init.kaimingUniform([64, 10])',
  });
}

/** U(−b, b) with b = 1/√fanIn: PyTorch's biases, and its weights (below). */
export function fanInUniform(fan: number): ParameterInit {
  requireKinds('fanInUniform', { fan: ['figure', fan] });
  return uniform(-1 / Math.sqrt(fan), 1 / Math.sqrt(fan));
}

/**
 * He et al., "Delving Deep into Rectifiers" (2015): U(−b, b), b = √(6 / ((1 + a²)·fanIn)). PyTorch's linear and
 * convolution layers take a = √5, hence b = 1/√fanIn.
 */
export function kaimingUniform(weight: Shape, options: { readonly a?: number } = {}): ParameterInit {
  checkOptions('kaimingUniform', options, { a: 'number' });
  const bound = Math.sqrt(6 / ((1 + (options.a ?? Math.sqrt(5)) ** 2) * fanIn(weight)));
  return uniform(-bound, bound);
}

/**
 * He et al. (2015) as a normal distribution, N(0, 2 / fan) with the gain of relu. PyTorch's default is the fan of the
 * inputs; torchvision's residual networks take that of the outputs, which keeps the gradients' size in the backward pass.
 */
export function kaimingNormal(weight: Shape, options: { readonly mode?: 'fanIn' | 'fanOut' } = {}): ParameterInit {
  checkOptions('kaimingNormal', options, { mode: true });
  const { mode = 'fanIn' } = options;
  if (mode !== 'fanIn' && mode !== 'fanOut') {
    throw new UsageError('options-invalid', `kaimingNormal: mode must be fanIn or fanOut, got ${shown(mode)}`, {
      fields: { function: 'kaimingNormal', option: 'mode' },
      remedy: "mode: 'fanOut'",
    });
  }
  const fan = mode === 'fanOut' ? fanOut(weight) : fanIn(weight);
  return normal(0, Math.sqrt(2 / fan));
}

/** Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010). */
export function xavierUniform(weight: Shape): ParameterInit {
  const bound = Math.sqrt(6 / (fanIn(weight) + fanOut(weight)));
  return uniform(-bound, bound);
}
