// The weights' gradient of a convolution over few pixels, of several samples at once: sixteen outputs are the columns of a register
// tile, dy its B as [pixel][sample][16 outputs], and two channels its rows, x its A as [pixel][sample][2 channels], so that of a tap
// each row of the outputs whose windows have it within the image is one run of both. Products with padding are not made (what is not
// finite in dy does not show at a tap that lies in the padding), and x is packed once for all taps.
//
// Order of every sum: samples in groups of `samplesAtOnce`, of each the slices and in them blocks of `rowsAtOnce` rows of outputs,
// all ascending. A block's products are added from zero, pixel by pixel in row-major order and of each the samples in ascending
// order; the first block is dw, each later one is added to it once. A block that a tap does not reach adds 0.
import { tileOfRuns2x16 } from './convSamplesTile';
import { KC } from './gemm';
import { endInside, firstInside, four } from './im2col';
import { gather4, scatter4, transposeVectors } from './lanes';

const PLAN: usize = 16; // bytes of a tap in a block's plan

const MOST_BYTES = 1 << 21; // of x packed together; a single sample may have more

/** Of a sample of x, as packed. */
@inline
function pairsBytes(c: i32, volume: i32): i32 {
  return ((c + 1) >> 1) * volume * 8;
}

/** Samples packed together: as many as make a block of KC products of a slice's pixels, if they stay within MOST_BYTES. */
@inline
function samplesAtOnce(N: i32, pixels: i32, c: i32, volume: i32): i32 {
  return max(1, min(min(N, KC / pixels), MOST_BYTES / pairsBytes(c, volume)));
}

/** Rows of outputs of so many samples that make a block. */
@inline
function rowsAtOnce(samples: i32, oh: i32, ow: i32): i32 {
  return max(1, min(oh, KC / (samples * ow)));
}

/** Exact bytes, of the samples at once: [tiles of all taps][plan of a block][dy of sixteen outputs][x, pair by pair of channels]. */
@inline
export function weightPixelsWorkspace(N: i32, c: i32, volume: i32, taps: i32, od: i32, oh: i32, ow: i32): i32 {
  const samples = samplesAtOnce(N, oh * ow, c, volume);
  return taps * (128 + <i32>PLAN) + samples * (od * oh * ow * 64 + pairsBytes(c, volume));
}

/** n pixels of sixteen outputs, `plane` bytes apart, to rows of 64 bytes, dStep apart. */
function packSixteen(n: i32, s: usize, plane: usize, d: usize, dStep: usize): void {
  for (let i = 0; i < 4; i++) {
    const s1 = s + plane;
    const s2 = s1 + plane;
    const s3 = s2 + plane;
    let at: usize = 0;
    let to = d;
    let left = n;
    for (; left >= 4; left -= 4) {
      transposeVectors(v128.load(s + at), v128.load(s1 + at), v128.load(s2 + at), v128.load(s3 + at), to, dStep);
      at += 16;
      to += 4 * dStep;
    }
    for (; left > 0; left--) {
      v128.store(to, gather4(s + at, plane, 4));
      at += 4;
      to += dStep;
    }
    s = s3 + plane;
    d += 16;
  }
}

/** n pixels, `stride` elements apart, of two channels to pairs, dStep bytes apart. */
@inline
function packPairs(n: i32, stride: i32, s: usize, t: usize, d: usize, dStep: usize): void {
  const step = <usize>stride * 4;
  for (; n >= 4; n -= 4) {
    const u = four(stride, s);
    const v = four(stride, t);
    const low = v128.shuffle<f32>(u, v, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(u, v, 2, 6, 3, 7);
    v128.store_lane<u64>(d, low, 0);
    v128.store_lane<u64>(d + dStep, low, 1);
    v128.store_lane<u64>(d + 2 * dStep, high, 0);
    v128.store_lane<u64>(d + 3 * dStep, high, 1);
    s += 4 * step;
    t += 4 * step;
    d += 4 * dStep;
  }
  for (; n > 0; n--) {
    store<f32>(d, load<f32>(s));
    store<f32>(d, load<f32>(t), 4);
    s += step;
    t += step;
    d += dStep;
  }
}

/** Two channels of a sample; of each row every column of a stride's phase behind the ones of the phase before. */
function packChannels(rows: i32, W: i32, sw: i32, s: usize, t: usize, d: usize, dStep: usize): void {
  if (sw == 1) {
    packPairs(rows * W, 1, s, t, d, dStep);
    return;
  }
  for (; rows > 0; rows--) {
    for (let f = 0; f < min(sw, W); f++) {
      const n = (W - f + sw - 1) / sw;
      const at = <usize>f * 4;
      if (sw == 2) packPairs(n, 2, s + at, t + at, d, dStep);
      else packPairs(n, sw, s + at, t + at, d, dStep);
      d += <usize>n * dStep;
    }
    s += <usize>W * 4;
    t += <usize>W * 4;
  }
}

/** Where a column of x lies in its packed row. */
@inline
function placeOfColumn(column: i32, W: i32, sw: i32): i32 {
  const f = column % sw;
  return f * (W / sw) + min(f, W % sw) + column / sw;
}

@inline
function put(d: usize, v: v128, add: bool): void {
  v128.store(d, add ? f32x4.add(v128.load(d), v) : v);
}

/** Tiles of all taps, [tap][channel][16 outputs] → (or added to) rows of dw, [output][channel][tap]; `row`: bytes of an output. */
function spillTiles(channels: i32, taps: i32, tiles: usize, dw: usize, row: usize, add: bool): void {
  for (let i = 0; i < 4; i++) {
    let to = dw;
    for (let c = 0; c < channels; c++) {
      let s = tiles + <usize>c * 64;
      let d = to;
      let left = taps;
      for (; left >= 4; left -= 4) {
        const r0 = v128.load(s);
        const r1 = v128.load(s, 128);
        const r2 = v128.load(s, 256);
        const r3 = v128.load(s, 384);
        const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
        const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
        put(d, v128.shuffle<i64>(t0, t2, 0, 2), add);
        put(d + row, v128.shuffle<i64>(t0, t2, 1, 3), add);
        put(d + 2 * row, v128.shuffle<i64>(t1, t3, 0, 2), add);
        put(d + 3 * row, v128.shuffle<i64>(t1, t3, 1, 3), add);
        s += 512;
        d += 16;
      }
      for (; left > 0; left--) {
        const v = v128.load(s);
        scatter4(d, row, 4, add ? f32x4.add(gather4(d, row, 4), v) : v);
        s += 128;
        d += 4;
      }
      to += <usize>taps * 4;
    }
    tiles += 16;
    dw += 4 * row;
  }
}

/**
 * Of each tap the tile of a block, rows y0 … y1 of slice z of outputs: its runs (none where the tap does not reach), their products,
 * and where they begin in x and dy as packed, in bytes.
 */
function planTiles(
  samples: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, oh: i32, ow: i32, z: i32, y0: i32, y1: i32, plan: usize,
): void {
  for (let p = 0; p < kd; p++) {
    const slice = z * sd - pd + p * dd;
    const there = <u32>slice < <u32>D;
    for (let q = 0; q < kh; q++) {
      const above = q * dh - ph;
      const top = max(y0, firstInside(above, sh, oh));
      const rows = min(y1, endInside(above, sh, H, oh, 0)) - top;
      const line = (slice * H + top * sh + above) * W;
      for (let r = 0; r < kw; r++) {
        const before = r * dw - pw;
        const from = firstInside(before, sw, ow);
        const run = endInside(before, sw, W, ow, from) - from;
        const reaches = there && rows > 0 && run > 0;
        store<i32>(plan, reaches ? rows : 0);
        store<i32>(plan, run * samples, 4);
        if (reaches) {
          store<i32>(plan, 8 * (line + placeOfColumn(from * sw + before, W, sw)) * samples, 8);
          store<i32>(plan, 64 * ((z * oh + top) * ow + from) * samples, 12);
        }
        plan += PLAN;
      }
    }
  }
}

/** Tiles of all taps of two channels and sixteen outputs, as planned. */
@inline
function tilesOfTaps(taps: i32, plan: usize, x: usize, aStep: usize, dy: usize, bStep: usize, tiles: usize): void {
  const zero = f32x4.splat(0);
  for (; taps > 0; taps--) {
    const rows = load<i32>(plan);
    if (rows > 0) {
      const a = x + <usize>load<i32>(plan, 8);
      const b = dy + <usize>load<i32>(plan, 12);
      const k = load<i32>(plan, 4);
      tileOfRuns2x16(rows, k, a, aStep - <usize>k * 8, b, bStep - <usize>(k >> 2) * 256, tiles, false);
    } else {
      for (let i: usize = 0; i < 128; i += 16) v128.store(tiles + i, zero);
    }
    plan += PLAN;
    tiles += 128;
  }
}

/** A block's products, of sixteen outputs and all channels, become their dw or are added to it. */
function addBlock(
  c: i32, taps: i32, plan: usize, x: usize, pair: usize, aStep: usize, dy: usize, bStep: usize, tiles: usize, dw: usize,
  add: bool,
): void {
  const row = <usize>(c * taps) * 4;
  for (let k = c; k > 0; k -= 2) {
    tilesOfTaps(taps, plan, x, aStep, dy, bStep, tiles);
    spillTiles(min(2, k), taps, tiles, dw, row, add);
    x += pair;
    dw += <usize>taps * 8;
  }
}

/** dw of all samples and groups: outputs by sixteens. */
export function weightGradByPixels(
  N: i32, groups: i32, c: i32, D: i32, H: i32, W: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, dy: usize, dweight: usize, ws: usize,
): void {
  const taps = kd * kh * kw;
  const most = samplesAtOnce(N, oh * ow, c, D * H * W);
  const volume = <usize>(D * H * W) * 4;
  const plane = <usize>(od * oh * ow) * 4;
  const plan = ws + <usize>taps * 128;
  const sixteen = plan + <usize>taps * PLAN;
  const pairs = sixteen + <usize>most * plane * 16;
  const row = <usize>(c * taps) * 4;
  for (let g = 0; g < groups; g++) {
    for (let n = 0; n < N; n += most) {
      const samples = min(most, N - n);
      const step = <usize>samples * 8;
      const pair = <usize>samples * volume * 2;
      const aStep = <usize>(sh * W) * step;
      const bStep = <usize>(ow * 8) * step;
      for (let i = 0; i < samples; i++) {
        const image = x + <usize>((n + i) * groups + g) * <usize>c * volume;
        for (let j = 0; j < c; j += 2) {
          const s = image + <usize>j * volume;
          packChannels(D * H, W, sw, s, j + 1 < c ? s + volume : s, pairs + <usize>(j >> 1) * pair + <usize>i * 8, step);
        }
      }
      for (let j = 0; j < o; j += 16) {
        for (let i = 0; i < samples; i++) {
          const from = dy + <usize>(((n + i) * groups + g) * o + j) * plane;
          packSixteen(od * oh * ow, from, plane, sixteen + <usize>i * 64, 8 * step);
        }
        const weights = dweight + <usize>(g * o + j) * row;
        const rows = rowsAtOnce(samples, oh, ow);
        for (let z = 0; z < od; z++) {
          for (let y = 0; y < oh; y += rows) {
            const end = min(oh, y + rows);
            planTiles(samples, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, oh, ow, z, y, end, plan);
            addBlock(c, taps, plan, pairs, pair, aStep, sixteen, bStep, ws, weights, (n | z | y) > 0);
          }
        }
      }
    }
  }
}
