// Layer and group normalisation of rows of fewer than NARROW elements, in fours: one row a lane. A row is `size` channels of
// `spatial` elements; g0…g3 and b0…b3 are where the weights of each of the four begin. Each lane adds in the order of the row
// alone in norm.ts and has its bits, so that the rows that make no four go there.
import { affine, slope } from './channels';
import { gather4, highHalf, scaled, scatter4 } from './lanes';

/** One element from each of four places. */
@inline
function four(p0: usize, p1: usize, p2: usize, p3: usize, at: usize): v128 {
  let v = v128.load_zero<u32>(p0 + at);
  v = v128.load_lane<u32>(p1 + at, v, 1);
  v = v128.load_lane<u32>(p2 + at, v, 2);
  return v128.load_lane<u32>(p3 + at, v, 3);
}

function means(length: i32, step: usize, x: usize): v128 {
  const count = f64x2.splat(<f64>length);
  let low = f64x2.splat(0);
  let high = low;
  for (; length > 0; length--) {
    const v = gather4(x, step, 4);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
    x += 4;
  }
  return scaled(f64x2.div(low, count), f64x2.div(high, count), f64x2.splat(1));
}

@inline
function square(x: usize, step: usize, mean: v128): v128 {
  const d = f32x4.sub(gather4(x, step, 4), mean);
  return f32x4.mul(d, d);
}

/** 1 / √(variance + eps). Eight columns are added as `squaredDeviations` adds them, the others one by one. */
function roots(length: i32, step: usize, x: usize, mean: v128, eps: f32): v128 {
  const count = f64x2.splat(<f64>length);
  let low = f64x2.splat(0);
  let high = low;
  if (length >= 8) {
    const s0 = f32x4.add(square(x, step, mean), square(x + 16, step, mean));
    const s1 = f32x4.add(square(x + 4, step, mean), square(x + 20, step, mean));
    const s2 = f32x4.add(square(x + 8, step, mean), square(x + 24, step, mean));
    const s3 = f32x4.add(square(x + 12, step, mean), square(x + 28, step, mean));
    low = f64x2.add(
      f64x2.add(f64x2.promote_low_f32x4(s0), f64x2.promote_low_f32x4(s2)),
      f64x2.add(f64x2.promote_low_f32x4(s1), f64x2.promote_low_f32x4(s3)),
    );
    high = f64x2.add(f64x2.add(highHalf(s0), highHalf(s2)), f64x2.add(highHalf(s1), highHalf(s3)));
    x += 32;
    length -= 8;
  }
  for (; length > 0; length--) {
    const v = square(x, step, mean);
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
