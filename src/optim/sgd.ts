import { UsageError } from '../core/errors.ts';
import { sgdState, sgdUpdateOp } from '../ops/sgd-update.ts';
import { update } from '../ops/update-record.ts';
import type { OptimizerRule } from './rule.ts';

/** PyTorch's `torch.optim.SGD`: names and defaults in camelCase. */
export interface SgdConfig {
  readonly kind: 'sgd';
  readonly lr?: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
  /** Parameters (full names) without weight decay. */
  readonly noDecay?: readonly string[];
}

export function sgd(config: SgdConfig, cyclesMomentum: boolean): OptimizerRule {
  const { momentum = 0, dampening = 0, nesterov = false } = config;
  if (nesterov && (momentum <= 0 || dampening !== 0)) {
    throw new UsageError('optimizer-nesterov', 'optimizer: nesterov needs momentum > 0 and dampening 0', {
      fields: { momentum, dampening },
      remedy: '--optimizer.momentum 0.9 --optimizer.dampening 0',
    });
  }
  const keepsBuffer = momentum !== 0 || cyclesMomentum;
  return {
    defaultRate: 0.1,
    settings: { momentum, dampening, nesterov },
    weightDecay: 0,
    state: sgdState({ momentum: keepsBuffer }),
    momentum: keepsBuffer ? momentum : undefined,
    hyper: (lr, step, mu) => (keepsBuffer ? [lr, step === 0 ? 1 : 0, mu] : [lr]),
    node: (w, g, state, scalars, weightDecay) =>
      update(sgdUpdateOp, w, g, state, scalars, { momentum: keepsBuffer, dampening, nesterov, weightDecay }),
  };
}
