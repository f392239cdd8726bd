// Cross entropy from logits and class indices (i32). Scale and upstream gradient are read through pointers: they are
// tensors of one element.
import { fillRow, firstOfPairs, gather4, scatter4, secondOfPairs } from './lanes';
import { vexp, vlog } from './math';
import { maxRow, sumRow } from './reduce';
import { expRow, logOne, sumExp } from './softmax';

/**
 * Up to so many classes four rows go side by side, a row a lane, which adds its exponentials in f32 in the order of classes.
 * More classes are added in another order: the bits of a loss depend on this number.
 */
const MOST_NARROW: i32 = 16;

/** The largest of each of r (1–4) rows; of missing rows 0. */
@inline
function maxOfRows(r: i32, cols: i32, x: usize): v128 {
  const step = <usize>cols * 4;
  let m = gather4(x, step, r);
  for (let c = 1; c < cols; c++) {
    x += 4;
    m = f32x4.max(m, gather4(x, step, r));
  }
  return m;
}

/** Σ of `crossEntropy` before it is scaled; exponentials are added in f32 in the order of classes, not as in `sumExp`. */
function narrowCrossEntropy(rows: i32, cols: i32, logits: usize, target: usize, ignoreIndex: i32): f64 {
  const step = <usize>cols * 4;
  let total: f64 = 0;
  do {
    const r = min(rows, 4);
    let m: v128;
    let s: v128;
    if (cols == 2 && r == 4) {
      const a = firstOfPairs(logits);
      const b = secondOfPairs(logits);
      m = f32x4.max(a, b);
      s = f32x4.add(vexp(f32x4.sub(a, m)), vexp(f32x4.sub(b, m)));
    } else {
      m = maxOfRows(r, cols, logits);
      s = f32x4.splat(0);
      let x = logits;
      let left = cols;
      do {
        s = f32x4.add(s, vexp(f32x4.sub(gather4(x, step, r), m)));
        x += 4;
      } while (--left);
    }
    // Largest and logarithm of each row, in turn.
    let tops = m;
    let rests = vlog(s);
    for (let i = 0; i < r; i++) {
      const t = load<i32>(target);
      if (t != ignoreIndex) {
        if (<u32>t >= <u32>cols) unreachable();
        const top = <f64>f32x4.extract_lane(tops, 0);
        total += top - <f64>load<f32>(logits + <usize>t * 4) + <f64>f32x4.extract_lane(rests, 0);
      }
      tops = v128.shuffle<u32>(tops, tops, 1, 2, 3, 0);
      rests = v128.shuffle<u32>(rests, rests, 1, 2, 3, 0);
      logits += step;
      target += 4;
    }
    rows -= 4;
  } while (rows > 0);
  return total;
}

/**
 * out[0] = scale[0]·Σ (log Σ e^logit − logit[target]) over the rows whose target is not ignoreIndex, added in order of
 * rows in f64. The exponentials of a row are added in the order of classes up to MOST_NARROW of them, beyond as in `sumExp`:
 * MOST_NARROW is part of the order of the sum. Traps on a target outside 0…cols − 1.
 */
export function crossEntropy(
  rows: i32, cols: i32, logits: usize, target: usize, scale: usize, ignoreIndex: i32, out: usize,
): void {
  let total: f64 = 0;
  if (cols <= MOST_NARROW) {
    total = narrowCrossEntropy(rows, cols, logits, target, ignoreIndex);
    rows = 0;
  }
  for (; rows > 0; rows--) {
    const t = load<i32>(target);
    if (t != ignoreIndex) {
      if (<u32>t >= <u32>cols) unreachable();
      const m = maxRow(cols, logits);
      const rest = logOne(<f32>sumExp(cols, logits, m));
      total += <f64>m - <f64>load<f32>(logits + <usize>t * 4) + <f64>rest;
    }
    logits += <usize>cols * 4;
    target += 4;
  }
  store<f32>(out, <f32>(total * <f64>load<f32>(scale)));
}

/** x·first, rounded, ·second. */
function scaleRowTwice(n: i32, x: usize, first: f32, second: f32): void {
  const p = f32x4.splat(first);
  const q = f32x4.splat(second);
  for (; n >= 8; n -= 8) {
    v128.store(x, f32x4.mul(f32x4.mul(v128.load(x), p), q));
    v128.store(x, f32x4.mul(f32x4.mul(v128.load(x, 16), p), q), 16);
    x += 32;
  }
  for (; n > 0; n--) {
    store<f32>(x, load<f32>(x) * first * second);
    x += 4;
  }
}

/** e^(logit − the row's largest) of r (1–4) rows to dx; returns what each row's softmax is multiplied by. */
@inline
function expOfRows(r: i32, cols: i32, x: usize, dx: usize): v128 {
  const step = <usize>cols * 4;
  const m = maxOfRows(r, cols, x);
  let s = f32x4.splat(0);
  for (let c = 0; c < cols; c++) {
    const e = vexp(f32x4.sub(gather4(x, step, r), m));
    s = f32x4.add(s, e);
    scatter4(dx, step, r, e);
    x += 4;
    dx += 4;
  }
  return f32x4.div(f32x4.splat(1), s);
}

/** A row of `crossEntropyGrad` whose dx holds e^(logit − largest). */
@inline
function gradientOfRow(cols: i32, t: i32, inverse: f32, factor: f32, dx: usize): void {
  if (<u32>t >= <u32>cols) unreachable();
  const hit = dx + <usize>t * 4;
  const gradient = (load<f32>(hit) * inverse - 1) * factor;
  scaleRowTwice(cols, dx, inverse, factor);
  store<f32>(hit, gradient);
}

function narrowCrossEntropyGrad(
  rows: i32, cols: i32, logits: usize, target: usize, factor: f32, ignoreIndex: i32, dx: usize,
): void {
  const step = <usize>cols * 4;
  for (; rows > 0; rows -= 4) {
    const r = min(rows, 4);
    let inverses = expOfRows(r, cols, logits, dx);
    for (let i = 0; i < r; i++) {
      const t = load<i32>(target);
      if (t == ignoreIndex) fillRow(cols, f32x4.splat(0), dx);
      else gradientOfRow(cols, t, f32x4.extract_lane(inverses, 0), factor, dx);
      inverses = v128.shuffle<u32>(inverses, inverses, 1, 2, 3, 0);
      dx += step;
      target += 4;
    }
    logits += <usize>r * step;
  }
}

/**
 * dx = (softmax − onehot)·scale[0]·dy[0]; rows of ignoreIndex are 0. The exponentials of a row are added in f32 in the order of
 * classes up to MOST_NARROW of them, beyond as in `sumRow`: MOST_NARROW is part of the order of the sum.
 */
export function crossEntropyGrad(
  rows: i32, cols: i32, logits: usize, target: usize, scale: usize, dy: usize, ignoreIndex: i32, dx: usize,
): void {
  const factor = load<f32>(scale) * load<f32>(dy);
  if (cols <= MOST_NARROW) {
    narrowCrossEntropyGrad(rows, cols, logits, target, factor, ignoreIndex, dx);
    return;
  }
  for (; rows > 0; rows--) {
    const t = load<i32>(target);
    if (t == ignoreIndex) {
      fillRow(cols, f32x4.splat(0), dx);
    } else {
      expRow(cols, logits, dx, maxRow(cols, logits));
      gradientOfRow(cols, t, <f32>(1 / sumRow(cols, dx)), factor, dx);
    }
    logits += <usize>cols * 4;
    dx += <usize>cols * 4;
    target += 4;
  }
}
