// Arithmetic and comparisons of i32. Results wrap modulo 2^32, as PyTorch's. Binary ones broadcast, with arguments as
// broadcast.ts has them; unary ones are contiguous, and their output may be the input's own memory.
import {
  ADD_I32, DIV_I32, EQUAL_I32, FMOD_I32, LESS_I32, MAXIMUM_I32, MINIMUM_I32, MOD_I32, MUL_I32, POW_I32, SUB_I32, broadcast,
} from './broadcast';
import { loadTail, storeTail } from './lanes';

export function addI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(ADD_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function subI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(SUB_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function mulI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MUL_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** Towards zero; −2^31 / −1 wraps to −2^31. A zero divisor traps. */
export function divI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(DIV_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** The remainder with the sign of b (Python's). A zero divisor traps. */
export function modI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MOD_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** The remainder with the sign of a (C's). A zero divisor traps. */
export function fmodI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(FMOD_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** a^b modulo 2^32; for b < 0 it is 0, but for a = ±1. */
export function powI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(POW_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function maximumI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MAXIMUM_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function minimumI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MINIMUM_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function equalI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(EQUAL_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function lessI32(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(LESS_I32, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

const NEG = 0;
const ABS = 1;
const SIGN = 2;

@inline
function unary(op: i32, x: v128): v128 {
  if (op == NEG) return i32x4.neg(x);
  if (op == ABS) return i32x4.abs(x);
  return i32x4.max_s(i32x4.min_s(x, i32x4.splat(1)), i32x4.splat(-1));
}

@inline
function map(op: i32, n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, unary(op, v128.load(x)));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, unary(op, loadTail(x, n)));
}

/** −2^31 stays. */
export function negI32(n: i32, x: usize, y: usize): void {
  map(NEG, n, x, y);
}

/** −2^31 stays. */
export function absI32(n: i32, x: usize, y: usize): void {
  map(ABS, n, x, y);
}

export function signI32(n: i32, x: usize, y: usize): void {
  map(SIGN, n, x, y);
}

/** min(max(x, low), high): high where the bounds cross. */
export function clipI32(n: i32, x: usize, y: usize, low: i32, high: i32): void {
  const low4 = i32x4.splat(low);
  const high4 = i32x4.splat(high);
  for (; n >= 4; n -= 4) {
    v128.store(y, i32x4.min_s(i32x4.max_s(v128.load(x), low4), high4));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, i32x4.min_s(i32x4.max_s(loadTail(x, n), low4), high4));
}
