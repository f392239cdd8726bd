// Cross entropy from logits and class indices (i32). Scale and upstream gradient are read through pointers: they are
// tensors of one element.
import { fillRow } from './lanes';
import { maxRow, sumRow } from './reduce';
import { expRow, logOne, sumExp } from './softmax';

/**
 * out[0] = scale[0]·Σ (log Σ e^logit − logit[target]) over the rows whose target is not ignoreIndex, added in order of
 * rows in f64. Traps on a target outside 0…cols − 1.
 */
export function crossEntropy(
  rows: i32, cols: i32, logits: usize, target: usize, scale: usize, ignoreIndex: i32, out: usize,
): void {
  let total: f64 = 0;
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

/** dx = (softmax − onehot)·scale[0]·dy[0]; rows of ignoreIndex are 0. */
export function crossEntropyGrad(
  rows: i32, cols: i32, logits: usize, target: usize, scale: usize, dy: usize, ignoreIndex: i32, dx: usize,
): void {
  const factor = load<f32>(scale) * load<f32>(dy);
  for (; rows > 0; rows--) {
    const t = load<i32>(target);
    if (t == ignoreIndex) {
      fillRow(cols, f32x4.splat(0), dx);
    } else {
      if (<u32>t >= <u32>cols) unreachable();
      expRow(cols, logits, dx, maxRow(cols, logits));
      const inverse = <f32>(1 / sumRow(cols, dx));
      const hit = dx + <usize>t * 4;
      const gradient = (load<f32>(hit) * inverse - 1) * factor;
      scaleRowTwice(cols, dx, inverse, factor);
      store<f32>(hit, gradient);
    }
    logits += <usize>cols * 4;
    dx += <usize>cols * 4;
    target += 4;
  }
}
