// Reductions of contiguous [outer, reduce, inner] to [outer, inner]. Order of a sum, fixed by the sizes: blocks of BLOCK
// steps are added in f32, block totals in f64, in ascending order; so the error does not grow with the length.
import { highHalf, loadTail, max4, min4, scaled, storeTail, sum4 } from './lanes';
import { blockSums, NARROW, narrowExtremum, narrowSum, productsOfRows } from './narrowReduce';

/** Steps (of one vector of four, or of one row) added in f32 before the total moves to f64. */
export const BLOCK = 64;

/** Sum of n contiguous f32 in f64: four interleaved vectors of partial sums a block. */
export function sumRow(n: i32, x: usize): f64 {
  let total: f64 = 0;
  while (n >= 16) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    const block = min(n, 4 * BLOCK) & ~15;
    const end = x + <usize>block * 4;
    for (; x < end; x += 64) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
    }
    n -= block;
    total += sum4(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  }
  for (; n > 0; n--) {
    total += <f64>load<f32>(x);
    x += 4;
  }
  return total;
}

@inline
function loadColumns(r: i32, x: usize): v128 {
  return r == 4 ? v128.load(x) : loadTail(x, r);
}

/** Up to four columns (r of them; `whole`: four) of `reduce` rows `step` bytes apart. */
@inline
function sumColumns4(whole: bool, r: i32, reduce: i32, step: usize, x: usize, y: usize, scale: v128): void {
  let low = f64x2.splat(0);
  let high = low;
  // Four blocks of whole vectors at once: none waits for its own sum. Loads of fewer columns take as long as the sums.
  const stride = <usize>BLOCK * step;
  for (; whole && reduce >= 4 * BLOCK; reduce -= 4 * BLOCK) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (let i = 0; i < BLOCK; i++) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x + stride));
      s2 = f32x4.add(s2, v128.load(x + 2 * stride));
      s3 = f32x4.add(s3, v128.load(x + 3 * stride));
      x += step;
    }
    low = f64x2.add(f64x2.add(low, f64x2.promote_low_f32x4(s0)), f64x2.promote_low_f32x4(s1));
    low = f64x2.add(f64x2.add(low, f64x2.promote_low_f32x4(s2)), f64x2.promote_low_f32x4(s3));
    high = f64x2.add(f64x2.add(high, highHalf(s0)), highHalf(s1));
    high = f64x2.add(f64x2.add(high, highHalf(s2)), highHalf(s3));
    x += 3 * stride;
  }
  while (reduce > 0) {
    let s = f32x4.splat(0);
    const block = min(reduce, BLOCK);
    for (let i = 0; i < block; i++) {
      s = f32x4.add(s, loadColumns(r, x));
      x += step;
    }
    reduce -= block;
    low = f64x2.add(low, f64x2.promote_low_f32x4(s));
    high = f64x2.add(high, highHalf(s));
  }
  const v = scaled(low, high, scale);
  if (r == 4) v128.store(y, v);
  else storeTail(y, r, v);
}

/** Sixteen columns: a cache line a row. */
function sumColumns16(reduce: i32, step: usize, x: usize, y: usize, scale: v128): void {
  let l0 = f64x2.splat(0);
  let l1 = l0;
  let l2 = l0;
  let l3 = l0;
  let h0 = l0;
  let h1 = l0;
  let h2 = l0;
  let h3 = l0;
  while (reduce > 0) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    const block = min(reduce, BLOCK);
    for (let i = 0; i < block; i++) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
      x += step;
    }
    reduce -= block;
    l0 = f64x2.add(l0, f64x2.promote_low_f32x4(s0));
    h0 = f64x2.add(h0, highHalf(s0));
    l1 = f64x2.add(l1, f64x2.promote_low_f32x4(s1));
    h1 = f64x2.add(h1, highHalf(s1));
    l2 = f64x2.add(l2, f64x2.promote_low_f32x4(s2));
    h2 = f64x2.add(h2, highHalf(s2));
    l3 = f64x2.add(l3, f64x2.promote_low_f32x4(s3));
    h3 = f64x2.add(h3, highHalf(s3));
  }
  v128.store(y, scaled(l0, h0, scale));
  v128.store(y, scaled(l1, h1, scale), 16);
  v128.store(y, scaled(l2, h2, scale), 32);
  v128.store(y, scaled(l3, h3, scale), 48);
}

/** y = f32(scale · Σ x); scale 1 / reduce gives the mean. */
export function reduceSum(outer: i32, reduce: i32, inner: i32, x: usize, y: usize, scale: f32): void {
  const step = <usize>inner * 4;
  const factor = f64x2.splat(<f64>scale);
  const narrow = reduce < NARROW;
  if (inner == 1 && (narrow || (reduce <= 4 * BLOCK && (reduce & 15) == 0))) {
    if (narrow) narrowSum(outer, reduce, x, y, scale);
    else blockSums(outer, reduce, x, y, scale);
    const done = <usize>(outer & ~3);
    x += done * <usize>reduce * 4;
    y += done * 4;
    outer &= 3;
  }
  for (; outer > 0; outer--) {
    if (inner == 1) {
      store<f32>(y, <f32>(sumRow(reduce, x) * <f64>scale));
    } else {
      let n = inner;
      let xp = x;
      let yp = y;
      for (; n >= 16; n -= 16) {
        sumColumns16(reduce, step, xp, yp, factor);
        xp += 64;
        yp += 64;
      }
      for (; n >= 4; n -= 4) {
        sumColumns4(true, 4, reduce, step, xp, yp, factor);
        xp += 16;
        yp += 16;
      }
      if (n > 0) sumColumns4(false, n, reduce, step, xp, yp, factor);
    }
    x += <usize>reduce * step;
    y += step;
  }
}

@inline
function extremum(largest: bool, a: v128, b: v128): v128 {
  return largest ? f32x4.max(a, b) : f32x4.min(a, b);
}

@inline
function extremumRow(largest: bool, n: i32, x: usize): f32 {
  let s0 = f32x4.splat(largest ? -Infinity : Infinity);
  let s1 = s0;
  for (; n >= 8; n -= 8) {
    s0 = extremum(largest, s0, v128.load(x));
    s1 = extremum(largest, s1, v128.load(x, 16));
    x += 32;
  }
  s0 = extremum(largest, s0, s1);
  for (; n > 0; n--) {
    s0 = extremum(largest, s0, v128.load32_splat(x));
    x += 4;
  }
  return largest ? max4(s0) : min4(s0);
}

export function maxRow(n: i32, x: usize): f32 {
  return extremumRow(true, n, x);
}

@inline
function reduceExtremum(largest: bool, outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  if (inner == 1 && reduce < NARROW) {
    narrowExtremum(largest, outer, reduce, x, y);
    const done = <usize>(outer & ~3);
    x += done * <usize>reduce * 4;
    y += done * 4;
    outer &= 3;
  }
  const step = <usize>inner * 4;
  for (; outer > 0; outer--) {
    if (inner == 1) {
      store<f32>(y, extremumRow(largest, reduce, x));
    } else {
      for (let i = 0; i < inner; i += 4) {
        const r = min(inner - i, 4);
        let xp = x + <usize>i * 4;
        let s = f32x4.splat(largest ? -Infinity : Infinity);
        let s1 = s;
        let k = reduce;
        for (; k >= 4; k -= 4) {
          s = extremum(largest, s, extremum(largest, loadColumns(r, xp), loadColumns(r, xp + step)));
          xp += 2 * step;
          s1 = extremum(largest, s1, extremum(largest, loadColumns(r, xp), loadColumns(r, xp + step)));
          xp += 2 * step;
        }
        s = extremum(largest, s, s1);
        for (; k > 0; k--) {
          s = extremum(largest, s, loadColumns(r, xp));
          xp += step;
        }
        if (r == 4) v128.store(y + <usize>i * 4, s);
        else storeTail(y + <usize>i * 4, r, s);
      }
    }
    x += <usize>reduce * step;
    y += step;
  }
}

/** NaN if any of the elements is NaN. */
export function reduceMax(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceExtremum(true, outer, reduce, inner, x, y);
}

/** NaN if any of the elements is NaN. */
export function reduceMin(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceExtremum(false, outer, reduce, inner, x, y);
}

const SUM = 0;
const MAX = 1;
const MIN = 2;
const PROD = 3;

@inline
function joinI32(op: i32, a: v128, b: v128): v128 {
  if (op == SUM) return i32x4.add(a, b);
  if (op == MAX) return i32x4.max_s(a, b);
  if (op == MIN) return i32x4.min_s(a, b);
  return i32x4.mul(a, b);
}

/** i32: results wrap around, so that the order of the entries shows in none of them. */
@inline
function reduceI32(op: i32, outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  const neutral = i32x4.splat(op == SUM ? 0 : op == MAX ? i32.MIN_VALUE : op == MIN ? i32.MAX_VALUE : 1);
  const step = <usize>inner * 4;
  for (; outer > 0; outer--) {
    if (inner == 1) {
      let s = neutral;
      let n = reduce;
      for (; n >= 4; n -= 4) {
        s = joinI32(op, s, v128.load(x));
        x += 16;
      }
      s = joinI32(op, s, v128.shuffle<i32>(s, s, 2, 3, 0, 1));
      s = joinI32(op, s, v128.shuffle<i32>(s, s, 1, 0, 3, 2));
      // The first lane of the pairwise joins holds all four; from here on the other lanes are not looked at.
      for (; n > 0; n--) {
        s = joinI32(op, s, v128.load32_splat(x));
        x += 4;
      }
      store<i32>(y, i32x4.extract_lane(s, 0));
    } else {
      for (let i = 0; i < inner; i += 4) {
        const r = min(inner - i, 4);
        let xp = x + <usize>i * 4;
        let s = neutral;
        for (let k = 0; k < reduce; k++) {
          s = joinI32(op, s, r == 4 ? v128.load(xp) : loadTail(xp, r));
          xp += step;
        }
        if (r == 4) v128.store(y + <usize>i * 4, s);
        else storeTail(y + <usize>i * 4, r, s);
      }
      x += <usize>reduce * step;
    }
    y += step;
  }
}

export function reduceSumI32(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceI32(SUM, outer, reduce, inner, x, y);
}

export function reduceMaxI32(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceI32(MAX, outer, reduce, inner, x, y);
}

export function reduceMinI32(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceI32(MIN, outer, reduce, inner, x, y);
}

export function reduceProdI32(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  reduceI32(PROD, outer, reduce, inner, x, y);
}

/** y = Π x, in f64 in ascending order, rounded once: only the result can leave the range of f32. */
export function reduceProd(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  if (inner == 1) {
    productsOfRows(outer, reduce, x, y);
    const done = <usize>(outer & ~3);
    x += done * <usize>reduce * 4;
    y += done * 4;
    outer &= 3;
  }
  const step = <usize>inner * 4;
  const one = f64x2.splat(1);
  for (; outer > 0; outer--) {
    if (inner == 1) {
      let product: f64 = 1;
      for (let k = 0; k < reduce; k++) product *= <f64>load<f32>(x + <usize>k * 4);
      store<f32>(y, <f32>product);
    } else {
      for (let i = 0; i < inner; i += 4) {
        const r = min(inner - i, 4);
        let xp = x + <usize>i * 4;
        let low = one;
        let high = one;
        for (let k = 0; k < reduce; k++) {
          const v = r == 4 ? v128.load(xp) : loadTail(xp, r);
          low = f64x2.mul(low, f64x2.promote_low_f32x4(v));
          high = f64x2.mul(high, highHalf(v));
          xp += step;
        }
        const v = scaled(low, high, one);
        if (r == 4) v128.store(y + <usize>i * 4, v);
        else storeTail(y + <usize>i * 4, r, v);
      }
    }
    x += <usize>reduce * step;
    y += step;
  }
}
