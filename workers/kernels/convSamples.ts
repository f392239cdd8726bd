// Samples as lanes: a group of up to sixteen samples as [pixel][channel][lanes], so that a tap of a pixel is a run of rows
// that a register tile takes where they lie, whatever the image's width.
import { transposeVectors } from './lanes';

/** Four pixels of four samples, of which `n` pixels and `m` samples exist; the lanes of others are 0. */
@inline
function packQuad(n: i32, m: i32, x: usize, step: usize, out: usize, row: usize): void {
  const zero = f32x4.splat(0);
  if (m <= 0) {
    for (; n > 0; n--) {
      v128.store(out, zero);
      out += row;
    }
    return;
  }
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
    let from = x;
    let to = out;
    // Few pixels at a time: their rows may lie a page apart, and are written quad by quad of the lanes.
    for (let left = pixels; left > 0; left -= 8) {
      const low = min(left, 4);
      const high = min(left - 4, 4);
      for (let j = 0; j < lanes; j += 4) {
        const m = min(n - j, 4);
        const s = from + <usize>j * step;
        const d = to + <usize>j * 4;
        if (m == 4 && high == 4) {
          packQuad(4, 4, s, step, d, row);
          packQuad(4, 4, s + 16, step, d + 4 * row, row);
        } else {
          packQuad(low, m, s, step, d, row);
          packQuad(high, m, s + 16, step, d + 4 * row, row);
        }
      }
      from += 32;
      to += 8 * row;
    }
    x += <usize>pixels * 4;
    out += channel;
  }
}
