// The register tiles of sums over runs of products: of a pixel's taps where convolutions have samples for lanes (two outputs ×
// sixteen samples, or four × eight), of a tap's pixels in weights' gradients of several samples. Registers and turns as in
// gemmTile.ts; the skips between runs count from where the turns of four k leave B.
import { multiplyAdd } from './fused';
import { extended } from './lanes';

/**
 * C tile, two rows of 64 bytes (=|+=) Σ of `runs` runs of k products a[k]·b[k]: of A packed in pairs and B's rows of 64 bytes.
 * The next run of A is `aSkip` bytes behind a run's end, that of B `bSkip` behind its last whole four.
 */
export function tileOfRuns2x16(
  runs: i32, k: i32, a: usize, aSkip: usize, b: usize, bSkip: usize, c: usize, add: bool,
): void {
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
    let left = k;
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
      if (left == 1) break;
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
      if (left == 2) break;
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
      if (left == 3) break;
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
      left -= 4;
    } while (left);
    a += aSkip;
    b += bSkip;
  } while (--runs);
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(c, 64), c10);
    c11 = f32x4.add(v128.load(c, 80), c11);
    c12 = f32x4.add(v128.load(c, 96), c12);
    c13 = f32x4.add(v128.load(c, 112), c13);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
  v128.store(c, c10, 64);
  v128.store(c, c11, 80);
  v128.store(c, c12, 96);
  v128.store(c, c13, 112);
}

/** The same of four outputs, A's second pair `pair` bytes behind its first, and B's rows of 32 bytes: C's are four of 32. */
export function tileOfRuns4x8(
  runs: i32, k: i32, a: usize, aSkip: usize, pair: usize, b: usize, bSkip: usize, c: usize, add: bool,
): void {
  a = extended(a);
  b = extended(b);
  let e = extended(a + pair);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  let s: v128;
  let b0: v128;
  let b1: v128;
  do {
    let left = k;
    do {
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      s = v128.load32_splat(a);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      s = v128.load32_splat(a, 4);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      s = v128.load32_splat(e);
      c20 = multiplyAdd(s, b0, c20);
      c21 = multiplyAdd(s, b1, c21);
      s = v128.load32_splat(e, 4);
      c30 = multiplyAdd(s, b0, c30);
      c31 = multiplyAdd(s, b1, c31);
      a += 8;
      e += 8;
      if (left == 1) break;
      b0 = v128.load(b, 32);
      b1 = v128.load(b, 48);
      s = v128.load32_splat(a);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      s = v128.load32_splat(a, 4);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      s = v128.load32_splat(e);
      c20 = multiplyAdd(s, b0, c20);
      c21 = multiplyAdd(s, b1, c21);
      s = v128.load32_splat(e, 4);
      c30 = multiplyAdd(s, b0, c30);
      c31 = multiplyAdd(s, b1, c31);
      a += 8;
      e += 8;
      if (left == 2) break;
      b0 = v128.load(b, 64);
      b1 = v128.load(b, 80);
      s = v128.load32_splat(a);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      s = v128.load32_splat(a, 4);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      s = v128.load32_splat(e);
      c20 = multiplyAdd(s, b0, c20);
      c21 = multiplyAdd(s, b1, c21);
      s = v128.load32_splat(e, 4);
      c30 = multiplyAdd(s, b0, c30);
      c31 = multiplyAdd(s, b1, c31);
      a += 8;
      e += 8;
      if (left == 3) break;
      b0 = v128.load(b, 96);
      b1 = v128.load(b, 112);
      s = v128.load32_splat(a);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      s = v128.load32_splat(a, 4);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      s = v128.load32_splat(e);
      c20 = multiplyAdd(s, b0, c20);
      c21 = multiplyAdd(s, b1, c21);
      s = v128.load32_splat(e, 4);
      c30 = multiplyAdd(s, b0, c30);
      c31 = multiplyAdd(s, b1, c31);
      a += 8;
      e += 8;
      b += 128;
      left -= 4;
    } while (left);
    a += aSkip;
    e += aSkip;
    b += bSkip;
  } while (--runs);
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c10 = f32x4.add(v128.load(c, 32), c10);
    c11 = f32x4.add(v128.load(c, 48), c11);
    c20 = f32x4.add(v128.load(c, 64), c20);
    c21 = f32x4.add(v128.load(c, 80), c21);
    c30 = f32x4.add(v128.load(c, 96), c30);
    c31 = f32x4.add(v128.load(c, 112), c31);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c10, 32);
  v128.store(c, c11, 48);
  v128.store(c, c20, 64);
  v128.store(c, c21, 80);
  v128.store(c, c30, 96);
  v128.store(c, c31, 112);
}
