import { rmspropState, rmspropUpdateOp } from '../ops/rmsprop-update.ts';
import { update } from '../ops/update-record.ts';
import type { OptimizerRule } from './rule.ts';

/** PyTorch's `torch.optim.RMSprop`: names and defaults in camelCase. */
export interface RmspropConfig {
  readonly kind: 'rmsprop';
  readonly lr?: number;
  readonly alpha?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly momentum?: number;
  readonly centered?: boolean;
  /** Parameters (full names) without weight decay. */
  readonly noDecay?: readonly string[];
}

export function rmsprop(config: RmspropConfig, cyclesMomentum: boolean): OptimizerRule {
  const { alpha = 0.99, eps = 1e-8, momentum = 0, centered = false } = config;
  const keepsBuffer = momentum !== 0 || cyclesMomentum;
  return {
    defaultRate: 1e-2,
    settings: { alpha, eps, momentum, centered },
    weightDecay: 0,
    state: rmspropState({ momentum: keepsBuffer, centered }),
    momentum: keepsBuffer ? momentum : undefined,
    hyper: (lr, _step, mu) => (keepsBuffer ? [lr, mu] : [lr]),
    node: (w, g, state, scalars, weightDecay) =>
      update(rmspropUpdateOp, w, g, state, scalars, { alpha, eps, weightDecay, momentum: keepsBuffer, centered }),
  };
}
