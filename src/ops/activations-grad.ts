/**
 * Slopes of the activations in activations.ts, from their input x: dx = dy·f′(x) in one pass. They are linear in dy, so
 * their own gradient by dy is the same op again.
 */
import type { Tensor } from '../graph/graph.ts';
import type { Attrs, OpRecord } from '../graph/op-record.ts';
import type { ClipAttrs, EluAttrs, HardSigmoidAttrs, LeakyReluAttrs, ThresholdedReluAttrs } from './activations.ts';
import { add, div, mul, sub } from './binary.ts';
import { and, greater, less, where } from './compare.ts';
import { sign } from './rounding.ts';
import { abs, sigmoid } from './unary.ts';
import { awayFrom, slope } from './unary-record.ts';

export const softsignGradOp = slope({
  name: 'softsignGrad',
  doc: 'dx = dy/(1 + |x|)². Gradient of Softsign from its input.',
  f: (x, dy) => dy / (1 + Math.abs(x)) ** 2,
  // −2·sign x/(1 + |x|)³
  second: (x, dy, g) => {
    const d = add(abs(x), 1);
    return mul(mul(g, dy), div(mul(sign(x), -2), mul(d, mul(d, d))));
  },
  again: (x, g) => softsignGrad(x, g),
  flops: 4,
  range: { low: -2, high: 2, ...awayFrom(0) },
});

export const eluGradOp: OpRecord<EluAttrs> = slope<EluAttrs>({
  name: 'eluGrad',
  doc: 'dx = dy·scale where x > 0, else dy·scale·alpha·inputScale·e^(inputScale·x). Gradient of Elu, Selu and Celu from their input.',
  f: (x, dy, { alpha, scale, inputScale }) => dy * scale * (x > 0 ? 1 : alpha * inputScale * Math.exp(inputScale * x)),
  // Below 0 the exponential only gains another factor inputScale.
  second: (x, dy, g, attrs) => where(greater(x, 0), 0, mul(mul(g, attrs.inputScale), eluGrad(x, dy, attrs))),
  again: (x, g, attrs) => eluGrad(x, g, attrs),
  flops: 15,
  attrs: { alpha: 0.7, scale: 1.3, inputScale: 1.2 },
  range: { low: -2, high: 1, ...awayFrom(0) },
});

export const leakyReluGradOp: OpRecord<LeakyReluAttrs> = slope<LeakyReluAttrs>({
  name: 'leakyReluGrad',
  doc: 'dx = dy where x > 0, else slope·dy. Gradient of LeakyRelu from its input; with slope ≥ 0 from its output as well.',
  f: (x, dy, attrs) => (x > 0 ? dy : attrs.slope * dy),
  second: undefined,
  again: (x, g, attrs) => leakyReluGrad(x, g, attrs),
  attrs: { slope: 0.15 },
  range: awayFrom(0),
});

export const hardSigmoidGradOp: OpRecord<HardSigmoidAttrs> = slope<HardSigmoidAttrs>({
  name: 'hardSigmoidGrad',
  doc: 'dx = alpha·dy where 0 < alpha·x + beta < 1, else 0. Gradient of HardSigmoid from its input.',
  f: (x, dy, { alpha, beta }) => {
    const ramp = alpha * x + beta;
    return ramp > 0 && ramp < 1 ? alpha * dy : 0;
  },
  second: undefined,
  again: (x, g, attrs) => hardSigmoidGrad(x, g, attrs),
  flops: 5,
  attrs: { alpha: 0.2, beta: 0.5 },
  range: { low: -4, high: 4, ...awayFrom(-2.5, 2.5) },
});

export const hardSwishGradOp = slope({
  name: 'hardSwishGrad',
  doc: 'dx = dy·(x/3 + ½) where −3 < x < 3, 0 below, dy above. Gradient of HardSwish from its input.',
  f: (x, dy) => (x <= -3 ? 0 : x >= 3 ? dy : dy * (x / 3 + 0.5)),
  second: (x, dy, g) => where(and(greater(x, -3), less(x, 3)), mul(mul(g, dy), 1 / 3), 0),
  again: (x, g) => hardSwishGrad(x, g),
  flops: 5,
  range: { low: -5, high: 5, ...awayFrom(-3, 3) },
});

export const clipGradOp: OpRecord<ClipAttrs> = slope<ClipAttrs>({
  name: 'clipGrad',
  doc: 'dx = dy where low ≤ x ≤ high (a null bound being none), else 0. Gradient of Clip from its input.',
  f: (x, dy, { low, high }) => (x >= (low ?? -Infinity) && x <= (high ?? Infinity) ? dy : 0),
  second: undefined,
  again: (x, g, attrs) => clipGrad(x, g, attrs),
  flops: 2,
  attrs: { low: -0.5, high: 0.5 },
  range: awayFrom(-0.5, 0.5),
  more: [
    {
      name: 'at the bounds, infinities, NaN',
      inputs: [{ shape: [6], values: [-0.5, 0.5, -Infinity, Infinity, Number.NaN, 0] }, { shape: [6] }],
      attrs: { low: -0.5, high: 0.5 },
      gradientOf: [],
    },
    {
      name: 'one bound',
      inputs: [{ shape: [9], ...awayFrom(0) }, { shape: [9] }],
      attrs: { low: null, high: 0 },
      gradientOf: [1],
    },
  ],
});

export const thresholdedReluGradOp: OpRecord<ThresholdedReluAttrs> = slope<ThresholdedReluAttrs>({
  name: 'thresholdedReluGrad',
  doc: 'dx = dy where x > alpha, else 0. Gradient of ThresholdedRelu from its input; with alpha ≥ 0 from its output as well.',
  f: (x, dy, { alpha }) => (x <= alpha ? 0 : dy),
  second: undefined,
  again: (x, g, attrs) => thresholdedReluGrad(x, g, attrs),
  attrs: { alpha: 0.5 },
  range: awayFrom(0.5),
});

/** geluTanh(x) = x·σ(v), v = x·(linear + cubic·x²): half of 1 + tanh u is σ(2u). */
const linear = 2 * Math.sqrt(2 / Math.PI);
const cubic = linear * 0.044715;

const sigmoid64 = (v: number): number => 1 / (1 + Math.exp(-v));

export const geluTanhGradOp = slope({
  name: 'geluTanhGrad',
  doc: 'dx = dy·(σ(v) + x·σ(v)·(1 − σ(v))·v′), v = 2√(2/π)·(x + 0.044715 x³). Gradient of Gelu (tanh form) from its input.',
  f: (x, dy) => {
    const s = sigmoid64(x * (linear + cubic * x * x));
    return dy * (s + x * s * (1 - s) * (linear + 3 * cubic * x * x));
  },
  // σ·(1 − σ)·(2v′ + x·((1 − 2σ)·v′² + v″))
  second: (x, dy, g) => {
    const square = mul(x, x);
    const s = sigmoid(mul(x, add(mul(square, cubic), linear)));
    const v1 = add(mul(square, 3 * cubic), linear);
    const v2 = mul(x, 6 * cubic);
    const bend = add(mul(mul(v1, v1), sub(1, mul(s, 2))), v2);
    return mul(mul(g, dy), mul(mul(s, sub(1, s)), add(mul(v1, 2), mul(x, bend))));
  },
  again: (x, g) => geluTanhGrad(x, g),
  flops: 30,
  range: { low: -2, high: 2 },
});

const build =
  <A extends Attrs>(op: OpRecord<A>) =>
  (x: Tensor, dy: Tensor, attrs: A): Tensor =>
    x.graph.add(op, [x, dy], attrs)[0]!;

const plain =
  (op: OpRecord) =>
  (x: Tensor, dy: Tensor): Tensor =>
    x.graph.add(op, [x, dy], {})[0]!;

export const softsignGrad = plain(softsignGradOp);
export const hardSwishGrad = plain(hardSwishGradOp);
export const geluTanhGrad = plain(geluTanhGradOp);
export const eluGrad = build(eluGradOp);
export const leakyReluGrad = build(leakyReluGradOp);
export const hardSigmoidGrad = build(hardSigmoidGradOp);
export const clipGrad = build(clipGradOp);
export const thresholdedReluGrad = build(thresholdedReluGradOp);
