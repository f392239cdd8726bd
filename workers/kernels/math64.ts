// Arithmetic on two f64 lanes, for functions whose intermediate results need more digits than f32 has.

@inline
export function splat64(v: f64): v128 {
  return f64x2.splat(v);
}

@inline
export function mulAdd64(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

/** Lanes 0 and 1 of four f32 as f64. */
@inline
export function lowHalf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

/** Lanes 2 and 3 of four f32 as f64. */
@inline
export function highHalf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3));
}

/** Both halves rounded to f32. */
@inline
export function joinHalves(low: v128, high: v128): v128 {
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5);
}

/** log2 of two lanes ≥ 0 that are no subnormals; relative error below 2^-40. log2(0) = −∞, log2(∞) = ∞. */
@inline
export function log2x2(x: v128): v128 {
  // x = m·2^e, m in [√½, √2), by the bits as in math.ts; f32's subnormals are normal here.
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
export function exp2x2(x0: v128): v128 {
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
