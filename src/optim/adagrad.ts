import { adagradState, adagradUpdateOp } from '../ops/adagrad-update.ts';
import { update } from '../ops/update-record.ts';
import type { OptimizerRule } from './rule.ts';

/** PyTorch's `torch.optim.Adagrad`: names and defaults in camelCase. */
export interface AdagradConfig {
  readonly kind: 'adagrad';
  readonly lr?: number;
  readonly lrDecay?: number;
  readonly weightDecay?: number;
  readonly initialAccumulatorValue?: number;
  readonly eps?: number;
  /** Parameters (full names) without weight decay. */
  readonly noDecay?: readonly string[];
}

export function adagrad(config: AdagradConfig): OptimizerRule {
  const { lrDecay = 0, initialAccumulatorValue = 0, eps = 1e-10 } = config;
  return {
    defaultRate: 1e-2,
    settings: { lrDecay, initialAccumulatorValue, eps },
    weightDecay: 0,
    state: adagradState,
    init: () => ({ kind: 'constant', value: initialAccumulatorValue }),
    momentum: undefined,
    hyper: (lr, step) => [lr / (1 + step * lrDecay)],
    node: (w, g, state, scalars, weightDecay) => update(adagradUpdateOp, w, g, state, scalars, { eps, weightDecay }),
  };
}
