// Layer normalisation over the last axis: y = (x − mean)·rstd·gamma + beta, rstd = 1 / √(variance + eps), the variance
// being the biased one, taken about the mean in a second pass.
import { affine } from './channels';
import { highHalf, loadTail, scaled, storeTail, sum4 } from './lanes';
import { inputGradFour, normFour } from './narrowNorm';
import { NARROW } from './narrowReduce';
import { BLOCK, sumRow } from './reduce';

/** Σ (x − mean)², blocks of 256 terms in f32, totals in f64. */
export function squaredDeviations(n: i32, x: usize, mean: f32): f64 {
  const m = f32x4.splat(mean);
  let total: f64 = 0;
  while (n >= 8) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    const block = min(n, 256) & ~7;
    const end = x + <usize>block * 4;
    for (; x < end; x += 32) {
      const d0 = f32x4.sub(v128.load(x), m);
      const d1 = f32x4.sub(v128.load(x, 16), m);
      s0 = f32x4.add(s0, f32x4.mul(d0, d0));
      s1 = f32x4.add(s1, f32x4.mul(d1, d1));
    }
    n -= block;
    total += sum4(f32x4.add(s0, s1));
  }
  for (; n > 0; n--) {
    const d = load<f32>(x) - mean;
    total += <f64>(d * d);
    x += 4;
  }
  return total;
}

/** y = (x − mean)·rstd·gamma + beta, all of n elements but mean and rstd. */
export function affineRow(n: i32, x: usize, gamma: usize, beta: usize, y: usize, mean: f32, rstd: f32): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  for (; n >= 16; n -= 16) {
    v128.store(y, affine(v128.load(x), m, r, v128.load(gamma), v128.load(beta)));
    v128.store(y, affine(v128.load(x, 16), m, r, v128.load(gamma, 16), v128.load(beta, 16)), 16);
    v128.store(y, affine(v128.load(x, 32), m, r, v128.load(gamma, 32), v128.load(beta, 32)), 32);
    v128.store(y, affine(v128.load(x, 48), m, r, v128.load(gamma, 48), v128.load(beta, 48)), 48);
    x += 64;
    gamma += 64;
    beta += 64;
    y += 64;
  }
  for (; n >= 4; n -= 4) {
    v128.store(y, affine(v128.load(x), m, r, v128.load(gamma), v128.load(beta)));
    x += 16;
    gamma += 16;
    beta += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, affine(loadTail(x, n), m, r, loadTail(gamma, n), loadTail(beta, n)));
}

/** 1 / √(variance + eps), rounded once. */
@inline
export function rootOf(variance: f64, eps: f32): f32 {
  return <f32>(1 / Math.sqrt(variance + <f64>eps));
}

/** mean and rstd (one a row) are outputs kept for the gradients. */
export function layerNorm(
  rows: i32, cols: i32, x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize, eps: f32,
): void {
  const step = <usize>cols * 4;
  if (cols < NARROW) {
    for (; rows >= 4; rows -= 4) {
      normFour(cols, 1, x, gamma, gamma, gamma, gamma, beta, beta, beta, beta, y, mean, rstd, eps);
      x += 4 * step;
      y += 4 * step;
      mean += 16;
      rstd += 16;
    }
  }
  for (; rows > 0; rows--) {
    const mu = <f32>(sumRow(cols, x) / <f64>cols);
    const inverse = rootOf(squaredDeviations(cols, x, mu) / <f64>cols, eps);
    store<f32>(mean, mu);
    store<f32>(rstd, inverse);
    affineRow(cols, x, gamma, beta, y, mu, inverse);
    x += step;
    y += step;
    mean += 4;
    rstd += 4;
  }
}

@inline
function normalized(x: v128, mean: v128, rstd: v128): v128 {
  return f32x4.mul(f32x4.sub(x, mean), rstd);
}

/**
 * With h = (x − mean)·rstd and g = dy·gamma:  dx = rstd·(g − mean(g) − h·mean(g·h)), means over the row.
 * Ba, Kiros, Hinton, "Layer Normalization" (2016), differentiated. Sums in blocks of 4·BLOCK terms in f32, totals in f64.
 */
export function inputGradRow(cols: i32, x: usize, gamma: usize, mean: f32, rstd: f32, dy: usize, dx: usize): void {
  const inverseCols = 1 / <f64>cols;
  const mu = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  let sumG: f64 = 0;
  let sumGH: f64 = 0;
  const whole = cols & ~3;
  for (let from = 0; from < cols; from += 4 * BLOCK) {
    let sg = f32x4.splat(0);
    let sgh = sg;
    const to = <usize>min(whole, from + 4 * BLOCK) * 4;
    for (let at = <usize>from * 4; at < to; at += 16) {
      const g = f32x4.mul(v128.load(dy + at), v128.load(gamma + at));
      sg = f32x4.add(sg, g);
      sgh = f32x4.add(sgh, f32x4.mul(g, normalized(v128.load(x + at), mu, r)));
    }
    const left = cols - whole;
    if (left > 0 && whole - from < 4 * BLOCK) {
      // Missing lanes of g are 0 and leave both sums alone.
      const g = f32x4.mul(loadTail(dy + to, left), loadTail(gamma + to, left));
      sg = f32x4.add(sg, g);
      sgh = f32x4.add(sgh, f32x4.mul(g, normalized(loadTail(x + to, left), mu, r)));
    }
    sumG += sum4(sg);
    sumGH += sum4(sgh);
  }
  const meanG = f32x4.splat(<f32>(sumG * inverseCols));
  const meanGH = f32x4.splat(<f32>(sumGH * inverseCols));
  const end = <usize>whole * 4;
  for (let at: usize = 0; at < end; at += 16) {
    const g = f32x4.mul(v128.load(dy + at), v128.load(gamma + at));
    const h = normalized(v128.load(x + at), mu, r);
    v128.store(dx + at, f32x4.mul(r, f32x4.sub(f32x4.sub(g, meanG), f32x4.mul(h, meanGH))));
  }
  if (cols > whole) {
    const left = cols - whole;
    const g = f32x4.mul(loadTail(dy + end, left), loadTail(gamma + end, left));
    const h = normalized(loadTail(x + end, left), mu, r);
    storeTail(dx + end, left, f32x4.mul(r, f32x4.sub(f32x4.sub(g, meanG), f32x4.mul(h, meanGH))));
  }
}

export function layerNormInputGrad(
  rows: i32, cols: i32, x: usize, gamma: usize, mean: usize, rstd: usize, dy: usize, dx: usize,
): void {
  const step = <usize>cols * 4;
  if (cols < 4) {
    for (; rows >= 4; rows -= 4) {
      inputGradFour(cols, x, gamma, gamma, gamma, gamma, mean, rstd, dy, dx);
      x += 4 * step;
      dy += 4 * step;
      dx += 4 * step;
      mean += 16;
      rstd += 16;
    }
  }
  for (; rows > 0; rows--) {
    inputGradRow(cols, x, gamma, load<f32>(mean), load<f32>(rstd), dy, dx);
    x += step;
    dy += step;
    dx += step;
    mean += 4;
    rstd += 4;
  }
}

/** Up to four columns (r of them). */
@inline
function weightGradColumns(
  r: i32,
  rows: i32,
  step: usize,
  x: usize,
  mean: usize,
  rstd: usize,
  dy: usize,
  dgamma: usize,
  dbeta: usize,
): void {
  let gLow = f64x2.splat(0);
  let gHigh = gLow;
  let bLow = gLow;
  let bHigh = gLow;
  while (rows > 0) {
    let g = f32x4.splat(0);
    let b = g;
    const block = min(rows, BLOCK);
    for (let i = 0; i < block; i++) {
      const d = r == 4 ? v128.load(dy) : loadTail(dy, r);
      const v = r == 4 ? v128.load(x) : loadTail(x, r);
      const h = f32x4.mul(f32x4.sub(v, v128.load32_splat(mean)), v128.load32_splat(rstd));
      g = f32x4.add(g, f32x4.mul(d, h));
      b = f32x4.add(b, d);
      x += step;
      dy += step;
      mean += 4;
      rstd += 4;
    }
    rows -= block;
    gLow = f64x2.add(gLow, f64x2.promote_low_f32x4(g));
    gHigh = f64x2.add(gHigh, highHalf(g));
    bLow = f64x2.add(bLow, f64x2.promote_low_f32x4(b));
    bHigh = f64x2.add(bHigh, highHalf(b));
  }
  const one = f64x2.splat(1);
  const gv = scaled(gLow, gHigh, one);
  const bv = scaled(bLow, bHigh, one);
  if (r == 4) {
    v128.store(dgamma, gv);
    v128.store(dbeta, bv);
  } else {
    storeTail(dgamma, r, gv);
    storeTail(dbeta, r, bv);
  }
}

/** dgamma = Σ dy·h, dbeta = Σ dy over the rows in order, blocks of 64 in f32, totals in f64. */
export function layerNormWeightGrad(
  rows: i32, cols: i32, x: usize, mean: usize, rstd: usize, dy: usize, dgamma: usize, dbeta: usize,
): void {
  const step = <usize>cols * 4;
  let n = cols;
  for (; n >= 4; n -= 4) {
    weightGradColumns(4, rows, step, x, mean, rstd, dy, dgamma, dbeta);
    x += 16;
    dy += 16;
    dgamma += 16;
    dbeta += 16;
  }
  if (n > 0) weightGradColumns(n, rows, step, x, mean, rstd, dy, dgamma, dbeta);
}
