// Logic on bool bytes (0 or 1), and conversions between f32, i32 and bool. All contiguous.
import { loadBool, loadTail, storeBool, storeTail } from './lanes';

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
