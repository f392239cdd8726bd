/** What is reported of repeated measurements: order statistics where one disturbed run must not count, else means. */

/** Linear interpolation between order statistics (type 7 of Hyndman & Fan 1996, NumPy's default). NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  // Equal neighbours also where both are infinite, whose difference is no number.
  return below === above ? below : below + (above - below) * (at - Math.floor(at));
}

/** NaN of nothing. */
export const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Median of the distances from the median: a spread that a few disturbed runs do not move. */
export function medianDeviation(values: readonly number[]): number {
  const middle = median(values);
  return median(values.map((v) => Math.abs(v - middle)));
}

/**
 * The standard error of a median, by the spread that the median deviation tells: √(π/2) · 1.4826 · deviation / √n, as of a
 * normal distribution.
 */
export const medianError = (values: readonly number[]): number =>
  (1.8582 * medianDeviation(values)) / Math.sqrt(values.length);
