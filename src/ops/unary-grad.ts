/**
 * Derivatives of activations as single ops: dx = dy·f′, with f′ from the saved output y (or input x). They are linear in
 * dy, so their own gradient by dy is the same op again.
 */

import type { Tensor } from '../graph/graph.ts';
import type { OpRecord } from '../graph/op-record.ts';
import { mul, sub } from './binary.ts';
import { erf } from './erf.ts';
import { exp } from './unary.ts';
import { awayFrom, slope } from './unary-record.ts';

export const reluGradOp = slope({
  name: 'reluGrad',
  doc: 'dx = dy where y > 0, else 0. Gradient of Relu from its output.',
  f: (y, dy) => (y > 0 ? dy : 0),
  second: undefined,
  again: (y, g) => reluGrad(y, g),
  flops: 1,
  range: awayFrom(0),
});

export const tanhGradOp = slope({
  name: 'tanhGrad',
  doc: 'dx = dy·(1 − y²). Gradient of Tanh from its output.',
  f: (y, dy) => dy * (1 - y * y),
  second: (y, dy, g) => mul(mul(g, dy), mul(y, -2)),
  again: (y, g) => tanhGrad(y, g),
  flops: 3,
});

export const sigmoidGradOp = slope({
  name: 'sigmoidGrad',
  doc: 'dx = dy·y·(1 − y). Gradient of Sigmoid from its output.',
  f: (y, dy) => dy * y * (1 - y),
  second: (y, dy, g) => mul(mul(g, dy), sub(1, mul(y, 2))),
  again: (y, g) => sigmoidGrad(y, g),
  flops: 3,
  range: { low: 0, high: 1 },
});

/** Density of the standard normal distribution at 0. */
const phi0 = 1 / Math.sqrt(2 * Math.PI);

export const geluGradOp = slope({
  name: 'geluGrad',
  doc: 'dx = dy·(Φ(x) + x·φ(x)). Gradient of Gelu (erf form) from its input.',
  f: (x, dy) => dy * (0.5 * (1 + erf(x * Math.SQRT1_2)) + x * phi0 * Math.exp(-0.5 * x * x)),
  // (Φ + xφ)′ = φ·(2 − x²)
  second: (x, dy, g) => {
    const square = mul(x, x);
    return mul(mul(g, dy), mul(mul(exp(mul(square, -0.5)), phi0), sub(2, square)));
  },
  again: (x, g) => geluGrad(x, g),
  flops: 30,
  range: { low: -2, high: 2 },
});

const build =
  (op: OpRecord) =>
  (saved: Tensor, dy: Tensor): Tensor =>
    saved.graph.add(op, [saved, dy], {})[0]!;

export const reluGrad = build(reluGradOp);
export const tanhGrad = build(tanhGradOp);
export const sigmoidGrad = build(sigmoidGradOp);
export const geluGrad = build(geluGradOp);
