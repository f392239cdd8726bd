// Register tiles of attention's products: 2×16 of C from rows of B packed 64 bytes apart, as gemmTile.ts has them, but from an A
// where it lies: blocks of scores are used a few times each, and packing them took as long as a quarter of a product. Turns of four
// k for the same reason as there. With cRow 0 the first row is what stays: of a single row, A's second is the first again.
import { multiplyAdd } from './fused';
import { extended, loadTail, storeTail } from './lanes';

/** C tile (=|+=) Σ_k a[row][k]·b[k], k ascending from 0; A's two rows `aRow` bytes apart. */
export function tileRows(k: i32, a: usize, aRow: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  a = extended(a);
  b = extended(b);
  let d = extended(a + aRow);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c02 = f32x4.splat(0);
  let c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c12 = f32x4.splat(0);
  let c13 = f32x4.splat(0);
  let s: v128;
  let b0: v128;
  let b1: v128;
  let b2: v128;
  let b3: v128;
  do {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(d);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    if (!--k) break;
    b0 = v128.load(b, 64);
    b1 = v128.load(b, 80);
    b2 = v128.load(b, 96);
    b3 = v128.load(b, 112);
    s = v128.load32_splat(a, 4);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(d, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    if (!--k) break;
    b0 = v128.load(b, 128);
    b1 = v128.load(b, 144);
    b2 = v128.load(b, 160);
    b3 = v128.load(b, 176);
    s = v128.load32_splat(a, 8);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(d, 8);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    if (!--k) break;
    b0 = v128.load(b, 192);
    b1 = v128.load(b, 208);
    b2 = v128.load(b, 224);
    b3 = v128.load(b, 240);
    s = v128.load32_splat(a, 12);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(d, 12);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    a += 16;
    d += 16;
    b += 256;
  } while (--k);
  const e = c + cRow;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(e), c10);
    c11 = f32x4.add(v128.load(e, 16), c11);
    c12 = f32x4.add(v128.load(e, 32), c12);
    c13 = f32x4.add(v128.load(e, 48), c13);
  }
  v128.store(e, c10);
  v128.store(e, c11, 16);
  v128.store(e, c12, 32);
  v128.store(e, c13, 48);
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
}

/** The same of A's two columns side by side: Σ_k a[k][column]·b[k], `aStep` bytes from k to k. */
export function tileColumns(k: i32, a: usize, aStep: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  a = extended(a);
  b = extended(b);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c02 = f32x4.splat(0);
  let c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c12 = f32x4.splat(0);
  let c13 = f32x4.splat(0);
  let s: v128;
  let b0: v128;
  let b1: v128;
  let b2: v128;
  let b3: v128;
  do {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    a += aStep;
    if (!--k) break;
    b0 = v128.load(b, 64);
    b1 = v128.load(b, 80);
    b2 = v128.load(b, 96);
    b3 = v128.load(b, 112);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    a += aStep;
    if (!--k) break;
    b0 = v128.load(b, 128);
    b1 = v128.load(b, 144);
    b2 = v128.load(b, 160);
    b3 = v128.load(b, 176);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    a += aStep;
    if (!--k) break;
    b0 = v128.load(b, 192);
    b1 = v128.load(b, 208);
    b2 = v128.load(b, 224);
    b3 = v128.load(b, 240);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    a += aStep;
    b += 256;
  } while (--k);
  const e = c + cRow;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(e), c10);
    c11 = f32x4.add(v128.load(e, 16), c11);
    c12 = f32x4.add(v128.load(e, 32), c12);
    c13 = f32x4.add(v128.load(e, 48), c13);
  }
  v128.store(e, c10);
  v128.store(e, c11, 16);
  v128.store(e, c12, 32);
  v128.store(e, c13, 48);
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
}

/** m × n of a tile whose rows are 64 bytes apart become, or are added to, C. */
export function spillTile(m: i32, n: i32, tile: usize, c: usize, cRow: usize, add: bool): void {
  for (; m > 0; m--) {
    let s = tile;
    let d = c;
    let left = n;
    for (; left >= 4; left -= 4) {
      v128.store(d, add ? f32x4.add(v128.load(d), v128.load(s)) : v128.load(s));
      s += 16;
      d += 16;
    }
    if (left > 0) storeTail(d, left, add ? f32x4.add(loadTail(d, left), v128.load(s)) : v128.load(s));
    tile += 64;
    c += cRow;
  }
}
