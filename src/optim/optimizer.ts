import { UsageError } from '../core/errors.ts';
import { isRecord } from '../core/kinds.ts';
import { checkOptions, requireArgument } from '../core/options.ts';
import { object, parse } from '../core/schema.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import type { UpdateScalars } from '../ops/update-record.ts';
import { type AdadeltaConfig, adadelta } from './adadelta.ts';
import { type AdagradConfig, adagrad } from './adagrad.ts';
import { type AdamConfig, adam } from './adam.ts';
import { optimizerSchema } from './optimizer-schema.ts';
import { type RmspropConfig, rmsprop } from './rmsprop.ts';
import type { OptimizerRule } from './rule.ts';
import { type SgdConfig, sgd } from './sgd.ts';

export type { AdadeltaConfig, AdagradConfig, AdamConfig, RmspropConfig, SgdConfig };
export type OptimizerConfig = SgdConfig | AdagradConfig | AdadeltaConfig | RmspropConfig | AdamConfig;
export type OptimizerKind = OptimizerConfig['kind'];
export const optimizerKinds = [
  'sgd',
  'adagrad',
  'adadelta',
  'rmsprop',
  'adam',
  'adamw',
] as const satisfies readonly OptimizerKind[];

export interface OptimizerOptions {
  /**
   * A learning rate's rule sets the momentum (of Adam: beta1) of every step (oneCycle): the optimizer then keeps a momentum
   * buffer whatever its own momentum is.
   */
  readonly cyclesMomentum?: boolean;
}

/** One optimizer: how it updates a parameter as graph nodes, and the scalars that change from step to step. */
export interface Optimizer {
  readonly config: OptimizerConfig;
  /** All that decides an update beside the rate, defaults included: equal for two optimizers that update alike. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly defaultRate: number;
  /** Names of the state tensors it keeps for each parameter, of the parameter's shape and type. */
  readonly stateNames: readonly string[];
  /**
   * Scalars of the update in f32, from the rate and the step (from 0). Computed in f64 with arithmetic that every engine
   * rounds alike, and rounded once. `momentum` takes the place of the configured momentum, of Adam's beta1. Throws
   * UsageError where it is given and the optimizer was made without one.
   */
  readonly hyper: (lr: number, step: number, momentum?: number) => Float32Array;
  /** Appends the update of one parameter and its assignments; runs inside the step region. */
  readonly update: (graph: Graph, parameter: Tensor, gradient: Tensor, scalars: UpdateScalars) => void;
}

const checked = object({ optimizer: optimizerSchema });

/** Throws UsageError where an option is unknown or out of range, or options contradict each other. */
export function makeOptimizer(config: OptimizerConfig, options: OptimizerOptions = {}): Optimizer {
  // The schema is an experiment's, which may leave out the kind, or all of it.
  const isLeftOut = config === undefined || (isRecord(config) && !('kind' in config));
  requireArgument('makeOptimizer', !isLeftOut, 'the kind and its settings', config, "{ kind: 'sgd', lr: 0.1 }");
  parse(checked, { optimizer: config }, 'makeOptimizer');
  checkOptions('makeOptimizer', options, { cyclesMomentum: 'flag' });
  const cyclesMomentum = options.cyclesMomentum ?? false;
  const rule = ruleOf(config, cyclesMomentum);
  const { kind, weightDecay: ownDecay = rule.weightDecay } = config;
  const noDecay = config.noDecay ?? [];
  return {
    config,
    settings: { kind, ...rule.settings, weightDecay: ownDecay, noDecay: [...noDecay].sort() },
    defaultRate: config.lr ?? rule.defaultRate,
    stateNames: rule.state,
    hyper: (lr, step, momentum) => {
      if (momentum !== undefined && rule.momentum === undefined) throw noMomentum(config.kind, cyclesMomentum);
      return Float32Array.from(rule.hyper(lr, step, momentum ?? rule.momentum ?? 0));
    },
    update: (graph, parameter, gradient, scalars) => {
      const state = rule.state.map((kind) =>
        graph.state(`${kind}/${parameter.name}`, parameter.type, rule.init?.(kind) ?? { kind: 'zeros' }),
      );
      const weightDecay = noDecay.includes(parameter.name) ? 0 : ownDecay;
      const updated = rule.node(parameter, gradient, state, scalars, weightDecay);
      graph.assign(parameter, updated[0]!);
      for (const [i, tensor] of state.entries()) graph.assign(tensor, updated[i + 1]!);
    },
  };
}

function ruleOf(config: OptimizerConfig, cyclesMomentum: boolean): OptimizerRule {
  switch (config.kind) {
    case 'sgd':
      return sgd(config, cyclesMomentum);
    case 'rmsprop':
      return rmsprop(config, cyclesMomentum);
    case 'adam':
    case 'adamw':
      return adam(config);
    case 'adagrad':
    case 'adadelta':
      if (cyclesMomentum) throw noMomentum(config.kind, true);
      return config.kind === 'adagrad' ? adagrad(config) : adadelta(config);
  }
}

/** Optimizers whose momentum a learning rate's rule can set; PyTorch's OneCycleLR refuses the others alike. */
export const momentumKinds: readonly OptimizerKind[] = ['sgd', 'rmsprop', 'adam', 'adamw'];

const noMomentum = (kind: OptimizerKind, cyclesMomentum: boolean): UsageError =>
  new UsageError(
    'optimizer-momentum',
    momentumKinds.includes(kind)
      ? `optimizer: this ${kind} was made without momentum and keeps no buffer for one`
      : `optimizer: ${kind} has no momentum that could be set`,
    {
      fields: { optimizer: kind },
      remedy: cyclesMomentum
        ? '--learningRate.cycleMomentum false'
        : momentumKinds.includes(kind)
          ? 'makeOptimizer(config, { cyclesMomentum: true })'
          : 'leave the momentum of the step out',
    },
  );

/** Throws UsageError for what is no optimizer; there may be none. */
export function requireOptimizer(what: string, optimizer: unknown): void {
  if (optimizer === undefined) return;
  const { config, hyper, update } = (optimizer ?? {}) as Partial<Optimizer>;
  const isOne = isRecord(config) && typeof hyper === 'function' && typeof update === 'function';
  requireArgument(what, isOne, 'what makeOptimizer returns', optimizer, "makeOptimizer({ kind: 'sgd', lr: 0.1 })");
}
