// GELU and its slope, exact and by tanh. Exact: x·Φ(x), Φ(−t) = e^(−t²/2)·k·P(t·k), k = 1 / (1 + 0.4 t), t ≥ 0: one
// exponential serves Φ and φ, and the negative tail keeps relative accuracy, which ½(1 + erf) would lose to cancellation.
import { expOfSum, mulAdd, splat } from './math';

/** e^(−x²/2). x² is split into an exact leading part and a rest, lest its rounding be multiplied by the exponent. */
@inline
function gauss(x: v128): v128 {
  const lead = v128.and(x, i32x4.splat(0xfffff000));
  const rest = f32x4.mul(f32x4.sub(x, lead), f32x4.add(x, lead));
  return expOfSum(f32x4.mul(f32x4.mul(lead, lead), splat(-0.5)), f32x4.mul(rest, splat(-0.5)));
}

/** Φ(−t)·e^(t²/2) = k·P(u) for t ≥ 0. Minimax fit of P to erfcx(t / √2) / 2k on [0, 13.4], relative error 1.5e-8. */
@inline
function tail(t: v128): v128 {
  const k = f32x4.div(splat(1), mulAdd(t, splat(0.4), splat(1)));
  const u = f32x4.mul(t, k);
  let p = mulAdd(splat(-8.371743206225801e-06), u, splat(7.34789646230638e-05));
  p = mulAdd(p, u, splat(-0.00020648121426347643));
  p = mulAdd(p, u, splat(0.00022988169803284109));
  p = mulAdd(p, u, splat(-0.0006203173543326557));
  p = mulAdd(p, u, splat(0.0005811246228404343));
  p = mulAdd(p, u, splat(0.007467436604201794));
  p = mulAdd(p, u, splat(0.010856226086616516));
  p = mulAdd(p, u, splat(-0.19894294440746307));
  p = mulAdd(p, u, splat(0.5));
  return f32x4.mul(p, k);
}

/** |x| limited to where e^(−x²/2) is 0 in f32 anyway, so that no infinity meets a zero; NaN stays. */
@inline
function limit(x: v128): v128 {
  return f32x4.pmin(f32x4.abs(x), splat(14));
}

@inline
function cdf(x: v128, t: v128, density: v128): v128 {
  const below = f32x4.mul(density, tail(t));
  return v128.bitselect(below, f32x4.sub(splat(1), below), f32x4.lt(x, splat(0)));
}

@inline
export function vgelu(x: v128): v128 {
  const t = limit(x);
  // x·Φ(−|x|), the density last: it may be subnormal. Only +∞ must not meet the zero density.
  const q = f32x4.mul(f32x4.mul(f32x4.pmin(x, splat(14)), tail(t)), gauss(t));
  // Zeros keep their sign.
  return v128.bitselect(q, f32x4.sub(x, q), f32x4.le(x, splat(0)));
}

/** Φ(x) + x·φ(x). */
@inline
export function vgeluSlope(x: v128): v128 {
  const t = limit(x);
  const density = gauss(t);
  const signed = v128.or(t, v128.and(x, i32x4.splat(i32.MIN_VALUE)));
  return mulAdd(f32x4.mul(signed, splat(0.3989422804014327)), density, cdf(x, t, density));
}

/**
 * e^−2u / 4 for x ≤ 9, u = √(2/π)·(x + 0.044715 x³), as 2^(n−2)·(1 + f); ∞ only where x / e^2u is below 2^-126. The exponent
 * −2u·log2 e is x·c + x·(d + k·x²), c of f32 and d its rest. n is taken from the larger of the two first, which is exact for x < 0;
 * for other x the power is at most 1, and its error counts less.
 */
@inline
function geluPower(x: v128): v128 {
  const line = f32x4.mul(x, splat(-2.302208185195923));
  const bend = f32x4.mul(x, mulAdd(f32x4.mul(x, x), splat(-0.10294324159622192), splat(-1.2948402350332344e-8)));
  // 1.5·2^23 + 127 − 2 + n: shifted, the bits of 2^(n−2). Beyond 129 n stays and f grows.
  const z = f32x4.add(f32x4.pmin(f32x4.add(line, bend), splat(129)), splat(12583037));
  const n = f32x4.sub(z, splat(12583037));
  const r = f32x4.add(f32x4.sub(f32x4.pmax(line, bend), n), f32x4.pmin(line, bend));
  // Minimax fit of (2^r − 1) / r, relative error of 2^r 4e-9, summed by pairs: fewer sums wait for each other.
  const square = f32x4.mul(r, r);
  const high = mulAdd(
    mulAdd(splat(0.00015463295858353376), r, splat(0.001339120208285749)),
    square,
    mulAdd(splat(0.00961806159466505), r, splat(0.055503591895103455)),
  );
  const q = mulAdd(high, square, mulAdd(splat(0.24022650718688965), r, splat(0.6931471824645996)));
  return f32x4.mul(mulAdd(q, r, splat(1)), i32x4.shl(z, 23));
}

/**
 * x/2·(1 + tanh u) = x / (1 + e^−2u), which keeps relative accuracy in the negative tail, where 1 + tanh would lose it to
 * cancellation. From x = 9 on the exponential no longer shows. Over 4, lest the tail overflow before the result is 0.
 */
@inline
export function vgeluTanh(x: v128): v128 {
  const power = geluPower(f32x4.pmin(x, splat(9)));
  return f32x4.div(f32x4.mul(x, splat(0.25)), f32x4.add(power, splat(0.25)));
}

/** s + x·s·(1 − s)·2u′, s = 1 / (1 + e^−2u), 1 − s = e^−2u·s. Outside [−10, 9] nothing changes, and no infinity may enter. */
@inline
export function vgeluTanhSlope(x: v128): v128 {
  const t = f32x4.pmax(f32x4.pmin(x, splat(9)), splat(-10));
  const power = geluPower(t);
  const s = f32x4.div(splat(0.25), f32x4.add(power, splat(0.25)));
  // 4·2u′, as the power is a quarter.
  const slope = mulAdd(f32x4.mul(t, t), splat(0.856257795271203), splat(6.3830764864229234));
  const bend = f32x4.mul(f32x4.mul(s, f32x4.mul(power, s)), f32x4.mul(t, slope));
  return f32x4.add(s, bend);
}
