// Unary functions and the gradients fused with them, over contiguous arrays; output may be an input's own memory.
// `op` is a constant at every call, so that inlining leaves each kernel only its own branch.
import { loadTail, storeTail } from './lanes';
import { verf, vexp, vlog, vlog1pUnit, vsigmoid, vtanh } from './math';
import { vgelu, vgeluSlope, vgeluTanh, vgeluTanhSlope } from './gelu';

export const NEG = 0;
export const EXP = 1;
export const LOG = 2;
export const SQRT = 3;
export const TANH = 4;
export const SIGMOID = 5;
export const RELU = 6;
export const GELU = 7;
export const ERF = 8;
export const ABS = 9;
export const RECIPROCAL = 10;
export const FLOOR = 11;
export const CEIL = 12;
export const ROUND = 13;
export const SIGN = 14;
export const SOFTPLUS = 15;
export const SOFTSIGN = 16;
export const HARD_SWISH = 17;
export const GELU_TANH = 18;

/** −1, 0 or 1; NaN stays. */
@inline
function vsign(x: v128): v128 {
  const one = v128.or(f32x4.splat(1), v128.and(x, i32x4.splat(i32.MIN_VALUE)));
  return v128.bitselect(one, x, f32x4.gt(f32x4.abs(x), f32x4.splat(0)));
}

/** max(x, 0) + log(1 + e^−|x|). */
@inline
function vsoftplus(x: v128): v128 {
  const rest = vlog1pUnit(vexp(f32x4.neg(f32x4.abs(x))));
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), rest);
}

@inline
function vhardSwish(x: v128): v128 {
  const six = f32x4.splat(6);
  const ramp = f32x4.pmin(f32x4.pmax(f32x4.add(x, f32x4.splat(3)), f32x4.splat(0)), six);
  return f32x4.mul(x, f32x4.div(ramp, six));
}

@inline
export function unary(op: i32, x: v128): v128 {
  if (op == NEG) return f32x4.neg(x);
  if (op == EXP) return vexp(x);
  if (op == LOG) return vlog(x);
  if (op == SQRT) return f32x4.sqrt(x);
  if (op == TANH) return vtanh(x);
  if (op == SIGMOID) return vsigmoid(x);
  // pmax(x, 0) is x < 0 ? 0 : x, which keeps NaN.
  if (op == RELU) return f32x4.pmax(x, f32x4.splat(0));
  if (op == GELU) return vgelu(x);
  if (op == ERF) return verf(x);
  if (op == ABS) return f32x4.abs(x);
  if (op == FLOOR) return f32x4.floor(x);
  if (op == CEIL) return f32x4.ceil(x);
  if (op == ROUND) return f32x4.nearest(x);
  if (op == SIGN) return vsign(x);
  if (op == SOFTPLUS) return vsoftplus(x);
  if (op == SOFTSIGN) return f32x4.div(x, f32x4.add(f32x4.abs(x), f32x4.splat(1)));
  if (op == HARD_SWISH) return vhardSwish(x);
  if (op == GELU_TANH) return vgeluTanh(x);
  return f32x4.div(f32x4.splat(1), x);
}

/**
 * Four vectors a turn: each function is a chain of instructions that wait for each other, and the chains of one turn go side by
 * side as long as all are loaded before one is stored. A loop that tests at its end lets V8 make the constants once, before it.
 */
@inline
function map(op: i32, n: i32, x: usize, y: usize): void {
  if (n >= 16) {
    do {
      const y0 = unary(op, v128.load(x));
      const y1 = unary(op, v128.load(x, 16));
      const y2 = unary(op, v128.load(x, 32));
      const y3 = unary(op, v128.load(x, 48));
      v128.store(y, y0);
      v128.store(y, y1, 16);
      v128.store(y, y2, 32);
      v128.store(y, y3, 48);
      x += 64;
      y += 64;
      n -= 16;
    } while (n >= 16);
  }
  for (; n >= 4; n -= 4) {
    v128.store(y, unary(op, v128.load(x)));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, unary(op, loadTail(x, n)));
}

export function neg(n: i32, x: usize, y: usize): void {
  map(NEG, n, x, y);
}

/** At most 1 ulp (measured 0.93); results below 2^-126 are 0. */
export function exp(n: i32, x: usize, y: usize): void {
  map(EXP, n, x, y);
}

/** At most 1 ulp (measured 0.78), subnormal arguments included; log(0) = −∞, log(x < 0) = NaN. */
export function log(n: i32, x: usize, y: usize): void {
  map(LOG, n, x, y);
}

/** Correctly rounded; sqrt(x < 0) = NaN. */
export function sqrt(n: i32, x: usize, y: usize): void {
  map(SQRT, n, x, y);
}

/** At most 1.5 ulp (measured 1.17). */
export function tanh(n: i32, x: usize, y: usize): void {
  map(TANH, n, x, y);
}

/** 1 / (1 + e^-x), at most 1 ulp (measured 0.96). */
export function sigmoid(n: i32, x: usize, y: usize): void {
  map(SIGMOID, n, x, y);
}

export function relu(n: i32, x: usize, y: usize): void {
  map(RELU, n, x, y);
}

/**
 * x·Φ(x) with the exact Φ, at most 5 ulp on the whole range (measured 4.5, at −12.2, where e^(−x²/2) amplifies the rounding
 * of its argument); gelu(−∞) = NaN, as PyTorch's.
 */
export function gelu(n: i32, x: usize, y: usize): void {
  map(GELU, n, x, y);
}

/** At most 1.5 ulp (measured 1.10). */
export function erf(n: i32, x: usize, y: usize): void {
  map(ERF, n, x, y);
}

export function abs(n: i32, x: usize, y: usize): void {
  map(ABS, n, x, y);
}

/** 1 / x, correctly rounded. */
export function reciprocal(n: i32, x: usize, y: usize): void {
  map(RECIPROCAL, n, x, y);
}

/** Towards −∞. */
export function floor(n: i32, x: usize, y: usize): void {
  map(FLOOR, n, x, y);
}

/** Towards +∞. */
export function ceil(n: i32, x: usize, y: usize): void {
  map(CEIL, n, x, y);
}

/** To the nearest integer, halves to the even one. */
export function round(n: i32, x: usize, y: usize): void {
  map(ROUND, n, x, y);
}

/** −1, 0 or 1; NaN for NaN. */
export function sign(n: i32, x: usize, y: usize): void {
  map(SIGN, n, x, y);
}

/** log(1 + e^x), at most 2.5 ulp (measured 2.28). */
export function softplus(n: i32, x: usize, y: usize): void {
  map(SOFTPLUS, n, x, y);
}

/** x / (1 + |x|), at most 1.5 ulp (measured 1.48); NaN for infinities, as PyTorch's. */
export function softsign(n: i32, x: usize, y: usize): void {
  map(SOFTSIGN, n, x, y);
}

/** x·min(max(x + 3, 0), 6) / 6, at most 2 ulp (measured 1.87). */
export function hardSwish(n: i32, x: usize, y: usize): void {
  map(HARD_SWISH, n, x, y);
}

/**
 * x/2·(1 + tanh u), u = √(2/π)·(x + 0.044715 x³), at most 2 ulp for x ≥ −1 (measured 1.98). Below, e^2u amplifies the
 * rounding of its argument: at most 2.4·|2u| ulp (measured 150 at −9.1), and never more than 1e-7 in all; NaN for −∞, as
 * PyTorch's.
 */
export function geluTanh(n: i32, x: usize, y: usize): void {
  map(GELU_TANH, n, x, y);
}

@inline
export function slope(op: i32, a: v128, dy: v128): v128 {
  if (op == RELU) return v128.and(dy, f32x4.gt(a, f32x4.splat(0)));
  if (op == TANH) return f32x4.mul(dy, f32x4.sub(f32x4.splat(1), f32x4.mul(a, a)));
  if (op == SIGMOID) return f32x4.mul(f32x4.mul(dy, a), f32x4.sub(f32x4.splat(1), a));
  if (op == GELU) return f32x4.mul(dy, vgeluSlope(a));
  if (op == GELU_TANH) return f32x4.mul(dy, vgeluTanhSlope(a));
  if (op == SOFTSIGN) {
    const d = f32x4.add(f32x4.abs(a), f32x4.splat(1));
    return f32x4.div(dy, f32x4.mul(d, d));
  }
  // HARD_SWISH: x/3 + 1/2 between the kinks.
  const ramp = f32x4.add(f32x4.div(a, f32x4.splat(3)), f32x4.splat(0.5));
  const bent = v128.bitselect(dy, f32x4.mul(dy, ramp), f32x4.ge(a, f32x4.splat(3)));
  return v128.andnot(bent, f32x4.le(a, f32x4.splat(-3)));
}

/** As map. */
@inline
function mapSlope(op: i32, n: i32, a: usize, dy: usize, dx: usize): void {
  if (n >= 16) {
    do {
      const dx0 = slope(op, v128.load(a), v128.load(dy));
      const dx1 = slope(op, v128.load(a, 16), v128.load(dy, 16));
      const dx2 = slope(op, v128.load(a, 32), v128.load(dy, 32));
      const dx3 = slope(op, v128.load(a, 48), v128.load(dy, 48));
      v128.store(dx, dx0);
      v128.store(dx, dx1, 16);
      v128.store(dx, dx2, 32);
      v128.store(dx, dx3, 48);
      a += 64;
      dy += 64;
      dx += 64;
      n -= 16;
    } while (n >= 16);
  }
  for (; n >= 4; n -= 4) {
    v128.store(dx, slope(op, v128.load(a), v128.load(dy)));
    a += 16;
    dy += 16;
    dx += 16;
  }
  if (n > 0) storeTail(dx, n, slope(op, loadTail(a, n), loadTail(dy, n)));
}

/** dx = y > 0 ? dy : 0, where y is the output of relu (or, equally, its input). */
export function reluGrad(n: i32, y: usize, dy: usize, dx: usize): void {
  mapSlope(RELU, n, y, dy, dx);
}

/** dx = dy·(1 − y²), where y is the output of tanh. */
export function tanhGrad(n: i32, y: usize, dy: usize, dx: usize): void {
  mapSlope(TANH, n, y, dy, dx);
}

/** dx = dy·y·(1 − y), where y is the output of sigmoid. */
export function sigmoidGrad(n: i32, y: usize, dy: usize, dx: usize): void {
  mapSlope(SIGMOID, n, y, dy, dx);
}

/** dx = dy·(Φ(x) + x·φ(x)), x the input of gelu, φ the standard normal density, Φ its integral; factor within 3e-7. */
export function geluGrad(n: i32, x: usize, dy: usize, dx: usize): void {
  mapSlope(GELU, n, x, dy, dx);
}

/** dx = dy·d geluTanh(x)/dx, from its input x; factor within 2.5e-7 (measured 2.0e-7). */
export function geluTanhGrad(n: i32, x: usize, dy: usize, dx: usize): void {
  mapSlope(GELU_TANH, n, x, dy, dx);
}

/** dx = dy/(1 + |x|)². */
export function softsignGrad(n: i32, x: usize, dy: usize, dx: usize): void {
  mapSlope(SOFTSIGN, n, x, dy, dx);
}

/** dx = dy·(x/3 + ½) inside (−3, 3), 0 below, dy above. */
export function hardSwishGrad(n: i32, x: usize, dy: usize, dx: usize): void {
  mapSlope(HARD_SWISH, n, x, dy, dx);
}

/** acc += x. */
export function accumulate(n: i32, acc: usize, x: usize): void {
  for (; n >= 8; n -= 8) {
    v128.store(acc, f32x4.add(v128.load(acc), v128.load(x)));
    v128.store(acc, f32x4.add(v128.load(acc, 16), v128.load(x, 16)), 16);
    acc += 32;
    x += 32;
  }
  for (; n > 0; n--) {
    store<f32>(acc, load<f32>(acc) + load<f32>(x));
    acc += 4;
    x += 4;
  }
}

/** y = keep·running + take·x; y may be running. */
export function runningAverage(n: i32, running: usize, x: usize, y: usize, keep: f32, take: f32): void {
  const vkeep = f32x4.splat(keep);
  const vtake = f32x4.splat(take);
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.add(f32x4.mul(vkeep, v128.load(running)), f32x4.mul(vtake, v128.load(x))));
    running += 16;
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, f32x4.add(f32x4.mul(vkeep, loadTail(running, n)), f32x4.mul(vtake, loadTail(x, n))));
}
