// x^y with C's powf semantics. |x|^y = 2^(y·log2|x|) needs log2 to more digits than f32 has, so the magnitude is computed
// in f64 lanes, two at a time.
import { exp2x2, highHalf, joinHalves, log2x2, lowHalf } from './math64';

/** At most 0.6 ulp: only the last rounding is to f32. */
@inline
export function vpow(x: v128, y: v128): v128 {
  const one = f32x4.splat(1);
  const a = f32x4.abs(x);
  const low = exp2x2(f64x2.mul(lowHalf(y), log2x2(lowHalf(a))));
  const high = exp2x2(f64x2.mul(highHalf(y), log2x2(highHalf(a))));
  let mag = joinHalves(low, high);
  // 1^y = 1 even for NaN, (−1)^±∞ = 1.
  mag = v128.bitselect(one, mag, f32x4.eq(a, one));
  const half = f32x4.mul(y, f32x4.splat(0.5));
  const whole = f32x4.eq(f32x4.trunc(y), y);
  const odd = v128.and(whole, f32x4.ne(f32x4.trunc(half), half));
  const signed = v128.xor(mag, v128.and(v128.and(x, i32x4.splat(i32.MIN_VALUE)), odd));
  // A finite negative base has no real power of fractional exponent.
  const negative = v128.and(f32x4.lt(x, f32x4.splat(0)), f32x4.gt(x, f32x4.splat(-Infinity)));
  const real = v128.bitselect(f32x4.splat(NaN), signed, v128.andnot(negative, whole));
  return v128.bitselect(one, real, f32x4.eq(y, f32x4.splat(0)));
}
