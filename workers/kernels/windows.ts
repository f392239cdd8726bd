// How windows of a pooling lie over volumes ([N·C] of D×H×W; fewer spatial axes have leading sizes, kernels, strides and
// dilations of 1 and no padding there). Windows may hang over any edge; the padding behind an axis follows from its output size.

import { toLane, unweave, weave } from './planes';
import { areLines, linesWorkspace } from './poolLines';

/** First kernel tap whose position first + tap·step is ≥ 0. */
@inline
export function firstTap(first: i32, step: i32): i32 {
  return first >= 0 ? 0 : step == 1 ? -first : (step - 1 - first) / step;
}

/** One past the last of `taps` kernel taps whose position is < size. */
@inline
export function endTap(first: i32, step: i32, size: i32, taps: i32): i32 {
  if (first + (taps - 1) * step < size) return taps; // nearly always, and without a division
  return first >= size ? 0 : (size - 1 - first) / step + 1;
}

/** How many windows from the one at `left` on, at most `most`, hold all their taps; 1 where that one itself does not. */
@inline
export function runOf(left: i32, stride: i32, reach: i32, size: i32, most: i32): i32 {
  const room = size - 1 - reach - left;
  return left < 0 || room < 0 ? 1 : min(most, room / stride + 1);
}

/** Elements of one axis of a frame: what lies before the volume, the volume, and all that windows reach behind it. */
@inline
export function framed(size: i32, before: i32, out: i32, stride: i32, taps: i32, dilation: i32): f64 {
  return max(<f64>before + <f64>size, <f64>(out - 1) * <f64>stride + <f64>(taps - 1) * <f64>dilation + 1);
}

/** Largest frame of four planes that is still worth it: 20 KiB of a cache of 32. */
const LARGEST_FRAME: f64 = 1280;

/** Elements of a volume in its frame; 0 where that is too large. */
export function frameElements(
  D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
): i32 {
  const n = framed(D, pd, od, sd, kd, dd) * framed(H, ph, oh, sh, kh, dh) * framed(W, pw, ow, sw, kw, dw);
  return n <= LARGEST_FRAME ? <i32>n : 0;
}

/** 2 × 2 by steps of 2 and nothing over an edge: no row needs a division to know. */
@inline
export function areSquares(
  D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
): bool {
  const inside = (pd | ph | pw) == 0 && od == D && 2 * oh <= H && 2 * ow <= W && ow >= 4;
  return inside && (kd | sd | dh | dw) == 1 && kh == 2 && kw == 2 && sh == 2 && sw == 2;
}

/** Bytes of a workspace in front of the frame: four outputs of four planes, and their places. */
export const PENDING: usize = 128;

/**
 * Workspace bytes of maxPool (`largest`), avgPool or avgPoolGrad: [outputs not yet written][frame of four planes], or none, or that
 * of poolLines.ts.
 */
export function poolWorkspace(
  largest: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
): i32 {
  if (largest && areSquares(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dh, dw, od, oh, ow)) return 0;
  if (largest && areLines(D, kd, kh, kw, sd, sh, sw, pd, dh, dw, od, ow)) return linesWorkspace(kh, kw, sw, ow);
  const n = frameElements(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow);
  return n == 0 ? 0 : <i32>PENDING + 16 * n;
}

/** The last plane where no other shares its vectors: rows of eight outputs or more then go quicker one by one. */
@inline
export function isAlone(left: i32, ow: i32): bool {
  return left == 1 && ow >= 8;
}

/** `left` (up to four) volumes from x on → their frames' inner part, which begins at `to`; frames of fh × fw a slice. */
@inline
export function weaveVolume(left: i32, D: i32, H: i32, W: i32, fh: i32, fw: i32, x: usize, to: usize): void {
  const plane = <usize>(D * H * W) * 4;
  const one = toLane(1, left, plane);
  const two = toLane(2, left, plane);
  const three = toLane(3, left, plane);
  const whole = W == fw && H == fh; // then one row
  const rows = whole ? 1 : H;
  const n = whole ? D * H * W : W;
  const step = <usize>n * 4;
  for (let i = whole ? 1 : D; i > 0; i--) {
    let at = to;
    for (let j = rows; j > 0; j--) {
      weave(n, x, x + one, x + two, x + three, at);
      x += step;
      at += <usize>fw * 16;
    }
    to += <usize>(fh * fw) * 16;
  }
}

/** The way back. */
@inline
export function unweaveVolume(left: i32, D: i32, H: i32, W: i32, fh: i32, fw: i32, from: usize, x: usize): void {
  const plane = <usize>(D * H * W) * 4;
  const one = toLane(1, left, plane);
  const two = toLane(2, left, plane);
  const three = toLane(3, left, plane);
  const whole = W == fw && H == fh;
  const rows = whole ? 1 : H;
  const n = whole ? D * H * W : W;
  const step = <usize>n * 4;
  for (let i = whole ? 1 : D; i > 0; i--) {
    let at = from;
    for (let j = rows; j > 0; j--) {
      unweave(n, at, x, x + one, x + two, x + three);
      x += step;
      at += <usize>fw * 16;
    }
    from += <usize>(fh * fw) * 16;
  }
}
