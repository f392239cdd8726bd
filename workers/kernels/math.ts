// Transcendental functions on four f32 lanes. Strict SIMD has no fused multiply-add, so each formula is arranged to keep
// its last rounding steps small. Errors are in ulp of the correctly rounded result, measured against f64 by
// test/kernels/math.test.ts over a dense sweep of all f32. pmin/pmax cost one instruction in V8, min/max about six; their
// operand order decides what becomes of NaN: pmax(x, c) and pmin(x, c) keep x's NaN.

@inline
export function splat(v: f32): v128 {
  return f32x4.splat(v);
}

/** a·b + c, rounded twice. */
@inline
export function mulAdd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

/** x·log2 e rounded to an integer n, as 1.5·2^23 + n: its low bits hold n, ready to be shifted into an exponent. */
@inline
function expInteger(x: v128): v128 {
  return mulAdd(x, splat(1.44269504088896341), splat(12582912));
}

/** r = x − n·ln 2, |r| ≤ ln 2 / 2, where z = expInteger(x). */
@inline
function expRest(x: v128, z: v128): v128 {
  const n = f32x4.sub(z, splat(12582912));
  // ln 2 in two parts (Cody–Waite): n·355/512 is exact.
  const r = f32x4.sub(x, f32x4.mul(n, splat(0.693359375)));
  return f32x4.sub(r, f32x4.mul(n, splat(-2.1219444e-4)));
}

/** e^r − 1 for |r| ≤ ln 2 / 2. */
@inline
function expFraction(r: v128): v128 {
  // Cephes expf: r + r²·p(r).
  let p = mulAdd(splat(1.98756915e-4), r, splat(1.3981999507e-3));
  p = mulAdd(p, r, splat(8.3334519073e-3));
  p = mulAdd(p, r, splat(4.1665795894e-2));
  p = mulAdd(p, r, splat(1.6666665459e-1));
  p = mulAdd(p, r, splat(5.0000001201e-1));
  return mulAdd(p, f32x4.mul(r, r), r);
}

/** (1 + fraction)·2^n, where z = expInteger(x0): ∞ above the range, 0 below 2^-126. */
@inline
function expScaled(x0: v128, z: v128, fraction: v128): v128 {
  const scaled = i32x4.add(f32x4.add(fraction, splat(1)), i32x4.shl(z, 23));
  // Above the range x + ∞ is the answer, and keeps a NaN.
  const finite = v128.bitselect(scaled, f32x4.add(x0, splat(Infinity)), f32x4.le(x0, splat(88.72283935546875)));
  return v128.andnot(finite, f32x4.lt(x0, splat(-87.33654022216797)));
}

@inline
function expLimited(x: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, splat(89)), splat(-88));
}

/** e^(x + low), where |low| is small against 1 and x is the leading part. Flushes below 2^-126. */
@inline
export function expOfSum(x0: v128, low: v128): v128 {
  const x = expLimited(x0);
  const z = expInteger(x);
  return expScaled(x0, z, expFraction(f32x4.add(expRest(x, z), low)));
}

@inline
export function vexp(x0: v128): v128 {
  const x = expLimited(x0);
  const z = expInteger(x);
  return expScaled(x0, z, expFraction(expRest(x, z)));
}

/** e^x − 1 for x ≤ 0, without cancellation; 0 for x > 0. */
@inline
export function vexpm1Negative(x0: v128): v128 {
  // e^−25 no longer shows beside 1.
  const x = f32x4.pmax(f32x4.pmin(x0, splat(0)), splat(-25));
  const z = expInteger(x);
  const power = i32x4.add(splat(1), i32x4.shl(z, 23));
  return mulAdd(expFraction(expRest(x, z)), power, f32x4.sub(power, splat(1)));
}

/** log(1 + u) for 0 ≤ u ≤ 1, as 2·artanh(s) with s = u / (2 + u); minimax fit of artanh, relative error 1e-9. */
@inline
export function vlog1pUnit(u: v128): v128 {
  const s = f32x4.div(u, f32x4.add(u, splat(2)));
  const z = f32x4.mul(s, s);
  let p = mulAdd(splat(0.1161953010052176), z, splat(0.10851656296739576));
  p = mulAdd(p, z, splat(0.1429629180773637));
  p = mulAdd(p, z, splat(0.199998506750516));
  p = mulAdd(p, z, splat(0.3333333366883246));
  const twice = f32x4.add(s, s);
  return mulAdd(f32x4.mul(p, z), twice, twice);
}

/** Natural logarithm (Cephes logf). */
@inline
export function vlog(x0: v128): v128 {
  // Subnormals are scaled by 2^23 first.
  const tiny = f32x4.lt(x0, splat(1.1754943508222875e-38));
  const x = v128.bitselect(f32x4.mul(x0, splat(8388608)), x0, tiny);
  // x = m·2^e with m in [√½, √2): subtracting √½'s bits makes the exponent field count from there.
  const shifted = i32x4.sub(x, i32x4.splat(0x3f3504f3));
  const m = i32x4.add(v128.and(shifted, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  let e = f32x4.convert_i32x4_s(i32x4.shr_s(shifted, 23));
  e = f32x4.sub(e, v128.and(splat(23), tiny));
  const f = f32x4.sub(m, splat(1));
  let p = mulAdd(splat(7.0376836292e-2), f, splat(-1.151461031e-1));
  p = mulAdd(p, f, splat(1.1676998740e-1));
  p = mulAdd(p, f, splat(-1.2420140846e-1));
  p = mulAdd(p, f, splat(1.4249322787e-1));
  p = mulAdd(p, f, splat(-1.6668057665e-1));
  p = mulAdd(p, f, splat(2.0000714765e-1));
  p = mulAdd(p, f, splat(-2.4999993993e-1));
  p = mulAdd(p, f, splat(3.3333331174e-1));
  const f2 = f32x4.mul(f, f);
  let y = f32x4.mul(f32x4.mul(p, f), f2);
  y = f32x4.add(y, f32x4.mul(e, splat(-2.12194440e-4)));
  y = f32x4.sub(y, f32x4.mul(f2, splat(0.5)));
  y = f32x4.add(f32x4.add(f, y), f32x4.mul(e, splat(0.693359375)));
  // log(+inf) = inf, log(0) = -inf, log(negative) = NaN = log(NaN).
  y = v128.bitselect(x0, y, f32x4.eq(x0, splat(Infinity)));
  y = v128.bitselect(splat(-Infinity), y, f32x4.eq(x0, splat(0)));
  return v128.bitselect(y, splat(NaN), f32x4.ge(x0, splat(0)));
}

/**
 * e^2a + 1 for 0 ≤ a ≤ 9.5, as t·f + (t + 1) with t = 2^n and f = e^2y − 1 = 2y + y²·p(y), y = a − n·ln 2 / 2. ln 2 in f32 has
 * 21 bits, so that its products are exact where n ≤ 8; beyond, its error of 2e-9·n no longer shows in tanh. p is a minimax fit,
 * relative error of e^2y 4e-9, summed by pairs: fewer sums wait for each other.
 */
@inline
function expTwicePlusOne(a: v128): v128 {
  // 1.5·2^23 + 127 + n: shifted, an exponent without more ado.
  const z = mulAdd(a, splat(2.885390043258667), splat(12583039));
  const y = f32x4.sub(a, f32x4.mul(f32x4.sub(z, splat(12583039)), splat(0.3465735912322998)));
  const square = f32x4.mul(y, y);
  const high = mulAdd(splat(0.08923019468784332), square, mulAdd(splat(0.2678033709526062), y, splat(0.6666621565818787)));
  const p = mulAdd(high, square, mulAdd(splat(1.3333215713500977), y, splat(2)));
  const f = mulAdd(p, square, f32x4.add(y, y));
  const t = i32x4.shl(z, 23);
  return mulAdd(t, f, f32x4.add(t, splat(1)));
}

@inline
export function vtanh(x: v128): v128 {
  const a = f32x4.abs(x);
  // |x| < 0.625: odd polynomial (Cephes tanhf).
  const z = f32x4.mul(x, x);
  let p = mulAdd(splat(-5.70498872745e-3), z, splat(2.06390887954e-2));
  p = mulAdd(p, z, splat(-5.37397155531e-2));
  p = mulAdd(p, z, splat(1.33314422036e-1));
  p = mulAdd(p, z, splat(-3.33332819422e-1));
  const small = mulAdd(f32x4.mul(p, z), x, x);
  // otherwise 1 − 2 / (e^2|x| + 1): the quotient is small enough not to carry the error of exp into the result, and from
  // 2|x| = 19 on the result is 1.
  const large = f32x4.sub(splat(1), f32x4.div(splat(2), expTwicePlusOne(f32x4.pmin(a, splat(9.5)))));
  // NaN is not ≥ 0.625, and the polynomial keeps it, but loses the sign of zero.
  const either = v128.bitselect(large, small, f32x4.ge(a, splat(0.625)));
  return v128.or(either, v128.and(x, i32x4.splat(i32.MIN_VALUE)));
}

/** Two lanes of x < 0 ? e / (1 + e) : 1 / (1 + e), e = (1 + fraction)·2^n = e^−|x|, in f64. */
@inline
function sigmoidHalf(fraction: v128, n: v128, negative: v128): v128 {
  const one = f64x2.splat(1);
  const power = i64x2.shl(i64x2.extend_low_i32x4_s(n), 52);
  const e = f64x2.mul(f64x2.add(f64x2.promote_low_f32x4(fraction), one), i64x2.add(power, one));
  const above = v128.bitselect(e, one, i64x2.extend_low_i32x4_s(negative));
  return f32x4.demote_f64x2_zero(f64x2.div(above, f64x2.add(one, e)));
}

/** The rounding of exp's last step, the sum's and the quotient's would add up to 2.3 ulp: those three are made in f64. */
@inline
export function vsigmoid(x: v128): v128 {
  const a = f32x4.pmax(v128.or(x, i32x4.splat(i32.MIN_VALUE)), splat(-105));
  const z = expInteger(a);
  const fraction = expFraction(expRest(a, z));
  const n = i32x4.sub(z, splat(12582912));
  const negative = f32x4.lt(x, splat(0));
  const low = sigmoidHalf(fraction, n, negative);
  const high = sigmoidHalf(
    v128.shuffle<f32>(fraction, fraction, 2, 3, 2, 3),
    v128.shuffle<f32>(n, n, 2, 3, 2, 3),
    v128.shuffle<f32>(negative, negative, 2, 3, 2, 3),
  );
  return v128.shuffle<f32>(low, high, 0, 1, 4, 5);
}

/** Error function; polynomials by N. Juffa (CUDA forum, erff), |x| below and above 475/512. */
@inline
export function verf(x: v128): v128 {
  const t = f32x4.abs(x);
  const s = f32x4.mul(x, x);
  let p = mulAdd(splat(-5.96761703e-4), s, splat(4.99119423e-3));
  p = mulAdd(p, s, splat(-2.67681349e-2));
  p = mulAdd(p, s, splat(1.12819925e-1));
  p = mulAdd(p, s, splat(-3.76125336e-1));
  p = mulAdd(p, s, splat(1.28379166e-1));
  const small = mulAdd(p, x, x);
  // log(erfc t); beyond 3.92 the result rounds to 1.
  const c = f32x4.pmin(t, splat(4));
  const c2 = f32x4.mul(c, c);
  let q = mulAdd(splat(-1.7285347e-5), c, splat(3.83197126e-4));
  q = mulAdd(q, c2, mulAdd(splat(-3.88396438e-3), c, splat(2.42546219e-2)));
  q = mulAdd(q, c, splat(-1.06777877e-1));
  q = mulAdd(q, c, splat(-6.34846687e-1));
  q = mulAdd(q, c, splat(-1.28717512e-1));
  q = f32x4.sub(f32x4.mul(q, c), c);
  const large = f32x4.sub(splat(1), vexp(q));
  const signed = v128.or(large, v128.and(x, i32x4.splat(i32.MIN_VALUE)));
  return v128.bitselect(small, signed, f32x4.lt(t, splat(0.927734375)));
}
