// Weighted sums of places along one axis, [outer, n, inner] → [outer, m, inner], and the adjoint. Tables index and weight:
// [m, taps]. An index outside 0…n − 1 traps.
import { loadTail, storeTail } from './lanes';

@inline
function placeOf(index: usize, n: i32): usize {
  const i = load<i32>(index);
  if (<u32>i >= <u32>n) unreachable();
  return <usize>i;
}

/** y[o, i, :] = Σ_k weight[i, k]·x[o, index[i, k], :], the products added in ascending order of k. */
export function resample(
  outer: i32, n: i32, inner: i32, m: i32, taps: i32, x: usize, index: usize, weight: usize, y: usize,
): void {
  const row = <usize>inner * 4;
  const table = <usize>taps * 4;
  for (; outer > 0; outer--) {
    let at = index;
    let w = weight;
    for (let i = 0; i < m; i++) {
      if (inner == 1) {
        let sum = load<f32>(w) * load<f32>(x + placeOf(at, n) * 4);
        for (let k: usize = 4; k < table; k += 4) sum += load<f32>(w + k) * load<f32>(x + placeOf(at + k, n) * 4);
        store<f32>(y, sum);
        y += 4;
      } else {
        let j = inner;
        for (let from = x; j > 0; j -= 4) {
          const r = min(j, 4);
          let sum = f32x4.splat(0);
          for (let k: usize = 0; k < table; k += 4) {
            const p = from + placeOf(at + k, n) * row;
            const term = f32x4.mul(v128.load32_splat(w + k), r == 4 ? v128.load(p) : loadTail(p, r));
            sum = k == 0 ? term : f32x4.add(sum, term);
          }
          if (r == 4) v128.store(y, sum);
          else storeTail(y, r, sum);
          y += <usize>r * 4;
          from += 16;
        }
      }
      at += table;
      w += table;
    }
    x += <usize>n * row;
  }
}

/** dx = 0, then dx[o, index[i, k], :] += weight[i, k]·dy[o, i, :] in ascending order of i, then of k. */
export function resampleGrad(
  outer: i32, n: i32, inner: i32, m: i32, taps: i32, dy: usize, index: usize, weight: usize, dx: usize,
): void {
  const row = <usize>inner * 4;
  memory.fill(dx, 0, <usize>outer * <usize>n * row);
  for (; outer > 0; outer--) {
    let at = index;
    let w = weight;
    for (let i = 0; i < m; i++) {
      for (let k = 0; k < taps; k++) {
        const factor = load<f32>(w);
        const f = f32x4.splat(factor);
        let d = dx + placeOf(at, n) * row;
        let s = dy;
        let j = inner;
        for (; j >= 4; j -= 4) {
          v128.store(d, f32x4.add(v128.load(d), f32x4.mul(f, v128.load(s))));
          d += 16;
          s += 16;
        }
        for (; j > 0; j--) {
          store<f32>(d, load<f32>(d) + factor * load<f32>(s));
          d += 4;
          s += 4;
        }
        at += 4;
        w += 4;
      }
      dy += row;
    }
    dx += <usize>n * row;
  }
}
