import { wholePower } from '../core/portable-math.ts';
import { adamState, adamUpdateOp } from '../ops/adam-update.ts';
import { update } from '../ops/update-record.ts';
import type { OptimizerRule } from './rule.ts';

/** PyTorch's `torch.optim.Adam` (L2 in the gradient) and `torch.optim.AdamW` (decoupled weight decay). */
export interface AdamConfig {
  readonly kind: 'adam' | 'adamw';
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly amsgrad?: boolean;
  /** Parameters (full names) without weight decay. */
  readonly noDecay?: readonly string[];
}

export function adam(config: AdamConfig): OptimizerRule {
  const { betas: [ownBeta1, beta2] = [0.9, 0.999], eps = 1e-8, amsgrad = false } = config;
  const decoupled = config.kind === 'adamw';
  return {
    defaultRate: 1e-3,
    settings: { betas: [ownBeta1, beta2], eps, amsgrad },
    weightDecay: decoupled ? 1e-2 : 0,
    state: adamState({ amsgrad }),
    momentum: ownBeta1,
    // A beta1 that changes corrects by its power as if it had always been so, as PyTorch's.
    hyper: (lr, step, beta1) => [
      lr,
      1 - wholePower(beta1, step + 1),
      Math.sqrt(1 - wholePower(beta2, step + 1)),
      beta1,
      1 - beta1,
    ],
    node: (w, g, state, scalars, weightDecay) =>
      update(adamUpdateOp, w, g, state, scalars, { beta2, eps, weightDecay, decoupled, amsgrad }),
  };
}
