// Group normalisation of [n, groups, size, spatial]: a row is one group of one sample, `size` channels of `spatial`
// contiguous elements. Each row by its mean and biased variance, each channel by its gamma and beta.
import { affineRun, inputGradRun, sumDeviations, TURN } from './channels';
import { affineRow, inputGradRow, rootOf, squaredDeviations } from './norm';
import { sumRow } from './reduce';

/** mean and rstd (one a row) are outputs kept for the gradients. */
export function groupNorm(
  n: i32, groups: i32, size: i32, spatial: i32,
  x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize, eps: f32,
): void {
  const length = size * spatial;
  const run = <usize>spatial * 4;
  for (let row = 0; row < n * groups; row++) {
    const mu = <f32>(sumRow(length, x) / <f64>length);
    const inverse = rootOf(squaredDeviations(length, x, mu) / <f64>length, eps);
    store<f32>(mean + <usize>row * 4, mu);
    store<f32>(rstd + <usize>row * 4, inverse);
    const first = <usize>(row % groups) * <usize>size * 4;
    if (spatial == 1) {
      affineRow(size, x, gamma + first, beta + first, y, mu, inverse);
      x += <usize>size * 4;
      y += <usize>size * 4;
      continue;
    }
    for (let c: usize = 0; c < <usize>size; c++) {
      const weight = first + c * 4;
      affineRun(spatial, x, y, mu, inverse, load<f32>(gamma + weight), load<f32>(beta + weight));
      x += run;
      y += run;
    }
  }
}

/**
 * With h = (x − mean)·rstd and g = dy·gamma:  dx = rstd·(g − mean(g) − h·mean(g·h)), means over the row. Each channel's
 * Σ dy and Σ dy·(x − mean) are weighted and added in order of channels in f64.
 */
export function groupNormInputGrad(
  n: i32, groups: i32, size: i32, spatial: i32,
  x: usize, gamma: usize, mean: usize, rstd: usize, dy: usize, dx: usize,
): void {
  const length = <usize>size * <usize>spatial * 4;
  const run = <usize>spatial * 4;
  const inverse = 1 / (<f64>size * <f64>spatial);
  for (let row = 0; row < n * groups; row++) {
    const mu = load<f32>(mean + <usize>row * 4);
    const r = load<f32>(rstd + <usize>row * 4);
    const weights = gamma + <usize>(row % groups) * <usize>size * 4;
    if (spatial == 1) {
      inputGradRow(size, x, weights, mu, r, dy, dx);
    } else {
      let sumG: f64 = 0;
      let sumGD: f64 = 0;
      for (let c: usize = 0; c < <usize>size; c++) {
        const weight = <f64>load<f32>(weights + c * 4);
        for (let from = 0; from < spatial; from += TURN) {
          const at = c * run + <usize>from * 4;
          const count = min(spatial - from, TURN);
          sumG += weight * sumRow(count, dy + at);
          sumGD += weight * sumDeviations(count, x + at, mu, dy + at);
        }
      }
      const meanG = <f32>(sumG * inverse);
      const meanGH = <f32>(sumGD * <f64>r * inverse);
      for (let c: usize = 0; c < <usize>size; c++) {
        const at = c * run;
        inputGradRun(spatial, x + at, dy + at, dx + at, mu, r, load<f32>(weights + c * 4), meanG, meanGH);
      }
    }
    x += length;
    dy += length;
    dx += length;
  }
}

/** dgamma = Σ dy·h, dbeta = Σ dy of each channel, samples in order, totals in f64. */
export function groupNormWeightGrad(
  n: i32, groups: i32, size: i32, spatial: i32,
  x: usize, mean: usize, rstd: usize, dy: usize, dgamma: usize, dbeta: usize,
): void {
  const channels = groups * size;
  const sample = <usize>channels * <usize>spatial * 4;
  for (let c = 0; c < channels; c++) {
    const first = <usize>c * <usize>spatial * 4;
    let sumDyH: f64 = 0;
    let sumDy: f64 = 0;
    for (let s = 0; s < n; s++) {
      const row = <usize>(s * groups + c / size) * 4;
      const mu = load<f32>(mean + row);
      const r = <f64>load<f32>(rstd + row);
      for (let from = 0; from < spatial; from += TURN) {
        const at = first + <usize>s * sample + <usize>from * 4;
        const count = min(spatial - from, TURN);
        sumDy += sumRow(count, dy + at);
        sumDyH += r * sumDeviations(count, x + at, mu, dy + at);
      }
    }
    store<f32>(dgamma + <usize>c * 4, <f32>sumDyH);
    store<f32>(dbeta + <usize>c * 4, <f32>sumDy);
  }
}
