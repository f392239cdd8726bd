// Convolutions with samples as lanes, of outputs and of the input's gradient: the rows of a register tile are outputs, its columns
// the samples of a group (convSamples.ts). Only the taps that reach the image are added: of a row of taps, those that reach it and all
// channels are one run of the image and of the packed filters, so that neither columns nor products with padding are made.
//
//   outputs           y[n, o, at] = Σ w[o, c, t] · x[n, c, at·s − p + t·d]
//   input's gradient  dx[n, c, at] = Σ w[o, c, f + s·j] · dy[n, o, (at + p)/s − j·d],  f = (at + p) mod s
//
// the second with taps from last to first, so that it goes through dy in ascending order. "Source" is x or dy, "result" y or dx.
//
// Of up to four samples the same runs go the other way round: two samples are the rows, sixteen filters the columns. So a sample's bits
// are the same in any company, whichever way it goes; only the time is not.
//
// Order of every sum: taps that reach the source in that order, the source's channels of each; of a slice of taps, as many rows as
// have no more than KC products, or KC products of a longer row, are added from zero, and such blocks in order. Taps in the padding are
// not added: a weight that is not finite does not show there.
//
// Workspace: [tiles of some pixels][reach of each pixel][filters of a group in pairs][a group of samples], or [… in sixteens][a pair of
// samples], all but the last in whole 16 bytes.
import { packSamples } from './convSamples';
import { tileOfRuns2x16, tileOfRuns4x8 } from './convSamplesTile';
import { tapsBefore, tapsOf } from './convPixels';
import { KC } from './gemm';
import { gather4, loadTail, storeTail, transposeVectors } from './lanes';

const TILE = 128; // bytes of a tile of two or four results of sixteen or eight samples
const PIXELS = 4; // tiles at a time
const MOST = 1 << 20; // bytes of a packed group, in the second cache, and of what is known of pixels
const REACH = 32; // bytes of what is known of a pixel
const FILTERS = 16384; // bytes of filters that stay in the first cache
const FEW = 4; // samples that go by pairs: lanes would mostly be empty

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
  return PIXELS * TILE + results * REACH + roundUp(rows * c * taps * 4) + source * c * (few ? 2 : lanesOf(N)) * 4;
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
function reaches(
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

/** Of c channels two elements each, `second` bytes apart → [c][2]: of a pair of filters, or of samples. */
@inline
function packPair(c: i32, from: usize, second: usize, channel: usize, out: usize): void {
  for (; c > 0; c--) {
    const v = v128.load_zero<u32>(from);
    v128.store_lane<u64>(out, v128.load_lane<u32>(from + second, v, 1), 0);
    from += channel;
    out += 8;
  }
}

/** A tap's weights of c channels of n filters → [c][16], zeros behind the n. */
function packSixteen(n: i32, c: i32, w: usize, row: usize, channel: usize, out: usize): void {
  for (; c > 0; c--) {
    for (let j = 0; j < 16; j += 4) {
      v128.store(out, j < n ? gather4(w + <usize>j * row, row, n - j) : f32x4.splat(0));
      out += 16;
    }
    w += channel;
  }
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
                if (few) packSixteen(min(m, 16), c, from, row, channel, out);
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

/** A pair of samples, `second` bytes apart, of c channels of `pixels` → [pixels][c][2]. */
function packPixels(c: i32, pixels: i32, x: usize, second: usize, out: usize): void {
  const plane = <usize>pixels * 4;
  for (; pixels > 0; pixels--) {
    packPair(c, x, second, plane, out);
    x += 4;
    out += <usize>c * 8;
  }
}

/**
 * A tile over all slices and rows of a pixel's reach: runs of A's pairs from a on, and of B's rows of two or four vectors from b on.
 * Two pairs, `pair` bytes apart, of rows of eight.
 */
@inline
function tileOfReach(
  lanes: i32, reach: usize, a: usize, aRow: usize, aSlice: usize, pair: usize, b: usize, bRow: usize, bSlice: usize, tile: usize,
): void {
  let slices = load<i32>(reach, 16);
  if (slices <= 0) {
    memory.fill(tile, 0, TILE);
    return;
  }
  const width = <usize>lanes * 4;
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
        const at = aBlock + <usize>from * 8;
        const to = bBlock + <usize>from * width;
        const bSkip = bRow - <usize>(k & ~3) * width;
        if (lanes == 16) tileOfRuns2x16(runs, k, at, aRow - <usize>k * 8, to, bSkip, tile, add);
        else tileOfRuns4x8(runs, k, at, aRow - <usize>k * 8, pair, to, bSkip, tile, add);
        add = true;
      }
      aBlock += <usize>block * aRow;
      bBlock += <usize>block * bRow;
    }
    a += aSlice;
    b += bSlice;
  }
}

/** The tile of a pixel: of one pair of filters for sixteen samples, of two, `pair` bytes apart, for eight. */
@inline
function tileOfPixel(
  lanes: i32, reach: usize, filters: usize, pair: usize, group: usize, bRow: usize, bSlice: usize, tile: usize,
): void {
  const a = filters + <usize>load<i32>(reach);
  const b = group + <usize>load<i32>(reach, 4) * <usize>(lanes * 4);
  tileOfReach(lanes, reach, a, <usize>load<i32>(reach, 20), <usize>load<i32>(reach, 24), pair, b, bRow, bSlice, tile);
}

/** The other way round: of a pair of samples for sixteen filters, whose elements take eight times a pair's bytes. */
@inline
function tileOfSixteen(reach: usize, samples: usize, aRow: usize, aSlice: usize, filters: usize, tile: usize): void {
  const a = samples + <usize>load<i32>(reach, 4) * 8;
  const b = filters + <usize>load<i32>(reach) * 8;
  tileOfReach(16, reach, a, aRow, aSlice, 0, b, <usize>load<i32>(reach, 20) * 8, <usize>load<i32>(reach, 24) * 8, tile);
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

/** Tiles of n pixels of a pair of samples, of which `count` exist → up to sixteen results, `plane` bytes apart. */
function spillSixteen(
  n: i32, count: i32, results: i32, tile: usize, bias: usize, y: usize, plane: usize, step: usize,
): void {
  for (let s = 0; s < count; s++) {
    let from = tile + <usize>s * 64;
    let to = y + <usize>s * step;
    let biases = bias;
    for (let left = results; left > 0; left -= 4) {
      let b = f32x4.splat(-0.0);
      if (bias != usize.MAX_VALUE) {
        b = left >= 4 ? v128.load(biases) : loadTail(biases, left);
        biases += 16;
      }
      const v0 = f32x4.add(v128.load(from), b);
      const v1 = f32x4.add(v128.load(from, TILE), b);
      const v2 = f32x4.add(v128.load(from, 2 * TILE), b);
      const v3 = f32x4.add(v128.load(from, 3 * TILE), b);
      if (n >= 4 && left >= 4) {
        transposeVectors(v0, v1, v2, v3, to, plane);
      } else {
        transposeVectors(v0, v1, v2, v3, from, TILE);
        for (let i = 0; i < min(left, 4); i++) {
          const v = v128.load(from + <usize>i * TILE);
          if (n >= 4) v128.store(to + <usize>i * plane, v);
          else storeTail(to + <usize>i * plane, n, v);
        }
      }
      from += 16;
      to += 4 * plane;
    }
  }
}

/** All results of a packed pair of samples; filters, of so many bytes a sixteen. */
function pairOfSamples(
  count: i32, m: i32, sixteen: usize, pixels: i32, packed: usize, reach: usize, filters: usize, aRow: usize, aSlice: usize,
  tile: usize, bias: usize, y: usize, step: usize,
): void {
  const plane = <usize>pixels * 4;
  for (let i = 0; i < m; i += 16) {
    for (let at = 0; at < pixels; at += PIXELS) {
      const n = min(PIXELS, pixels - at);
      for (let t = 0; t < n; t++) {
        tileOfSixteen(reach + <usize>((at + t) * REACH), packed, aRow, aSlice, filters, tile + <usize>t * TILE);
      }
      const b = bias == usize.MAX_VALUE ? bias : bias + <usize>i * 4;
      spillSixteen(n, count, min(16, m - i), tile, b, y + <usize>i * plane + <usize>at * 4, plane, step);
    }
    filters += sixteen;
  }
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
    for (let n = 0; few && n < N; n += 2) {
      const count = min(2, N - n);
      const row = <usize>(dh * SW * c) * 8;
      const slice = <usize>(dd * SH * SW * c) * 8;
      packPixels(c, source, x + <usize>n * xStep, count > 1 ? xStep : 0, packed);
      pairOfSamples(count, m, 8 * pair, pixels, packed, reach, filters, row, slice, ws, bias, y + <usize>n * yStep, yStep);
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
