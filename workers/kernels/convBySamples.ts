// Convolutions with samples as lanes, of outputs and of the input's gradient: the rows of a register tile are outputs, its columns
// the samples of a group (convSamples.ts). Only the taps that reach the image are added: of a row of taps, those that reach it and all
// channels are one run of the image and of the packed filters, so that neither columns nor products with padding are made.
//
//   outputs           y[n, o, at] = Σ w[o, c, t] · x[n, c, at·s − p + t·d]
//   input's gradient  dx[n, c, at] = Σ w[o, c, f + s·j] · dy[n, o, (at + p)/s − j·d],  f = (at + p) mod s
//
// the second with taps from last to first, so that it goes through dy in ascending order. "Source" is x or dy, "result" y or dx.
//
// Of up to four samples the same runs go the other way round (convFewSamples.ts): filters are the columns. So a sample's bits are the
// same in any company, whichever way it goes; only the time is not.
//
// Order of every sum: taps that reach the source in that order, the source's channels of each; of a slice of taps, as many rows as
// have no more than KC products, or KC products of a longer row, are added from zero, and such blocks in order. Taps in the padding are
// not added: a weight that is not finite does not show there.
//
// Workspace: [tiles of some pixels][reach of each pixel][filters of a group in pairs][a group of samples], or [… in sixteens][a sample
// or a pair], all but the last in whole 16 bytes.
import { convOfFew, packPair, packSixteen, packTapOfSixteen } from './convFewSamples';
import { tapsBefore, tapsOf } from './convPixels';
import { PAIR, PIXELS, REACH, reaches, TILE, tileOfReach, TWO_PAIRS } from './convReach';
import { packSamples } from './convSamples';
import { storeTail, transposeVectors } from './lanes';

const MOST = 1 << 20; // bytes of a packed group, in the second cache, and of what is known of pixels
const FILTERS = 16384; // bytes of filters that stay in the first cache
const FEW = 4; // samples that go by pairs: lanes would mostly be empty

/** Samples a group: sixteen, or eight if that holds them all. */
@inline
function lanesOf(samples: i32): i32 {
  return samples > 8 ? 16 : 8;
}

@inline
function roundUp(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** Exact bytes for m results of c channels of the source, by `taps`. */
export function samplesWorkspace(N: i32, m: i32, c: i32, taps: i32, source: i32, results: i32): i32 {
  const few = N <= FEW;
  const rows = few ? (m + 15) & ~15 : (m + 1) & ~1;
  return PIXELS * TILE + results * REACH + roundUp(rows * c * taps * 4) + source * c * (few ? min(N, 2) : lanesOf(N)) * 4;
}

/**
 * What a sample of sixteen takes, in tenths of a multiply-add, for m results of c channels of the source: `reach` taps of all pixels
 * and the tiles' padding, a result for twelve of them and a packed element for four. Infinite if lanes cannot be samples. Not a matter
 * of how many samples there are: their bits would be.
 */
export function samplesWork(m: i32, c: i32, reach: f64, source: i32, results: i32): f64 {
  if (<i64>source * c * 64 > MOST || <i64>results * REACH > MOST) return Infinity;
  const rows = <f64>((m + 1) & ~1);
  return 10 * rows * (reach * c + <f64>12 * results) + 40 * <f64>source * c;
}

/**
 * m filters of c channels → [pair, or sixteen][phase][tap][c][2, or 16]: `row` bytes from filter to filter, `channel` from channel to
 * channel. Turned, the taps of a phase from last to first; otherwise there is one phase.
 */
function packFilters(
  few: bool, turned: bool, m: i32, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, w: usize, row: usize,
  channel: usize, out: usize,
): void {
  if (!turned) sd = sh = sw = 1;
  const wide = few ? 16 : 2;
  const tap = <usize>(c * wide) * 4;
  const taps = kd * kh * kw;
  if (few && taps > 1 && (sd | sh | sw) == 1) {
    for (; m > 0; m -= 16) {
      packSixteen(turned, min(m, 16), c, taps, w, row, channel, out);
      w += 16 * row;
      out += <usize>taps * tap;
    }
    return;
  }
  for (; m > 0; m -= wide) {
    for (let fz = 0; fz < sd; fz++) {
      for (let fy = 0; fy < sh; fy++) {
        for (let fx = 0; fx < sw; fx++) {
          const J = tapsOf(fz, kd, sd);
          const K = tapsOf(fy, kh, sh);
          const L = tapsOf(fx, kw, sw);
          for (let i = 0; i < J; i++) {
            const p = fz + sd * (turned ? J - 1 - i : i);
            for (let j = 0; j < K; j++) {
              const q = fy + sh * (turned ? K - 1 - j : j);
              for (let l = 0; l < L; l++) {
                const r = fx + sw * (turned ? L - 1 - l : l);
                const from = w + <usize>((p * kh + q) * kw + r) * 4;
                if (few) packTapOfSixteen(min(m, 16), c, from, row, channel, out);
                else packPair(c, from, m > 1 ? row : 0, channel, out);
                out += tap;
              }
            }
          }
        }
      }
    }
    w += <usize>wide * row;
  }
}

/** The tile of a pixel: of one pair of filters for sixteen samples, of two, `pair` bytes apart, for eight. */
@inline
function tileOfPixel(
  lanes: i32, reach: usize, filters: usize, pair: usize, group: usize, bRow: usize, bSlice: usize, tile: usize,
): void {
  const a = filters + <usize>load<i32>(reach);
  const b = group + <usize>load<i32>(reach, 4) * <usize>(lanes * 4);
  const aRow = <usize>load<i32>(reach, 20);
  const way = lanes == 16 ? PAIR : TWO_PAIRS;
  tileOfReach(way, reach, a, aRow, <usize>load<i32>(reach, 24), pair, b, bRow, bSlice, tile);
}

/** n pixels (up to four at a time) of four samples of a result, of which m exist, plus bias. */
@inline
function spillQuad(n: i32, m: i32, tile: usize, bias: v128, y: usize, step: usize): void {
  const v0 = f32x4.add(v128.load(tile), bias);
  const v1 = f32x4.add(v128.load(tile, TILE), bias);
  const v2 = f32x4.add(v128.load(tile, 2 * TILE), bias);
  const v3 = f32x4.add(v128.load(tile, 3 * TILE), bias);
  if (n >= 4 && m >= 4) {
    transposeVectors(v0, v1, v2, v3, y, step);
    return;
  }
  transposeVectors(v0, v1, v2, v3, tile, TILE);
  for (let i = min(m, 4); i > 0; i--) {
    if (n >= 4) v128.store(y, v128.load(tile));
    else storeTail(y, n, v128.load(tile));
    tile += TILE;
    y += step;
  }
}

/** Tiles of n pixels → `results` results, `plane` bytes apart, of m samples. */
@inline
function spill(
  lanes: i32, n: i32, m: i32, results: i32, tile: usize, bias: usize, y: usize, plane: usize, step: usize,
): void {
  for (; results > 0; results--) {
    let b = f32x4.splat(-0.0);
    if (bias != usize.MAX_VALUE) {
      b = v128.load32_splat(bias);
      bias += 4;
    }
    for (let j = 0; j < lanes; j += 4) {
      if (j >= m) break;
      for (let t = 0; t < n; t += 4) {
        const at = <usize>t * TILE;
        spillQuad(n - t, m - j, tile + at + <usize>j * 4, b, y + <usize>j * step + <usize>t * 4, step);
      }
    }
    tile += <usize>lanes * 4;
    y += plane;
  }
}

/** All results of a packed group of n samples; filters, of so many bytes a pair, by blocks that stay in the first cache. */
@inline
function group(
  lanes: i32, n: i32, m: i32, pair: usize, pixels: i32, packed: usize, reach: usize, filters: usize, bRow: usize,
  bSlice: usize, tile: usize, bias: usize, y: usize, step: usize,
): void {
  const some = lanes == 16 ? 2 : 4;
  const plane = <usize>pixels * 4;
  const panel = lanes == 16 ? pair : 2 * pair;
  const block = max(1, FILTERS / <i32>panel) * some;
  for (let i = 0; i < m; i += block) {
    const end = min(m, i + block);
    for (let at = 0; at < pixels; at += PIXELS) {
      const count = min(PIXELS, pixels - at);
      const from = reach + <usize>at * REACH;
      for (let j = i; j < end; j += some) {
        const second: usize = m - j > 2 ? pair : 0;
        const panels = filters + <usize>(j >> 1) * pair;
        for (let t = 0; t < count; t++) {
          const to = tile + <usize>t * TILE;
          tileOfPixel(lanes, from + <usize>t * REACH, panels, second, packed, bRow, bSlice, to);
        }
        const to = y + <usize>j * plane + <usize>at * 4;
        const b = bias == usize.MAX_VALUE ? bias : bias + <usize>j * 4;
        spill(lanes, count, n, min(some, m - j), tile, b, to, plane, step);
      }
    }
  }
}

function group16(
  n: i32, m: i32, pair: usize, pixels: i32, packed: usize, reach: usize, filters: usize, bRow: usize, bSlice: usize,
  tile: usize, bias: usize, y: usize, step: usize,
): void {
  group(16, n, m, pair, pixels, packed, reach, filters, bRow, bSlice, tile, bias, y, step);
}

function group8(
  n: i32, m: i32, pair: usize, pixels: i32, packed: usize, reach: usize, filters: usize, bRow: usize, bSlice: usize,
  tile: usize, bias: usize, y: usize, step: usize,
): void {
  group(8, n, m, pair, pixels, packed, reach, filters, bRow, bSlice, tile, bias, y, step);
}

/**
 * m results of RD × RH × RW a sample and group, plus bias (or -1), from c channels of SD × SH × SW; `turned`: the input's gradient.
 * Without dilation along the last axis, nor with strides if turned.
 */
export function convBySamples(
  turned: bool, N: i32, groups: i32, m: i32, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, SD: i32, SH: i32, SW: i32, RD: i32, RH: i32, RW: i32,
  x: usize, w: usize, bias: usize, y: usize, ws: usize,
): void {
  const taps = kd * kh * kw;
  const source = SD * SH * SW;
  const pixels = RD * RH * RW;
  const reach = ws + PIXELS * TILE;
  const filters = reach + <usize>(pixels * REACH);
  const few = N <= FEW;
  const packed = filters + <usize>roundUp((few ? (m + 15) & ~15 : (m + 1) & ~1) * c * taps * 4);
  const xStep = <usize>(groups * c * source) * 4;
  const yStep = <usize>(groups * m * pixels) * 4;
  const pair = <usize>(c * taps) * 8;
  const filter = <usize>taps * 4;
  reaches(turned, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, SD, SH, SW, RD, RH, RW, reach);
  for (let g = 0; g < groups; g++) {
    const rowStep = turned ? filter : <usize>c * filter;
    const channelStep = turned ? <usize>m * filter : filter;
    packFilters(few, turned, m, c, kd, kh, kw, sd, sh, sw, w, rowStep, channelStep, filters);
    if (few) {
      const row = dh * SW * c;
      convOfFew(
        N, m, c, source, pixels, row, dd * SH * SW * c, x, xStep, filters, 8 * pair, bias, y, yStep, reach, ws, packed,
      );
    }
    for (let n = 0; !few && n < N; n += 16) {
      const lanes = lanesOf(N - n);
      const count = min(lanes, N - n);
      const from = x + <usize>n * xStep;
      const to = y + <usize>n * yStep;
      const bRow = <usize>(dh * SW * c * lanes) * 4;
      const bSlice = <usize>(dd * SH * SW * c * lanes) * 4;
      packSamples(lanes, count, c, source, from, xStep, packed);
      if (lanes == 16) group16(count, m, pair, pixels, packed, reach, filters, bRow, bSlice, ws, bias, to, yStep);
      else group8(count, m, pair, pixels, packed, reach, filters, bRow, bSlice, ws, bias, to, yStep);
    }
    x += <usize>(c * source) * 4;
    y += <usize>(m * pixels) * 4;
    w += <usize>(m * c * taps) * 4;
    if (bias != usize.MAX_VALUE) bias += <usize>m * 4;
  }
}
