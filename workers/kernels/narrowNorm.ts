// Layer and group normalisation of rows of fewer than NARROW elements, in fours: one row a lane. A row is `size` channels of
// `spatial` elements; g0…g3 and b0…b3 are where the weights of each of the four begin. Each lane adds in the order of the row
// alone in norm.ts and has its bits, so that the rows that make no four go there.
import { affine, slope } from './channels';
import { gather4, highHalf, loadTail, scaled, scatter4, storeTail } from './lanes';

/** One element from each of four places. */
@inline
function four(p0: usize, p1: usize, p2: usize, p3: usize, at: usize): v128 {
  let v = v128.load_zero<u32>(p0 + at);
  v = v128.load_lane<u32>(p1 + at, v, 1);
  v = v128.load_lane<u32>(p2 + at, v, 2);
  return v128.load_lane<u32>(p3 + at, v, 3);
}

/** The first two of four elements of two rows: row by row, then element by element. */
@inline
function firstTwo(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 0, 4, 1, 5);
}

@inline
function lastTwo(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 2, 6, 3, 7);
}

/** sum + the two elements of two rows that v holds, the first elements first. */
@inline
function plusTwo(sum: v128, v: v128): v128 {
  return f64x2.add(f64x2.add(sum, f64x2.promote_low_f32x4(v)), highHalf(v));
}

function means(length: i32, step: usize, x: usize): v128 {
  const count = f64x2.splat(<f64>length);
  let low = f64x2.splat(0);
  let high = low;
  for (; length >= 4; length -= 4) {
    const a = v128.load(x);
    const b = v128.load(x + step);
    const c = v128.load(x + 2 * step);
    const d = v128.load(x + 3 * step);
    low = plusTwo(plusTwo(low, firstTwo(a, b)), lastTwo(a, b));
    high = plusTwo(plusTwo(high, firstTwo(c, d)), lastTwo(c, d));
    x += 16;
  }
  for (; length > 0; length--) {
    const v = gather4(x, step, 4);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
    x += 4;
  }
  return scaled(f64x2.div(low, count), f64x2.div(high, count), f64x2.splat(1));
}

@inline
function squareOf(v: v128, mean: v128): v128 {
  const d = f32x4.sub(v, mean);
  return f32x4.mul(d, d);
}

/** Of eight elements of a row, the squares of k and k + 4 added. */
@inline
function eightSquares(x: usize, mean: v128): v128 {
  return f32x4.add(squareOf(v128.load(x), mean), squareOf(v128.load(x, 16), mean));
}

/** Two rows' four partial sums, from their lanes' first and last two: (0 + 2) + (1 + 3). */
@inline
function sumLanes(first: v128, last: v128): v128 {
  return f64x2.add(
    f64x2.add(f64x2.promote_low_f32x4(first), f64x2.promote_low_f32x4(last)),
    f64x2.add(highHalf(first), highHalf(last)),
  );
}

/** 1 / √(variance + eps). Eight columns are added as `squaredDeviations` adds them, the others one by one. */
function roots(length: i32, step: usize, x: usize, mean: v128, eps: f32): v128 {
  const count = f64x2.splat(<f64>length);
  let low = f64x2.splat(0);
  let high = low;
  if (length >= 4) {
    const m0 = v128.shuffle<f32>(mean, mean, 0, 0, 0, 0);
    const m1 = v128.shuffle<f32>(mean, mean, 1, 1, 1, 1);
    const m2 = v128.shuffle<f32>(mean, mean, 2, 2, 2, 2);
    const m3 = v128.shuffle<f32>(mean, mean, 3, 3, 3, 3);
    if (length >= 8) {
      const a = eightSquares(x, m0);
      const b = eightSquares(x + step, m1);
      const c = eightSquares(x + 2 * step, m2);
      const d = eightSquares(x + 3 * step, m3);
      low = sumLanes(firstTwo(a, b), lastTwo(a, b));
      high = sumLanes(firstTwo(c, d), lastTwo(c, d));
      x += 32;
      length -= 8;
    }
    if (length >= 4) {
      const a = squareOf(v128.load(x), m0);
      const b = squareOf(v128.load(x + step), m1);
      const c = squareOf(v128.load(x + 2 * step), m2);
      const d = squareOf(v128.load(x + 3 * step), m3);
      low = plusTwo(plusTwo(low, firstTwo(a, b)), lastTwo(a, b));
      high = plusTwo(plusTwo(high, firstTwo(c, d)), lastTwo(c, d));
      x += 16;
      length -= 4;
    }
  }
  for (; length > 0; length--) {
    const v = squareOf(gather4(x, step, 4), mean);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
    x += 4;
  }
  const e = f64x2.splat(<f64>eps);
  const one = f64x2.splat(1);
  return scaled(
    f64x2.div(one, f64x2.sqrt(f64x2.add(f64x2.div(low, count), e))),
    f64x2.div(one, f64x2.sqrt(f64x2.add(f64x2.div(high, count), e))),
    one,
  );
}

/** One row of channels of one element. */
@inline
function affineChannelsOfOne(n: i32, x: usize, g: usize, b: usize, y: usize, m: v128, r: v128): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, affine(v128.load(x), m, r, v128.load(g), v128.load(b)));
    x += 16;
    g += 16;
    b += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, affine(loadTail(x, n), m, r, loadTail(g, n), loadTail(b, n)));
}

/** One row of `size` channels of four elements or more. */
@inline
function affineChannelsOfMore(size: i32, spatial: i32, x: usize, gamma: usize, beta: usize, y: usize, m: v128, r: v128): void {
  do {
    const g = v128.load32_splat(gamma);
    const b = v128.load32_splat(beta);
    let n = spatial;
    for (; n >= 4; n -= 4) {
      v128.store(y, affine(v128.load(x), m, r, g, b));
      x += 16;
      y += 16;
    }
    if (n > 0) storeTail(y, n, affine(loadTail(x, n), m, r, g, b));
    x += <usize>n * 4;
    y += <usize>n * 4;
    gamma += 4;
    beta += 4;
  } while (--size);
}

@inline
function affineRowOf(size: i32, spatial: i32, x: usize, g: usize, b: usize, y: usize, m: v128, r: v128): void {
  if (spatial == 1) affineChannelsOfOne(size, x, g, b, y, m, r);
  else affineChannelsOfMore(size, spatial, x, g, b, y, m, r);
}

/** y = (x − mean)·rstd·gamma + beta of four rows one behind the other, and their means and rstds. */
export function normFour(
  size: i32, spatial: i32, x: usize, g0: usize, g1: usize, g2: usize, g3: usize,
  b0: usize, b1: usize, b2: usize, b3: usize, y: usize, mean: usize, rstd: usize, eps: f32,
): void {
  const length = size * spatial;
  const step = <usize>length * 4;
  const m = means(length, step, x);
  const r = roots(length, step, x, m, eps);
  v128.store(mean, m);
  v128.store(rstd, r);
  if (spatial >= 4 || (spatial == 1 && size >= 4)) {
    affineRowOf(size, spatial, x, g0, b0, y, v128.load32_splat(mean), v128.load32_splat(rstd));
    affineRowOf(size, spatial, x + step, g1, b1, y + step, v128.load32_splat(mean + 4), v128.load32_splat(rstd + 4));
    affineRowOf(size, spatial, x + 2 * step, g2, b2, y + 2 * step, v128.load32_splat(mean + 8), v128.load32_splat(rstd + 8));
    affineRowOf(size, spatial, x + 3 * step, g3, b3, y + 3 * step, v128.load32_splat(mean + 12), v128.load32_splat(rstd + 12));
    return;
  }
  for (let c: usize = 0; c < <usize>size * 4; c += 4) {
    const g = four(g0, g1, g2, g3, c);
    const b = four(b0, b1, b2, b3, c);
    for (let k = 0; k < spatial; k++) {
      scatter4(y, step, 4, affine(gather4(x, step, 4), m, r, g, b));
      x += 4;
      y += 4;
    }
  }
}

/** dx = rstd·(g − mean(g) − h·mean(g·h)) of four rows one behind the other, of fewer than four channels of one element. */
export function inputGradFour(
  cols: i32, x: usize, g0: usize, g1: usize, g2: usize, g3: usize, mean: usize, rstd: usize, dy: usize, dx: usize,
): void {
  const step = <usize>cols * 4;
  const m = v128.load(mean);
  const r = v128.load(rstd);
  let gLow = f64x2.splat(0);
  let gHigh = gLow;
  let ghLow = gLow;
  let ghHigh = gLow;
  // What the lanes without an element add in `inputGradRow`: 0, or NaN by an infinite mean or rstd.
  const missing = f32x4.mul(f32x4.splat(0), f32x4.mul(f32x4.sub(f32x4.splat(0), m), r));
  ghLow = f64x2.add(ghLow, f64x2.promote_low_f32x4(missing));
  ghHigh = f64x2.add(ghHigh, highHalf(missing));
  // (0 + 2) + 1, as its lanes are added.
  for (let k = 0; k < cols; k++) {
    const at = <usize>(k == 0 ? 0 : cols - k) * 4;
    const g = f32x4.mul(gather4(dy + at, step, 4), four(g0, g1, g2, g3, at));
    const gh = f32x4.mul(g, f32x4.mul(f32x4.sub(gather4(x + at, step, 4), m), r));
    gLow = f64x2.add(gLow, f64x2.promote_low_f32x4(g));
    gHigh = f64x2.add(gHigh, highHalf(g));
    ghLow = f64x2.add(ghLow, f64x2.promote_low_f32x4(gh));
    ghHigh = f64x2.add(ghHigh, highHalf(gh));
  }
  const inverse = f64x2.splat(1 / <f64>cols);
  const meanG = scaled(gLow, gHigh, inverse);
  const meanGH = scaled(ghLow, ghHigh, inverse);
  for (let at: usize = 0; at < step; at += 4) {
    const v = slope(gather4(x + at, step, 4), gather4(dy + at, step, 4), m, r, four(g0, g1, g2, g3, at), meanG, meanGH);
    scatter4(dx + at, step, 4, v);
  }
}
