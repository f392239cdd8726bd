/**
 * Derivatives of activations as single ops: dx = dy·f′, with f′ from the saved output y (or input x). They are linear in
 * dy, so their own gradient by dy is the same op again.
 */

import { elementCount, formatType, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require, type SampleInput } from '../graph/op-record.ts';
import { mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { erf } from './erf.ts';
import { exp } from './unary.ts';

interface SlopeSpec {
  readonly name: string;
  readonly doc: string;
  /** dx from the saved value and dy */
  readonly f: (saved: number, dy: number) => number;
  /** Cotangent of the saved value: g·dy·(∂f′/∂saved); undefined where f′ is constant almost everywhere. */
  readonly second: ((saved: Tensor, dy: Tensor, g: Tensor) => Tensor) | undefined;
  readonly again: (saved: Tensor, g: Tensor) => Tensor;
  readonly flops: number;
  readonly range: Partial<SampleInput>;
}

function slopeOp(spec: SlopeSpec): OpRecord {
  return defineOp({
    name: spec.name,
    doc: `${spec.doc} Both inputs and the output: f32, one shape.`,
    infer: ([saved, dy]) => {
      require(saved && dy, 'takes two tensors');
      for (const t of [saved, dy]) require(t.dtype === 'f32', `operands must be f32, not ${t.dtype}`);
      require(sameShape(saved.shape, dy.shape), `needs equal shapes, got ${formatType(saved)} and ${formatType(dy)}`);
      return [dy];
    },
    reference: ([saved, dy]) => [dy!.data.map((d, i) => spec.f(saved!.data[i]!, d))],
    gradient: {
      kind: 'rule',
      rule: ({ inputs, grads, needs }) => {
        const [saved, dy] = inputs as [Tensor, Tensor];
        const g = grads[0]!;
        return [needs(0) ? spec.second?.(saved, dy, g) : undefined, needs(1) ? spec.again(saved, g) : undefined];
      },
    },
    cost: (inputs, outputs) => ({
      flops: spec.flops * elementCount(outputs[0]!.shape),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: [
      {
        name: 'odd size',
        inputs: [{ shape: [3, 7], ...spec.range }, { shape: [3, 7] }],
        attrs: {},
        ...(spec.second ? {} : { gradientOf: [1] }),
      },
    ],
    badSamples: [
      {
        inputs: [
          { dtype: 'f32', shape: [2, 3] },
          { dtype: 'f32', shape: [3] },
        ],
        attrs: {},
        message: 'needs equal shapes, got f32[2, 3] and f32[3]',
      },
    ],
  });
}

export const reluGradOp = slopeOp({
  name: 'reluGrad',
  doc: 'dx = dy where y > 0, else 0. Gradient of Relu from its output.',
  f: (y, dy) => (y > 0 ? dy : 0),
  second: undefined,
  again: (y, g) => reluGrad(y, g),
  flops: 1,
  range: { awayFrom: [0], distinct: 0.02 },
});

export const tanhGradOp = slopeOp({
  name: 'tanhGrad',
  doc: 'dx = dy·(1 − y²). Gradient of Tanh from its output.',
  f: (y, dy) => dy * (1 - y * y),
  second: (y, dy, g) => mul(mul(g, dy), mul(y, -2)),
  again: (y, g) => tanhGrad(y, g),
  flops: 3,
  range: {},
});

export const sigmoidGradOp = slopeOp({
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

export const geluGradOp = slopeOp({
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
