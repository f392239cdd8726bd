// Convolutions of few channels a group, four groups of a sample side by side, one in each lane: what is done to a group is done to
// four at once, however short its rows. A band of outputs (rows of one slice, or a part of a row) takes its taps from a frame of
// zeros in which the four groups' channels are woven; fewer than four groups leave the last in their lanes (planes.ts).
//
// `back`: outputs are the input's gradient, and the frame holds dy; otherwise it holds the image.
import { unweave, weave } from './planes';

/** Most vectors of a frame of a band: 20 KiB of a first-level cache of 32. */
const LARGEST: i32 = 1280;

/**
 * Whether a convolution of c channels and o outputs a group goes by lanes of groups: of one channel, or of so few that products of
 * matrices are too narrow. kind: 0 outputs, 1 input gradient, 2 weight gradient. Of large planes by stride 1, outputs of four channels
 * stay with those products, and weights with dot products of whole quads (dotRows.ts) at four channels, few taps or two lanes; windows
 * of one element (`plain`) stay with both.
 */
export function isByGroups(
  kind: i32, c: i32, o: i32, groups: i32, taps: i32, sw: i32, ow: i32, pixels: i32, plain: bool,
): bool {
  if (groups == 1) return false;
  if (c == 1 && (kind == 0 || (kind == 1 && o <= 4))) return true;
  if (c > 4 || o > 4 || plain || (c > 1 && groups < 4)) return false;
  const large = pixels >= 128 && sw == 1;
  if (kind == 0) return c < 4 || !large;
  return kind == 1 || !large || (ow & 3) > 0 || (c < 4 && taps >= 5 && groups > 2);
}

/** ⌊a / b⌋ of b > 0. */
@inline
export function floorDiv(a: i32, b: i32): i32 {
  return (a < 0 ? a - b + 1 : a) / b;
}

/** Positions along an axis of a frame that `n` outputs from the first on reach. */
@inline
export function reached(back: bool, n: i32, taps: i32, stride: i32, before: i32, dilation: i32): i32 {
  const far = (taps - 1) * dilation;
  return back ? floorDiv(n - 1 + before, stride) - floorDiv(before - far, stride) + 1 : (n - 1) * stride + far + 1;
}

/**
 * Outputs of a band along an axis of n, as even as whole `unit`s let them be: at most `room` positions of the frame, but no fewer
 * outputs than lie within a window's reach, which are woven again with the next band.
 */
@inline
function bandOf(
  back: bool, n: i32, room: i32, unit: i32, taps: i32, stride: i32, before: i32, dilation: i32,
): i32 {
  const far = (taps - 1) * dilation;
  const inRoom = back
    ? (room + floorDiv(before - far, stride)) * stride - before
    : floorDiv(room - far - 1, stride) + 1;
  const most = max(inRoom, back ? far : far / stride);
  if (n <= most) return n;
  const whole = max(unit, most - most % unit);
  const bands = (n + whole - 1) / whole;
  return min(n, (((n + bands - 1) / bands + unit - 1) / unit) * unit);
}

/** Columns of a band, of frames of `lines` (channels and slices) a row: all, or eight or more of each phase. */
@inline
export function bandColumns(
  back: bool, lines: i32, ow: i32, kh: i32, kw: i32, sh: i32, sw: i32, ph: i32, pw: i32, dh: i32, dw: i32,
): i32 {
  const room = LARGEST / (lines * reached(back, 1, kh, sh, ph, dh));
  return bandOf(back, ow, room, back ? 8 * sw : 8, kw, sw, pw, dw);
}

/** Rows of a band whose frame has `width` columns. */
@inline
export function bandRows(back: bool, lines: i32, oh: i32, width: i32, kh: i32, sh: i32, ph: i32, dh: i32): i32 {
  return bandOf(back, oh, LARGEST / (lines * width), back ? sh : 1, kh, sh, ph, dh);
}

/** n vectors of zeros. */
function zeros(n: i32, to: usize): void {
  for (; n > 0; n--) {
    v128.store(to, f32x4.splat(0));
    to += 16;
  }
}

/**
 * Rows `top` … and columns `left` … of a slice of H × W into `height` × `width` vectors: what lies outside is 0, and written only
 * if `margins`. The slices of lanes 1 to 3 lie d1, d2 and d3 bytes behind the first one.
 */
function weaveSlice(
  margins: bool, H: i32, W: i32, top: i32, left: i32, height: i32, width: i32, x: usize, d1: usize, d2: usize, d3: usize,
  to: usize,
): void {
  const before = min(width, max(0, -left));
  const count = max(0, min(W - left, width) - before);
  const behind = width - before - count;
  const first = max(0, -top);
  const rows = max(0, min(H - top, height) - first);
  if (margins) {
    if (rows == 0 || count == 0) {
      zeros(height * width, to);
      return;
    }
    if (first) zeros(first * width, to);
    const end = first + rows;
    if (end < height) zeros((height - end) * width, to + <usize>(end * width) * 16);
  }
  if (count == 0) return;
  x += <usize>((top + first) * W + left + before) * 4;
  to += <usize>(first * width) * 16;
  if (count == width && count == W) {
    weave(rows * W, x, x + d1, x + d2, x + d3, to);
    return;
  }
  for (let i = rows; i > 0; i--) {
    if (margins && before) zeros(before, to);
    to += <usize>before * 16;
    weave(count, x, x + d1, x + d2, x + d3, to);
    to += <usize>count * 16;
    if (margins && behind) zeros(behind, to);
    to += <usize>behind * 16;
    x += <usize>W * 4;
  }
}

/** The frame of the band whose outputs are of slice z and begin at (`top`, `left`) of the frame's volume. */
export function fillFrame(
  back: bool, margins: bool, z: i32, top: i32, left: i32, c: i32, kd: i32, sd: i32, pd: i32, dd: i32, D: i32, H: i32, W: i32,
  slot: i32, height: i32, width: i32, x: usize, d1: usize, d2: usize, d3: usize, frame: usize,
): void {
  const step = <usize>(slot * width) * 16;
  for (let q = 0; q < c; q++) {
    for (let a = 0; a < kd; a++) {
      const place = back ? z + pd - a * dd : z * sd - pd + a * dd;
      const slice = back ? floorDiv(place, sd) : place;
      if (slice < 0 || slice >= D) zeros(height * width, frame);
      else if (!back || place == slice * sd) {
        const from = x + <usize>((q * D + slice) * H * W) * 4;
        weaveSlice(margins, H, W, top, left, height, width, from, d1, d2, d3, frame);
      }
      frame += step;
    }
  }
}

/** A band without margins: `rows` of `columns` of rows of W elements of four planes → vectors. */
export function weaveBand(
  rows: i32, columns: i32, W: i32, y: usize, d1: usize, d2: usize, d3: usize, to: usize,
): void {
  if (columns == W) {
    columns *= rows;
    rows = 1;
  }
  for (; rows > 0; rows--) {
    weave(columns, y, y + d1, y + d2, y + d3, to);
    y += <usize>W * 4;
    to += <usize>columns * 16;
  }
}

/** The way back. */
export function unweaveBand(
  rows: i32, columns: i32, W: i32, from: usize, y: usize, d1: usize, d2: usize, d3: usize,
): void {
  if (columns == W) {
    columns *= rows;
    rows = 1;
  }
  for (; rows > 0; rows--) {
    unweave(columns, from, y, y + d1, y + d2, y + d3);
    from += <usize>columns * 16;
    y += <usize>W * 4;
  }
}
