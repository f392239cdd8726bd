// Reductions of narrow rows in fours: one row a lane, so that no row waits for its own sum or adds its lanes at the end. Each
// lane adds in the order of the row alone in reduce.ts and sumOfSquares.ts and has its bits, so that the rows that make no four
// go there.
import { gather4, highHalf, scaled } from './lanes';

/** Rows of fewer columns are narrow: shorter than the sixteen that a row alone takes a turn. */
export const NARROW = 16;

/** Of four rows, eight f64 sums in ascending order of columns. */
@inline
function sumFour(cols: i32, step: usize, x: usize, y: usize, scale: v128): void {
  let low = f64x2.splat(0);
  let high = low;
  for (; cols >= 4; cols -= 4) {
    const a = v128.load(x);
    const b = v128.load(x + step);
    const c = v128.load(x + 2 * step);
    const d = v128.load(x + 3 * step);
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    low = f64x2.add(f64x2.add(low, f64x2.promote_low_f32x4(ab)), highHalf(ab));
    high = f64x2.add(f64x2.add(high, f64x2.promote_low_f32x4(cd)), highHalf(cd));
    const abRest = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cdRest = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    low = f64x2.add(f64x2.add(low, f64x2.promote_low_f32x4(abRest)), highHalf(abRest));
    high = f64x2.add(f64x2.add(high, f64x2.promote_low_f32x4(cdRest)), highHalf(cdRest));
    x += 16;
  }
  for (; cols > 0; cols--) {
    const v = gather4(x, step, 4);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
    x += 4;
  }
  v128.store(y, scaled(low, high, scale));
}

/** y = f32(scale · Σ x) of fours of rows of fewer than NARROW columns. */
export function narrowSum(rows: i32, cols: i32, x: usize, y: usize, scale: f32): void {
  const step = <usize>cols * 4;
  const factor = f64x2.splat(<f64>scale);
  for (; rows >= 4; rows -= 4) {
    sumFour(cols, step, x, y, factor);
    x += 4 * step;
    y += 16;
  }
}

/** The four sums of a row of whole sixteens, at most 256 columns. */
@inline
export function blockOf(cols: i32, x: usize): v128 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  do {
    s0 = f32x4.add(s0, v128.load(x));
    s1 = f32x4.add(s1, v128.load(x, 16));
    s2 = f32x4.add(s2, v128.load(x, 32));
    s3 = f32x4.add(s3, v128.load(x, 48));
    x += 64;
    cols -= 16;
  } while (cols > 0);
  return f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
}

/** Rows of one block of whole sixteens, four at a time: the sums of planes of 4×4 and 8×8. */
export function blockSums(rows: i32, cols: i32, x: usize, y: usize, scale: f32): void {
  const step = <usize>cols * 4;
  const factor = f64x2.splat(<f64>scale);
  for (; rows >= 4; rows -= 4) {
    const a = blockOf(cols, x);
    const b = blockOf(cols, x + step);
    const c = blockOf(cols, x + 2 * step);
    const d = blockOf(cols, x + 3 * step);
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    const abRest = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cdRest = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    // ((0 + 2) + (1 + 3)), as sum4.
    const low = f64x2.add(
      f64x2.add(f64x2.promote_low_f32x4(ab), f64x2.promote_low_f32x4(abRest)),
      f64x2.add(highHalf(ab), highHalf(abRest)),
    );
    const high = f64x2.add(
      f64x2.add(f64x2.promote_low_f32x4(cd), f64x2.promote_low_f32x4(cdRest)),
      f64x2.add(highHalf(cd), highHalf(cdRest)),
    );
    v128.store(y, scaled(low, high, factor));
    x += 4 * step;
    y += 16;
  }
}

@inline
function extremumRows(largest: bool, cols: i32, step: usize, x: usize, y: usize): void {
  let s = f32x4.splat(largest ? -Infinity : Infinity);
  for (; cols > 0; cols--) {
    const v = gather4(x, step, 4);
    s = largest ? f32x4.max(s, v) : f32x4.min(s, v);
    x += 4;
  }
  v128.store(y, s);
}

@inline
export function narrowExtremum(largest: bool, rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    extremumRows(largest, cols, step, x, y);
    x += 4 * step;
    y += 16;
  }
}

@inline
function productRows(cols: i32, step: usize, x: usize, y: usize): void {
  let low = f64x2.splat(1);
  let high = low;
  for (; cols > 0; cols--) {
    const v = gather4(x, step, 4);
    low = f64x2.mul(low, f64x2.promote_low_f32x4(v));
    high = f64x2.mul(high, highHalf(v));
    x += 4;
  }
  v128.store(y, scaled(low, high, f64x2.splat(1)));
}

/** y = Π x of fours of rows of any length, each in ascending order. */
export function productsOfRows(rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    productRows(cols, step, x, y);
    x += 4 * step;
    y += 16;
  }
}

@inline
function squaresOfRows(cols: i32, step: usize, x: usize, y: usize): void {
  let low = f64x2.splat(0);
  let high = low;
  for (; cols > 0; cols--) {
    const v = gather4(x, step, 4);
    const a = f64x2.promote_low_f32x4(v);
    const b = highHalf(v);
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
    x += 4;
  }
  v128.store(y, scaled(low, high, f64x2.splat(1)));
}

/** y = Σ x² of rows of fewer than eight columns: from there on a row alone has eight sums. */
export function narrowSquares(rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    squaresOfRows(cols, step, x, y);
    x += 4 * step;
    y += 16;
  }
}
