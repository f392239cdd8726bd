import { UsageError } from '../core/errors.ts';
import { cosTurn } from '../core/portable-math.ts';

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
  /** One rate a step. */
  | { readonly kind: 'values'; readonly values: readonly number[] };

/** Rate of the update at step k, from 0. Arithmetic alone, so every engine gives the same bits. */
export type LearningRate = (step: number) => number;

export function makeLearningRate(config: LearningRateConfig, lr: number): LearningRate {
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

/** (1 + cos πt)/2 */
const halfCosine = (t: number): number => (1 + cosTurn((t / 2) % 1)) / 2;

/** baseⁿ by repeated squaring: `**` leaves the last bit to the engine. */
function wholePower(base: number, n: number): number {
  let result = 1;
  for (let square = base, left = n; left > 0; left = Math.floor(left / 2), square *= square) {
    if (left % 2 === 1) result *= square;
  }
  return result;
}
