// The register tiles of gemm: 2×16 and 2×8 of C from packed A ([k][2]) and rows of B. V8 has 15 usable vector registers
// and hoists a block's loads above its arithmetic, so rows + columns/4 + their product + 1 must stay within 15; A is read by
// load_splat. Where B is packed too, a turn of the loop is four k: the exits between them end V8's blocks, so that no load of
// the next k takes a register of this one. Exported as functions of their own: inlined into the caller the counter would spill.
import { multiplyAdd } from './fused';
import { extended } from './lanes';

/** C tile (=|+=) Σ_k a[k]·b[k], k ascending from 0; B packed, 64 bytes a row. */
export function tile2x16(k: i32, a: usize, b: usize, c: usize, ldc: usize, add: bool): void {
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
    a += 8;
    if (k == 1) break;
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
    a += 8;
    if (k == 2) break;
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
    a += 8;
    if (k == 3) break;
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
    a += 8;
    b += 256;
    k -= 4;
  } while (k);
  const d = c + ldc;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(d), c10);
    c11 = f32x4.add(v128.load(d, 16), c11);
    c12 = f32x4.add(v128.load(d, 32), c12);
    c13 = f32x4.add(v128.load(d, 48), c13);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
  v128.store(d, c10);
  v128.store(d, c11, 16);
  v128.store(d, c12, 32);
  v128.store(d, c13, 48);
}

/** The same of B as it is: `bStep` bytes from row to row. */
export function tile2x16of(k: i32, a: usize, b: usize, bStep: usize, c: usize, ldc: usize, add: bool): void {
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
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = v128.load(b, 32);
    const b3 = v128.load(b, 48);
    const a0 = v128.load32_splat(a);
    c00 = multiplyAdd(a0, b0, c00);
    c01 = multiplyAdd(a0, b1, c01);
    c02 = multiplyAdd(a0, b2, c02);
    c03 = multiplyAdd(a0, b3, c03);
    const a1 = v128.load32_splat(a, 4);
    c10 = multiplyAdd(a1, b0, c10);
    c11 = multiplyAdd(a1, b1, c11);
    c12 = multiplyAdd(a1, b2, c12);
    c13 = multiplyAdd(a1, b3, c13);
    b += bStep;
    a += 8;
  } while (--k);
  const d = c + ldc;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(d), c10);
    c11 = f32x4.add(v128.load(d, 16), c11);
    c12 = f32x4.add(v128.load(d, 32), c12);
    c13 = f32x4.add(v128.load(d, 48), c13);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
  v128.store(d, c10);
  v128.store(d, c11, 16);
  v128.store(d, c12, 32);
  v128.store(d, c13, 48);
}

/** The same of B whose rows lie at b + places[k]. With ldc 0 the first row is what stays. */
export function tile2x16at(k: i32, a: usize, b: usize, places: usize, c: usize, ldc: usize, add: bool): void {
  a = extended(a);
  places = extended(places);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c02 = f32x4.splat(0);
  let c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c12 = f32x4.splat(0);
  let c13 = f32x4.splat(0);
  let row: usize;
  let s: v128;
  let b0: v128;
  let b1: v128;
  let b2: v128;
  let b3: v128;
  do {
    row = b + <usize>load<i32>(places);
    b0 = v128.load(row);
    b1 = v128.load(row, 16);
    b2 = v128.load(row, 32);
    b3 = v128.load(row, 48);
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
    a += 8;
    if (k == 1) break;
    row = b + <usize>load<i32>(places, 4);
    b0 = v128.load(row);
    b1 = v128.load(row, 16);
    b2 = v128.load(row, 32);
    b3 = v128.load(row, 48);
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
    a += 8;
    if (k == 2) break;
    row = b + <usize>load<i32>(places, 8);
    b0 = v128.load(row);
    b1 = v128.load(row, 16);
    b2 = v128.load(row, 32);
    b3 = v128.load(row, 48);
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
    a += 8;
    if (k == 3) break;
    row = b + <usize>load<i32>(places, 12);
    b0 = v128.load(row);
    b1 = v128.load(row, 16);
    b2 = v128.load(row, 32);
    b3 = v128.load(row, 48);
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
    a += 8;
    places += 16;
    k -= 4;
  } while (k);
  const d = c + ldc;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(d), c10);
    c11 = f32x4.add(v128.load(d, 16), c11);
    c12 = f32x4.add(v128.load(d, 32), c12);
    c13 = f32x4.add(v128.load(d, 48), c13);
  }
  v128.store(d, c10);
  v128.store(d, c11, 16);
  v128.store(d, c12, 32);
  v128.store(d, c13, 48);
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
}

/** One row of C; A still packed in pairs. */
export function tile1x16(k: i32, a: usize, b: usize, bStep: usize, c: usize, add: bool): void {
  a = extended(a);
  b = extended(b);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let c2 = f32x4.splat(0);
  let c3 = f32x4.splat(0);
  do {
    const a0 = v128.load32_splat(a);
    c0 = multiplyAdd(a0, v128.load(b), c0);
    c1 = multiplyAdd(a0, v128.load(b, 16), c1);
    c2 = multiplyAdd(a0, v128.load(b, 32), c2);
    c3 = multiplyAdd(a0, v128.load(b, 48), c3);
    b += bStep;
    a += 8;
  } while (--k);
  if (add) {
    c0 = f32x4.add(v128.load(c), c0);
    c1 = f32x4.add(v128.load(c, 16), c1);
    c2 = f32x4.add(v128.load(c, 32), c2);
    c3 = f32x4.add(v128.load(c, 48), c3);
  }
  v128.store(c, c0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
}

/** Eight columns of packed B, 32 bytes a row. */
export function tile2x8(k: i32, a: usize, b: usize, c: usize, ldc: usize, add: bool): void {
  a = extended(a);
  b = extended(b);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let s: v128;
  let b0: v128;
  let b1: v128;
  do {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    a += 8;
    if (k == 1) break;
    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    a += 8;
    if (k == 2) break;
    b0 = v128.load(b, 64);
    b1 = v128.load(b, 80);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    a += 8;
    if (k == 3) break;
    b0 = v128.load(b, 96);
    b1 = v128.load(b, 112);
    s = v128.load32_splat(a);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    a += 8;
    b += 128;
    k -= 4;
  } while (k);
  const d = c + ldc;
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c10 = f32x4.add(v128.load(d), c10);
    c11 = f32x4.add(v128.load(d, 16), c11);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(d, c10);
  v128.store(d, c11, 16);
}
