// Images within frames of zeros, wide enough for every tap of every window, and where taps and windows lie in them: element
// (tap, output) of the columns of a convolution (im2col.ts) lies at taps[tap] + outputs[output] of its frame, in bytes.
import { copyRow } from './lanes';

/** Elements along an axis that the taps of `count` outputs reach. */
@inline
export function reach(count: i32, stride: i32, taps: i32, dilation: i32): i32 {
  return (count - 1) * stride + (taps - 1) * dilation + 1;
}

/** C volumes in a frame of zeros, from (fd, fh, fw) of each on, as far as it goes; the zeros around them stay. */
export function intoFrame(
  C: i32, D: i32, H: i32, W: i32, fd: i32, fh: i32, fw: i32, FD: i32, FH: i32, FW: i32, x: usize, frame: usize,
): void {
  const depth = min(D, FD - fd);
  const height = min(H, FH - fh);
  const width = min(W, FW - fw);
  if (width <= 0) return;
  for (let c = 0; c < C; c++) {
    for (let i = 0; i < depth; i++) {
      for (let j = 0; j < height; j++) {
        const at = ((c * FD + i + fd) * FH + j + fh) * FW + fw;
        copyRow(width, x + <usize>(((c * D + i) * H + j) * W) * 4, frame + <usize>at * 4);
      }
    }
  }
}

/** Where the positions along four axes lie, `s0` … `s3` elements apart: ascending, in row-major order, in bytes. */
export function placesOf(
  n0: i32, n1: i32, n2: i32, n3: i32, s0: i32, s1: i32, s2: i32, s3: i32, places: usize,
): void {
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0; k < n2; k++) {
        let at = 4 * (i * s0 + j * s1 + k * s2);
        for (let l = n3; l > 0; l--) {
          store<i32>(places, at);
          places += 4;
          at += 4 * s3;
        }
      }
    }
  }
}
