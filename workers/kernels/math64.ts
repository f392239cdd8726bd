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
