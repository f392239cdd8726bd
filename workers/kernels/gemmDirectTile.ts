// The register tiles of products whose A is not packed (gemmDirect.ts). Each adds Σ_k a[i, k]·b[k, j], k ascending from 0,
// and that sum once to C. Strides in bytes. The last vector of a ragged tile's columns reaches back, so that it is whole; where
// rows are missing, `m` is how many there are, the last one stands in for them: either way the same sum is stored twice.
import { multiplyAdd } from './fused';
import { extended, loadTail, storeTail } from './lanes';

/** Two rows, contiguous ones of A, by 16 columns; four k a turn, as in gemmTile.ts. */
export function direct2x16(
  k: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  let a0 = extended(a);
  let a1 = extended(a + aRow);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s02 = f32x4.splat(0);
  let s03 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s12 = f32x4.splat(0);
  let s13 = f32x4.splat(0);
  let x: v128;
  let b0: v128;
  let b1: v128;
  let b2: v128;
  let b3: v128;
  do {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    x = v128.load32_splat(a0);
    s00 = multiplyAdd(x, b0, s00);
    s01 = multiplyAdd(x, b1, s01);
    s02 = multiplyAdd(x, b2, s02);
    s03 = multiplyAdd(x, b3, s03);
    x = v128.load32_splat(a1);
    s10 = multiplyAdd(x, b0, s10);
    s11 = multiplyAdd(x, b1, s11);
    s12 = multiplyAdd(x, b2, s12);
    s13 = multiplyAdd(x, b3, s13);
    b += bRow;
    if (k == 1) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    x = v128.load32_splat(a0, 4);
    s00 = multiplyAdd(x, b0, s00);
    s01 = multiplyAdd(x, b1, s01);
    s02 = multiplyAdd(x, b2, s02);
    s03 = multiplyAdd(x, b3, s03);
    x = v128.load32_splat(a1, 4);
    s10 = multiplyAdd(x, b0, s10);
    s11 = multiplyAdd(x, b1, s11);
    s12 = multiplyAdd(x, b2, s12);
    s13 = multiplyAdd(x, b3, s13);
    b += bRow;
    if (k == 2) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    x = v128.load32_splat(a0, 8);
    s00 = multiplyAdd(x, b0, s00);
    s01 = multiplyAdd(x, b1, s01);
    s02 = multiplyAdd(x, b2, s02);
    s03 = multiplyAdd(x, b3, s03);
    x = v128.load32_splat(a1, 8);
    s10 = multiplyAdd(x, b0, s10);
    s11 = multiplyAdd(x, b1, s11);
    s12 = multiplyAdd(x, b2, s12);
    s13 = multiplyAdd(x, b3, s13);
    b += bRow;
    if (k == 3) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    x = v128.load32_splat(a0, 12);
    s00 = multiplyAdd(x, b0, s00);
    s01 = multiplyAdd(x, b1, s01);
    s02 = multiplyAdd(x, b2, s02);
    s03 = multiplyAdd(x, b3, s03);
    x = v128.load32_splat(a1, 12);
    s10 = multiplyAdd(x, b0, s10);
    s11 = multiplyAdd(x, b1, s11);
    s12 = multiplyAdd(x, b2, s12);
    s13 = multiplyAdd(x, b3, s13);
    b += bRow;
    a0 += 16;
    a1 += 16;
    k -= 4;
  } while (k);
  const c1 = c + cRow;
  if (add) {
    s00 = f32x4.add(v128.load(c), s00);
    s01 = f32x4.add(v128.load(c, 16), s01);
    s02 = f32x4.add(v128.load(c, 32), s02);
    s03 = f32x4.add(v128.load(c, 48), s03);
    s10 = f32x4.add(v128.load(c1), s10);
    s11 = f32x4.add(v128.load(c1, 16), s11);
    s12 = f32x4.add(v128.load(c1, 32), s12);
    s13 = f32x4.add(v128.load(c1, 48), s13);
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c, s02, 32);
  v128.store(c, s03, 48);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c1, s12, 32);
  v128.store(c1, s13, 48);
}

/** Two rows by 13 to 16 columns. */
export function ragged2x16(
  cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  const last = <usize>(cols - 4) * 4;
  let a0 = extended(a);
  let a1 = extended(a0 + aRow);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s02 = f32x4.splat(0);
  let s03 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s12 = f32x4.splat(0);
  let s13 = f32x4.splat(0);
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = v128.load(b, 32);
    const b3 = v128.load(b + last);
    const x0 = v128.load32_splat(a0);
    s00 = multiplyAdd(x0, b0, s00);
    s01 = multiplyAdd(x0, b1, s01);
    s02 = multiplyAdd(x0, b2, s02);
    s03 = multiplyAdd(x0, b3, s03);
    const x1 = v128.load32_splat(a1);
    s10 = multiplyAdd(x1, b0, s10);
    s11 = multiplyAdd(x1, b1, s11);
    s12 = multiplyAdd(x1, b2, s12);
    s13 = multiplyAdd(x1, b3, s13);
    a0 += aCol;
    a1 += aCol;
    b += bRow;
  } while (--k);
  const c1 = c + cRow;
  if (add) {
    s00 = f32x4.add(v128.load(c), s00);
    s01 = f32x4.add(v128.load(c, 16), s01);
    s02 = f32x4.add(v128.load(c, 32), s02);
    s03 = f32x4.add(v128.load(c + last), s03);
    s10 = f32x4.add(v128.load(c1), s10);
    s11 = f32x4.add(v128.load(c1, 16), s11);
    s12 = f32x4.add(v128.load(c1, 32), s12);
    s13 = f32x4.add(v128.load(c1 + last), s13);
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c, s02, 32);
  v128.store(c + last, s03);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c1, s12, 32);
  v128.store(c1 + last, s13);
}

/** Two rows by 9 to 12 columns. */
export function ragged2x12(
  m: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  const last = <usize>(cols - 4) * 4;
  let a0 = extended(a);
  let a1 = extended(m > 1 ? a0 + aRow : a0);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s02 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s12 = f32x4.splat(0);
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = v128.load(b + last);
    const x0 = v128.load32_splat(a0);
    s00 = multiplyAdd(x0, b0, s00);
    s01 = multiplyAdd(x0, b1, s01);
    s02 = multiplyAdd(x0, b2, s02);
    const x1 = v128.load32_splat(a1);
    s10 = multiplyAdd(x1, b0, s10);
    s11 = multiplyAdd(x1, b1, s11);
    s12 = multiplyAdd(x1, b2, s12);
    a0 += aCol;
    a1 += aCol;
    b += bRow;
  } while (--k);
  const c1 = m > 1 ? c + cRow : c;
  if (add) {
    s00 = f32x4.add(v128.load(c), s00);
    s01 = f32x4.add(v128.load(c, 16), s01);
    s02 = f32x4.add(v128.load(c + last), s02);
    s10 = f32x4.add(v128.load(c1), s10);
    s11 = f32x4.add(v128.load(c1, 16), s11);
    s12 = f32x4.add(v128.load(c1 + last), s12);
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c + last, s02);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c1 + last, s12);
}

/** Four rows by 5 to 8 columns. */
export function ragged4x8(
  m: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  const last = <usize>(cols - 4) * 4;
  let a0 = extended(a);
  let a1 = extended(m > 1 ? a0 + aRow : a0);
  let a2 = extended(m > 2 ? a1 + aRow : a1);
  let a3 = extended(m > 3 ? a2 + aRow : a2);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b + last);
    const x0 = v128.load32_splat(a0);
    s00 = multiplyAdd(x0, b0, s00);
    s01 = multiplyAdd(x0, b1, s01);
    const x1 = v128.load32_splat(a1);
    s10 = multiplyAdd(x1, b0, s10);
    s11 = multiplyAdd(x1, b1, s11);
    const x2 = v128.load32_splat(a2);
    s20 = multiplyAdd(x2, b0, s20);
    s21 = multiplyAdd(x2, b1, s21);
    const x3 = v128.load32_splat(a3);
    s30 = multiplyAdd(x3, b0, s30);
    s31 = multiplyAdd(x3, b1, s31);
    a0 += aCol;
    a1 += aCol;
    a2 += aCol;
    a3 += aCol;
    b += bRow;
  } while (--k);
  const c1 = m > 1 ? c + cRow : c;
  const c2 = m > 2 ? c1 + cRow : c1;
  const c3 = m > 3 ? c2 + cRow : c2;
  if (add) {
    s00 = f32x4.add(v128.load(c), s00);
    s01 = f32x4.add(v128.load(c + last), s01);
    s10 = f32x4.add(v128.load(c1), s10);
    s11 = f32x4.add(v128.load(c1 + last), s11);
    s20 = f32x4.add(v128.load(c2), s20);
    s21 = f32x4.add(v128.load(c2 + last), s21);
    s30 = f32x4.add(v128.load(c3), s30);
    s31 = f32x4.add(v128.load(c3 + last), s31);
  }
  v128.store(c, s00);
  v128.store(c + last, s01);
  v128.store(c1, s10);
  v128.store(c1 + last, s11);
  v128.store(c2, s20);
  v128.store(c2 + last, s21);
  v128.store(c3, s30);
  v128.store(c3 + last, s31);
}

/** Four rows by 4 columns, or with a tail by fewer. */
@inline
function four(
  tail: bool, m: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize,
  add: bool,
): void {
  let a0 = extended(a);
  let a1 = extended(m > 1 ? a0 + aRow : a0);
  let a2 = extended(m > 2 ? a1 + aRow : a1);
  let a3 = extended(m > 3 ? a2 + aRow : a2);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  do {
    const b0 = tail ? loadTail(b, cols) : v128.load(b);
    const x0 = v128.load32_splat(a0);
    s00 = multiplyAdd(x0, b0, s00);
    const x1 = v128.load32_splat(a1);
    s10 = multiplyAdd(x1, b0, s10);
    const x2 = v128.load32_splat(a2);
    s20 = multiplyAdd(x2, b0, s20);
    const x3 = v128.load32_splat(a3);
    s30 = multiplyAdd(x3, b0, s30);
    a0 += aCol;
    a1 += aCol;
    a2 += aCol;
    a3 += aCol;
    b += bRow;
  } while (--k);
  const c1 = m > 1 ? c + cRow : c;
  const c2 = m > 2 ? c1 + cRow : c1;
  const c3 = m > 3 ? c2 + cRow : c2;
  if (add) {
    s00 = f32x4.add(tail ? loadTail(c, cols) : v128.load(c), s00);
    s10 = f32x4.add(tail ? loadTail(c1, cols) : v128.load(c1), s10);
    s20 = f32x4.add(tail ? loadTail(c2, cols) : v128.load(c2), s20);
    s30 = f32x4.add(tail ? loadTail(c3, cols) : v128.load(c3), s30);
  }
  if (tail) {
    storeTail(c, cols, s00);
    storeTail(c1, cols, s10);
    storeTail(c2, cols, s20);
    storeTail(c3, cols, s30);
    return;
  }
  v128.store(c, s00);
  v128.store(c1, s10);
  v128.store(c2, s20);
  v128.store(c3, s30);
}

/** Four rows by 4 columns. */
export function ragged4x4(
  m: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  four(false, m, 4, k, a, aRow, aCol, b, bRow, c, cRow, add);
}

/** Four rows by 1 to 3 columns. */
export function ragged4x3(
  m: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  four(true, m, cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
}

/** One row by 13 to 16 columns. */
export function ragged1x16(
  cols: i32, k: i32, a: usize, aCol: usize, b: usize, bRow: usize, c: usize, add: bool,
): void {
  const last = <usize>(cols - 4) * 4;
  let a0 = extended(a);
  b = extended(b);
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s02 = f32x4.splat(0);
  let s03 = f32x4.splat(0);
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = v128.load(b, 32);
    const b3 = v128.load(b + last);
    const x0 = v128.load32_splat(a0);
    s00 = multiplyAdd(x0, b0, s00);
    s01 = multiplyAdd(x0, b1, s01);
    s02 = multiplyAdd(x0, b2, s02);
    s03 = multiplyAdd(x0, b3, s03);
    a0 += aCol;
    b += bRow;
  } while (--k);
  if (add) {
    s00 = f32x4.add(v128.load(c), s00);
    s01 = f32x4.add(v128.load(c, 16), s01);
    s02 = f32x4.add(v128.load(c, 32), s02);
    s03 = f32x4.add(v128.load(c + last), s03);
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c, s02, 32);
  v128.store(c + last, s03);
}
