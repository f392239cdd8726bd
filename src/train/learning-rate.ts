import { UsageError } from '../core/errors.ts';
import { requireArgument, requireKinds } from '../core/options.ts';
import { halfCosine, wholePower } from '../core/portable-math.ts';
import { number, object, parse } from '../core/schema.ts';
import { learningRateSchema } from './learning-rate-schema.ts';
import { type OneCycleConfig, oneCycle } from './one-cycle.ts';

/** How the rate changes from step to step; names and formulas are PyTorch's, a step here is one update. */
export type LearningRateConfig =
  | { readonly kind: 'constant' }
  /** lr · gamma^⌊k / stepSize⌋ */
  | { readonly kind: 'step'; readonly stepSize: number; readonly gamma?: number }
  /** etaMin + (lr − etaMin)(1 + cos πk/tMax)/2, which rises again behind tMax as PyTorch's does */
  | { readonly kind: 'cosine'; readonly tMax: number; readonly etaMin?: number }
  /** lr·(k+1)/warmupSteps while k < warmupSteps, then the cosine down to lr·minRatio, which it keeps behind totalSteps */
  | {
      readonly kind: 'warmupCosine';
      readonly warmupSteps: number;
      readonly totalSteps: number;
      readonly minRatio?: number;
    }
  | OneCycleConfig
  /** One rate a step. */
  | { readonly kind: 'values'; readonly values: readonly number[] };

/** Rate of the update at step k, from 0. Arithmetic alone, so every engine gives the same bits. */
export type LearningRate = (step: number) => number;

const checked = object({ learningRate: learningRateSchema, lr: number({ min: 0 }) });

/** Throws UsageError where an option is unknown or out of range, or options contradict each other. */
export function makeLearningRate(config: LearningRateConfig, lr: number): LearningRate {
  requireRule('makeLearningRate', config);
  parse(checked, { learningRate: config, lr }, 'makeLearningRate');
  const rate = ruleOf(config, lr);
  return (step) => {
    requireKinds('a learning rate', { step: ['index', step] });
    return rate(step);
  };
}

function requireRule(what: string, config: LearningRateConfig): void {
  const isRule = typeof config?.kind === 'string';
  requireArgument(what, isRule, 'a rule with its kind', config, `${what}({ kind: 'constant' }, 0.1)`);
}

function ruleOf(config: LearningRateConfig, lr: number): LearningRate {
  switch (config.kind) {
    case 'constant':
      return () => lr;
    case 'step':
      return (k) => lr * wholePower(config.gamma ?? 0.1, Math.floor(k / config.stepSize));
    case 'cosine': {
      const low = config.etaMin ?? 0;
      return (k) => low + (lr - low) * halfCosine(k / config.tMax);
    }
    case 'warmupCosine': {
      const { warmupSteps, totalSteps, minRatio = 0 } = config;
      if (totalSteps <= warmupSteps) {
        throw new UsageError(
          'learning-rate-steps',
          `learningRate: totalSteps ${totalSteps} must be more than warmupSteps ${warmupSteps}`,
          { fields: { warmupSteps, totalSteps }, remedy: `--learningRate.totalSteps ${warmupSteps + 1}` },
        );
      }
      return (k) => {
        if (k < warmupSteps) return (lr * (k + 1)) / warmupSteps;
        const progress = Math.min(1, (k - warmupSteps) / (totalSteps - warmupSteps));
        return lr * (minRatio + (1 - minRatio) * halfCosine(progress));
      };
    }
    case 'oneCycle':
      return oneCycle(config).rate;
    case 'values':
      return (k) => {
        const rate = config.values[k];
        if (rate === undefined) {
          throw new UsageError(
            'learning-rate-steps',
            `learningRate: ${config.values.length} values, and none for step ${k}`,
            { fields: { values: config.values.length, step: k }, remedy: `--steps ${config.values.length}` },
          );
        }
        return rate;
      };
  }
}

/** Whether the rule sets the momentum (of Adam: beta1) of every step too. */
export function cyclesMomentum(config: LearningRateConfig): boolean {
  requireRule('cyclesMomentum', config);
  return config.kind === 'oneCycle' && (config.cycleMomentum ?? true);
}

/** Momentum of the update at step k, from 0; undefined where the optimizer keeps its own. */
export function makeMomentum(config: LearningRateConfig): LearningRate | undefined {
  requireRule('makeMomentum', config);
  parse(object({ learningRate: learningRateSchema }), { learningRate: config }, 'makeMomentum');
  return config.kind === 'oneCycle' && cyclesMomentum(config) ? oneCycle(config).momentum : undefined;
}
