// Exact GELU, x·Φ(x), and its slope. Φ(−t) = e^(−t²/2)·k·P(k) with k = 1 / (1 + 0.26 t), t ≥ 0: one exponential serves Φ
// and φ, and the negative tail keeps relative accuracy, which ½(1 + erf) would lose to cancellation.
import { exp2part, mulAdd, splat } from './math';

/** e^(−x²/2). x² is split into an exact leading part and a rest, lest its rounding be multiplied by the exponent. */
@inline
export function gauss(x: v128): v128 {
  const lead = v128.and(x, i32x4.splat(0xfffff000));
  const rest = f32x4.mul(f32x4.sub(x, lead), f32x4.add(x, lead));
  return exp2part(f32x4.mul(f32x4.mul(lead, lead), splat(-0.5)), f32x4.mul(rest, splat(-0.5)));
}

/** Φ(−t)·e^(t²/2) for t ≥ 0. Minimax fit to erfcx(t / √2) / 2 on [0, 13.4], relative error 2.1e-8 before rounding. */
@inline
export function tail(t: v128): v128 {
  const k = f32x4.div(splat(1), mulAdd(t, splat(0.26), splat(1)));
  let p = mulAdd(splat(0.030839888378977776), k, splat(-0.15446484088897705));
  p = mulAdd(p, k, splat(0.2548920214176178));
  p = mulAdd(p, k, splat(-0.1548704355955124));
  p = mulAdd(p, k, splat(0.16368551552295685));
  p = mulAdd(p, k, splat(0.04984532296657562));
  p = mulAdd(p, k, splat(0.10333815962076187));
  p = mulAdd(p, k, splat(0.102972611784935));
  p = mulAdd(p, k, splat(0.10376172512769699));
  return f32x4.mul(p, k);
}

/** |x| limited to where e^(−x²/2) is 0 in f32 anyway, so that no infinity meets a zero; NaN stays. */
@inline
export function limit(x: v128): v128 {
  return f32x4.pmin(f32x4.abs(x), splat(14));
}

@inline
export function cdf(x: v128, t: v128, density: v128): v128 {
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
