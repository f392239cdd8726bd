// ln Σ eˣ along the middle axis of [outer, reduce, inner]. The maximum is taken out first, but for an infinite one: so −∞
// comes of nothing but −∞, and ∞ of any ∞. NaN propagates.
import { finiteShift, highHalf, loadTail, scaled, storeTail } from './lanes';
import { vexp, vlog } from './math';
import { BLOCK, maxRow } from './reduce';
import { NARROW } from './narrowReduce';
import { narrowLogSumExp } from './narrowSoftmax';
import { logOne, sumExp } from './softmax';

/** Up to four columns (r of them), `step` bytes a row: f32 sums over blocks of 64 rows, block totals in f64. */
@inline
function columns4(r: i32, reduce: i32, step: usize, x: usize, y: usize): void {
  let top = f32x4.splat(-Infinity);
  let xp = x;
  for (let i = 0; i < reduce; i++) {
    top = f32x4.max(top, r == 4 ? v128.load(xp) : loadTail(xp, r));
    xp += step;
  }
  const shift = finiteShift(top);
  let low = f64x2.splat(0);
  let high = low;
  while (reduce > 0) {
    let s = f32x4.splat(0);
    const block = min(reduce, BLOCK);
    for (let i = 0; i < block; i++) {
      s = f32x4.add(s, vexp(f32x4.sub(r == 4 ? v128.load(x) : loadTail(x, r), shift)));
      x += step;
    }
    reduce -= block;
    low = f64x2.add(low, f64x2.promote_low_f32x4(s));
    high = f64x2.add(high, highHalf(s));
  }
  const v = f32x4.add(vlog(scaled(low, high, f64x2.splat(1))), shift);
  if (r == 4) v128.store(y, v);
  else storeTail(y, r, v);
}

export function reduceLogSumExp(outer: i32, reduce: i32, inner: i32, x: usize, y: usize): void {
  if (inner == 1 && reduce < NARROW) {
    narrowLogSumExp(outer, reduce, x, y);
    const done = <usize>(outer & ~3);
    x += done * <usize>reduce * 4;
    y += done * 4;
    outer &= 3;
  }
  const step = <usize>inner * 4;
  for (; outer > 0; outer--) {
    if (inner == 1) {
      const top = maxRow(reduce, x);
      const shift: f32 = top == Infinity || top == -Infinity ? 0 : top;
      store<f32>(y, logOne(<f32>sumExp(reduce, x, shift)) + shift);
    } else {
      for (let k = 0; k < inner; k += 4) {
        columns4(min(inner - k, 4), reduce, step, x + <usize>k * 4, y + <usize>k * 4);
      }
    }
    x += <usize>reduce * step;
    y += step;
  }
}
