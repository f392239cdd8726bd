// Group normalisation of [n, groups, size, spatial]: a row is one group of one sample, `size` channels of `spatial`
// contiguous elements. Each row by its mean and biased variance, each channel by its gamma and beta.
import { affineRun, inputGradRun, sumDeviations, TURN } from './channels';
import { inputGradFour, normFour } from './narrowNorm';
import { NARROW } from './narrowReduce';
import { affineRow, inputGradRow, rootOf, squaredDeviations } from './norm';
import { sumRow } from './reduce';
import {
  affineChannels, groupInputGradOfTwo, groupWeightGradOfFour, groupWeightGradOfTwo, SMALL_PLANE,
} from './smallPlanes';

/** Where the weights of a row's channels begin, in bytes. */
@inline
function weightsOf(row: i32, groups: i32, size: i32): usize {
  return <usize>(row % groups) * <usize>size * 4;
}

/** mean and rstd (one a row) are outputs kept for the gradients. */
export function groupNorm(
  n: i32, groups: i32, size: i32, spatial: i32,
  x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize, eps: f32,
): void {
  const length = size * spatial;
  const run = <usize>spatial * 4;
  let row = 0;
  if (length < NARROW) {
    for (; row + 4 <= n * groups; row += 4) {
      const w0 = weightsOf(row, groups, size);
      const w1 = weightsOf(row + 1, groups, size);
      const w2 = weightsOf(row + 2, groups, size);
      const w3 = weightsOf(row + 3, groups, size);
      const at = <usize>row * 4;
      normFour(size, spatial, x, gamma + w0, gamma + w1, gamma + w2, gamma + w3, beta + w0, beta + w1, beta + w2, beta + w3,
        y, mean + at, rstd + at, eps);
      x += <usize>length * 16;
      y += <usize>length * 16;
    }
  }
  for (; row < n * groups; row++) {
    const mu = <f32>(sumRow(length, x) / <f64>length);
    const inverse = rootOf(squaredDeviations(length, x, mu) / <f64>length, eps);
    store<f32>(mean + <usize>row * 4, mu);
    store<f32>(rstd + <usize>row * 4, inverse);
    const first = weightsOf(row, groups, size);
    if (spatial == 1) {
      affineRow(size, x, gamma + first, beta + first, y, mu, inverse);
      x += <usize>size * 4;
      y += <usize>size * 4;
      continue;
    }
    if (spatial < SMALL_PLANE) {
      affineChannels(size, spatial, x, gamma + first, beta + first, y, mu, inverse);
      x += <usize>size * run;
      y += <usize>size * run;
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
  const rows = n * groups;
  let row = 0;
  if (spatial == 1 && size < 4) {
    for (; row + 4 <= rows; row += 4) {
      const w0 = gamma + weightsOf(row, groups, size);
      const w1 = gamma + weightsOf(row + 1, groups, size);
      const w2 = gamma + weightsOf(row + 2, groups, size);
      const w3 = gamma + weightsOf(row + 3, groups, size);
      const at = <usize>row * 4;
      inputGradFour(size, x, w0, w1, w2, w3, mean + at, rstd + at, dy, dx);
      x += 4 * length;
      dy += 4 * length;
      dx += 4 * length;
    }
  }
  if (spatial > 1 && spatial < SMALL_PLANE) {
    for (; row + 2 <= rows; row += 2) {
      const w0 = gamma + weightsOf(row, groups, size);
      const w1 = gamma + weightsOf(row + 1, groups, size);
      const at = <usize>row * 4;
      groupInputGradOfTwo(size, spatial, x, w0, w1, mean + at, rstd + at, dy, dx);
      x += 2 * length;
      dy += 2 * length;
      dx += 2 * length;
    }
  }
  for (; row < rows; row++) {
    const mu = load<f32>(mean + <usize>row * 4);
    const r = load<f32>(rstd + <usize>row * 4);
    const weights = gamma + weightsOf(row, groups, size);
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
  let c = 0;
  if (spatial == 1) {
    for (; c + 4 <= channels; c += 4) {
      const at = <usize>c * 4;
      groupWeightGradOfFour(n, sample, <usize>groups * 4, <usize>(c / size) * 4, <usize>((c + 1) / size) * 4,
        <usize>((c + 2) / size) * 4, <usize>((c + 3) / size) * 4, x + at, mean, rstd, dy + at, dgamma + at, dbeta + at);
    }
  }
  if (spatial < SMALL_PLANE) {
    for (; c + 2 <= channels; c += 2) {
      const from = <usize>c * <usize>spatial * 4;
      const at = <usize>c * 4;
      groupWeightGradOfTwo(n, spatial, sample, <usize>groups * 4, <usize>(c / size) * 4, <usize>((c + 1) / size) * 4,
        x + from, mean, rstd, dy + from, dgamma + at, dbeta + at);
    }
  }
  for (; c < channels; c++) {
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
