// Samples as lanes: a group of up to sixteen samples as [pixel][channel][lanes], so that a tap of a pixel is a run of rows
// that a register tile takes where they lie, whatever the image's width.
import { transposeVectors } from './lanes';

/** Four pixels of four samples, of which `n` pixels and `m` samples exist; the lanes of others are 0. */
@inline
function packQuad(n: i32, m: i32, x: usize, step: usize, out: usize, row: usize): void {
  const zero = f32x4.splat(0);
  if (n >= 4) {
    const v1 = m > 1 ? v128.load(x + step) : zero;
    const v2 = m > 2 ? v128.load(x + 2 * step) : zero;
    transposeVectors(v128.load(x), v1, v2, m > 3 ? v128.load(x + 3 * step) : zero, out, row);
    return;
  }
  for (; n > 0; n--) {
    let v = v128.load_zero<u32>(x);
    if (m > 1) v = v128.load_lane<u32>(x + step, v, 1);
    if (m > 2) v = v128.load_lane<u32>(x + 2 * step, v, 2);
    if (m > 3) v = v128.load_lane<u32>(x + 3 * step, v, 3);
    v128.store(out, v);
    x += 4;
    out += row;
  }
}

/**
 * A group of `n` samples of `c` channels of `pixels`, `step` bytes apart → [pixels][c][lanes]; lanes (8 or 16) without a sample are 0.
 */
export function packSamples(lanes: i32, n: i32, c: i32, pixels: i32, x: usize, step: usize, out: usize): void {
  if (pixels == 1) {
    // Channels then lie as pixels do.
    pixels = c;
    c = 1;
  }
  const channel = <usize>lanes * 4;
  const row = <usize>c * channel;
  for (let i = 0; i < c; i++) {
    for (let j = 0; j < lanes; j += 4) {
      let to = out + <usize>i * channel + <usize>j * 4;
      const m = n - j;
      if (m <= 0) {
        for (let p = 0; p < pixels; p++) {
          v128.store(to, f32x4.splat(0));
          to += row;
        }
        continue;
      }
      let from = x + <usize>(i * pixels) * 4 + <usize>j * step;
      let left = pixels;
      if (m >= 4) {
        for (; left >= 4; left -= 4) {
          packQuad(4, 4, from, step, to, row);
          from += 16;
          to += 4 * row;
        }
        packQuad(left, 4, from, step, to, row);
      } else {
        for (; left > 0; left -= 4) {
          packQuad(left, m, from, step, to, row);
          from += 16;
          to += 4 * row;
        }
      }
    }
  }
}
