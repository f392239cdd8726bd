// GELU and its slope, exact and by tanh. Exact: x·Φ(x), Φ(−t) = e^(−t²/2)·k·P(t·k), k = 1 / (1 + 0.4 t), t ≥ 0: one
// exponential serves Φ and φ, and the negative tail keeps relative accuracy, which ½(1 + erf) would lose to cancellation.
import { expOfSum, mulAdd, splat, vsigmoid } from './math';

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
  return v128.bitselect(q, f32x4.sub(x, q), f32x4.lt(x, splat(0)));
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
 * x/2·(1 + tanh u) = x·σ(2u), u = √(2/π)·(x + 0.044715 x³): the sigmoid keeps relative accuracy in the negative tail,
 * which 1 + tanh would lose to cancellation.
 */
@inline
export function vgeluTanh(x: v128): v128 {
  return f32x4.mul(x, vsigmoid(geluArgument(x, f32x4.mul(x, x))));
}

/** 2u = x·2√(2/π)·(1 + 0.044715 x²). */
@inline
function geluArgument(x: v128, square: v128): v128 {
  return f32x4.mul(x, mulAdd(square, splat(0.07135481627260025), splat(1.5957691216057308)));
}

/** σ(v) + x·σ(v)·(1 − σ(v))·v′, v = 2u. Beyond |x| = 10 the second term is 0, and no infinity may meet it. */
@inline
export function vgeluTanhSlope(x: v128): v128 {
  const t = v128.or(f32x4.pmin(f32x4.abs(x), splat(10)), v128.and(x, i32x4.splat(i32.MIN_VALUE)));
  const square = f32x4.mul(t, t);
  const s = vsigmoid(geluArgument(t, square));
  const slope = mulAdd(square, splat(0.21406444881780076), splat(1.5957691216057308));
  const bend = f32x4.mul(f32x4.mul(s, f32x4.sub(splat(1), s)), f32x4.mul(t, slope));
  return f32x4.add(s, bend);
}
