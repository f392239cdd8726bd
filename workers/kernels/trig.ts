// sin, cos and tan over contiguous arrays; output may be an input's own memory. x = r + q·π/2 with |r| ≤ π/4; r and the
// polynomials are computed in f64, so that only the last rounding is to f32.
import { loadTail, storeTail } from './lanes';
import { highHalf, joinHalves, lowHalf, mulAdd64, splat64 } from './math64';

const SIN = 0;
const COS = 1;
const TAN = 2;

/** 1.5·2^52: added to a small number it leaves the nearest integer in the low bits. */
const ROUND: f64 = 6755399441055744;
/** Up to here q has at most 28 bits, so that its product with the leading 25 bits of π/2 is exact. */
const MEDIUM: f64 = 268435456;

/** 32 bits of 2/π: bits 32i + 1 … 32i + 32 behind the binary point. (Code, as a kernel has no data segment.) */
function twoOverPi(i: i32): u64 {
  if (i == 0) return 0xa2f9836e;
  if (i == 1) return 0x4e441529;
  if (i == 2) return 0xfc2757d1;
  if (i == 3) return 0xf534ddc0;
  if (i == 4) return 0xdb629599;
  if (i == 5) return 0x3c439041;
  return 0xfe5163ab;
}

/** Bits p + 1 … p + 32 of 2/π. */
function window(p: i32): u64 {
  const i = p >> 5;
  return ((twoOverPi(i) << 32) | twoOverPi(i + 1)) << (p & 31) >> 32;
}

/**
 * |x|·2/π modulo 4 in units of 2^-62, for finite |x| > 2^28 (Payne and Hanek, 1983): |x| = m·2^e, and of 2/π only the 96
 * bits count that neither give multiples of 4 nor fall below m·2^-94. No such f32 comes nearer to a whole number of
 * quarter turns than 2^-29.9 (all were tried), so that 32 bits at least are left of the fraction.
 */
function quarterTurns(x: f32): u64 {
  const bits = reinterpret<u32>(x);
  const m: u64 = (bits & 0x7fffff) | 0x800000;
  const p = <i32>((bits >> 23) & 255) - 150 - 2;
  return ((m * window(p)) << 32) + m * window(p + 32) + ((m * window(p + 64)) >> 32);
}

/** q + r·2/π = x·2/π: the nearest integer q modulo 4. */
function largeQuarter(x: f32): i64 {
  const q = <i64>((quarterTurns(x) + (1 << 61)) >> 62);
  return x < 0 ? -q : q;
}

/** The rest r, in radians. */
function largeRest(x: f32): f64 {
  const turns = quarterTurns(x);
  const fraction = <i64>(turns - ((turns + (1 << 61)) >> 62 << 62));
  const r = <f64>fraction * (1.5707963267948966 / 4611686018427387904.0);
  return x < 0 ? -r : r;
}

/** Two lanes. Infinities become NaN. */
@inline
function trig2(op: i32, x: v128): v128 {
  let q = mulAdd64(x, splat64(0.6366197723675814), splat64(ROUND));
  const n = f64x2.sub(q, splat64(ROUND));
  // π/2 in two parts (Cody–Waite).
  let r = f64x2.sub(f64x2.sub(x, f64x2.mul(n, splat64(1.5707963109016418))), f64x2.mul(n, splat64(1.5893254773528196e-8)));
  const a = f64x2.abs(x);
  const large = v128.and(f64x2.gt(a, splat64(MEDIUM)), f64x2.lt(a, splat64(Infinity)));
  if (v128.any_true(large)) {
    if (i64x2.extract_lane(large, 0) != 0) {
      const x0 = <f32>f64x2.extract_lane(x, 0);
      q = i64x2.replace_lane(q, 0, largeQuarter(x0));
      r = f64x2.replace_lane(r, 0, largeRest(x0));
    }
    if (i64x2.extract_lane(large, 1) != 0) {
      const x1 = <f32>f64x2.extract_lane(x, 1);
      q = i64x2.replace_lane(q, 1, largeQuarter(x1));
      r = f64x2.replace_lane(r, 1, largeRest(x1));
    }
  }
  // Taylor's series; on |r| ≤ π/4 the next terms are below 1e-11 and 2e-10.
  const z = f64x2.mul(r, r);
  let s = mulAdd64(splat64(-1.0 / 39916800), z, splat64(1.0 / 362880));
  s = mulAdd64(s, z, splat64(-1.0 / 5040));
  s = mulAdd64(s, z, splat64(1.0 / 120));
  s = mulAdd64(s, z, splat64(-1.0 / 6));
  s = f64x2.mul(r, mulAdd64(s, z, splat64(1))); // r last: it keeps the sign of zero
  let c = mulAdd64(splat64(-1.0 / 3628800), z, splat64(1.0 / 40320));
  c = mulAdd64(c, z, splat64(-1.0 / 720));
  c = mulAdd64(c, z, splat64(1.0 / 24));
  c = mulAdd64(c, z, splat64(-0.5));
  c = mulAdd64(c, z, splat64(1));
  if (op == COS) q = i64x2.add(q, i64x2.splat(1)); // cos x = sin(x + π/2)
  const odd = i64x2.sub(i64x2.splat(0), v128.and(q, i64x2.splat(1)));
  if (op == TAN) {
    const quotient = f64x2.div(v128.bitselect(c, s, odd), v128.bitselect(s, c, odd));
    return v128.xor(quotient, i64x2.shl(q, 63));
  }
  return v128.xor(v128.bitselect(c, s, odd), i64x2.shl(v128.and(q, i64x2.splat(2)), 62));
}

@inline
function trig4(op: i32, x: v128): v128 {
  return joinHalves(trig2(op, lowHalf(x)), trig2(op, highHalf(x)));
}

@inline
function map(op: i32, n: i32, x: usize, y: usize): void {
  for (; n > 0; n -= 4) {
    if (n >= 4) v128.store(y, trig4(op, v128.load(x)));
    else storeTail(y, n, trig4(op, loadTail(x, n)));
    x += 16;
    y += 16;
  }
}

/** At most 0.51 ulp for every finite x. */
export function sin(n: i32, x: usize, y: usize): void {
  map(SIN, n, x, y);
}

/** At most 0.51 ulp for every finite x. */
export function cos(n: i32, x: usize, y: usize): void {
  map(COS, n, x, y);
}

/** At most 0.51 ulp for every finite x. */
export function tan(n: i32, x: usize, y: usize): void {
  map(TAN, n, x, y);
}
