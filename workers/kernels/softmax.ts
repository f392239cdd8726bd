// Softmax and log-softmax over rows. The maximum is subtracted first; a row of nothing but −∞ gives NaN, as PyTorch's.
import { loadTail, storeTail } from './lanes';
import { vexp, vlog } from './math';
import { NARROW } from './narrowReduce';
import { narrowLogSoftmax, narrowLogSoftmaxGrad, narrowSoftmax, narrowSoftmaxGrad } from './narrowSoftmax';
import { maxRow, sumRow } from './reduce';

/** y = e^(x − shift). Four vectors a turn, as in elementwise.ts. */
export function expRow(n: i32, x: usize, y: usize, shift: f32): void {
  const m = f32x4.splat(shift);
  if (n >= 16) {
    do {
      const y0 = vexp(f32x4.sub(v128.load(x), m));
      const y1 = vexp(f32x4.sub(v128.load(x, 16), m));
      const y2 = vexp(f32x4.sub(v128.load(x, 32), m));
      const y3 = vexp(f32x4.sub(v128.load(x, 48), m));
      v128.store(y, y0);
      v128.store(y, y1, 16);
      v128.store(y, y2, 32);
      v128.store(y, y3, 48);
      x += 64;
      y += 64;
      n -= 16;
    } while (n >= 16);
  }
  for (; n >= 4; n -= 4) {
    v128.store(y, vexp(f32x4.sub(v128.load(x), m)));
    x += 16;
    y += 16;
  }
  if (n > 0) storeTail(y, n, vexp(f32x4.sub(loadTail(x, n), m)));
}

/** Σ e^(x − shift) without storing the terms; f32 vectors over blocks of 256 terms, totals in f64. */
export function sumExp(n: i32, x: usize, shift: f32): f64 {
  const m = f32x4.splat(shift);
  let total: f64 = 0;
  while (n > 0) {
    let s = f32x4.splat(0);
    let block = min(n, 256);
    n -= block;
    if (block >= 16) {
      do {
        const e0 = vexp(f32x4.sub(v128.load(x), m));
        const e1 = vexp(f32x4.sub(v128.load(x, 16), m));
        const e2 = vexp(f32x4.sub(v128.load(x, 32), m));
        const e3 = vexp(f32x4.sub(v128.load(x, 48), m));
        s = f32x4.add(f32x4.add(f32x4.add(f32x4.add(s, e0), e1), e2), e3);
        x += 64;
        block -= 16;
      } while (block >= 16);
    }
    for (; block >= 4; block -= 4) {
      s = f32x4.add(s, vexp(f32x4.sub(v128.load(x), m)));
      x += 16;
    }
    total += <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1);
    total += <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
    for (; block > 0; block--) {
      total += <f64>f32x4.extract_lane(vexp(f32x4.sub(v128.load32_splat(x), m)), 0);
      x += 4;
    }
  }
  return total;
}

/** y ·= factor. */
@inline
export function scaleRow(n: i32, y: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; n >= 16; n -= 16) {
    v128.store(y, f32x4.mul(v128.load(y), f));
    v128.store(y, f32x4.mul(v128.load(y, 16), f), 16);
    v128.store(y, f32x4.mul(v128.load(y, 32), f), 32);
    v128.store(y, f32x4.mul(v128.load(y, 48), f), 48);
    y += 64;
  }
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.mul(v128.load(y), f));
    y += 16;
  }
  for (; n > 0; n--) {
    store<f32>(y, load<f32>(y) * factor);
    y += 4;
  }
}

/** Natural logarithm of one f32, by the vector routine. */
export function logOne(x: f32): f32 {
  return f32x4.extract_lane(vlog(f32x4.splat(x)), 0);
}

export function softmax(rows: i32, cols: i32, x: usize, y: usize): void {
  if (cols < NARROW) {
    narrowSoftmax(rows, cols, x, y);
    const done = <usize>(rows & ~3) * <usize>cols * 4;
    x += done;
    y += done;
    rows &= 3;
  }
  const step = <usize>cols * 4;
  for (; rows > 0; rows--) {
    expRow(cols, x, y, maxRow(cols, x));
    scaleRow(cols, y, <f32>(1 / sumRow(cols, y)));
    x += step;
    y += step;
  }
}

/** Σ a·b in f64: f32 products, f32 vectors over blocks of 256 terms. */
export function dotRow(n: i32, a: usize, b: usize): f64 {
  let total: f64 = 0;
  while (n > 0) {
    let s = f32x4.splat(0);
    let block = min(n, 256);
    n -= block;
    for (; block >= 4; block -= 4) {
      s = f32x4.add(s, f32x4.mul(v128.load(a), v128.load(b)));
      a += 16;
      b += 16;
    }
    total += <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1);
    total += <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
    for (; block > 0; block--) {
      total += <f64>(load<f32>(a) * load<f32>(b));
      a += 4;
      b += 4;
    }
  }
  return total;
}

/** dx = y·(dy − Σ y·dy), y the output of softmax. */
export function softmaxGrad(rows: i32, cols: i32, y: usize, dy: usize, dx: usize): void {
  // Of more columns a row alone is as fast: it has no exponential, or whole vectors of them.
  if (cols <= 4) {
    narrowSoftmaxGrad(rows, cols, y, dy, dx);
    const done = <usize>(rows & ~3) * <usize>cols * 4;
    y += done;
    dy += done;
    dx += done;
    rows &= 3;
  }
  for (; rows > 0; rows--) {
    const dot = f32x4.splat(<f32>dotRow(cols, y, dy));
    let n = cols;
    for (; n >= 4; n -= 4) {
      v128.store(dx, f32x4.mul(v128.load(y), f32x4.sub(v128.load(dy), dot)));
      y += 16;
      dy += 16;
      dx += 16;
    }
    if (n > 0) {
      storeTail(dx, n, f32x4.mul(loadTail(y, n), f32x4.sub(loadTail(dy, n), dot)));
      y += <usize>n * 4;
      dy += <usize>n * 4;
      dx += <usize>n * 4;
    }
  }
}

/** y = (x − max) − log Σ e^(x − max). */
export function logSoftmax(rows: i32, cols: i32, x: usize, y: usize): void {
  if (cols < NARROW) {
    narrowLogSoftmax(rows, cols, x, y);
    const done = <usize>(rows & ~3) * <usize>cols * 4;
    x += done;
    y += done;
    rows &= 3;
  }
  for (; rows > 0; rows--) {
    const m = maxRow(cols, x);
    const top = f32x4.splat(m);
    const rest = f32x4.splat(logOne(<f32>sumExp(cols, x, m)));
    let n = cols;
    for (; n >= 4; n -= 4) {
      v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), top), rest));
      x += 16;
      y += 16;
    }
    if (n > 0) {
      storeTail(y, n, f32x4.sub(f32x4.sub(loadTail(x, n), top), rest));
      x += <usize>n * 4;
      y += <usize>n * 4;
    }
  }
}

/** dx = dy − e^y·Σ dy, y the output of logSoftmax. */
export function logSoftmaxGrad(rows: i32, cols: i32, y: usize, dy: usize, dx: usize): void {
  if (cols < 8) {
    narrowLogSoftmaxGrad(rows, cols, y, dy, dx);
    const done = <usize>(rows & ~3) * <usize>cols * 4;
    y += done;
    dy += done;
    dx += done;
    rows &= 3;
  }
  for (; rows > 0; rows--) {
    const sum = f32x4.splat(<f32>sumRow(cols, dy));
    let n = cols;
    for (; n >= 8; n -= 8) {
      const e0 = vexp(v128.load(y));
      const e1 = vexp(v128.load(y, 16));
      v128.store(dx, f32x4.sub(v128.load(dy), f32x4.mul(e0, sum)));
      v128.store(dx, f32x4.sub(v128.load(dy, 16), f32x4.mul(e1, sum)), 16);
      y += 32;
      dy += 32;
      dx += 32;
    }
    if (n >= 4) {
      v128.store(dx, f32x4.sub(v128.load(dy), f32x4.mul(vexp(v128.load(y)), sum)));
      n -= 4;
      y += 16;
      dy += 16;
      dx += 16;
    }
    if (n > 0) {
      storeTail(dx, n, f32x4.sub(loadTail(dy, n), f32x4.mul(vexp(loadTail(y, n)), sum)));
      y += <usize>n * 4;
      dy += <usize>n * 4;
      dx += <usize>n * 4;
    }
  }
}
