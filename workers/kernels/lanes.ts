// Loads and stores of fewer than four lanes. Tensors lie side by side to the byte, so a kernel may touch nothing beyond
// its payload: the last 1–3 elements of an array go through these. Missing lanes read as 0 and never reach memory.

/** A pointer to 4-byte elements, unchanged; V8 sees from it that a loop's addresses need no extension to 64 bits. */
@inline
export function extended(p: usize): usize {
  return p & ~3;
}

/** The first `r` (1–3) of four 4-byte lanes. */
@inline
export function loadTail(p: usize, r: i32): v128 {
  if (r == 1) return v128.load_zero<u32>(p);
  const low = v128.load_zero<u64>(p);
  return r == 2 ? low : v128.load_lane<u32>(p, low, 2, 8);
}

@inline
export function storeTail(p: usize, r: i32, v: v128): void {
  if (r == 1) {
    v128.store_lane<u32>(p, v, 0);
    return;
  }
  v128.store_lane<u64>(p, v, 0);
  if (r == 3) v128.store_lane<u32>(p, v, 2, 8);
}

/** Four elements `step` bytes apart; with r < 4 the first r of them. */
@inline
export function gather4(p: usize, step: usize, r: i32): v128 {
  let v = v128.load_zero<u32>(p);
  if (r > 1) v = v128.load_lane<u32>(p + step, v, 1);
  if (r > 2) v = v128.load_lane<u32>(p + 2 * step, v, 2);
  if (r > 3) v = v128.load_lane<u32>(p + 3 * step, v, 3);
  return v;
}

/** The first r lanes to elements `step` bytes apart. */
@inline
export function scatter4(p: usize, step: usize, r: i32, v: v128): void {
  v128.store_lane<u32>(p, v, 0);
  if (r > 1) v128.store_lane<u32>(p + step, v, 1);
  if (r > 2) v128.store_lane<u32>(p + 2 * step, v, 2);
  if (r > 3) v128.store_lane<u32>(p + 3 * step, v, 3);
}

/** Lane mask (all ones = true) → four bool bytes; with r < 4 the first r of them. */
@inline
export function storeBool(p: usize, r: i32, mask: v128): void {
  const words = i16x8.narrow_i32x4_s(mask, mask);
  const bytes = v128.and(i8x16.narrow_i16x8_s(words, words), i8x16.splat(1));
  if (r == 4) {
    v128.store_lane<u32>(p, bytes, 0);
  } else {
    v128.store_lane<u8>(p, bytes, 0);
    if (r > 1) v128.store_lane<u8>(p, bytes, 1, 1);
    if (r > 2) v128.store_lane<u8>(p, bytes, 2, 2);
  }
}

/** Four bool bytes → lane mask (any non-zero byte = true); with r < 4 the first r of them, the rest false. */
@inline
export function loadBool(p: usize, r: i32): v128 {
  let bytes: v128;
  if (r == 4) {
    bytes = v128.load_zero<u32>(p);
  } else {
    bytes = v128.load_lane<u8>(p, i8x16.splat(0), 0);
    if (r > 1) bytes = v128.load_lane<u8>(p, bytes, 1, 1);
    if (r > 2) bytes = v128.load_lane<u8>(p, bytes, 2, 2);
  }
  const wide = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
  return i32x4.ne(wide, i32x4.splat(0));
}

/** Sum of the four lanes in f64: ((0 + 2) + (1 + 3)). */
@inline
export function sum4(v: v128): f64 {
  const pair = f64x2.add(
    f64x2.promote_low_f32x4(v),
    f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 0, 1)),
  );
  return f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1);
}

/** Lanes 2 and 3 in f64. */
@inline
export function highHalf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3));
}

/** Four f64 lanes times a scale, in f32. */
@inline
export function scaled(low: v128, high: v128, scale: v128): v128 {
  const a = f32x4.demote_f64x2_zero(f64x2.mul(low, scale));
  const b = f32x4.demote_f64x2_zero(f64x2.mul(high, scale));
  return v128.shuffle<f32>(a, b, 0, 1, 4, 5);
}

/** What is taken out before exponentials: infinite lanes become 0, NaN stays. */
@inline
export function finiteShift(v: v128): v128 {
  return v128.andnot(v, f32x4.eq(f32x4.abs(v), f32x4.splat(Infinity)));
}

/** Largest lane; NaN if any lane is NaN. */
@inline
export function max4(v: v128): f32 {
  let m = f32x4.max(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  m = f32x4.max(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
  return f32x4.extract_lane(m, 0);
}

/** Smallest lane; NaN if any lane is NaN. */
@inline
export function min4(v: v128): f32 {
  let m = f32x4.min(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  m = f32x4.min(m, v128.shuffle<f32>(m, m, 1, 0, 3, 2));
  return f32x4.extract_lane(m, 0);
}

/** 4×4 transpose of 4-byte elements; row steps in bytes. */
@inline
export function transpose4(s: usize, sStep: usize, d: usize, dStep: usize): void {
  transposeRows(s, s + sStep, s + 2 * sStep, s + 3 * sStep, d, dStep);
}

/** The same of four rows wherever they lie. */
@inline
export function transposeRows(s0: usize, s1: usize, s2: usize, s3: usize, d: usize, dStep: usize): void {
  transposeVectors(v128.load(s0), v128.load(s1), v128.load(s2), v128.load(s3), d, dStep);
}

@inline
export function transposeVectors(r0: v128, r1: v128, r2: v128, r3: v128, d: usize, dStep: usize): void {
  const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(d, v128.shuffle<i64>(t0, t2, 0, 2));
  v128.store(d + dStep, v128.shuffle<i64>(t0, t2, 1, 3));
  v128.store(d + 2 * dStep, v128.shuffle<i64>(t1, t3, 0, 2));
  v128.store(d + 3 * dStep, v128.shuffle<i64>(t1, t3, 1, 3));
}

/** The first elements of four pairs. */
@inline
export function firstOfPairs(p: usize): v128 {
  return v128.shuffle<f32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6);
}

@inline
export function secondOfPairs(p: usize): v128 {
  return v128.shuffle<f32>(v128.load(p), v128.load(p, 16), 1, 3, 5, 7);
}

/** Four elements two apart; nothing behind the fourth is read. */
@inline
export function everySecond(p: usize): v128 {
  return v128.shuffle<f32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7);
}

/** Copies n 4-byte elements between arrays that do not overlap; for rows too short to pay memory.copy's call. */
@inline
export function copyRow(n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, v128.load(x));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, loadTail(x, n));
}

/** From so many bytes on, memory.copy and memory.fill are worth their call into the host. */
export const LONG_ROW: usize = 512;

/** Copies bytes between arrays that do not overlap; size: bytes of an element. */
@inline
export function copyPart(size: usize, bytes: usize, x: usize, y: usize): void {
  if (size == 4 && bytes < LONG_ROW) copyRow(<i32>(bytes / 4), x, y);
  else memory.copy(y, x, bytes);
}

/** Fills n 4-byte elements. */
@inline
export function fillRow(n: i32, v: v128, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, v);
    y += 16;
  }
  if (n > 0) storeTail(y, n, v);
}
