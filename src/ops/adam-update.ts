import { requireFraction, requireNonNegative, updateOp } from './update-record.ts';

export type AdamAttrs = {
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Weight decay on the weight itself (AdamW) instead of on the gradient. */
  readonly decoupled: boolean;
  /** Divide by the largest second moment so far. */
  readonly amsgrad: boolean;
};

export const adamState = ({ amsgrad }: Pick<AdamAttrs, 'amsgrad'>): readonly string[] =>
  amsgrad ? ['m', 'v', 'vmax'] : ['m', 'v'];

const plain: AdamAttrs = { beta2: 0.999, eps: 1e-8, weightDecay: 0, decoupled: false, amsgrad: false };
/** hyper at step t, from 1. */
const hyperAt = (lr: number, t: number): number[] => [lr, 1 - 0.9 ** t, Math.sqrt(1 - 0.999 ** t), 0.9, 0.1];

export const adamUpdateOp = updateOp<AdamAttrs>({
  name: 'adamUpdate',
  doc: "torch.optim.Adam and AdamW: g' = factor·g; decoupled ? w ·= 1 − lr·weightDecay : g' += weightDecay·w; m' = beta1·m + (1 − beta1)·g'; v' = beta2·v + (1 − beta2)·g'²; w' = w − (lr / c₁)·m' / (√v̂ / c₂ + eps), v̂ = amsgrad ? vmax' = max(vmax, v') : v'. Inputs w, g, m, v, [vmax], hyper = [lr, c₁ = 1 − beta1^t, c₂ = √(1 − beta2^t), beta1, 1 − beta1], [factor]; outputs w', m', v', [vmax'].",
  state: adamState,
  hyper: () => ['lr', '1 − beta1^t', '√(1 − beta2^t)', 'beta1', '1 − beta1'],
  check: ({ beta2, eps, weightDecay }) => {
    requireFraction('beta2', beta2);
    requireNonNegative('eps', eps);
    requireNonNegative('weightDecay', weightDecay);
  },
  element: (w, g, [m, v, vmax], hyper, { beta2, eps, weightDecay, decoupled, amsgrad }) => {
    const [lr, correction1, correction2, beta1, rest1] = hyper as [number, number, number, number, number];
    const d = decoupled ? g : g + weightDecay * w;
    const m1 = beta1 * m! + rest1 * d;
    const v1 = beta2 * v! + (1 - beta2) * d * d;
    const top = amsgrad ? Math.max(vmax!, v1) : v1;
    const shrunk = decoupled ? w * (1 - lr * weightDecay) : w;
    const updated = shrunk - ((lr / correction1) * m1) / (Math.sqrt(top) / correction2 + eps);
    return amsgrad ? [updated, m1, v1, top] : [updated, m1, v1];
  },
  flops: ({ weightDecay, amsgrad }) => 13 + (weightDecay === 0 ? 0 : 2) + (amsgrad ? 1 : 0),
  range: (state) => (state === 'm' ? {} : { low: 0.01, high: 1 }),
  samples: [
    { name: 'first step', attrs: plain, hyper: hyperAt(0.01, 1) },
    { name: 'later, weight decay', attrs: { ...plain, weightDecay: 0.1 }, hyper: hyperAt(0.01, 7) },
    {
      name: 'decoupled weight decay (AdamW)',
      attrs: { ...plain, weightDecay: 0.1, decoupled: true },
      hyper: hyperAt(0.01, 7),
    },
    { name: 'amsgrad', attrs: { ...plain, amsgrad: true }, hyper: hyperAt(0.01, 3) },
    {
      name: 'eps large enough to tell where it is added, clipped',
      attrs: { ...plain, eps: 0.05, weightDecay: 0.1 },
      hyper: hyperAt(0.01, 3),
      factor: 0.25,
    },
  ],
  badAttrs: [
    { attrs: { ...plain, beta2: 1 }, message: 'beta2 must lie in [0, 1), got 1' },
    { attrs: { ...plain, eps: -1 }, message: 'eps must not be negative, got -1' },
  ],
});
