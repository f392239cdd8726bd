// Arithmetic and comparisons of f32 with broadcasting: arguments as broadcast.ts has them.
import {
  ADD, DIV, EQUAL, FMOD, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, MAXIMUM, MINIMUM, MOD, MUL, NOT_EQUAL, POW, PRELU, SUB,
  broadcast,
} from './broadcast';

export function add(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(ADD, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function sub(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(SUB, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function mul(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MUL, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function div(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(DIV, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** C's powf, at most 0.6 ulp: x^0 = 1 and 1^y = 1 even for NaN; negative^integer is real, negative^fraction NaN. */
export function pow(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(POW, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** NaN if either is NaN. */
export function maximum(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MAXIMUM, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** NaN if either is NaN. */
export function minimum(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MINIMUM, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** a − ⌊a/b⌋·b, Python's %: exact but for the last addition of b, within 0.5 ulp. NaN for b = 0 and for infinite a. */
export function mod(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(MOD, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** C's fmod, exact: the sign is a's. NaN for b = 0 and for infinite a. */
export function fmod(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(FMOD, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

/** a > 0 ? a : b·a. */
export function prelu(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(PRELU, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function equal(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(EQUAL, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function notEqual(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(NOT_EQUAL, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function less(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(LESS, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function lessEqual(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(LESS_EQUAL, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function greater(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(GREATER, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}

export function greaterEqual(
  d0: i32, d1: i32, d2: i32, d3: i32, a: usize, a0: i32, a1: i32, a2: i32, a3: i32, b: usize, b0: i32, b1: i32,
  b2: i32, b3: i32, y: usize,
): void {
  broadcast(GREATER_EQUAL, d0, d1, d2, d3, a, a0, a1, a2, a3, b, b0, b1, b2, b3, y);
}
