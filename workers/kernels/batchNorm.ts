// Batch normalisation of [n, channels, spatial]: each channel by its mean and biased variance over samples and places.
// Without places (spatial = 1) a channel is a column, and four columns go side by side; otherwise it is n runs of `spatial`
// contiguous elements. Sums: blocks of 256 elements (or BLOCK rows) in f32, totals in f64, samples in order.
//
// The root is taken of the variance as it is stored, so that the gradients, and batchNormInference of the same statistics,
// see the same rstd to the bit.
import { affine, affineRun, inputGradLanes, inputGradRun, sumDeviations, TURN } from './channels';
import { highHalf, loadTail, scaled, storeTail } from './lanes';
import { rootOf, squaredDeviations } from './norm';
import { BLOCK, sumRow } from './reduce';
import {
  affinePlanes, batchInputGradOfTwo, batchWeightGradOfTwo, deviationsOfBlocks, inBlocks, momentsOfTwo, SMALL_PLANE,
  squaresOfBlocks, valuesOfBlocks,
} from './smallPlanes';

@inline
function loadLanes(r: i32, p: usize): v128 {
  return r == 4 ? v128.load(p) : loadTail(p, r);
}

@inline
function storeLanes(r: i32, p: usize, v: v128): void {
  if (r == 4) v128.store(p, v);
  else storeTail(p, r, v);
}

/** 1 / √(variance + eps) of four columns, as `rootOf` of each. */
@inline
function rootLanes(variance: v128, eps: f32): v128 {
  const e = f64x2.splat(<f64>eps);
  const one = f64x2.splat(1);
  const low = f64x2.div(one, f64x2.sqrt(f64x2.add(f64x2.promote_low_f32x4(variance), e)));
  const high = f64x2.div(one, f64x2.sqrt(f64x2.add(highHalf(variance), e)));
  return scaled(low, high, one);
}

/** What a pass over columns adds up. */
const VALUES = 0; // x
const SQUARES = 1; // (x − mean)²
const PRODUCTS = 2; // dy·(x − mean)

/** scale·Σ over the rows of up to four columns (r of them). */
@inline
function sumColumns(what: i32, r: i32, rows: i32, step: usize, x: usize, mean: v128, dy: usize, scale: f64): v128 {
  let low = f64x2.splat(0);
  let high = low;
  while (rows > 0) {
    let s = f32x4.splat(0);
    const block = min(rows, BLOCK);
    for (let i = 0; i < block; i++) {
      let v = loadLanes(r, x);
      if (what != VALUES) {
        v = f32x4.sub(v, mean);
        v = f32x4.mul(v, what == SQUARES ? v : loadLanes(r, dy));
        dy += step;
      }
      s = f32x4.add(s, v);
      x += step;
    }
    rows -= block;
    low = f64x2.add(low, f64x2.promote_low_f32x4(s));
    high = f64x2.add(high, highHalf(s));
  }
  return scaled(low, high, f64x2.splat(scale));
}

@inline
function affineColumns(
  r: i32, rows: i32, step: usize, x: usize, y: usize, mean: v128, rstd: v128, gamma: v128, beta: v128,
): void {
  for (; rows > 0; rows--) {
    storeLanes(r, y, affine(loadLanes(r, x), mean, rstd, gamma, beta));
    x += step;
    y += step;
  }
}

/** Mean and biased variance of up to four columns. */
@inline
function columnsMoments(r: i32, n: i32, step: usize, x: usize, mean: usize, variance: usize): void {
  const m = sumColumns(VALUES, r, n, step, x, f32x4.splat(0), 0, 1 / <f64>n);
  storeLanes(r, mean, m);
  storeLanes(r, variance, sumColumns(SQUARES, r, n, step, x, m, 0, 1 / <f64>n));
}

/** Mean and biased variance of one channel of n runs. */
@inline
function runsMoments(n: i32, spatial: i32, step: usize, x: usize, mean: usize, variance: usize): void {
  const inverse = 1 / (<f64>n * <f64>spatial);
  if (inBlocks(spatial)) {
    const m = <f32>(valuesOfBlocks(n, spatial, step, x) * inverse);
    store<f32>(mean, m);
    store<f32>(variance, <f32>(squaresOfBlocks(n, spatial, step, x, m) * inverse));
    return;
  }
  let total: f64 = 0;
  for (let s: usize = 0; s < <usize>n; s++) total += sumRow(spatial, x + s * step);
  const mu = <f32>(total * inverse);
  total = 0;
  for (let s: usize = 0; s < <usize>n; s++) total += squaredDeviations(spatial, x + s * step, mu);
  store<f32>(mean, mu);
  store<f32>(variance, <f32>(total * inverse));
}

/** Mean and biased variance of every channel of n runs. */
function channelsMoments(n: i32, channels: i32, spatial: i32, x: usize, mean: usize, variance: usize): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial < SMALL_PLANE) {
    for (; channels >= 2; channels -= 2) {
      momentsOfTwo(n, spatial, step, x, mean, variance);
      x += 2 * run;
      mean += 8;
      variance += 8;
    }
  }
  for (; channels > 0; channels--) {
    runsMoments(n, spatial, step, x, mean, variance);
    x += run;
    mean += 4;
    variance += 4;
  }
}

/** mean and biased variance, one a channel: what batchNorm normalises by, to the bit. */
export function channelMoments(n: i32, channels: i32, spatial: i32, x: usize, mean: usize, variance: usize): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsMoments(4, n, step, x, mean, variance);
      x += 16;
      mean += 16;
      variance += 16;
    }
    if (c > 0) columnsMoments(c, n, step, x, mean, variance);
    return;
  }
  channelsMoments(n, channels, spatial, x, mean, variance);
}

@inline
function columnsForward(
  r: i32, n: i32, step: usize, x: usize, gamma: usize, beta: usize, y: usize, mean: usize, variance: usize, eps: f32,
): void {
  columnsMoments(r, n, step, x, mean, variance);
  const root = rootLanes(loadLanes(r, variance), eps);
  affineColumns(r, n, step, x, y, loadLanes(r, mean), root, loadLanes(r, gamma), loadLanes(r, beta));
}

/** mean and variance (one a channel) are outputs kept for the gradients and the running statistics. */
export function batchNorm(
  n: i32, channels: i32, spatial: i32,
  x: usize, gamma: usize, beta: usize, y: usize, mean: usize, variance: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsForward(4, n, step, x, gamma, beta, y, mean, variance, eps);
      x += 16;
      gamma += 16;
      beta += 16;
      y += 16;
      mean += 16;
      variance += 16;
    }
    if (c > 0) columnsForward(c, n, step, x, gamma, beta, y, mean, variance, eps);
    return;
  }
  const small = spatial < SMALL_PLANE;
  if (small) channelsMoments(n, channels, spatial, x, mean, variance);
  for (; channels > 0; channels--) {
    // A channel's elements are still near where its moments have just been taken.
    if (!small) runsMoments(n, spatial, step, x, mean, variance);
    const mu = load<f32>(mean);
    const r = rootOf(<f64>load<f32>(variance), eps);
    const g = load<f32>(gamma);
    const b = load<f32>(beta);
    if (small) affinePlanes(n, spatial, step, x, y, mu, r, g, b);
    else for (let s: usize = 0; s < <usize>n; s++) affineRun(spatial, x + s * step, y + s * step, mu, r, g, b);
    x += run;
    y += run;
    gamma += 4;
    beta += 4;
    mean += 4;
    variance += 4;
  }
}

@inline
function columnsInference(
  r: i32, n: i32, step: usize, x: usize, gamma: usize, beta: usize, mean: usize, variance: usize, y: usize, eps: f32,
): void {
  const root = rootLanes(loadLanes(r, variance), eps);
  affineColumns(r, n, step, x, y, loadLanes(r, mean), root, loadLanes(r, gamma), loadLanes(r, beta));
}

/** y = (x − mean)·gamma/√(variance + eps) + beta. */
export function batchNormInference(
  n: i32, channels: i32, spatial: i32,
  x: usize, gamma: usize, beta: usize, mean: usize, variance: usize, y: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsInference(4, n, step, x, gamma, beta, mean, variance, y, eps);
      x += 16;
      gamma += 16;
      beta += 16;
      mean += 16;
      variance += 16;
      y += 16;
    }
    if (c > 0) columnsInference(c, n, step, x, gamma, beta, mean, variance, y, eps);
    return;
  }
  if (spatial < SMALL_PLANE) {
    for (let c: usize = 0; c < <usize>channels; c++) {
      const at = c * 4;
      const from = c * run;
      const r = rootOf(<f64>load<f32>(variance + at), eps);
      const g = load<f32>(gamma + at);
      affinePlanes(n, spatial, step, x + from, y + from, load<f32>(mean + at), r, g, load<f32>(beta + at));
    }
    return;
  }
  for (; n > 0; n--) {
    for (let c: usize = 0; c < <usize>channels; c++) {
      const at = c * 4;
      const r = rootOf(<f64>load<f32>(variance + at), eps);
      affineRun(spatial, x, y, load<f32>(mean + at), r, load<f32>(gamma + at), load<f32>(beta + at));
      x += run;
      y += run;
    }
  }
}

@inline
function columnsInputGrad(
  r: i32, n: i32, step: usize, x: usize, gamma: usize, mean: usize, variance: usize, dy: usize, dx: usize, eps: f32,
): void {
  const m = loadLanes(r, mean);
  const root = rootLanes(loadLanes(r, variance), eps);
  const g = loadLanes(r, gamma);
  const meanG = f32x4.mul(g, sumColumns(VALUES, r, n, step, dy, f32x4.splat(0), 0, 1 / <f64>n));
  const meanGD = f32x4.mul(g, sumColumns(PRODUCTS, r, n, step, x, m, dy, 1 / <f64>n));
  const meanGH = f32x4.mul(root, meanGD);
  for (; n > 0; n--) {
    inputGradLanes(r, x, dy, dx, m, root, g, meanG, meanGH);
    x += step;
    dy += step;
    dx += step;
  }
}

/** dx = gamma·rstd·(dy − mean(dy) − h·mean(dy·h)), h = (x − mean)·rstd, means over samples and places of a channel. */
export function batchNormInputGrad(
  n: i32, channels: i32, spatial: i32,
  x: usize, gamma: usize, mean: usize, variance: usize, dy: usize, dx: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsInputGrad(4, n, step, x, gamma, mean, variance, dy, dx, eps);
      x += 16;
      gamma += 16;
      mean += 16;
      variance += 16;
      dy += 16;
      dx += 16;
    }
    if (c > 0) columnsInputGrad(c, n, step, x, gamma, mean, variance, dy, dx, eps);
    return;
  }
  const inverse = 1 / (<f64>n * <f64>spatial);
  if (spatial < SMALL_PLANE) {
    for (; channels >= 2; channels -= 2) {
      batchInputGradOfTwo(n, spatial, step, x, gamma, mean, variance, dy, dx, eps);
      x += 2 * run;
      dy += 2 * run;
      dx += 2 * run;
      gamma += 8;
      mean += 8;
      variance += 8;
    }
  }
  for (; channels > 0; channels--) {
    const mu = load<f32>(mean);
    const r = rootOf(<f64>load<f32>(variance), eps);
    const g = load<f32>(gamma);
    let sumDy: f64 = 0;
    let sumDyD: f64 = 0;
    if (inBlocks(spatial)) {
      sumDy = valuesOfBlocks(n, spatial, step, dy);
      sumDyD = deviationsOfBlocks(n, spatial, step, x, mu, dy);
    } else for (let s: usize = 0; s < <usize>n; s++) {
      for (let from = 0; from < spatial; from += TURN) {
        const at = s * step + <usize>from * 4;
        const count = min(spatial - from, TURN);
        sumDy += sumRow(count, dy + at);
        sumDyD += sumDeviations(count, x + at, mu, dy + at);
      }
    }
    const meanG = <f32>(<f64>g * sumDy * inverse);
    const meanGH = <f32>(<f64>g * <f64>r * sumDyD * inverse);
    for (let s: usize = 0; s < <usize>n; s++) {
      const at = s * step;
      inputGradRun(spatial, x + at, dy + at, dx + at, mu, r, g, meanG, meanGH);
    }
    x += run;
    dy += run;
    dx += run;
    gamma += 4;
    mean += 4;
    variance += 4;
  }
}

@inline
function columnsWeightGrad(
  r: i32, n: i32, step: usize, x: usize, mean: usize, variance: usize, dy: usize, dgamma: usize, dbeta: usize, eps: f32,
): void {
  const root = rootLanes(loadLanes(r, variance), eps);
  const products = sumColumns(PRODUCTS, r, n, step, x, loadLanes(r, mean), dy, 1);
  storeLanes(r, dgamma, f32x4.mul(root, products));
  storeLanes(r, dbeta, sumColumns(VALUES, r, n, step, dy, f32x4.splat(0), 0, 1));
}

/** dgamma = Σ dy·h, dbeta = Σ dy over samples and places of a channel. */
export function batchNormWeightGrad(
  n: i32, channels: i32, spatial: i32,
  x: usize, mean: usize, variance: usize, dy: usize, dgamma: usize, dbeta: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsWeightGrad(4, n, step, x, mean, variance, dy, dgamma, dbeta, eps);
      x += 16;
      mean += 16;
      variance += 16;
      dy += 16;
      dgamma += 16;
      dbeta += 16;
    }
    if (c > 0) columnsWeightGrad(c, n, step, x, mean, variance, dy, dgamma, dbeta, eps);
    return;
  }
  if (spatial < SMALL_PLANE) {
    for (; channels >= 2; channels -= 2) {
      batchWeightGradOfTwo(n, spatial, step, x, mean, variance, dy, dgamma, dbeta, eps);
      x += 2 * run;
      dy += 2 * run;
      mean += 8;
      variance += 8;
      dgamma += 8;
      dbeta += 8;
    }
  }
  for (; channels > 0; channels--) {
    const mu = load<f32>(mean);
    const r = rootOf(<f64>load<f32>(variance), eps);
    let sumDy: f64 = 0;
    let sumDyD: f64 = 0;
    if (inBlocks(spatial)) {
      sumDy = valuesOfBlocks(n, spatial, step, dy);
      sumDyD = deviationsOfBlocks(n, spatial, step, x, mu, dy);
    } else for (let s: usize = 0; s < <usize>n; s++) {
      for (let from = 0; from < spatial; from += TURN) {
        const at = s * step + <usize>from * 4;
        const count = min(spatial - from, TURN);
        sumDy += sumRow(count, dy + at);
        sumDyD += sumDeviations(count, x + at, mu, dy + at);
      }
    }
    store<f32>(dgamma, <f32>(<f64>r * sumDyD));
    store<f32>(dbeta, <f32>sumDy);
    x += run;
    dy += run;
    mean += 4;
    variance += 4;
    dgamma += 4;
    dbeta += 4;
  }
}

/** Merges moments x into y: rows of counts, means, biased variances (Chan, Golub, LeVeque 1979). */
export function mergeMoments(channels: i32, x: usize, y: usize): void {
  const row = <usize>channels * 4;
  for (; channels > 0; channels--) {
    const a = <f64>load<f32>(y);
    const b = <f64>load<f32>(x);
    const all = a + b;
    const before = <f64>load<f32>(y + row);
    const delta = <f64>load<f32>(x + row) - before;
    const within = <f64>load<f32>(y + 2 * row) * a + <f64>load<f32>(x + 2 * row) * b;
    store<f32>(y, <f32>all);
    store<f32>(y + row, <f32>(before + delta * b / all));
    store<f32>(y + 2 * row, <f32>((within + delta * delta * a * b / all) / all));
    x += 4;
    y += 4;
  }
}

/** y = keep·running + take·variance·n / (n − 1), n = count; of one value the variance stays as it is. */
export function runningVariance(
  n: i32, running: usize, count: usize, variance: usize, y: usize, keep: f32, take: f32,
): void {
  for (; n > 0; n--) {
    const values = <f64>load<f32>(count);
    const unbiased = <f32>(<f64>load<f32>(variance) * values / Math.max(1, values - 1));
    store<f32>(y, keep * load<f32>(running) + take * unbiased);
    running += 4;
    count += 4;
    variance += 4;
    y += 4;
  }
}

@inline
function columnsMomentsInputGrad(
  r: i32, n: i32, step: usize, x: usize, gamma: usize, count: usize, mean: usize, variance: usize, dy: usize,
  sumDyH: usize, sumDy: usize, dx: usize, eps: f32,
): void {
  const m = loadLanes(r, mean);
  const root = rootLanes(loadLanes(r, variance), eps);
  const g = loadLanes(r, gamma);
  const values = loadLanes(r, count);
  const meanG = f32x4.mul(g, f32x4.div(loadLanes(r, sumDy), values));
  const meanGH = f32x4.mul(g, f32x4.div(loadLanes(r, sumDyH), values));
  for (; n > 0; n--) {
    inputGradLanes(r, x, dy, dx, m, root, g, meanG, meanGH);
    x += step;
    dy += step;
    dx += step;
  }
}

/** dx = gamma·rstd·(dy − sumDy/count − h·sumDyH/count), h = (x − mean)·rstd: sums over more values than are here. */
export function batchNormWithMomentsInputGrad(
  n: i32, channels: i32, spatial: i32,
  x: usize, gamma: usize, count: usize, mean: usize, variance: usize, dy: usize, sumDyH: usize, sumDy: usize,
  dx: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const step = <usize>channels * run;
  if (spatial == 1) {
    let c = channels;
    for (; c >= 4; c -= 4) {
      columnsMomentsInputGrad(4, n, step, x, gamma, count, mean, variance, dy, sumDyH, sumDy, dx, eps);
      x += 16;
      gamma += 16;
      count += 16;
      mean += 16;
      variance += 16;
      dy += 16;
      sumDyH += 16;
      sumDy += 16;
      dx += 16;
    }
    if (c > 0) columnsMomentsInputGrad(c, n, step, x, gamma, count, mean, variance, dy, sumDyH, sumDy, dx, eps);
    return;
  }
  for (; n > 0; n--) {
    for (let c: usize = 0; c < <usize>channels; c++) {
      const at = c * 4;
      const values = load<f32>(count + at);
      const r = rootOf(<f64>load<f32>(variance + at), eps);
      const g = load<f32>(gamma + at);
      const meanG = g * (load<f32>(sumDy + at) / values);
      const meanGH = g * (load<f32>(sumDyH + at) / values);
      inputGradRun(spatial, x, dy, dx, load<f32>(mean + at), r, g, meanG, meanGH);
      x += run;
      dy += run;
      dx += run;
    }
  }
}
