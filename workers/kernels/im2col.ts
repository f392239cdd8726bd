// Windows of an image as columns of a matrix and back: cols[(c, p, q), (i, j)] = x[c, i·sh − pt + p·dh, j·sw − pl + q·dw],
// 0 outside the image.
import { accumulate } from './elementwise';
import { copyRow, fillRow } from './lanes';

/** First output position whose input position (pos·stride + offset) is ≥ 0, at most `count`. */
@inline
function firstInside(offset: i32, stride: i32, count: i32): i32 {
  return offset >= 0 ? 0 : min(count, (stride - 1 - offset) / stride);
}

/** One past the last output position whose input position is < size, at least `from`. */
@inline
function endInside(offset: i32, stride: i32, size: i32, count: i32, from: i32): i32 {
  return offset >= size ? from : max(from, min(count, (size - 1 - offset) / stride + 1));
}

export function columns(
  C: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32, oh: i32, ow: i32,
  x: usize, cols: usize,
): void {
  const zero = f32x4.splat(0);
  for (; C > 0; C--) {
    for (let p = 0; p < kh; p++) {
      for (let q = 0; q < kw; q++) {
        const offset = q * dw - pl;
        const from = firstInside(offset, sw, ow);
        const to = endInside(offset, sw, W, ow, from);
        for (let i = 0; i < oh; i++) {
          const r = i * sh - pt + p * dh;
          if (<u32>r >= <u32>H) {
            fillRow(ow, zero, cols);
            cols += <usize>ow * 4;
            continue;
          }
          for (let j = 0; j < from; j++) {
            store<f32>(cols, 0);
            cols += 4;
          }
          let s = x + <usize>(r * W + from * sw + offset) * 4;
          if (sw == 1) {
            copyRow(to - from, s, cols);
            cols += <usize>(to - from) * 4;
          } else {
            for (let j = from; j < to; j++) {
              store<f32>(cols, load<f32>(s));
              cols += 4;
              s += <usize>sw * 4;
            }
          }
          for (let j = to; j < ow; j++) {
            store<f32>(cols, 0);
            cols += 4;
          }
        }
      }
    }
    x += <usize>(H * W) * 4;
  }
}

/** x += the columns, in row-major order of cols. */
export function fromColumns(
  C: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32, oh: i32, ow: i32,
  cols: usize, x: usize,
): void {
  for (; C > 0; C--) {
    for (let p = 0; p < kh; p++) {
      for (let q = 0; q < kw; q++) {
        const offset = q * dw - pl;
        const from = firstInside(offset, sw, ow);
        const to = endInside(offset, sw, W, ow, from);
        for (let i = 0; i < oh; i++) {
          const r = i * sh - pt + p * dh;
          if (<u32>r < <u32>H) {
            let s = cols + <usize>from * 4;
            let d = x + <usize>(r * W + from * sw + offset) * 4;
            if (sw == 1) {
              accumulate(to - from, d, s);
            } else {
              for (let j = from; j < to; j++) {
                store<f32>(d, load<f32>(d) + load<f32>(s));
                s += 4;
                d += <usize>sw * 4;
              }
            }
          }
          cols += <usize>ow * 4;
        }
      }
    }
    x += <usize>(H * W) * 4;
  }
}

/** y += v for n elements: a channel's bias. */
export function addIntoRow(n: i32, y: usize, v: f32): void {
  const s = f32x4.splat(v);
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.add(v128.load(y), s));
    y += 16;
  }
  for (; n > 0; n--) {
    store<f32>(y, load<f32>(y) + v);
    y += 4;
  }
}
