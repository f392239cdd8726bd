/** Positive parameters fitted to measurements: Levenberg–Marquardt on their logarithms, robust against outliers. */
import { requireKinds } from '../core/options.ts';

export interface FitOptions {
  /** Residuals beyond this weigh less and less (Huber). Default: none do. */
  readonly outlier?: number;
  /** Default 200. */
  readonly iterations?: number;
}

export interface Fit {
  readonly parameters: readonly number[];
  /** Half the sum of squares, outliers by Huber's rule. */
  readonly cost: number;
  readonly iterations: number;
}

/**
 * Parameters that make the residuals small, from a first guess on. Residuals that are logarithms of predicted over measured
 * make errors relative. A parameter that nothing depends on keeps its guess.
 */
export function fitPositive(
  residuals: (parameters: readonly number[]) => readonly number[],
  guess: readonly number[],
  { outlier = Number.POSITIVE_INFINITY, iterations = 200 }: FitOptions = {},
): Fit {
  requireKinds('fitPositive', { residuals: ['function', residuals], guess: ['numbers', guess] });
  const at = (logs: readonly number[]): readonly number[] => residuals(logs.map(Math.exp));
  const costOf = (r: readonly number[]): number =>
    r.reduce((sum, x) => sum + (Math.abs(x) <= outlier ? x * x : 2 * outlier * Math.abs(x) - outlier * outlier) / 2, 0);
  let logs = guess.map(Math.log);
  let now = at(logs);
  let cost = costOf(now);
  let damping = 1e-3;
  let round = 0;
  for (; round < iterations; round++) {
    const weights = now.map((x) => (Math.abs(x) <= outlier ? 1 : outlier / Math.abs(x)));
    const columns = logs.map((_, j) => derivative(at, logs, j));
    const normal = columns.map((a) => columns.map((b) => weightedDot(a, b, weights)));
    const gradient = columns.map((a) => weightedDot(a, now, weights));
    const before = cost;
    for (; damping < 1e12; damping *= 4) {
      const step = solve(
        normal.map((row, i) => row.map((x, j) => (i === j ? x * (1 + damping) + 1e-12 : x))),
        gradient.map((g) => -g),
      );
      // No parameter moves by more than a factor of e at once: far from the guess the model is not to be trusted.
      const largest = Math.max(1, ...step.map(Math.abs));
      const tried = logs.map((x, j) => x + step[j]! / largest);
      const found = at(tried);
      const reached = costOf(found);
      if (reached < cost) {
        [logs, now, cost] = [tried, found, reached];
        damping = Math.max(damping / 8, 1e-12);
        break;
      }
    }
    if (before - cost <= 1e-10 * before) break;
  }
  return { parameters: logs.map(Math.exp), cost, iterations: round };
}

const nudge = 1e-5;

function derivative(at: (logs: readonly number[]) => readonly number[], logs: readonly number[], j: number): number[] {
  const moved = (by: number) => at(logs.map((x, i) => (i === j ? x + by : x)));
  const [low, high] = [moved(-nudge), moved(nudge)];
  return high.map((x, i) => (x - low[i]!) / (2 * nudge));
}

const weightedDot = (a: readonly number[], b: readonly number[], weights: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + weights[i]! * x * b[i]!, 0);

/** Gaussian elimination; a damped normal matrix is positive definite and needs no pivots. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const n = right.length;
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  for (let c = 0; c < n; c++) {
    for (let r = c + 1; r < n; r++) {
      const factor = rows[r]![c]! / rows[c]![c]!;
      for (let k = c; k <= n; k++) rows[r]![k]! -= factor * rows[c]![k]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let r = n - 1; r >= 0; r--) {
    let sum = rows[r]![n]!;
    for (let k = r + 1; k < n; k++) sum -= rows[r]![k]! * x[k]!;
    x[r] = sum / rows[r]![r]!;
  }
  return x;
}
