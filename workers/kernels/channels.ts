// What normalisations by channel share: a run is the `n` contiguous elements of one channel of one sample, with one mean,
// rstd, gamma and beta for all of them. Sums: blocks of 256 terms in f32, totals in f64.
import { loadTail, storeTail, sum4 } from './lanes';

@inline
export function affine(x: v128, mean: v128, rstd: v128, gamma: v128, beta: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.mul(f32x4.sub(x, mean), rstd), gamma), beta);
}

/** Elements after which a run's two sums take turns, so that the second reads what the first has brought near. */
export const TURN = 4096;

/** Σ dy·(x − mean). */
export function sumDeviations(n: i32, x: usize, mean: f32, dy: usize): f64 {
  const m = f32x4.splat(mean);
  let total: f64 = 0;
  while (n >= 8) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    const block = min(n, 256) & ~7;
    const end = x + <usize>block * 4;
    for (; x < end; x += 32) {
      s0 = f32x4.add(s0, f32x4.mul(v128.load(dy), f32x4.sub(v128.load(x), m)));
      s1 = f32x4.add(s1, f32x4.mul(v128.load(dy, 16), f32x4.sub(v128.load(x, 16), m)));
      dy += 32;
    }
    n -= block;
    total += sum4(f32x4.add(s0, s1));
  }
  for (; n > 0; n--) {
    total += <f64>(load<f32>(dy) * (load<f32>(x) - mean));
    x += 4;
    dy += 4;
  }
  return total;
}

/** y = (x − mean)·rstd·gamma + beta. */
export function affineRun(n: i32, x: usize, y: usize, mean: f32, rstd: f32, gamma: f32, beta: f32): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  const g = f32x4.splat(gamma);
  const b = f32x4.splat(beta);
  // The loop itself costs as much as a vector: four a turn.
  for (; n >= 16; n -= 16) {
    v128.store(y, affine(v128.load(x), m, r, g, b));
    v128.store(y, affine(v128.load(x, 16), m, r, g, b), 16);
    v128.store(y, affine(v128.load(x, 32), m, r, g, b), 32);
    v128.store(y, affine(v128.load(x, 48), m, r, g, b), 48);
    x += 64;
    y += 64;
  }
  for (; n >= 4; n -= 4) {
    v128.store(y, affine(v128.load(x), m, r, g, b));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, affine(loadTail(x, n), m, r, g, b));
}

@inline
export function slope(x: v128, dy: v128, m: v128, r: v128, g: v128, meanG: v128, meanGH: v128): v128 {
  const h = f32x4.mul(f32x4.sub(x, m), r);
  return f32x4.mul(r, f32x4.sub(f32x4.sub(f32x4.mul(dy, g), meanG), f32x4.mul(h, meanGH)));
}

/** dx = rstd·(dy·gamma − meanG − h·meanGH), h = (x − mean)·rstd. */
export function inputGradRun(
  n: i32, x: usize, dy: usize, dx: usize, mean: f32, rstd: f32, gamma: f32, meanG: f32, meanGH: f32,
): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  const g = f32x4.splat(gamma);
  const a = f32x4.splat(meanG);
  const b = f32x4.splat(meanGH);
  for (; n >= 16; n -= 16) {
    v128.store(dx, slope(v128.load(x), v128.load(dy), m, r, g, a, b));
    v128.store(dx, slope(v128.load(x, 16), v128.load(dy, 16), m, r, g, a, b), 16);
    v128.store(dx, slope(v128.load(x, 32), v128.load(dy, 32), m, r, g, a, b), 32);
    v128.store(dx, slope(v128.load(x, 48), v128.load(dy, 48), m, r, g, a, b), 48);
    x += 64;
    dy += 64;
    dx += 64;
  }
  for (; n >= 4; n -= 4) {
    v128.store(dx, slope(v128.load(x), v128.load(dy), m, r, g, a, b));
    x += 16;
    dy += 16;
    dx += 16;
  }
  if (n > 0) storeTail(dx, n, slope(loadTail(x, n), loadTail(dy, n), m, r, g, a, b));
}

/** The same of up to four channels side by side (r of them), their sums and weights in vectors. */
@inline
export function inputGradLanes(
  r: i32, x: usize, dy: usize, dx: usize, mean: v128, rstd: v128, gamma: v128, meanG: v128, meanGH: v128,
): void {
  if (r == 4) v128.store(dx, slope(v128.load(x), v128.load(dy), mean, rstd, gamma, meanG, meanGH));
  else storeTail(dx, r, slope(loadTail(x, r), loadTail(dy, r), mean, rstd, gamma, meanG, meanGH));
}
