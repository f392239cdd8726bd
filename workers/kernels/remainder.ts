// Remainders of f32 division, exact: with the dividend's sign (C's fmod) and with the divisor's (Python's %).
import { highHalf, joinHalves, lowHalf } from './math64';

/** Below it the quotient of two f32 is exact once truncated, and so is its product with the divisor: 28 + 24 bits. */
const EXACT: f64 = 268435456;

/** Where a and b, two f64 lanes that came from f32, have such a quotient: not in NaN or infinite a, nor in b = 0. */
@inline
function isExact(a: v128, b: v128): v128 {
  return f64x2.lt(f64x2.abs(a), f64x2.mul(f64x2.abs(b), f64x2.splat(EXACT)));
}

@inline
function remainder2(a: v128, b: v128): v128 {
  return f64x2.sub(a, f64x2.mul(f64x2.trunc(f64x2.div(a, b)), b));
}

/** NaN for infinite a and for b = 0; a itself for infinite b. */
@inline
export function vfmod(a: v128, b: v128): v128 {
  const aLow = lowHalf(a);
  const bLow = lowHalf(b);
  const aHigh = highHalf(a);
  const bHigh = highHalf(b);
  let r = joinHalves(remainder2(aLow, bLow), remainder2(aHigh, bHigh));
  if (!i64x2.all_true(v128.and(isExact(aLow, bLow), isExact(aHigh, bHigh)))) {
    r = f32x4(
      f32x4.extract_lane(a, 0) % f32x4.extract_lane(b, 0),
      f32x4.extract_lane(a, 1) % f32x4.extract_lane(b, 1),
      f32x4.extract_lane(a, 2) % f32x4.extract_lane(b, 2),
      f32x4.extract_lane(a, 3) % f32x4.extract_lane(b, 3),
    );
  }
  // Among them a / ∞, which would otherwise be 0·∞.
  r = v128.bitselect(a, r, f32x4.lt(f32x4.abs(a), f32x4.abs(b)));
  // A remainder of 0 has a's sign too.
  return v128.or(r, v128.and(a, i32x4.splat(i32.MIN_VALUE)));
}

/** NaN for infinite a and for b = 0; for infinite b it is a where their signs agree, else b. */
@inline
export function vmod(a: v128, b: v128): v128 {
  const zero = f32x4.splat(0);
  const r = vfmod(a, b);
  const other = v128.and(f32x4.ne(r, zero), v128.xor(f32x4.lt(r, zero), f32x4.lt(b, zero)));
  return f32x4.add(r, v128.and(b, other));
}
