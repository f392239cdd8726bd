// What is told of repeated windows: the library's own order statistics, which lie between two values where they are even.
import { median, quantile } from '../../dist/core/statistics.js';

export { median, quantile };

/** Median and quartiles. */
export const spreadOf = (values) => [0.5, 0.25, 0.75].map((q) => quantile(values, q));

/** `y = c · x^exponent` by least squares of the logarithms, and how much of their variance that explains. */
export function fitPower(points) {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const mean = (i) => logs.reduce((total, p) => total + p[i], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const sum = (f) => logs.reduce((total, p) => total + f(p[0] - mx, p[1] - my), 0);
  const exponent = sum((x, y) => x * y) / sum((x) => x * x);
  const total = sum((_, y) => y * y);
  const rest = sum((x, y) => (y - exponent * x) ** 2);
  return { exponent, factor: Math.exp(my - exponent * mx), r2: total === 0 ? 1 : 1 - rest / total };
}
