// Running sums along the middle axis of [outer, size, inner], in the order of the axis (from its end where reverse is 1).
// exclusive 1: each sum leaves out its own entry.
import { highHalf, loadTail, scaled, storeTail } from './lanes';

/** The sums of f32 are carried in f64 and rounded once each. */
export function cumSum(outer: i32, size: i32, inner: i32, exclusive: i32, reverse: i32, x: usize, y: usize): void {
  const row = <usize>inner * 4;
  const block = <usize>size * row;
  // Address arithmetic wraps around: a step back is a large step forward.
  const step = reverse ? <usize>0 - row : row;
  const first = reverse ? block - row : 0;
  const one = f64x2.splat(1);
  for (; outer > 0; outer--) {
    if (inner == 1) {
      let total: f64 = 0;
      let at = first;
      for (let i = 0; i < size; i++) {
        const next = total + <f64>load<f32>(x + at);
        store<f32>(y + at, <f32>(exclusive ? total : next));
        total = next;
        at += step;
      }
    } else {
      for (let k = 0; k < inner; k += 4) {
        const r = min(inner - k, 4);
        let low = f64x2.splat(0);
        let high = low;
        let at = first + <usize>k * 4;
        for (let i = 0; i < size; i++) {
          const v = r == 4 ? v128.load(x + at) : loadTail(x + at, r);
          const nextLow = f64x2.add(low, f64x2.promote_low_f32x4(v));
          const nextHigh = f64x2.add(high, highHalf(v));
          const sums = exclusive ? scaled(low, high, one) : scaled(nextLow, nextHigh, one);
          if (r == 4) v128.store(y + at, sums);
          else storeTail(y + at, r, sums);
          low = nextLow;
          high = nextHigh;
          at += step;
        }
      }
    }
    x += block;
    y += block;
  }
}

/** The sums of i32 wrap around. */
export function cumSumI32(outer: i32, size: i32, inner: i32, exclusive: i32, reverse: i32, x: usize, y: usize): void {
  const row = <usize>inner * 4;
  const block = <usize>size * row;
  const step = reverse ? <usize>0 - row : row;
  const first = reverse ? block - row : 0;
  for (; outer > 0; outer--) {
    for (let k = 0; k < inner; k += 4) {
      const r = min(inner - k, 4);
      let total = i32x4.splat(0);
      let at = first + <usize>k * 4;
      for (let i = 0; i < size; i++) {
        const next = i32x4.add(total, r == 4 ? v128.load(x + at) : loadTail(x + at, r));
        const sums = exclusive ? total : next;
        if (r == 4) v128.store(y + at, sums);
        else storeTail(y + at, r, sums);
        total = next;
        at += step;
      }
    }
    x += block;
    y += block;
  }
}
