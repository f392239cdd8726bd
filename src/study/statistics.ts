/** What a study reports of repeated measurements. */
import { median, quantile } from '../core/statistics.ts';

export { median, quantile };

/** Median with the quartiles around it. */
export interface Spread {
  readonly median: number;
  /** First and third quartile. */
  readonly low: number;
  readonly high: number;
}

export const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  low: quantile(values, 0.25),
  high: quantile(values, 0.75),
});
