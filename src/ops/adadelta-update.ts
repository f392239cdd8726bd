import { require } from '../graph/op-record.ts';
import { requireNonNegative, updateOp } from './update-record.ts';

export type AdadeltaAttrs = { readonly rho: number; readonly eps: number; readonly weightDecay: number };

export const adadeltaState: readonly string[] = ['squareAvg', 'accDelta'];

const plain: AdadeltaAttrs = { rho: 0.9, eps: 1e-6, weightDecay: 0 };

export const adadeltaUpdateOp = updateOp<AdadeltaAttrs>({
  name: 'adadeltaUpdate',
  doc: "torch.optim.Adadelta: d = factor·g + weightDecay·w; v' = rho·v + (1 − rho)·d²; Δ = √(u + eps) / √(v' + eps)·d; u' = rho·u + (1 − rho)·Δ²; w' = w − lr·Δ. Inputs w, g, v (squareAvg), u (accDelta), hyper = [lr], [factor]; outputs w', v', u'.",
  state: () => adadeltaState,
  hyper: () => ['lr'],
  check: ({ rho, eps, weightDecay }) => {
    require(rho >= 0 && rho <= 1, `rho must lie in [0, 1], got ${rho}`);
    requireNonNegative('eps', eps);
    requireNonNegative('weightDecay', weightDecay);
  },
  element: (w, g, [v, u], [lr], { rho, eps, weightDecay }) => {
    const d = g + weightDecay * w;
    const v1 = rho * v! + (1 - rho) * d * d;
    const delta = (Math.sqrt(u! + eps) / Math.sqrt(v1 + eps)) * d;
    return [w - lr! * delta, v1, rho * u! + (1 - rho) * delta * delta];
  },
  flops: ({ weightDecay }) => 16 + (weightDecay === 0 ? 0 : 2),
  range: () => ({ low: 0.01, high: 1 }),
  samples: [
    { name: 'plain', attrs: plain, hyper: [1] },
    { name: 'weight decay, clipped', attrs: { ...plain, weightDecay: 0.3 }, hyper: [0.5], factor: 0.25 },
    { name: 'eps large enough to tell where it is added', attrs: { ...plain, rho: 0.6, eps: 0.05 }, hyper: [0.5] },
  ],
  badAttrs: [
    { attrs: { ...plain, rho: 1.5 }, message: 'rho must lie in [0, 1], got 1.5' },
    { attrs: { ...plain, eps: -1 }, message: 'eps must not be negative, got -1' },
  ],
});
