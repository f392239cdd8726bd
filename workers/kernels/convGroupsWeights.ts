// The weights' gradient of convolutions of few channels a group, four groups at once (groupFrames.ts): up to ten taps of a channel
// and an output are the sums of a loop over a band's pixels. Taps are taken a row after the other, of short rows two or three rows.
//
// Order of every sum: of each sample, slice and band, in ascending order, as many rows of the band as have no more than 256 pixels, or
// 256 pixels of a longer row: their pixels in row-major order, from zero (those over the edge among them); what they give is then
// added once.
//
// Workspace, in bytes:  [frame][dy of a band][where rows of taps lie, rounded up to 16][sums]
import { multiplyAdd } from './fused';
import { bandColumns, bandRows, fillFrame, reached, weaveBand } from './groupFrames';
import { toLane, unweave } from './planes';

/** Pixels of a sum from zero: longer ones lose digits. */
const MOST = 256;

@inline
function roundUp(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** Exact bytes, of c channels and o outputs a group. */
export function groupsWeightsWorkspace(
  c: i32, o: i32, kd: i32, kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, oh: i32, ow: i32,
): i32 {
  const columns = bandColumns(false, c * kd, ow, kh, kw, sh, sw, 0, 0, dh, dw);
  const width = reached(false, columns, kw, sw, 0, dw);
  const rows = bandRows(false, c * kd, oh, width, kh, sh, 0, dh);
  const height = reached(false, rows, kh, sh, 0, dh);
  const vectors = c * kd * height * width + rows * columns + o * c * kd * kh * kw;
  return 16 * vectors + roundUp(4 * c * kd * kh);
}

/** One of three, by an index that is constant where this is inlined. */
@inline
function ofThree(i: i32, a: usize, b: usize, c: usize): usize {
  return i == 0 ? a : i == 1 ? b : c;
}

/** Tap k of a row (constant where this is inlined): of neighbours or `gap` bytes apart. */
@inline
function tap(near: bool, k: i32, p: usize, gap: usize): v128 {
  if (!near) return v128.load(p + <usize>k * gap);
  if (k == 1) return v128.load(p, 16);
  if (k == 2) return v128.load(p, 32);
  if (k == 3) return v128.load(p, 48);
  if (k == 4) return v128.load(p, 64);
  if (k == 5) return v128.load(p, 80);
  if (k == 6) return v128.load(p, 96);
  if (k == 7) return v128.load(p, 112);
  return v128.load(p);
}

@inline
function put(to: usize, v: v128): void {
  v128.store(to, f32x4.add(v128.load(to), v));
}

/**
 * `high` rows of `columns` taps: sums over nh × nw pixels of dy times the frame's elements from x (and x + x1, x + x2) on. Pixels lie
 * `step` bytes apart in a row of the frame, rows `row`; rows of sums, `toRow`.
 */
@inline
function sums(
  high: i32, columns: i32, near: bool, nh: i32, nw: i32, x: usize, x1: usize, x2: usize, gap: usize, step: usize, row: usize,
  dy: usize, to: usize, toRow: usize,
): void {
  const n = high * columns;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  let s8 = s0;
  let s9 = s0;
  for (; nh > 0; nh--) {
    let p = x;
    for (let i = nw; i > 0; i--) {
      const v = v128.load(dy);
      const q = p + x1;
      const r = p + x2;
      s0 = multiplyAdd(v, tap(near, 0 % columns, ofThree(0 / columns, p, q, r), gap), s0);
      if (n > 1) s1 = multiplyAdd(v, tap(near, 1 % columns, ofThree(1 / columns, p, q, r), gap), s1);
      if (n > 2) s2 = multiplyAdd(v, tap(near, 2 % columns, ofThree(2 / columns, p, q, r), gap), s2);
      if (n > 3) s3 = multiplyAdd(v, tap(near, 3 % columns, ofThree(3 / columns, p, q, r), gap), s3);
      // Never so; but V8 would otherwise make all loads of a turn before its products, more than there are registers.
      if (n > 7 && !to) break;
      if (n > 4) s4 = multiplyAdd(v, tap(near, 4 % columns, ofThree(4 / columns, p, q, r), gap), s4);
      if (n > 5) s5 = multiplyAdd(v, tap(near, 5 % columns, ofThree(5 / columns, p, q, r), gap), s5);
      if (n > 6) s6 = multiplyAdd(v, tap(near, 6 % columns, ofThree(6 / columns, p, q, r), gap), s6);
      if (n > 7) s7 = multiplyAdd(v, tap(near, 7 % columns, ofThree(7 / columns, p, q, r), gap), s7);
      if (n > 8 && !to) break;
      if (n > 8) s8 = multiplyAdd(v, tap(near, 8 % columns, ofThree(8 / columns, p, q, r), gap), s8);
      if (n > 9) s9 = multiplyAdd(v, tap(near, 9 % columns, ofThree(9 / columns, p, q, r), gap), s9);
      p += step;
      dy += 16;
    }
    x += row;
  }
  put(to + <usize>(0 / columns) * toRow + <usize>(0 % columns) * 16, s0);
  if (n > 1) put(to + <usize>(1 / columns) * toRow + <usize>(1 % columns) * 16, s1);
  if (n > 2) put(to + <usize>(2 / columns) * toRow + <usize>(2 % columns) * 16, s2);
  if (n > 3) put(to + <usize>(3 / columns) * toRow + <usize>(3 % columns) * 16, s3);
  if (n > 4) put(to + <usize>(4 / columns) * toRow + <usize>(4 % columns) * 16, s4);
  if (n > 5) put(to + <usize>(5 / columns) * toRow + <usize>(5 % columns) * 16, s5);
  if (n > 6) put(to + <usize>(6 / columns) * toRow + <usize>(6 % columns) * 16, s6);
  if (n > 7) put(to + <usize>(7 / columns) * toRow + <usize>(7 % columns) * 16, s7);
  if (n > 8) put(to + <usize>(8 / columns) * toRow + <usize>(8 % columns) * 16, s8);
  if (n > 9) put(to + <usize>(9 / columns) * toRow + <usize>(9 % columns) * 16, s9);
}

/** Taps by neighbours, in rows of up to eight. */
function nearSums(
  high: i32, columns: i32, nh: i32, nw: i32, x: usize, x1: usize, x2: usize, step: usize, row: usize, dy: usize, to: usize,
  toRow: usize,
): void {
  if (high == 3) {
    if (columns == 3) sums(3, 3, true, nh, nw, x, x1, x2, 16, step, row, dy, to, toRow);
    else if (columns == 2) sums(3, 2, true, nh, nw, x, x1, x2, 16, step, row, dy, to, toRow);
    else sums(3, 1, true, nh, nw, x, x1, x2, 16, step, row, dy, to, toRow);
  } else if (high == 2) {
    if (columns == 5) sums(2, 5, true, nh, nw, x, x1, x1, 16, step, row, dy, to, toRow);
    else sums(2, 4, true, nh, nw, x, x1, x1, 16, step, row, dy, to, toRow);
  } else if (columns == 8) sums(1, 8, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 7) sums(1, 7, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 6) sums(1, 6, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 5) sums(1, 5, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 4) sums(1, 4, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 3) sums(1, 3, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else if (columns == 2) sums(1, 2, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
  else sums(1, 1, true, nh, nw, x, 0, 0, 16, step, row, dy, to, 0);
}

/** Taps `gap` bytes apart, in rows of up to four. */
function farSums(
  columns: i32, nh: i32, nw: i32, x: usize, gap: usize, step: usize, row: usize, dy: usize, to: usize,
): void {
  if (columns == 4) sums(1, 4, false, nh, nw, x, 0, 0, gap, step, row, dy, to, 0);
  else if (columns == 3) sums(1, 3, false, nh, nw, x, 0, 0, gap, step, row, dy, to, 0);
  else if (columns == 2) sums(1, 2, false, nh, nw, x, 0, 0, gap, step, row, dy, to, 0);
  else sums(1, 1, false, nh, nw, x, 0, 0, gap, step, row, dy, to, 0);
}

/** All taps of one output: `lines` rows of kw of them, which lie at `places`. */
function taps(
  lines: i32, kw: i32, dw: i32, nh: i32, nw: i32, frame: usize, places: usize, step: usize, row: usize, dy: usize, to: usize,
): void {
  const most = dw == 1 ? 8 : 4;
  const pieces = (kw + most - 1) / most;
  const piece = (kw + pieces - 1) / pieces;
  const gap = <usize>dw * 16;
  const toRow = <usize>kw * 16;
  for (let from = 0; from < kw; from += piece) {
    const columns = min(piece, kw - from);
    const x = frame + <usize>from * gap;
    const most = dw > 1 || columns > 5 ? 1 : columns > 3 ? 2 : 3;
    for (let i = 0; i < lines; ) {
      const high = lines - i >= most ? most : 1;
      const at = places + <usize>i * 4;
      const first = <usize>load<i32>(at);
      const sum = to + <usize>i * toRow + <usize>from * 16;
      if (dw > 1) farSums(columns, nh, nw, x + first, gap, step, row, dy, sum);
      else {
        const x1 = high > 1 ? <usize>load<i32>(at, 4) - first : 0;
        const x2 = high > 2 ? <usize>load<i32>(at, 8) - first : 0;
        nearSums(high, columns, nh, nw, x + first, x1, x2, step, row, dy, sum, toRow);
      }
      i += high;
    }
  }
}

/** All taps of one output, a few rows of the band at a time. */
function bandTaps(
  lines: i32, kw: i32, dw: i32, nh: i32, nw: i32, frame: usize, places: usize, step: usize, row: usize, dy: usize, to: usize,
): void {
  const high = max(1, MOST / nw);
  for (let j = 0; j < nh; j += high) {
    for (let k = 0; k < nw; k += MOST) {
      const at = frame + <usize>j * row + <usize>k * step;
      const pixels = dy + <usize>(j * nw + k) * 16;
      taps(lines, kw, dw, min(high, nh - j), min(MOST, nw - k), at, places, step, row, pixels, to);
    }
  }
}

export function weightGradByGroups(
  N: i32, groups: i32, c: i32, D: i32, H: i32, W: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, dy: usize, dweight: usize, ws: usize,
): void {
  const columns = bandColumns(false, c * kd, ow, kh, kw, sh, sw, 0, 0, dh, dw);
  const width = reached(false, columns, kw, sw, 0, dw);
  const rows = bandRows(false, c * kd, oh, width, kh, sh, 0, dh);
  const height = reached(false, rows, kh, sh, 0, dh);
  const band = ws + <usize>(c * kd * height * width) * 16;
  const places = band + <usize>(rows * columns) * 16;
  const lines = c * kd * kh;
  const depth = lines * kw;
  const totals = places + <usize>roundUp(4 * lines);
  for (let i = 0; i < lines; i++) store<i32>(places + <usize>i * 4, 16 * ((i / kh) * height + (i % kh) * dh) * width);
  const margins = rows < oh || columns < ow;
  const plane = <usize>(od * oh * ow) * 4;
  const group = <usize>(c * D * H * W) * 4;
  const size = <usize>(o * depth) * 4;
  memory.fill(ws, 0, band - ws);
  for (let g = 0; g < groups; g += 4) {
    const lanes = groups - g;
    const d1 = toLane(1, lanes, group);
    const d2 = toLane(2, lanes, group);
    const d3 = toLane(3, lanes, group);
    const e1 = toLane(1, lanes, <usize>o * plane);
    const e2 = toLane(2, lanes, <usize>o * plane);
    const e3 = toLane(3, lanes, <usize>o * plane);
    memory.fill(totals, 0, <usize>(o * depth) * 16);
    for (let n = 0; n < N; n++) {
      const image = x + <usize>(n * groups + g) * group;
      const outputs = dy + <usize>((n * groups + g) * o) * plane;
      for (let z = 0; z < od; z++) {
        for (let j = 0; j < oh; j += rows) {
          const nh = min(rows, oh - j);
          const needed = reached(false, nh, kh, sh, 0, dh);
          for (let k = 0; k < ow; k += columns) {
            const nw = min(columns, ow - k);
            fillFrame(
              false, margins, z, j * sh - ph, k * sw - pw, c, kd, sd, pd, dd, D, H, W, height, needed, width,
              image, d1, d2, d3, ws,
            );
            let from = outputs + <usize>((z * oh + j) * ow + k) * 4;
            let to = totals;
            for (let i = 0; i < o; i++) {
              weaveBand(nh, nw, ow, from, e1, e2, e3, band);
              bandTaps(lines, kw, dw, nh, nw, ws, places, <usize>sw * 16, <usize>(sh * width) * 16, band, to);
              from += plane;
              to += <usize>depth * 16;
            }
          }
        }
      }
    }
    const to = dweight + <usize>g * size;
    unweave(o * depth, totals, to, to + toLane(1, lanes, size), to + toLane(2, lanes, size), to + toLane(3, lanes, size));
  }
}
