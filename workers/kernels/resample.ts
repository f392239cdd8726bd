// Weighted sums of places along one axis, [outer, n, inner] → [outer, m, inner], and the adjoint. Tables index and weight:
// [m, taps]. An index outside 0…n − 1 traps.
import { loadTail, storeTail } from './lanes';

@inline
function placeOf(index: usize, n: i32): usize {
  const i = load<i32>(index);
  if (<u32>i >= <u32>n) unreachable();
  return <usize>i;
}

/** resample along the last axis, inner = 1: four outer places at once, so that an index is looked up once for four sums. */
function resampleLines(
  outer: i32, n: i32, m: i32, taps: i32, x: usize, index: usize, weight: usize, y: usize,
): void {
  const line = <usize>n * 4;
  const made = <usize>m * 4;
  for (; outer >= 4; outer -= 4) {
    const x1 = x + line;
    const x2 = x1 + line;
    const x3 = x2 + line;
    let at = index;
    let w = weight;
    for (let i = m; i > 0; i--) {
      let factor = load<f32>(w);
      let place = placeOf(at, n) * 4;
      let s0 = factor * load<f32>(x + place);
      let s1 = factor * load<f32>(x1 + place);
      let s2 = factor * load<f32>(x2 + place);
      let s3 = factor * load<f32>(x3 + place);
      for (let k = taps - 1; k > 0; k--) {
        at += 4;
        w += 4;
        factor = load<f32>(w);
        place = placeOf(at, n) * 4;
        s0 += factor * load<f32>(x + place);
        s1 += factor * load<f32>(x1 + place);
        s2 += factor * load<f32>(x2 + place);
        s3 += factor * load<f32>(x3 + place);
      }
      at += 4;
      w += 4;
      store<f32>(y, s0);
      store<f32>(y + made, s1);
      store<f32>(y + 2 * made, s2);
      store<f32>(y + 3 * made, s3);
      y += 4;
    }
    x += 4 * line;
    y += 3 * made;
  }
  for (; outer > 0; outer--) {
    let at = index;
    let w = weight;
    for (let i = m; i > 0; i--) {
      let sum = load<f32>(w) * load<f32>(x + placeOf(at, n) * 4);
      for (let k = taps - 1; k > 0; k--) {
        at += 4;
        w += 4;
        sum += load<f32>(w) * load<f32>(x + placeOf(at, n) * 4);
      }
      at += 4;
      w += 4;
      store<f32>(y, sum);
      y += 4;
    }
    x += line;
  }
}

/** y[o, i, :] = Σ_k weight[i, k]·x[o, index[i, k], :], the products added in ascending order of k. */
export function resample(
  outer: i32, n: i32, inner: i32, m: i32, taps: i32, x: usize, index: usize, weight: usize, y: usize,
): void {
  if (inner == 1) return resampleLines(outer, n, m, taps, x, index, weight, y);
  const row = <usize>inner * 4;
  const table = <usize>taps * 4;
  for (; outer > 0; outer--) {
    let at = index;
    let w = weight;
    for (let i = 0; i < m; i++) {
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
      at += table;
      w += table;
    }
    x += <usize>n * row;
  }
}

/** d += f · s of 1–3 elements. */
@inline
function addScaledFew(n: i32, factor: f32, f: v128, s: usize, d: usize): void {
  if (n == 1) store<f32>(d, load<f32>(d) + factor * load<f32>(s));
  else storeTail(d, n, f32x4.add(loadTail(d, n), f32x4.mul(f, loadTail(s, n))));
}

/** resampleGrad of rows of 1–3 elements into zeros: four outer places at once, so that none waits for its last sum. */
@inline
function resampleGradFew(
  inner: i32, outer: i32, n: i32, m: i32, taps: i32, dy: usize, index: usize, weight: usize, dx: usize,
): void {
  const row = <usize>inner * 4;
  const from = <usize>m * row;
  const to = <usize>n * row;
  for (; outer > 0; ) {
    const four = outer >= 4;
    let at = index;
    let w = weight;
    for (let i = m; i > 0; i--) {
      for (let k = taps; k > 0; k--) {
        const factor = load<f32>(w);
        const f = f32x4.splat(factor);
        const d = dx + placeOf(at, n) * row;
        addScaledFew(inner, factor, f, dy, d);
        if (four) {
          addScaledFew(inner, factor, f, dy + from, d + to);
          addScaledFew(inner, factor, f, dy + 2 * from, d + 2 * to);
          addScaledFew(inner, factor, f, dy + 3 * from, d + 3 * to);
        }
        at += 4;
        w += 4;
      }
      dy += row;
    }
    if (four) {
      dy += 3 * from;
      dx += 4 * to;
      outer -= 4;
    } else {
      dx += to;
      outer--;
    }
  }
}

/** dx = 0, then dx[o, index[i, k], :] += weight[i, k]·dy[o, i, :] in ascending order of i, then of k. */
export function resampleGrad(
  outer: i32, n: i32, inner: i32, m: i32, taps: i32, dy: usize, index: usize, weight: usize, dx: usize,
): void {
  const row = <usize>inner * 4;
  memory.fill(dx, 0, <usize>outer * <usize>n * row);
  if (inner == 1) return resampleGradFew(1, outer, n, m, taps, dy, index, weight, dx);
  if (inner == 2) return resampleGradFew(2, outer, n, m, taps, dy, index, weight, dx);
  if (inner == 3) return resampleGradFew(3, outer, n, m, taps, dy, index, weight, dx);
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
