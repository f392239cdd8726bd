// Σ x² along the middle axis of contiguous [outer, reduce, inner]. Squares of f32 are exact in f64, and are added there: in
// a row in eight interleaved sums, in a column in ascending order. The order is a function of the sizes alone.
import { highHalf, loadTail, scaled, storeTail } from './lanes';
import { narrowSquares } from './narrowReduce';

@inline
function addLow(total: v128, v: v128): v128 {
  const d = f64x2.promote_low_f32x4(v);
  return f64x2.add(total, f64x2.mul(d, d));
}

@inline
function addHigh(total: v128, v: v128): v128 {
  const d = highHalf(v);
  return f64x2.add(total, f64x2.mul(d, d));
}

/** n contiguous elements. */
function squaresOfRow(n: i32, x: usize): f64 {
  let s0 = f64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; n >= 8; n -= 8) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    s0 = addLow(s0, a);
    s1 = addHigh(s1, a);
    s2 = addLow(s2, b);
    s3 = addHigh(s3, b);
    x += 32;
  }
  const pair = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
  let total = f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1);
  for (; n > 0; n--) {
    const d = <f64>load<f32>(x);
    total += d * d;
    x += 4;
  }
  return total;
}

/** Up to four columns (r of them) of `reduce` rows `step` bytes apart. */
@inline
function squaresOfColumns4(r: i32, reduce: i32, step: usize, x: usize, y: usize): void {
  let low = f64x2.splat(0);
  let high = low;
  for (; reduce > 0; reduce--) {
    const v = r == 4 ? v128.load(x) : loadTail(x, r);
    low = addLow(low, v);
    high = addHigh(high, v);
    x += step;
  }
  const v = scaled(low, high, f64x2.splat(1));
  if (r == 4) v128.store(y, v);
  else storeTail(y, r, v);
}

export function reduceSumOfSquares(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  if (inner == 1 && reduce < 8) {
    narrowSquares(outer, reduce, x, y);
    const done = <usize>(outer & ~3);
    x += done * <usize>reduce * 4;
    y += done * 4;
    outer &= 3;
  }
  const step = <usize>inner * 4;
  for (; outer > 0; outer--) {
    if (inner == 1) {
      store<f32>(y, <f32>squaresOfRow(reduce, x));
    } else {
      let i = 0;
      for (; i + 4 <= inner; i += 4) squaresOfColumns4(4, reduce, step, x + <usize>i * 4, y + <usize>i * 4);
      if (i < inner) squaresOfColumns4(inner - i, reduce, step, x + <usize>i * 4, y + <usize>i * 4);
    }
    x += <usize>reduce * step;
    y += step;
  }
}
