// The register tile of convolutions of a single sample, of filters packed by sixteens: two pixels that the same taps reach × sixteen.
// Registers and turns as in convSamplesTile.ts; here both skips count from where the turns of four k leave a pointer.
import { multiplyAdd } from './fused';
import { extended } from './lanes';

/**
 * C tile, two rows of 64 bytes (=|+=) Σ of `runs` runs of k products a[k]·b[k]: of A's rows, `second` bytes apart (0: only the first is
 * stored), and B's rows of 64 bytes. The next run of A is `aSkip` bytes behind a run's last whole four, that of B `bSkip`.
 */
export function tileOfPixels2x16(
  runs: i32, k: i32, a: usize, aSkip: usize, second: usize, b: usize, bSkip: usize, c: usize, add: bool,
): void {
  a = extended(a);
  b = extended(b);
  let e = extended(a + second);
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
      s = v128.load32_splat(e);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      c12 = multiplyAdd(s, b2, c12);
      c13 = multiplyAdd(s, b3, c13);
      if (left == 1) break;
      b0 = v128.load(b, 64);
      b1 = v128.load(b, 80);
      b2 = v128.load(b, 96);
      b3 = v128.load(b, 112);
      s = v128.load32_splat(a, 4);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      c02 = multiplyAdd(s, b2, c02);
      c03 = multiplyAdd(s, b3, c03);
      s = v128.load32_splat(e, 4);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      c12 = multiplyAdd(s, b2, c12);
      c13 = multiplyAdd(s, b3, c13);
      if (left == 2) break;
      b0 = v128.load(b, 128);
      b1 = v128.load(b, 144);
      b2 = v128.load(b, 160);
      b3 = v128.load(b, 176);
      s = v128.load32_splat(a, 8);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      c02 = multiplyAdd(s, b2, c02);
      c03 = multiplyAdd(s, b3, c03);
      s = v128.load32_splat(e, 8);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      c12 = multiplyAdd(s, b2, c12);
      c13 = multiplyAdd(s, b3, c13);
      if (left == 3) break;
      b0 = v128.load(b, 192);
      b1 = v128.load(b, 208);
      b2 = v128.load(b, 224);
      b3 = v128.load(b, 240);
      s = v128.load32_splat(a, 12);
      c00 = multiplyAdd(s, b0, c00);
      c01 = multiplyAdd(s, b1, c01);
      c02 = multiplyAdd(s, b2, c02);
      c03 = multiplyAdd(s, b3, c03);
      s = v128.load32_splat(e, 12);
      c10 = multiplyAdd(s, b0, c10);
      c11 = multiplyAdd(s, b1, c11);
      c12 = multiplyAdd(s, b2, c12);
      c13 = multiplyAdd(s, b3, c13);
      a += 16;
      e += 16;
      b += 256;
      left -= 4;
    } while (left);
    a += aSkip;
    e += aSkip;
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
  if (second == 0) return;
  v128.store(c, c10, 64);
  v128.store(c, c11, 80);
  v128.store(c, c12, 96);
  v128.store(c, c13, 112);
}
