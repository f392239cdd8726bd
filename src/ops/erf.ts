/** Beyond this erf is ±1 in f64. */
const saturated = 6;

/**
 * erf in f64, by erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)) (Abramowitz and Stegun, 7.1.6). All terms have
 * one sign, so nothing cancels.
 */
export function erf(x: number): number {
  if (!(Math.abs(x) < saturated)) return Math.sign(x); // NaN too: the series would never end
  let term = x;
  let sum = x;
  for (let n = 1; sum + term !== sum; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
