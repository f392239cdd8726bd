// The taps of a convolution that reach the image from each pixel of the result, and a tile's sum over them: of a row of taps, those
// that reach and all channels are one run of the image and of the packed filters (convBySamples.ts, convFewSamples.ts).
import { tapsBefore, tapsOf } from './convPixels';
import { tileOfPixels2x16 } from './convPixelsTile';
import { tileOfRuns2x16, tileOfRuns4x8 } from './convSamplesTile';
import { KC } from './gemm';

/** Bytes of a tile. */
export const TILE = 128;
/** Tiles at a time. */
export const PIXELS = 4;
/** Bytes of what is known of a pixel. */
export const REACH = 32;

/** Taps of all outputs along an axis that reach the image. */
export function reached(size: i32, outputs: i32, taps: i32, s: i32, p: i32, d: i32): i32 {
  let n = 0;
  for (let t = 0; t < taps; t++) {
    const at = p - t * d; // of the first output, counted backwards
    const first = at > 0 ? (at + s - 1) / s : 0;
    const behind = size + at > 0 ? min(outputs, (size + at - 1) / s + 1) : 0;
    n += max(0, behind - first);
  }
  return n;
}

/** The source's place of the first of `taps` taps, which may lie outside. */
@inline
function firstPlace(turned: bool, at: i32, taps: i32, s: i32, p: i32, d: i32): i32 {
  return turned ? (at + p) / s - (taps - 1) * d : at * s - p;
}

/** Taps before the source. */
@inline
function tapsInFront(place: i32, d: i32): i32 {
  return place >= 0 ? 0 : (d - 1 - place) / d;
}

/** Taps up to the source's end. */
@inline
function tapsUpTo(place: i32, d: i32, size: i32, taps: i32): i32 {
  return place >= size ? 0 : min(taps, (size - 1 - place) / d + 1);
}

/**
 * Of each pixel of the result: [bytes from a pair's filters to its first tap's][row of the packed source][products a row of
 * taps][rows][slices][bytes from row to row of filters][from slice to slice][rows a block]; sizes of 0 if no tap reaches.
 */
export function reaches(
  turned: bool, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, dd: i32, dh: i32,
  SD: i32, SH: i32, SW: i32, RD: i32, RH: i32, RW: i32, out: usize,
): void {
  for (let z = 0; z < RD; z++) {
    const fz = turned ? (z + pd) % sd : 0;
    const J = turned ? tapsOf(fz, kd, sd) : kd;
    const slice = firstPlace(turned, z, J, sd, pd, dd);
    const p0 = tapsInFront(slice, dd);
    const slices = tapsUpTo(slice, dd, SD, J) - p0;
    for (let y = 0; y < RH; y++) {
      const fy = turned ? (y + ph) % sh : 0;
      const K = turned ? tapsOf(fy, kh, sh) : kh;
      const row = firstPlace(turned, y, K, sh, ph, dh);
      const q0 = tapsInFront(row, dh);
      const rows = tapsUpTo(row, dh, SH, K) - q0;
      const before = turned ? tapsBefore(fz, kd, sd) * kh * kw + J * tapsBefore(fy, kh, sh) * kw : 0;
      const from = ((slice + p0 * dd) * SH + row + q0 * dh) * SW;
      for (let x = 0; x < RW; x++) {
        const fx = turned && sw > 1 ? (x + pw) % sw : 0;
        const L = turned && sw > 1 ? tapsOf(fx, kw, sw) : kw;
        const place = turned && sw == 1 ? x + pw - kw + 1 : firstPlace(turned, x, L, sw, pw, 1);
        const r0 = max(0, -place);
        const run = max(0, min(L, SW - place) - r0) * c;
        const first = before + (turned && sw > 1 ? J * K * tapsBefore(fx, kw, sw) : 0) + (p0 * K + q0) * L + r0;
        store<i32>(out, first * c * 8);
        store<i32>(out, (from + place + r0) * c, 4);
        store<i32>(out, run, 8);
        store<i32>(out, rows, 12);
        store<i32>(out, run > 0 && rows > 0 ? slices : 0, 16);
        store<i32>(out, L * c * 8, 20);
        store<i32>(out, K * L * c * 8, 24);
        store<i32>(out, run > 0 ? max(1, KC / run) : 0, 28);
        out += REACH;
      }
    }
  }
}

/** Tiles: a pair of rows by rows of sixteen, two pairs by rows of eight, and two pixels' rows by sixteen. */
export const PAIR = 0;
export const TWO_PAIRS = 1;
export const TWO_PIXELS = 2;

/**
 * A tile over all slices and rows of a pixel's reach: runs of A's elements from a on, and of B's rows from b on. `second`: bytes to
 * the second pair or to the second pixel's elements (0: there is none).
 */
@inline
export function tileOfReach(
  way: i32, reach: usize, a: usize, aRow: usize, aSlice: usize, second: usize, b: usize, bRow: usize, bSlice: usize, tile: usize,
): void {
  let slices = load<i32>(reach, 16);
  if (slices <= 0) {
    memory.fill(tile, 0, way == TWO_PIXELS && second == 0 ? TILE / 2 : TILE);
    return;
  }
  const element: usize = way == TWO_PIXELS ? 4 : 8;
  const width: usize = way == TWO_PAIRS ? 32 : 64;
  const run = load<i32>(reach, 8);
  const rows = load<i32>(reach, 12);
  const block = load<i32>(reach, 28);
  let add = false;
  for (; slices > 0; slices--) {
    let aBlock = a;
    let bBlock = b;
    for (let left = rows; left > 0; left -= block) {
      const runs = min(left, block);
      for (let from = 0; from < run; from += KC) {
        // One run, unless all of it is a part.
        const k = min(KC, run - from);
        const at = aBlock + <usize>from * element;
        const to = bBlock + <usize>from * width;
        const aSkip = aRow - <usize>(way == TWO_PIXELS ? k & ~3 : k) * element;
        const bSkip = bRow - <usize>(k & ~3) * width;
        if (way == PAIR) tileOfRuns2x16(runs, k, at, aSkip, to, bSkip, tile, add);
        else if (way == TWO_PAIRS) tileOfRuns4x8(runs, k, at, aSkip, second, to, bSkip, tile, add);
        else tileOfPixels2x16(runs, k, at, aSkip, second, to, bSkip, tile, add);
        add = true;
      }
      aBlock += <usize>block * aRow;
      bBlock += <usize>block * bRow;
    }
    a += aSlice;
    b += bSlice;
  }
}
