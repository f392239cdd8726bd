import { UsageError } from '../core/errors.ts';
import { halfCosine } from '../core/portable-math.ts';

/**
 * PyTorch's OneCycleLR in two phases (Smith and Topin, "Super-Convergence", 2018): the rate rises from maxLr / divFactor to
 * maxLr, then falls to maxLr / divFactor / finalDivFactor at the last step; the momentum does the contrary. The rate takes
 * the place of the optimizer's own, the momentum (of Adam: beta1) too.
 */
export interface OneCycleConfig {
  readonly kind: 'oneCycle';
  readonly maxLr: number;
  readonly totalSteps: number;
  /** Part of the steps in which the rate rises; default 0.3. */
  readonly pctStart?: number;
  /** Default 25. */
  readonly divFactor?: number;
  /** Default 1e4. */
  readonly finalDivFactor?: number;
  /** Along half a cosine (default) or a line. */
  readonly anneal?: 'cos' | 'linear';
  /** Default true. */
  readonly cycleMomentum?: boolean;
  /** Momentum where the rate is highest; default 0.85. */
  readonly baseMomentum?: number;
  /** Momentum where the rate is lowest; default 0.95. */
  readonly maxMomentum?: number;
}

/** Of step k, from 0. */
type OfStep = (step: number) => number;

/** Throws UsageError where the rise has no length; the functions throw it for steps behind the last. */
export function oneCycle(config: OneCycleConfig): { readonly rate: OfStep; readonly momentum: OfStep } {
  const { maxLr, totalSteps, pctStart = 0.3, divFactor = 25, finalDivFactor = 1e4, anneal = 'cos' } = config;
  const { baseMomentum = 0.85, maxMomentum = 0.95 } = config;
  /** The step with the highest rate; a fraction where it falls between two. */
  const top = pctStart * totalSteps - 1;
  const last = totalSteps - 1;
  // Step 0 is then both ends of the rise: PyTorch divides by zero.
  if (top === 0) {
    throw new UsageError(
      'learning-rate-steps',
      `learningRate: pctStart · totalSteps is 1, so that oneCycle has no step to rise in`,
      {
        fields: { pctStart, totalSteps },
        remedy: `--learningRate.pctStart ${2 / totalSteps <= 1 ? 2 / totalSteps : 0}`,
      },
    );
  }
  const initial = maxLr / divFactor;
  const least = initial / finalDivFactor;
  const between = (from: number, to: number, t: number): number =>
    anneal === 'cos' ? to + (from - to) * halfCosine(t) : from + (to - from) * t;
  /** Through `low` at step 0, `high` at the top, `end` at the last step. */
  const cycle =
    (low: number, high: number, end: number): OfStep =>
    (k) => {
      if (k >= totalSteps) {
        throw new UsageError(
          'learning-rate-steps',
          `learningRate: totalSteps is ${totalSteps}, and there is a step ${k}`,
          {
            fields: { totalSteps, step: k },
            remedy: `--learningRate.totalSteps ${k + 1}`,
          },
        );
      }
      return k <= top ? between(low, high, k / top) : between(high, end, (k - top) / (last - top));
    };
  return {
    rate: cycle(initial, maxLr, least),
    momentum: cycle(maxMomentum, baseMomentum, maxMomentum),
  };
}
