// Binary functions and comparisons with broadcasting. Sizes d0…d3 are the output's, d3 innermost; strides count elements,
// 0 repeats. The output is contiguous: f32 for arithmetic, one byte (0 or 1) for comparisons.
import { gather4, loadTail, storeBool, storeTail } from './lanes';
import { vpow } from './pow';

const ADD = 0;
const SUB = 1;
const MUL = 2;
const DIV = 3;
const POW = 4;
const MAXIMUM = 5;
const MINIMUM = 6;
const EQUAL = 7; // comparisons from here on
const NOT_EQUAL = 8;
const LESS = 9;
const LESS_EQUAL = 10;
const GREATER = 11;
const GREATER_EQUAL = 12;
const EQUAL_I32 = 13;
const LESS_I32 = 14;

/** Not inlined: beside its 150 instructions the call does not show. */
function power(x: v128, y: v128): v128 {
  return vpow(x, y);
}

@inline
function binary(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return f32x4.add(a, b);
  if (op == SUB) return f32x4.sub(a, b);
  if (op == MUL) return f32x4.mul(a, b);
  if (op == DIV) return f32x4.div(a, b);
  if (op == POW) return power(a, b);
  if (op == MAXIMUM) return f32x4.max(a, b);
  if (op == MINIMUM) return f32x4.min(a, b);
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
      put(op, y, 4, binary(op, v128.load(a), v128.load(b)));
      a += 16;
      b += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, loadTail(a, n), loadTail(b, n)));
  } else if (as == 4 && bs == 0) {
    const constant = v128.load32_splat(b);
    for (; n >= 4; n -= 4) {
      put(op, y, 4, binary(op, v128.load(a), constant));
      a += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, loadTail(a, n), constant));
  } else if (as == 0 && bs == 4) {
    const constant = v128.load32_splat(a);
    for (; n >= 4; n -= 4) {
      put(op, y, 4, binary(op, constant, v128.load(b)));
      b += 16;
      y += step;
    }
    if (n > 0) put(op, y, n, binary(op, constant, loadTail(b, n)));
  } else {
    for (; n > 0; n -= 4) {
      const r = min(n, 4);
      put(op, y, r, binary(op, gather4(a, as, r), gather4(b, bs, r)));
      a += 4 * as;
      b += 4 * bs;
      y += step;
    }
  }
}

@inline
function broadcast(
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
  const yRow = <usize>d3 * (op >= EQUAL ? 1 : 4);
  for (let i0 = 0; i0 < d0; i0++) {
    let aPlane = a;
    let bPlane = b;
    for (let i1 = 0; i1 < d1; i1++) {
      let aRow = aPlane;
      let bRow = bPlane;
      for (let i2 = 0; i2 < d2; i2++) {
        row(op, d3, aRow, <usize>a3 * 4, bRow, <usize>b3 * 4, y);
        aRow += <usize>a2 * 4;
        bRow += <usize>b2 * 4;
        y += yRow;
      }
      aPlane += <usize>a1 * 4;
      bPlane += <usize>b1 * 4;
    }
    a += <usize>a0 * 4;
    b += <usize>b0 * 4;
  }
}

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
