import { UsageError } from '../core/errors.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { adamUpdate, sgdUpdate } from '../ops/optimizer.ts';

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

/** PyTorch's `torch.optim.Adam` (L2 in the gradient) and `torch.optim.AdamW` (decoupled weight decay). */
export interface AdamConfig {
  readonly kind: 'adam' | 'adamw';
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly amsgrad?: boolean;
  readonly noDecay?: readonly string[];
}

export type OptimizerConfig = SgdConfig | AdamConfig;

/** One optimizer: how it updates a parameter as graph nodes, and the scalars that change from step to step. */
export interface Optimizer {
  readonly config: OptimizerConfig;
  readonly defaultRate: number;
  /** Names of the state tensors it keeps for each parameter. */
  readonly stateNames: readonly string[];
  /** Scalars of the update in f32, from the rate and the step (from 0). Computed in f64, rounded once. */
  readonly hyper: (lr: number, step: number) => Float32Array;
  /** Appends the update of one parameter and its assignments; runs inside the step region. */
  readonly update: (graph: Graph, parameter: Tensor, gradient: Tensor, hyper: Tensor) => void;
}

export function makeOptimizer(config: OptimizerConfig): Optimizer {
  switch (config.kind) {
    case 'sgd':
      return sgd(config);
    case 'adam':
    case 'adamw':
      return adam(config);
  }
}

function stateOf(graph: Graph, kind: string, parameter: Tensor): Tensor {
  return graph.state(`${kind}/${parameter.name}`, parameter.type, { kind: 'zeros' });
}

function decayOf(config: OptimizerConfig, parameter: Tensor, whenUnset: number): number {
  return config.noDecay?.includes(parameter.name) ? 0 : (config.weightDecay ?? whenUnset);
}

function sgd(config: SgdConfig): Optimizer {
  const momentum = config.momentum ?? 0;
  const dampening = config.dampening ?? 0;
  const nesterov = config.nesterov ?? false;
  if (nesterov && (momentum <= 0 || dampening !== 0)) {
    throw new UsageError('optimizer-nesterov', 'optimizer: nesterov needs momentum > 0 and dampening 0', {
      fields: { momentum, dampening },
      remedy: '--optimizer.momentum 0.9 --optimizer.dampening 0',
    });
  }
  return {
    config,
    defaultRate: config.lr ?? 0.1,
    stateNames: momentum ? ['momentum'] : [],
    hyper: (lr, step) => Float32Array.of(lr, step === 0 ? 1 : 0),
    update: (graph, parameter, gradient, hyper) => {
      const buffer = momentum ? stateOf(graph, 'momentum', parameter) : undefined;
      const updated = sgdUpdate(parameter, gradient, buffer, hyper, {
        momentum,
        dampening,
        nesterov,
        weightDecay: decayOf(config, parameter, 0),
      });
      graph.assign(parameter, updated[0]!);
      if (buffer) graph.assign(buffer, updated[1]!);
    },
  };
}

function adam(config: AdamConfig): Optimizer {
  const [beta1, beta2] = config.betas ?? [0.9, 0.999];
  const amsgrad = config.amsgrad ?? false;
  return {
    config,
    defaultRate: config.lr ?? 1e-3,
    stateNames: amsgrad ? ['m', 'v', 'vmax'] : ['m', 'v'],
    hyper: (lr, step) => Float32Array.of(lr, 1 - beta1 ** (step + 1), Math.sqrt(1 - beta2 ** (step + 1))),
    update: (graph, parameter, gradient, hyper) => {
      const state = (amsgrad ? ['m', 'v', 'vmax'] : ['m', 'v']).map((kind) => stateOf(graph, kind, parameter));
      const updated = adamUpdate(parameter, gradient, state, hyper, {
        beta1,
        beta2,
        eps: config.eps ?? 1e-8,
        weightDecay: decayOf(config, parameter, config.kind === 'adamw' ? 1e-2 : 0),
        decoupled: config.kind === 'adamw',
        amsgrad,
      });
      graph.assign(parameter, updated[0]!);
      for (const [i, tensor] of state.entries()) graph.assign(tensor, updated[i + 1]!);
    },
  };
}
