// Products of one or two rows by rows that lie where they are (attention.ts, of few queries): nothing is packed.
import { loadTail, storeTail } from './lanes';

/** The lanes of a sum, as ((0 + 2) + (1 + 3)). */
@inline
function lanesOf(s: v128): f32 {
  s = f32x4.add(s, v128.shuffle<f32>(s, s, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.add(s, v128.shuffle<f32>(s, s, 1, 0, 3, 2)), 0);
}

/** out[j] = a·b[j], vectors of n, summed in four lanes; b's rows `bRow` bytes apart, four a turn, whose sums do not wait for each other. */
export function dots(count: i32, n: i32, a: usize, b: usize, bRow: usize, out: usize): void {
  for (; count >= 4; count -= 4) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let x = a;
    let y0 = b;
    let y2 = b + 2 * bRow;
    let left = n;
    for (; left >= 4; left -= 4) {
      const f = v128.load(x);
      s0 = f32x4.add(s0, f32x4.mul(f, v128.load(y0)));
      s1 = f32x4.add(s1, f32x4.mul(f, v128.load(y0 + bRow)));
      s2 = f32x4.add(s2, f32x4.mul(f, v128.load(y2)));
      s3 = f32x4.add(s3, f32x4.mul(f, v128.load(y2 + bRow)));
      x += 16;
      y0 += 16;
      y2 += 16;
    }
    if (left > 0) {
      const f = loadTail(x, left);
      s0 = f32x4.add(s0, f32x4.mul(f, loadTail(y0, left)));
      s1 = f32x4.add(s1, f32x4.mul(f, loadTail(y0 + bRow, left)));
      s2 = f32x4.add(s2, f32x4.mul(f, loadTail(y2, left)));
      s3 = f32x4.add(s3, f32x4.mul(f, loadTail(y2 + bRow, left)));
    }
    store<f32>(out, lanesOf(s0));
    store<f32>(out, lanesOf(s1), 4);
    store<f32>(out, lanesOf(s2), 8);
    store<f32>(out, lanesOf(s3), 12);
    b += 4 * bRow;
    out += 16;
  }
  for (; count > 0; count--) {
    let s = f32x4.splat(0);
    let x = a;
    let y = b;
    let left = n;
    for (; left >= 4; left -= 4) {
      s = f32x4.add(s, f32x4.mul(v128.load(x), v128.load(y)));
      x += 16;
      y += 16;
    }
    if (left > 0) s = f32x4.add(s, f32x4.mul(loadTail(x, left), loadTail(y, left)));
    store<f32>(out, lanesOf(s));
    b += bRow;
    out += 4;
  }
}

/** y += Σ w[j]·x[j], rows of n, in the order of j; four j a turn, between which y stays in a register. */
export function addWeighted(count: i32, n: i32, w: usize, x: usize, xRow: usize, y: usize): void {
  for (; count >= 4; count -= 4) {
    const f0 = v128.load32_splat(w);
    const f1 = v128.load32_splat(w, 4);
    const f2 = v128.load32_splat(w, 8);
    const f3 = v128.load32_splat(w, 12);
    let x0 = x;
    let x2 = x + 2 * xRow;
    let to = y;
    let left = n;
    for (; left >= 4; left -= 4) {
      let s = f32x4.add(v128.load(to), f32x4.mul(f0, v128.load(x0)));
      s = f32x4.add(s, f32x4.mul(f1, v128.load(x0 + xRow)));
      s = f32x4.add(s, f32x4.mul(f2, v128.load(x2)));
      v128.store(to, f32x4.add(s, f32x4.mul(f3, v128.load(x2 + xRow))));
      x0 += 16;
      x2 += 16;
      to += 16;
    }
    if (left > 0) {
      let s = f32x4.add(loadTail(to, left), f32x4.mul(f0, loadTail(x0, left)));
      s = f32x4.add(s, f32x4.mul(f1, loadTail(x0 + xRow, left)));
      s = f32x4.add(s, f32x4.mul(f2, loadTail(x2, left)));
      storeTail(to, left, f32x4.add(s, f32x4.mul(f3, loadTail(x2 + xRow, left))));
    }
    w += 16;
    x += 4 * xRow;
  }
  for (; count > 0; count--) {
    addScaled(n, v128.load32_splat(w), x, y);
    w += 4;
    x += xRow;
  }
}

/** y[j] += w[j]·x, rows of n `yRow` bytes apart. */
export function addOuter(count: i32, n: i32, w: usize, x: usize, y: usize, yRow: usize): void {
  for (; count > 0; count--) {
    addScaled(n, v128.load32_splat(w), x, y);
    w += 4;
    y += yRow;
  }
}

/** y += f·x, rows of n. */
@inline
function addScaled(n: i32, f: v128, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.add(v128.load(y), f32x4.mul(f, v128.load(x))));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, f32x4.add(loadTail(y, n), f32x4.mul(f, loadTail(x, n))));
}
