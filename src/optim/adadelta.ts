import { adadeltaState, adadeltaUpdateOp } from '../ops/adadelta-update.ts';
import { update } from '../ops/update-record.ts';
import type { OptimizerRule } from './rule.ts';

/** PyTorch's `torch.optim.Adadelta`: names and defaults in camelCase. */
export interface AdadeltaConfig {
  readonly kind: 'adadelta';
  readonly lr?: number;
  readonly rho?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Parameters (full names) without weight decay. */
  readonly noDecay?: readonly string[];
}

export function adadelta(config: AdadeltaConfig): OptimizerRule {
  const { rho = 0.9, eps = 1e-6 } = config;
  return {
    defaultRate: 1,
    settings: { rho, eps },
    weightDecay: 0,
    state: adadeltaState,
    momentum: undefined,
    hyper: (lr) => [lr],
    node: (w, g, state, scalars, weightDecay) =>
      update(adadeltaUpdateOp, w, g, state, scalars, { rho, eps, weightDecay }),
  };
}
