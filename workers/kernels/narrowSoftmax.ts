// Softmax, log-softmax, their gradients and ln Σ eˣ of narrow rows, in fours: one row a lane, so that one
// exponential serves four rows. Each lane adds in the order of the row alone in softmax.ts and has its bits, so that the rows
// that make no four go there.
import { finiteShift, firstOfPairs, gather4, highHalf, scaled, scatter4, secondOfPairs } from './lanes';
import { vexp, vlog } from './math';

/** A NaN may be passed over: it comes back in the sum of exponentials. */
@inline
function topOfRows(cols: i32, step: usize, x: usize): v128 {
  let top = gather4(x, step, 4);
  for (let k = 1; k < cols; k++) {
    x += 4;
    top = f32x4.pmax(top, gather4(x, step, 4));
  }
  return top;
}

/** What a sum over columns adds up. */
const EXPONENTIALS = 0; // e^(x − shift)
const PRODUCTS = 1; // a·b

@inline
function term(what: i32, at: usize, step: usize, a: usize, b: usize, shift: v128): v128 {
  const v = gather4(a + at, step, 4);
  return what == PRODUCTS ? f32x4.mul(v, gather4(b + at, step, 4)) : vexp(f32x4.sub(v, shift));
}

/**
 * Whole quads of columns are added by residues modulo 4 in f32, then in f64 (0 + 1), (2 + 3) and the columns that are left:
 * the order of `sumExp` and `dotRow`.
 */
@inline
function sumTerms(what: i32, cols: i32, step: usize, a: usize, b: usize, shift: v128): v128 {
  let low = f64x2.splat(0);
  let high = low;
  const whole = <usize>(cols & ~3) * 4;
  for (let first: usize = 0; first < min<usize>(whole, 16); first += 8) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    for (let at = first; at < whole; at += 16) {
      s0 = f32x4.add(s0, term(what, at, step, a, b, shift));
      s1 = f32x4.add(s1, term(what, at + 4, step, a, b, shift));
    }
    low = f64x2.add(low, f64x2.add(f64x2.promote_low_f32x4(s0), f64x2.promote_low_f32x4(s1)));
    high = f64x2.add(high, f64x2.add(highHalf(s0), highHalf(s1)));
  }
  for (let at = whole; at < <usize>cols * 4; at += 4) {
    const v = term(what, at, step, a, b, shift);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
  }
  return scaled(low, high, f64x2.splat(1));
}

/** Σ e^(x − shift). */
function sumExpOfRows(cols: i32, step: usize, x: usize, shift: v128): v128 {
  return sumTerms(EXPONENTIALS, cols, step, x, x, shift);
}

/** ln Σ e^(x − shift). */
function logSumOfRows(cols: i32, step: usize, x: usize, shift: v128): v128 {
  return vlog(sumExpOfRows(cols, step, x, shift));
}

/** y = e^(x − max); the result is 1 / Σ y. */
function exponentialRows(cols: i32, step: usize, x: usize, y: usize): v128 {
  const top = topOfRows(cols, step, x);
  let low = f64x2.splat(0);
  let high = low;
  for (; cols > 0; cols--) {
    const e = vexp(f32x4.sub(gather4(x, step, 4), top));
    scatter4(y, step, 4, e);
    low = f64x2.add(low, f64x2.promote_low_f32x4(e));
    high = f64x2.add(high, highHalf(e));
    x += 4;
    y += 4;
  }
  const one = f64x2.splat(1);
  return scaled(f64x2.div(one, low), f64x2.div(one, high), one);
}

@inline
function softmaxRows(cols: i32, step: usize, x: usize, y: usize): void {
  const inverse = exponentialRows(cols, step, x, y);
  for (; cols > 0; cols--) {
    scatter4(y, step, 4, f32x4.mul(gather4(y, step, 4), inverse));
    y += 4;
  }
}

export function narrowSoftmax(rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    softmaxRows(cols, step, x, y);
    x += 4 * step;
    y += 4 * step;
  }
}

@inline
function softmaxGradRows(cols: i32, step: usize, y: usize, dy: usize, dx: usize): void {
  const dot = sumTerms(PRODUCTS, cols, step, y, dy, f32x4.splat(0));
  for (; cols > 0; cols--) {
    scatter4(dx, step, 4, f32x4.mul(gather4(y, step, 4), f32x4.sub(gather4(dy, step, 4), dot)));
    y += 4;
    dy += 4;
    dx += 4;
  }
}

export function narrowSoftmaxGrad(rows: i32, cols: i32, y: usize, dy: usize, dx: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    softmaxGradRows(cols, step, y, dy, dx);
    y += 4 * step;
    dy += 4 * step;
    dx += 4 * step;
  }
}

@inline
function logSoftmaxRows(cols: i32, step: usize, x: usize, y: usize): void {
  const top = topOfRows(cols, step, x);
  const rest = logSumOfRows(cols, step, x, top);
  for (; cols > 0; cols--) {
    scatter4(y, step, 4, f32x4.sub(f32x4.sub(gather4(x, step, 4), top), rest));
    x += 4;
    y += 4;
  }
}

export function narrowLogSoftmax(rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    logSoftmaxRows(cols, step, x, y);
    x += 4 * step;
    y += 4 * step;
  }
}

@inline
function logSoftmaxGradRows(cols: i32, step: usize, y: usize, dy: usize, dx: usize): void {
  let low = f64x2.splat(0);
  let high = low;
  const end = <usize>cols * 4;
  for (let at: usize = 0; at < end; at += 4) {
    const v = gather4(dy + at, step, 4);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, highHalf(v));
  }
  const sum = scaled(low, high, f64x2.splat(1));
  for (let at: usize = 0; at < end; at += 4) {
    const e = vexp(gather4(y + at, step, 4));
    scatter4(dx + at, step, 4, f32x4.sub(gather4(dy + at, step, 4), f32x4.mul(e, sum)));
  }
}

export function narrowLogSoftmaxGrad(rows: i32, cols: i32, y: usize, dy: usize, dx: usize): void {
  const step = <usize>cols * 4;
  for (; rows >= 4; rows -= 4) {
    logSoftmaxGradRows(cols, step, y, dy, dx);
    y += 4 * step;
    dy += 4 * step;
    dx += 4 * step;
  }
}

@inline
function logSumExpRows(cols: i32, step: usize, x: usize, y: usize): void {
  const top = topOfRows(cols, step, x);
  const shift = finiteShift(top);
  const v = f32x4.add(logSumOfRows(cols, step, x, shift), shift);
  v128.store(y, v);
}

/** Four rows of two columns: their sums of two in f32 are those in f64, rounded. */
@inline
function logSumExpPairs(x: usize, y: usize): void {
  const a = firstOfPairs(x);
  const b = secondOfPairs(x);
  const shift = finiteShift(f32x4.pmax(a, b));
  const sum = f32x4.add(vexp(f32x4.sub(a, shift)), vexp(f32x4.sub(b, shift)));
  v128.store(y, f32x4.add(vlog(sum), shift));
}

/** ln Σ eˣ of each row; an infinite maximum is not taken out. */
export function narrowLogSumExp(rows: i32, cols: i32, x: usize, y: usize): void {
  const step = <usize>cols * 4;
  if (cols == 2 && rows >= 4) {
    do {
      logSumExpPairs(x, y);
      x += 32;
      y += 16;
      rows -= 4;
    } while (rows >= 4);
  }
  for (; rows >= 4; rows -= 4) {
    logSumExpRows(cols, step, x, y);
    x += 4 * step;
    y += 16;
  }
}
