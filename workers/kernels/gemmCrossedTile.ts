// The register tiles of a row by a B whose columns are contiguous (gemmDirect.ts): four k of four columns at a time are turned
// around in registers. Sums and strides as in gemmDirectTile.ts; of a tile's columns the last four reach back.
import { multiplyAdd } from './fused';
import { extended, gather4, loadTail, storeTail } from './lanes';

/** s and four elements of A times four k of four columns, in ascending order. */
@inline
function turnedSum(
  p0: usize, p1: usize, p2: usize, p3: usize, a0: usize, a1: usize, a2: usize, a3: usize, s: v128,
): v128 {
  const r0 = v128.load(p0);
  const r1 = v128.load(p1);
  const r2 = v128.load(p2);
  const r3 = v128.load(p3);
  const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  s = multiplyAdd(v128.load32_splat(a0), v128.shuffle<i64>(t0, t2, 0, 2), s);
  s = multiplyAdd(v128.load32_splat(a1), v128.shuffle<i64>(t0, t2, 1, 3), s);
  const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  s = multiplyAdd(v128.load32_splat(a2), v128.shuffle<i64>(t1, t3, 0, 2), s);
  return multiplyAdd(v128.load32_splat(a3), v128.shuffle<i64>(t1, t3, 1, 3), s);
}

/** The same of columns `step` bytes apart. */
@inline
function turnedSumOf(p: usize, step: usize, a0: usize, a1: usize, a2: usize, a3: usize, s: v128): v128 {
  const q = p + 2 * step;
  return turnedSum(p, p + step, q, q + step, a0, a1, a2, a3, s);
}

/** One row by up to 4·groups columns, the last group reaching back. */
@inline
function row(
  groups: i32, cols: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  a = extended(a);
  b = extended(b);
  const four: usize = 4 * bCol;
  const last = <usize>(cols - 4) * bCol;
  const cLast = c + <usize>(cols - 4) * 4;
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  for (; k >= 4; k -= 4) {
    const a1 = a + aCol;
    const a2 = a1 + aCol;
    const a3 = a2 + aCol;
    s0 = turnedSumOf(b, bCol, a, a1, a2, a3, s0);
    if (groups > 2) s1 = turnedSumOf(b + four, bCol, a, a1, a2, a3, s1);
    if (groups > 3) s2 = turnedSumOf(b + 2 * four, bCol, a, a1, a2, a3, s2);
    s3 = turnedSumOf(b + last, bCol, a, a1, a2, a3, s3);
    a = a3 + aCol;
    b += 16;
  }
  for (; k > 0; k--) {
    const x = v128.load32_splat(a);
    s0 = multiplyAdd(x, gather4(b, bCol, 4), s0);
    if (groups > 2) s1 = multiplyAdd(x, gather4(b + four, bCol, 4), s1);
    if (groups > 3) s2 = multiplyAdd(x, gather4(b + 2 * four, bCol, 4), s2);
    s3 = multiplyAdd(x, gather4(b + last, bCol, 4), s3);
    a += aCol;
    b += 4;
  }
  if (add) {
    s0 = f32x4.add(v128.load(c), s0);
    if (groups > 2) s1 = f32x4.add(v128.load(c, 16), s1);
    if (groups > 3) s2 = f32x4.add(v128.load(c, 32), s2);
    s3 = f32x4.add(v128.load(cLast), s3);
  }
  v128.store(c, s0);
  if (groups > 2) v128.store(c, s1, 16);
  if (groups > 3) v128.store(c, s2, 32);
  v128.store(cLast, s3);
}

/** One row by 13 to 16 columns. */
export function crossed1x16(
  cols: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  row(4, cols, k, a, aCol, b, bCol, c, add);
}

/** One row by 9 to 12 columns. */
export function crossed1x12(
  cols: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  row(3, cols, k, a, aCol, b, bCol, c, add);
}

/** One row by 5 to 8 columns. */
export function crossed1x8(
  cols: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  row(2, cols, k, a, aCol, b, bCol, c, add);
}

/** One row by 1 to 4 columns. */
export function crossed1x4(
  cols: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  a = extended(a);
  b = extended(b);
  // Columns that are not there repeat the last one.
  const b1: usize = cols > 1 ? bCol : 0;
  const b2: usize = cols > 2 ? b1 + bCol : b1;
  const b3: usize = cols > 3 ? b2 + bCol : b2;
  let s = f32x4.splat(0);
  for (; k >= 4; k -= 4) {
    const a1 = a + aCol;
    const a2 = a1 + aCol;
    const a3 = a2 + aCol;
    s = turnedSum(b, b + b1, b + b2, b + b3, a, a1, a2, a3, s);
    a = a3 + aCol;
    b += 16;
  }
  for (; k > 0; k--) {
    s = multiplyAdd(v128.load32_splat(a), gather4(b, bCol, cols), s);
    a += aCol;
    b += 4;
  }
  if (cols > 3) {
    v128.store(c, add ? f32x4.add(v128.load(c), s) : s);
  } else {
    storeTail(c, cols, add ? f32x4.add(loadTail(c, cols), s) : s);
  }
}
