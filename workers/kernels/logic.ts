// Choice, logic on bool bytes (0 or 1), and conversions between f32, i32 and bool. Contiguous, except `where`.
import { gather4, loadBool, loadTail, storeBool, storeTail } from './lanes';

/** Four elements of a row: a vector, a splat or a gather; stride in bytes. */
@inline
function fetch(p: usize, step: usize, r: i32): v128 {
  if (step == 0) return v128.load32_splat(p);
  if (r == 4 && step == 4) return v128.load(p);
  return gather4(p, step, r);
}

@inline
function fetchMask(p: usize, step: usize, r: i32): v128 {
  if (step == 1) return loadBool(p, r);
  let bits = i32x4.splat(load<u8>(p));
  if (step != 0) {
    if (r > 1) bits = i32x4.replace_lane(bits, 1, load<u8>(p + step));
    if (r > 2) bits = i32x4.replace_lane(bits, 2, load<u8>(p + 2 * step));
    if (r > 3) bits = i32x4.replace_lane(bits, 3, load<u8>(p + 3 * step));
  }
  return i32x4.ne(bits, i32x4.splat(0));
}

/** y = c ? a : b for 4-byte elements, bit by bit; broadcasting as in binary.ts, c in bytes. */
export function where(
  d0: i32, d1: i32, d2: i32, d3: i32, c: usize, c0: i32, c1: i32, c2: i32, c3: i32, a: usize, a0: i32, a1: i32,
  a2: i32, a3: i32, b: usize, b0: i32, b1: i32, b2: i32, b3: i32, y: usize,
): void {
  for (let shift = 0; shift < 3 && d3 == 1; shift++) {
    d3 = d2;
    d2 = d1;
    d1 = d0;
    d0 = 1;
    c3 = c2;
    c2 = c1;
    c1 = c0;
    a3 = a2;
    a2 = a1;
    a1 = a0;
    b3 = b2;
    b2 = b1;
    b1 = b0;
  }
  const cStep = <usize>c3;
  const aStep = <usize>a3 * 4;
  const bStep = <usize>b3 * 4;
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      for (let i2 = 0; i2 < d2; i2++) {
        let cp = c + <usize>(i0 * c0 + i1 * c1 + i2 * c2);
        let ap = a + <usize>(i0 * a0 + i1 * a1 + i2 * a2) * 4;
        let bp = b + <usize>(i0 * b0 + i1 * b1 + i2 * b2) * 4;
        let n = d3;
        for (; n >= 4; n -= 4) {
          v128.store(y, v128.bitselect(fetch(ap, aStep, 4), fetch(bp, bStep, 4), fetchMask(cp, cStep, 4)));
          cp += 4 * cStep;
          ap += 4 * aStep;
          bp += 4 * bStep;
          y += 16;
        }
        if (n > 0) {
          storeTail(y, n, v128.bitselect(fetch(ap, aStep, n), fetch(bp, bStep, n), fetchMask(cp, cStep, n)));
          y += <usize>n * 4;
        }
      }
    }
  }
}

export function not(n: i32, x: usize, y: usize): void {
  for (; n >= 16; n -= 16) {
    v128.store(y, v128.xor(v128.load(x), i8x16.splat(1)));
    x += 16;
    y += 16;
  }
  for (; n > 0; n--) store<u8>(y++, load<u8>(x++) ^ 1);
}

export function and(n: i32, a: usize, b: usize, y: usize): void {
  for (; n >= 16; n -= 16) {
    v128.store(y, v128.and(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
    y += 16;
  }
  for (; n > 0; n--) store<u8>(y++, load<u8>(a++) & load<u8>(b++));
}

export function or(n: i32, a: usize, b: usize, y: usize): void {
  for (; n >= 16; n -= 16) {
    v128.store(y, v128.or(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
    y += 16;
  }
  for (; n > 0; n--) store<u8>(y++, load<u8>(a++) | load<u8>(b++));
}

export function xor(n: i32, a: usize, b: usize, y: usize): void {
  for (; n >= 16; n -= 16) {
    v128.store(y, v128.xor(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
    y += 16;
  }
  for (; n > 0; n--) store<u8>(y++, load<u8>(a++) ^ load<u8>(b++));
}

const BOOL_F32 = 0;
const BOOL_I32 = 1;
const I32_F32 = 2;
const F32_I32 = 3;
const F32_BOOL = 4;
const I32_BOOL = 5;

@inline
function cast(op: i32, n: i32, x: usize, y: usize): void {
  for (; n > 0; n -= 4) {
    const r = min(n, 4);
    let v: v128;
    if (op <= BOOL_I32) v = v128.and(loadBool(x, r), op == BOOL_F32 ? f32x4.splat(1) : i32x4.splat(1));
    else v = r == 4 ? v128.load(x) : loadTail(x, r);
    if (op == I32_F32) v = f32x4.convert_i32x4_s(v);
    if (op == F32_I32) v = i32x4.trunc_sat_f32x4_s(v);
    if (op == F32_BOOL) v = f32x4.ne(v, f32x4.splat(0));
    if (op == I32_BOOL) v = i32x4.ne(v, i32x4.splat(0));
    if (op >= F32_BOOL) storeBool(y, r, v);
    else if (r == 4) v128.store(y, v);
    else storeTail(y, r, v);
    x += op <= BOOL_I32 ? 4 : 16;
    y += op >= F32_BOOL ? 4 : 16;
  }
}

export function castBoolF32(n: i32, x: usize, y: usize): void {
  cast(BOOL_F32, n, x, y);
}

export function castBoolI32(n: i32, x: usize, y: usize): void {
  cast(BOOL_I32, n, x, y);
}

export function castI32F32(n: i32, x: usize, y: usize): void {
  cast(I32_F32, n, x, y);
}

/** Towards zero; out of range saturates, NaN gives 0. */
export function castF32I32(n: i32, x: usize, y: usize): void {
  cast(F32_I32, n, x, y);
}

/** NaN is true. */
export function castF32Bool(n: i32, x: usize, y: usize): void {
  cast(F32_BOOL, n, x, y);
}

export function castI32Bool(n: i32, x: usize, y: usize): void {
  cast(I32_BOOL, n, x, y);
}
