/** How many steps and samples a batch size needs to a target, and what that says about the critical batch size. */

import type { CurvePoint, LearningCurve } from './learning.ts';

/** What has to be reached: a loss from above, or an accuracy from below. */
export interface Target {
  readonly metric: 'loss' | 'heldOutLoss' | 'accuracy';
  readonly value: number;
  /** Whether the user gave it, or the study chose one that every batch size reaches. */
  readonly chosen: 'given' | 'by the study';
}

/** The target's metric at a point; NaN where it was not taken. */
export function metricAt(point: CurvePoint, metric: Target['metric']): number {
  if (metric === 'loss') return point.loss;
  return (metric === 'accuracy' ? point.heldOut?.accuracy : point.heldOut?.loss) ?? Number.NaN;
}

/**
 * The first crossing of the target, in steps: on the straight line between the points around it. Infinity where the curve
 * does not get there.
 */
export function stepsTo(
  { points }: Pick<LearningCurve, 'points'>,
  { metric, value }: Pick<Target, 'metric' | 'value'>,
): number {
  const sign = metric === 'accuracy' ? -1 : 1;
  const at = points.findIndex((p) => sign * metricAt(p, metric) <= sign * value);
  if (at < 0) return Number.POSITIVE_INFINITY;
  const here = points[at]!;
  const before = points[at - 1];
  if (!before) return here.step;
  const [from, to] = [metricAt(before, metric), metricAt(here, metric)];
  return before.step + ((here.step - before.step) * (value - from)) / (to - from);
}

/**
 * A loss that every batch size reaches with its best rule: the worst of their best medians, and a little above it, so that
 * it is crossed and not touched.
 */
export function reachableLoss(bestOfEach: readonly number[], slack = 1.05): number {
  return slack * Math.max(...bestOfEach);
}

/** S(B) = S_min (1 + B_crit/B), equivalent to (S/S_min − 1)(E/E_min − 1) = 1 with E = B·S (McCandlish et al. 2018, eq. 2.11). */
export interface TradeOff {
  readonly minSteps: number;
  readonly minSamples: number;
  /** E_min / S_min. */
  readonly criticalBatch: number;
  /** Root mean square error of ln S. */
  readonly error: number;
}

/** Root mean square error of ln S up to which the measured steps are said to follow the trade-off. */
export const goodFit = 0.2;

/**
 * Least squares on ln S. For a given B_crit the best S_min has a closed form, so one dimension is searched: a grid over
 * ratios first, then golden sections around its best. Needs three batch sizes; undefined with fewer, and where the best
 * lies at the end of what was searched (the curve is straight or flat over these batch sizes: it has no corner in them).
 */
export function fitTradeOff(
  measured: readonly { readonly batch: number; readonly steps: number }[],
): TradeOff | undefined {
  const points = measured.filter(({ steps }) => Number.isFinite(steps) && steps > 0);
  if (points.length < 3) return undefined;
  const at = (logCritical: number) => {
    const shape = points.map(({ batch }) => Math.log1p(Math.exp(logCritical) / batch));
    const offsets = points.map(({ steps }, i) => Math.log(steps) - shape[i]!);
    const logMin = offsets.reduce((a, b) => a + b, 0) / offsets.length;
    const error = Math.sqrt(offsets.reduce((sum, o) => sum + (o - logMin) ** 2, 0) / offsets.length);
    return { logMin, error };
  };
  const batches = points.map(({ batch }) => batch);
  const low = Math.log(Math.min(...batches) / 16);
  const high = Math.log(Math.max(...batches) * 16);
  const grid = Array.from({ length: 65 }, (_, i) => low + ((high - low) * i) / 64);
  const errors = grid.map((x) => at(x).error);
  const best = errors.indexOf(Math.min(...errors));
  if (best === 0 || best === grid.length - 1) return undefined;
  let [a, b] = [grid[best - 1]!, grid[best + 1]!];
  const ratio = (Math.sqrt(5) - 1) / 2;
  while (b - a > 1e-6) {
    const [c, d] = [b - ratio * (b - a), a + ratio * (b - a)];
    if (at(c).error < at(d).error) b = d;
    else a = c;
  }
  const { logMin, error } = at((a + b) / 2);
  const criticalBatch = Math.exp((a + b) / 2);
  const minSteps = Math.exp(logMin);
  return { minSteps, minSamples: minSteps * criticalBatch, criticalBatch, error };
}
