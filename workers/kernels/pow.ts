// x^y with C's powf semantics. |x|^y = 2^(y·log2|x|) needs log2 to more digits than f32 has, so the magnitude is computed
// in f64 lanes, two at a time.
import { highHalf, joinHalves, lowHalf, mulAdd64, splat64 } from './math64';

/** log2 of two f64 lanes ≥ 0 that came from f32; relative error below 2^-40. log2(0) = −∞, log2(∞) = ∞. */
@inline
function log2x2(x: v128): v128 {
  // x = m·2^e, m in [√½, √2), by the bits as in math.ts; f32's subnormals are normal in f64.
  const root = i64x2.splat(0x3fe6a09e667f3bcd);
  const shifted = i64x2.sub(x, root);
  const m = i64x2.add(v128.and(shifted, i64x2.splat(0x000fffffffffffff)), root);
  // The exponent (|e| < 1100) sits in the high word of each lane.
  const high = i32x4.shr_s(shifted, 20);
  const e = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(high, high, 1, 3, 1, 3));
  // ln m = 2·artanh(s) = 2s·(1 + s²/3 + s⁴/5 + …), |s| ≤ 0.172.
  const s = f64x2.div(f64x2.sub(m, splat64(1)), f64x2.add(m, splat64(1)));
  const z = f64x2.mul(s, s);
  let p = mulAdd64(splat64(1.0 / 15), z, splat64(1.0 / 13));
  p = mulAdd64(p, z, splat64(1.0 / 11));
  p = mulAdd64(p, z, splat64(1.0 / 9));
  p = mulAdd64(p, z, splat64(1.0 / 7));
  p = mulAdd64(p, z, splat64(1.0 / 5));
  p = mulAdd64(p, z, splat64(1.0 / 3));
  p = mulAdd64(p, z, splat64(1));
  const y = mulAdd64(f64x2.mul(p, s), splat64(2.8853900817779268), e);
  const finite = v128.bitselect(x, y, f64x2.eq(x, splat64(Infinity)));
  const whole = v128.bitselect(splat64(-Infinity), finite, f64x2.eq(x, splat64(0)));
  return v128.bitselect(whole, x, f64x2.ge(x, splat64(0)));
}

/** 2^x of two f64 lanes; exact enough for rounding to f32, overflow and underflow left to that rounding. */
@inline
function exp2x2(x0: v128): v128 {
  const x = f64x2.pmax(f64x2.pmin(x0, splat64(300)), splat64(-300));
  const z = f64x2.add(x, splat64(6755399441055744)); // 1.5·2^52: the integer lands in the low bits
  const n = f64x2.sub(z, splat64(6755399441055744));
  const r = f64x2.mul(f64x2.sub(x, n), splat64(0.6931471805599453));
  let p = mulAdd64(splat64(1.0 / 362880), r, splat64(1.0 / 40320));
  p = mulAdd64(p, r, splat64(1.0 / 5040));
  p = mulAdd64(p, r, splat64(1.0 / 720));
  p = mulAdd64(p, r, splat64(1.0 / 120));
  p = mulAdd64(p, r, splat64(1.0 / 24));
  p = mulAdd64(p, r, splat64(1.0 / 6));
  p = mulAdd64(p, r, splat64(0.5));
  p = mulAdd64(p, r, splat64(1));
  p = mulAdd64(p, r, splat64(1));
  return i64x2.add(p, i64x2.shl(z, 52));
}

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
