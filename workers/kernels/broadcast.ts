// The walk of functions of two operands with broadcasting, and the functions by number. Sizes d0…d3 are the output's, d3
// innermost; strides count elements, 0 repeats. The output is contiguous: four bytes an element for arithmetic, one byte
// (0 or 1) for comparisons. `op` is a constant at every call, so that inlining leaves each kernel only its own function.
import { gather4, loadTail, storeBool, storeTail } from './lanes';
import { vpow } from './pow';
import { vfmod, vmod } from './remainder';

export const ADD = 0;
export const SUB = 1;
export const MUL = 2;
export const DIV = 3;
export const POW = 4;
export const MAXIMUM = 5;
export const MINIMUM = 6;
export const MOD = 7;
export const FMOD = 8;
export const PRELU = 9;
export const ADD_I32 = 10;
export const SUB_I32 = 11;
export const MUL_I32 = 12;
export const MAXIMUM_I32 = 13;
export const MINIMUM_I32 = 14;
export const DIV_I32 = 15; // lane by lane from here on
export const MOD_I32 = 16;
export const FMOD_I32 = 17;
export const POW_I32 = 18;
export const EQUAL = 19; // comparisons from here on
export const NOT_EQUAL = 20;
export const LESS = 21;
export const LESS_EQUAL = 22;
export const GREATER = 23;
export const GREATER_EQUAL = 24;
export const EQUAL_I32 = 25;
export const LESS_I32 = 26;

/** These three are not inlined: beside their 50 to 150 instructions the call does not show. */
function power(x: v128, y: v128): v128 {
  return vpow(x, y);
}

function remainder(a: v128, b: v128): v128 {
  return vfmod(a, b);
}

function pythonRemainder(a: v128, b: v128): v128 {
  return vmod(a, b);
}

/** Towards zero; −2^31 / −1 wraps to −2^31. A zero divisor traps. */
function divide(a: i32, b: i32): i32 {
  return b == -1 ? 0 - a : a / b;
}

/** The remainder with the sign of b (Python's). A zero divisor traps. */
function modulo(a: i32, b: i32): i32 {
  const r = a % b;
  return r != 0 && (r ^ b) < 0 ? r + b : r;
}

/** Modulo 2^32. Negative exponents give 1/a^|b| towards zero: 0, but for a = ±1 (PyTorch's; 0 for a = 0 too). */
function integerPower(a: i32, b: i32): i32 {
  if (b < 0) return a == 1 ? 1 : a == -1 ? 1 - ((b & 1) << 1) : 0;
  let y = 1;
  for (; b > 0; b >>= 1) {
    if (b & 1) y *= a;
    a *= a;
  }
  return y;
}

@inline
function one(op: i32, a: i32, b: i32): i32 {
  if (op == DIV_I32) return divide(a, b);
  if (op == MOD_I32) return modulo(a, b);
  if (op == FMOD_I32) return a % b;
  return integerPower(a, b);
}

/** The first r lanes, one by one: the others hold no elements, and a zero there must not trap. */
@inline
function lanes(op: i32, r: i32, a: v128, b: v128): v128 {
  let y = i32x4.splat(one(op, i32x4.extract_lane(a, 0), i32x4.extract_lane(b, 0)));
  if (r > 1) y = i32x4.replace_lane(y, 1, one(op, i32x4.extract_lane(a, 1), i32x4.extract_lane(b, 1)));
  if (r > 2) y = i32x4.replace_lane(y, 2, one(op, i32x4.extract_lane(a, 2), i32x4.extract_lane(b, 2)));
  if (r > 3) y = i32x4.replace_lane(y, 3, one(op, i32x4.extract_lane(a, 3), i32x4.extract_lane(b, 3)));
  return y;
}

@inline
export function binary(op: i32, r: i32, a: v128, b: v128): v128 {
  if (op == ADD) return f32x4.add(a, b);
  if (op == SUB) return f32x4.sub(a, b);
  if (op == MUL) return f32x4.mul(a, b);
  if (op == DIV) return f32x4.div(a, b);
  if (op == POW) return power(a, b);
  if (op == MAXIMUM) return f32x4.max(a, b);
  if (op == MINIMUM) return f32x4.min(a, b);
  if (op == MOD) return pythonRemainder(a, b);
  if (op == FMOD) return remainder(a, b);
  if (op == PRELU) return v128.bitselect(a, f32x4.mul(a, b), f32x4.gt(a, f32x4.splat(0)));
  if (op == ADD_I32) return i32x4.add(a, b);
  if (op == SUB_I32) return i32x4.sub(a, b);
  if (op == MUL_I32) return i32x4.mul(a, b);
  if (op == MAXIMUM_I32) return i32x4.max_s(a, b);
  if (op == MINIMUM_I32) return i32x4.min_s(a, b);
  if (op >= DIV_I32 && op <= POW_I32) return lanes(op, r, a, b);
  if (op == EQUAL) return f32x4.eq(a, b);
  if (op == NOT_EQUAL) return f32x4.ne(a, b);
  if (op == LESS) return f32x4.lt(a, b);
  if (op == LESS_EQUAL) return f32x4.le(a, b);
  if (op == GREATER) return f32x4.gt(a, b);
  if (op == GREATER_EQUAL) return f32x4.ge(a, b);
  if (op == EQUAL_I32) return i32x4.eq(a, b);
  return i32x4.lt_s(a, b);
}

/** Stores the first r lanes of a result. */
@inline
function put(op: i32, y: usize, r: i32, v: v128): void {
  if (op >= EQUAL) storeBool(y, r, v);
  else if (r == 4) v128.store(y, v);
  else storeTail(y, r, v);
}

/** Innermost dimension; strides in bytes. */
@inline
function row(op: i32, n: i32, a: usize, as: usize, b: usize, bs: usize, y: usize): void {
  const step: usize = op >= EQUAL ? 4 : 16;
  if (as == 4 && bs == 4) {
    for (; n >= 4; n -= 4) {
      put(op, y, 4, binary(op, 4, v128.load(a), v128.load(b)));
      a += 16;
      b += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, n, loadTail(a, n), loadTail(b, n)));
  } else if (as == 4 && bs == 0) {
    const constant = v128.load32_splat(b);
    for (; n >= 4; n -= 4) {
      put(op, y, 4, binary(op, 4, v128.load(a), constant));
      a += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, n, loadTail(a, n), constant));
  } else if (as == 0 && bs == 4) {
    const constant = v128.load32_splat(a);
    for (; n >= 4; n -= 4) {
      put(op, y, 4, binary(op, 4, constant, v128.load(b)));
      b += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, n, constant, loadTail(b, n)));
  } else {
    for (; n > 0; n -= 4) {
      const r = min(n, 4);
      put(op, y, r, binary(op, r, gather4(a, as, r), gather4(b, bs, r)));
      a += 4 * as;
      b += 4 * bs;
      y += step;
    }
  }
}

/** A row of fewer elements spends its time on loops. */
export const NARROW_ROW = 16;
/** Periods from which on it pays to find out where the elements of one come from. */
export const MANY = 32;
/** Periods a turn: a cache line of each, of both operands and the output, stays near for its other vectors. */
export const PERIODS_A_TURN = 256;

/** Functions that take no longer than the loops. Integers are rarely broadcast, and each kernel by periods is 1.2 KB larger. */
@inline
function byPeriods(op: i32): bool {
  return op <= DIV || op == MAXIMUM || op == MINIMUM || op == PRELU || (op >= EQUAL && op <= GREATER_EQUAL);
}

/** How the four elements of a vector lie: held from the first period on, side by side, one for all, or anywhere. */
const HELD = 0;
export const VECTOR = 1;
const SPLAT = 2;
const LANES = 3;

/** Byte offset of element e of a period of rows of d3 in blocks of `block`. */
export function offsetOf(e: i32, block: i32, d3: i32, s1: i32, s2: i32, s3: i32): usize {
  const rest = <u32>e % <u32>block;
  const line = rest / <u32>d3;
  return <usize>(<i32>(<u32>e / <u32>block) * s1 + <i32>line * s2 + <i32>(rest - line * <u32>d3) * s3) * 4;
}

/** o1…o3 are offsets from the first element; `step` is that of a period. */
@inline
export function modeOf(step: usize, o1: usize, o2: usize, o3: usize): i32 {
  if (step == 0) return HELD;
  if (o1 == 4 && o2 == 8 && o3 == 12) return VECTOR;
  return o1 == 0 && o2 == 0 && o3 == 0 ? SPLAT : LANES;
}

@inline
export function lanesAt(p: usize, o1: usize, o2: usize, o3: usize): v128 {
  let v = v128.load_zero<u32>(p);
  v = v128.load_lane<u32>(p + o1, v, 1);
  v = v128.load_lane<u32>(p + o2, v, 2);
  return v128.load_lane<u32>(p + o3, v, 3);
}

@inline
export function fetch(mode: i32, held: v128, p: usize, o1: usize, o2: usize, o3: usize): v128 {
  if (mode == HELD) return held;
  if (mode == VECTOR) return v128.load(p);
  if (mode == SPLAT) return v128.load32_splat(p);
  return lanesAt(p, o1, o2, o3);
}

/** One vector of each of `count` periods. */
@inline
function vectorOfPeriods(
  op: i32, count: i32, a: usize, aStep: usize, a1: usize, a2: usize, a3: usize,
  b: usize, bStep: usize, b1: usize, b2: usize, b3: usize, y: usize, yStep: usize,
): void {
  const aMode = modeOf(aStep, a1, a2, a3);
  const bMode = modeOf(bStep, b1, b2, b3);
  const aHeld = lanesAt(a, a1, a2, a3);
  const bHeld = lanesAt(b, b1, b2, b3);
  if (aMode == VECTOR && bMode == HELD) {
    for (; count >= 2; count -= 2) {
      const first = binary(op, 4, v128.load(a), bHeld);
      const second = binary(op, 4, v128.load(a + aStep), bHeld);
      put(op, y, 4, first);
      put(op, y + yStep, 4, second);
      a += 2 * aStep;
      y += 2 * yStep;
    }
    if (count > 0) put(op, y, 4, binary(op, 4, v128.load(a), bHeld));
    return;
  }
  do {
    put(op, y, 4, binary(op, 4, fetch(aMode, aHeld, a, a1, a2, a3), fetch(bMode, bHeld, b, b1, b2, b3)));
    a += aStep;
    b += bStep;
    y += yStep;
  } while (--count);
}

/**
 * Blocks of `block` elements in rows of d3, `times` periods of so many blocks that whole vectors make one. What each vector of
 * a period takes from where is found once, and then goes from period to period.
 */
@inline
function periods(
  op: i32, times: i32, blocks: i32, block: i32, d3: i32, a: usize, a1: i32, a2: i32, a3: i32,
  b: usize, b1: i32, b2: i32, b3: i32, y: usize,
): void {
  const period = blocks * block;
  const aStep = <usize>(blocks * a1) * 4;
  const bStep = <usize>(blocks * b1) * 4;
  const yStep = <usize>period * (op >= EQUAL ? 1 : 4);
  while (times > 0) {
    const count = min(times, PERIODS_A_TURN);
    for (let e = 0; e < period; e += 4) {
      const aFirst = offsetOf(e, block, d3, a1, a2, a3);
      const bFirst = offsetOf(e, block, d3, b1, b2, b3);
      vectorOfPeriods(
        op, count,
        a + aFirst, aStep,
        offsetOf(e + 1, block, d3, a1, a2, a3) - aFirst,
        offsetOf(e + 2, block, d3, a1, a2, a3) - aFirst,
        offsetOf(e + 3, block, d3, a1, a2, a3) - aFirst,
        b + bFirst, bStep,
        offsetOf(e + 1, block, d3, b1, b2, b3) - bFirst,
        offsetOf(e + 2, block, d3, b1, b2, b3) - bFirst,
        offsetOf(e + 3, block, d3, b1, b2, b3) - bFirst,
        y + <usize>e * (op >= EQUAL ? 1 : 4), yStep,
      );
    }
    a += <usize>count * aStep;
    b += <usize>count * bStep;
    y += <usize>count * yStep;
    times -= count;
  }
}

/** Fours of rows a turn: what is read and written of them stays in the first-level cache for their other vectors. */
const FOURS_A_TURN = 64;

/**
 * Rows of d3 elements from v on, side by side, each with its one of the elements from s on; `first`: these are the left operands.
 * Four of these are one vector, of which every vector of the four rows takes the same lanes in each four.
 */
@inline
function oneEach(op: i32, first: bool, fours: i32, d3: i32, v: usize, s: usize, y: usize): void {
  const vStep = <usize>d3 * 16;
  const yStep = <usize>d3 * (op >= EQUAL ? 4 : 16);
  while (fours > 0) {
    const count = min(fours, FOURS_A_TURN);
    for (let e = 0; e < d3; e++) {
      const at = i32x4(4 * e / d3, (4 * e + 1) / d3, (4 * e + 2) / d3, (4 * e + 3) / d3);
      const bytes = i32x4.add(i32x4.mul(at, i32x4.splat(0x04040404)), i32x4.splat(0x03020100));
      let p = v + <usize>e * 16;
      let q = s;
      let to = y + <usize>e * (op >= EQUAL ? 4 : 16);
      let left = count;
      do {
        const one = v128.swizzle(v128.load(q), bytes);
        const other = v128.load(p);
        put(op, to, 4, first ? binary(op, 4, one, other) : binary(op, 4, other, one));
        p += vStep;
        q += 16;
        to += yStep;
      } while (--left);
    }
    v += <usize>count * vStep;
    s += <usize>count * 16;
    y += <usize>count * yStep;
    fours -= count;
  }
}

/** Blocks of n elements that make whole vectors: 4 / gcd(n, 4). */
@inline
export function wholeBlocks(n: i32): i32 {
  return n & 1 ? 4 : n & 2 ? 2 : 1;
}

@inline
export function broadcast(
  op: i32,
  d0: i32,
  d1: i32,
  d2: i32,
  d3: i32,
  a: usize,
  a0: i32,
  a1: i32,
  a2: i32,
  a3: i32,
  b: usize,
  b0: i32,
  b1: i32,
  b2: i32,
  b3: i32,
  y: usize,
): void {
  // Rows of one element ([…, n, 1]) would spend all their time on loops: let the next larger dimension be the row.
  for (let shift = 0; shift < 3 && d3 == 1; shift++) {
    d3 = d2;
    d2 = d1;
    d1 = d0;
    d0 = 1;
    a3 = a2;
    a2 = a1;
    a1 = a0;
    b3 = b2;
    b2 = b1;
    b1 = b0;
  }
  // Blocks of `rows` narrow rows: of one, or of all of d2 where these are few and the blocks are many.
  let rows = 1;
  let times = 0;
  let aRow = 0;
  let bRow = 0;
  const narrow = byPeriods(op) && d3 < NARROW_ROW;
  const enough = narrow && d3 > 1 && d2 >= 4 * MANY;
  const eachA = enough && a2 == 1 && a3 == 0 && b2 == d3 && b3 == 1;
  const eachB = enough && b2 == 1 && b3 == 0 && a2 == d3 && a3 == 1;
  if (eachA || eachB) {
    times = d2 / 4;
  } else if (narrow && d2 >= MANY * wholeBlocks(d3)) {
    times = d2 / wholeBlocks(d3);
  } else if (narrow && d1 >= MANY * wholeBlocks(d2 * d3)) {
    rows = d2;
    times = d1 / wholeBlocks(d2 * d3);
    aRow = a2;
    bRow = b2;
    d2 = d1;
    d1 = d0;
    d0 = 1;
    a2 = a1;
    a1 = a0;
    b2 = b1;
    b1 = b0;
  }
  const block = rows * d3;
  const blocks = eachA || eachB ? 4 : wholeBlocks(block);
  const yRow = <usize>d3 * (op >= EQUAL ? 1 : 4);
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      const aPlane = a + <usize>(i0 * a0 + i1 * a1) * 4;
      const bPlane = b + <usize>(i0 * b0 + i1 * b1) * 4;
      if (byPeriods(op) && eachA) oneEach(op, true, times, d3, bPlane, aPlane, y);
      else if (byPeriods(op) && eachB) oneEach(op, false, times, d3, aPlane, bPlane, y);
      else if (byPeriods(op) && times > 0) periods(op, times, blocks, block, d3, aPlane, a2, aRow, a3, bPlane, b2, bRow, b3, y);
      y += <usize>(times * blocks * rows) * yRow;
      for (let i2 = times * blocks; i2 < d2; i2++) {
        for (let k = 0; k < rows; k++) {
          const from = aPlane + <usize>(i2 * a2 + k * aRow) * 4;
          row(op, d3, from, <usize>a3 * 4, bPlane + <usize>(i2 * b2 + k * bRow) * 4, <usize>b3 * 4, y);
          y += yRow;
        }
      }
    }
  }
}
