// asin, acos and atan over contiguous arrays; output may be an input's own memory. All are made of the arc tangent, in f64,
// so that only the last rounding is to f32.
import { loadTail, storeTail } from './lanes';
import { highHalf, joinHalves, lowHalf, mulAdd64, splat64 } from './math64';

export const ACOS = 0;
export const ASIN = 1;
export const ATAN = 2;

const HALF_PI: f64 = 1.5707963267948966;
const SIXTH_PI: f64 = 0.5235987755982989;
const SQRT_3: f64 = 1.7320508075688772;
/** tan(π/12): beyond it an angle of π/6 is taken away. */
const TAN_15: f64 = 0.2679491924311227;

/**
 * arctan x = π/2 − arctan(1/x) for x > 1, and arctan x = π/6 + arctan((√3·x − 1)/(x + √3)): what is left has |r| ≤ 2 − √3,
 * where the first term that the series leaves out is below 3e-12 of the sum.
 */
@inline
function atan2Lanes(x: v128): v128 {
  const a = f64x2.abs(x);
  const over = f64x2.gt(a, splat64(1));
  const inner = v128.bitselect(f64x2.div(splat64(1), a), a, over);
  const wide = f64x2.gt(inner, splat64(TAN_15));
  const turned = f64x2.div(mulAdd64(inner, splat64(SQRT_3), splat64(-1)), f64x2.add(inner, splat64(SQRT_3)));
  const r = v128.bitselect(turned, inner, wide);
  const z = f64x2.mul(r, r);
  let p = mulAdd64(splat64(1.0 / 17), z, splat64(-1.0 / 15));
  p = mulAdd64(p, z, splat64(1.0 / 13));
  p = mulAdd64(p, z, splat64(-1.0 / 11));
  p = mulAdd64(p, z, splat64(1.0 / 9));
  p = mulAdd64(p, z, splat64(-1.0 / 7));
  p = mulAdd64(p, z, splat64(1.0 / 5));
  p = mulAdd64(p, z, splat64(-1.0 / 3));
  let y = mulAdd64(f64x2.mul(p, z), r, r);
  y = f64x2.add(y, v128.and(splat64(SIXTH_PI), wide));
  y = v128.bitselect(f64x2.sub(splat64(HALF_PI), y), y, over);
  return v128.or(y, v128.and(x, i64x2.splat(i64.MIN_VALUE)));
}

/** Beyond ±1 the root of a negative number makes NaN. */
@inline
function inverse2(op: i32, x: v128): v128 {
  if (op == ATAN) return atan2Lanes(x);
  const below = f64x2.sub(splat64(1), x); // exact, as 1 + x is: x has 24 bits
  const above = f64x2.add(splat64(1), x);
  // acos x = 2·arctan √((1 − x)/(1 + x)), whose argument is ∞ at −1; asin x = arctan(x / √((1 − x)·(1 + x))), ±∞ at ±1.
  if (op == ACOS) {
    const half = atan2Lanes(f64x2.sqrt(f64x2.div(below, above)));
    return f64x2.add(half, half);
  }
  return atan2Lanes(f64x2.div(x, f64x2.sqrt(f64x2.mul(below, above))));
}

@inline
export function inverse4(op: i32, x: v128): v128 {
  return joinHalves(inverse2(op, lowHalf(x)), inverse2(op, highHalf(x)));
}

@inline
function map(op: i32, n: i32, x: usize, y: usize): void {
  for (; n > 0; n -= 4) {
    if (n >= 4) v128.store(y, inverse4(op, v128.load(x)));
    else storeTail(y, n, inverse4(op, loadTail(x, n)));
    x += 16;
    y += 16;
  }
}

/** At most 0.51 ulp. */
export function acos(n: i32, x: usize, y: usize): void {
  map(ACOS, n, x, y);
}

/** At most 0.51 ulp. */
export function asin(n: i32, x: usize, y: usize): void {
  map(ASIN, n, x, y);
}

/** At most 0.51 ulp. */
export function atan(n: i32, x: usize, y: usize): void {
  map(ATAN, n, x, y);
}
