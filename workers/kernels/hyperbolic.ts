// sinh, cosh and the inverse hyperbolic functions over contiguous arrays; output may be an input's own memory. Computed in
// f64, so that only the last rounding is to f32; where a formula cancels near 0, the series takes its place.
import { loadTail, storeTail } from './lanes';
import { exp2x2, highHalf, joinHalves, log2x2, lowHalf, mulAdd64, splat64 } from './math64';

export const ACOSH = 0;
export const ASINH = 1;
export const ATANH = 2;
export const COSH = 3;
export const SINH = 4;

const LOG2_E: f64 = 1.4426950408889634;
const LN_2: f64 = 0.6931471805599453;

/** (eˣ − e⁻ˣ)/2; below ½ the series up to x⁹, whose rest is below 1e-10 of it. */
@inline
function sinh2(x: v128): v128 {
  const e = exp2x2(f64x2.mul(x, splat64(LOG2_E)));
  const wide = f64x2.mul(f64x2.sub(e, f64x2.div(splat64(1), e)), splat64(0.5));
  const z = f64x2.mul(x, x);
  let p = mulAdd64(splat64(1.0 / 362880), z, splat64(1.0 / 5040));
  p = mulAdd64(p, z, splat64(1.0 / 120));
  p = mulAdd64(p, z, splat64(1.0 / 6));
  const near = mulAdd64(f64x2.mul(p, z), x, x);
  return v128.bitselect(near, wide, f64x2.lt(f64x2.abs(x), splat64(0.5)));
}

/** (eˣ + e⁻ˣ)/2 */
@inline
function cosh2(x: v128): v128 {
  const e = exp2x2(f64x2.mul(x, splat64(LOG2_E)));
  return f64x2.mul(f64x2.add(e, f64x2.div(splat64(1), e)), splat64(0.5));
}

/** ±ln(|x| + √(x² + 1)); below 1/32 the series up to x⁵, whose rest is below 1e-10 of it. */
@inline
function asinh2(x: v128): v128 {
  const a = f64x2.abs(x);
  const z = f64x2.mul(x, x);
  const root = f64x2.sqrt(f64x2.add(z, splat64(1)));
  const wide = f64x2.mul(log2x2(f64x2.add(a, root)), splat64(LN_2));
  const near = mulAdd64(f64x2.mul(mulAdd64(splat64(3.0 / 40), z, splat64(-1.0 / 6)), z), a, a);
  const y = v128.bitselect(near, wide, f64x2.lt(a, splat64(0.03125)));
  return v128.or(y, v128.and(x, i64x2.splat(i64.MIN_VALUE)));
}

/** ln(x + √(x² − 1)), NaN below 1; both factors of x² − 1 are exact. */
@inline
function acosh2(x: v128): v128 {
  const one = splat64(1);
  const root = f64x2.sqrt(f64x2.mul(f64x2.sub(x, one), f64x2.add(x, one)));
  const y = f64x2.mul(log2x2(f64x2.add(x, root)), splat64(LN_2));
  return v128.bitselect(y, splat64(NaN), f64x2.ge(x, one));
}

/** ½·ln((1 + x)/(1 − x)), NaN beyond ±1; below 1/32 the series up to x⁷, whose rest is below 1e-12 of it. */
@inline
function atanh2(x: v128): v128 {
  const one = splat64(1);
  const quotient = f64x2.div(f64x2.add(one, x), f64x2.sub(one, x));
  const wide = f64x2.mul(log2x2(quotient), splat64(0.5 * LN_2));
  const z = f64x2.mul(x, x);
  let p = mulAdd64(splat64(1.0 / 7), z, splat64(1.0 / 5));
  p = mulAdd64(p, z, splat64(1.0 / 3));
  const near = mulAdd64(f64x2.mul(p, z), x, x);
  const a = f64x2.abs(x);
  const y = v128.bitselect(near, wide, f64x2.lt(a, splat64(0.03125)));
  return v128.bitselect(y, splat64(NaN), f64x2.le(a, one));
}

@inline
function hyperbolic2(op: i32, x: v128): v128 {
  if (op == ACOSH) return acosh2(x);
  if (op == ASINH) return asinh2(x);
  if (op == ATANH) return atanh2(x);
  if (op == COSH) return cosh2(x);
  return sinh2(x);
}

@inline
export function hyperbolic4(op: i32, x: v128): v128 {
  return joinHalves(hyperbolic2(op, lowHalf(x)), hyperbolic2(op, highHalf(x)));
}

@inline
function map(op: i32, n: i32, x: usize, y: usize): void {
  for (; n > 0; n -= 4) {
    if (n >= 4) v128.store(y, hyperbolic4(op, v128.load(x)));
    else storeTail(y, n, hyperbolic4(op, loadTail(x, n)));
    x += 16;
    y += 16;
  }
}

/** At most 0.51 ulp. */
export function acosh(n: i32, x: usize, y: usize): void {
  map(ACOSH, n, x, y);
}

/** At most 0.51 ulp. */
export function asinh(n: i32, x: usize, y: usize): void {
  map(ASINH, n, x, y);
}

/** At most 0.51 ulp. */
export function atanh(n: i32, x: usize, y: usize): void {
  map(ATANH, n, x, y);
}

/** At most 0.51 ulp. */
export function cosh(n: i32, x: usize, y: usize): void {
  map(COSH, n, x, y);
}

/** At most 0.51 ulp. */
export function sinh(n: i32, x: usize, y: usize): void {
  map(SINH, n, x, y);
}
