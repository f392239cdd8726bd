// Windows of a volume as columns of a matrix and back:
// cols[(c, p, q, r), (i, j, k)] = x[c, i·sd − pd + p·dd, j·sh − ph + q·dh, k·sw − pw + r·dw], 0 outside the volume.
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
  C: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, cols: usize,
): void {
  const zero = f32x4.splat(0);
  for (; C > 0; C--) {
    for (let p = 0; p < kd; p++) {
      for (let q = 0; q < kh; q++) {
        for (let r = 0; r < kw; r++) {
          const offset = r * dw - pw;
          const from = firstInside(offset, sw, ow);
          const to = endInside(offset, sw, W, ow, from);
          for (let i = 0; i < od; i++) {
            const slice = i * sd - pd + p * dd;
            if (<u32>slice >= <u32>D) {
              fillRow(oh * ow, zero, cols);
              cols += <usize>(oh * ow) * 4;
              continue;
            }
            for (let j = 0; j < oh; j++) {
              const row = j * sh - ph + q * dh;
              if (<u32>row >= <u32>H) {
                fillRow(ow, zero, cols);
                cols += <usize>ow * 4;
                continue;
              }
              for (let k = 0; k < from; k++) {
                store<f32>(cols, 0);
                cols += 4;
              }
              let s = x + <usize>((slice * H + row) * W + from * sw + offset) * 4;
              if (sw == 1) {
                copyRow(to - from, s, cols);
                cols += <usize>(to - from) * 4;
              } else {
                for (let k = from; k < to; k++) {
                  store<f32>(cols, load<f32>(s));
                  cols += 4;
                  s += <usize>sw * 4;
                }
              }
              for (let k = to; k < ow; k++) {
                store<f32>(cols, 0);
                cols += 4;
              }
            }
          }
        }
      }
    }
    x += <usize>(D * H * W) * 4;
  }
}

/** x += the columns, in row-major order of cols. */
export function fromColumns(
  C: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, cols: usize, x: usize,
): void {
  for (; C > 0; C--) {
    for (let p = 0; p < kd; p++) {
      for (let q = 0; q < kh; q++) {
        for (let r = 0; r < kw; r++) {
          const offset = r * dw - pw;
          const from = firstInside(offset, sw, ow);
          const to = endInside(offset, sw, W, ow, from);
          for (let i = 0; i < od; i++) {
            const slice = i * sd - pd + p * dd;
            if (<u32>slice >= <u32>D) {
              cols += <usize>(oh * ow) * 4;
              continue;
            }
            for (let j = 0; j < oh; j++) {
              const row = j * sh - ph + q * dh;
              if (<u32>row < <u32>H) {
                let s = cols + <usize>from * 4;
                let d = x + <usize>((slice * H + row) * W + from * sw + offset) * 4;
                if (sw == 1) {
                  accumulate(to - from, d, s);
                } else {
                  for (let k = from; k < to; k++) {
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
      }
    }
    x += <usize>(D * H * W) * 4;
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
