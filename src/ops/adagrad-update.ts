import { requireNonNegative, updateOp } from './update-record.ts';

export type AdagradAttrs = { readonly eps: number; readonly weightDecay: number };

export const adagradState: readonly string[] = ['sum'];

const plain: AdagradAttrs = { eps: 1e-10, weightDecay: 0 };

export const adagradUpdateOp = updateOp<AdagradAttrs>({
  name: 'adagradUpdate',
  doc: "torch.optim.Adagrad: d = factor·g + weightDecay·w; sum' = sum + d²; w' = w − lrₜ·d / (√sum' + eps). Inputs w, g, sum, hyper = [lrₜ = lr / (1 + (t − 1)·lrDecay)], [factor]; outputs w', sum'.",
  state: () => adagradState,
  hyper: () => ['lr / (1 + (t − 1)·lrDecay)'],
  check: ({ eps, weightDecay }) => {
    requireNonNegative('eps', eps);
    requireNonNegative('weightDecay', weightDecay);
  },
  element: (w, g, [sum], [lr], { eps, weightDecay }) => {
    const d = g + weightDecay * w;
    const total = sum! + d * d;
    return [w - (lr! * d) / (Math.sqrt(total) + eps), total];
  },
  flops: ({ weightDecay }) => 7 + (weightDecay === 0 ? 0 : 2),
  range: () => ({ low: 0, high: 1 }),
  samples: [
    { name: 'plain', attrs: plain, hyper: [0.1] },
    { name: 'weight decay, clipped', attrs: { ...plain, weightDecay: 0.3 }, hyper: [0.1], factor: 0.25 },
    { name: 'eps large enough to tell where it is added', attrs: { ...plain, eps: 0.05 }, hyper: [0.1] },
  ],
  badAttrs: [
    { attrs: { ...plain, eps: -1 }, message: 'eps must not be negative, got -1' },
    { attrs: { ...plain, weightDecay: -1 }, message: 'weightDecay must not be negative, got -1' },
  ],
});
