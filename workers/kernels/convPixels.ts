// The input's gradient of a convolution without dilation, pixel by pixel: of two neighbours (of a stride's phase) at once, sixteen
// channels are the columns of a register tile, the filters its B and dy, where it lies, its A. Only the taps that reach one of the
// two are added, so that neither columns nor products with padding are made; dy lies in a frame of one column of zeros between
// rows, for the tap that reaches one alone.
//
// Order of every sum: taps in ascending order, the outputs of each. Where some columns of taps do not reach, each row of taps is a
// run of its own, otherwise all rows of a slice are one; a run's products are added from zero by blocks of KC, and blocks in order.
import { intoFrame } from './frame';
import { multiplyAdd } from './fused';
import { KC } from './gemm';
import { extended, gather4, storeTail, transposeVectors } from './lanes';

const TILE = 256; // bytes of four pixels of sixteen channels

/** Taps of a phase along an axis. */
@inline
export function tapsOf(phase: i32, taps: i32, stride: i32): i32 {
  return (taps - phase + stride - 1) / stride;
}

@inline
function roundUp(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** Bytes of a group's dy with zeros between its rows. */
@inline
function frameBytes(o: i32, od: i32, oh: i32, ow: i32): i32 {
  return roundUp((o * od * oh * (ow + 1) + 1) * 4);
}

/** Exact bytes: [four pixels][frame][places of taps][filters of sixteen channels]. */
@inline
export function pixelsWorkspace(o: i32, taps: i32, od: i32, oh: i32, ow: i32): i32 {
  return TILE + frameBytes(o, od, oh, ow) + roundUp(o * taps * 4) + o * taps * 64;
}

/** C tile, two rows of 64 bytes (=|+=) Σ_k a[k]·b[k]: A's pair of k lies at a + places[k], packed B's sixteen at b + 64·k. */
export function tileOfPair(k: i32, a: usize, places: usize, b: usize, c: usize, add: bool): void {
  b = extended(b);
  places = extended(places);
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c02 = f32x4.splat(0);
  let c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c12 = f32x4.splat(0);
  let c13 = f32x4.splat(0);
  let pair: usize;
  let s: v128;
  let b0: v128;
  let b1: v128;
  let b2: v128;
  let b3: v128;
  do {
    pair = a + <usize>load<i32>(places);
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    b3 = v128.load(b, 48);
    s = v128.load32_splat(pair);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(pair, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    if (k == 1) break;
    pair = a + <usize>load<i32>(places, 4);
    b0 = v128.load(b, 64);
    b1 = v128.load(b, 80);
    b2 = v128.load(b, 96);
    b3 = v128.load(b, 112);
    s = v128.load32_splat(pair);
    c00 = multiplyAdd(s, b0, c00);
    c01 = multiplyAdd(s, b1, c01);
    c02 = multiplyAdd(s, b2, c02);
    c03 = multiplyAdd(s, b3, c03);
    s = v128.load32_splat(pair, 4);
    c10 = multiplyAdd(s, b0, c10);
    c11 = multiplyAdd(s, b1, c11);
    c12 = multiplyAdd(s, b2, c12);
    c13 = multiplyAdd(s, b3, c13);
    b += 128;
    places += 8;
    k -= 2;
  } while (k);
  if (add) {
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c02 = f32x4.add(v128.load(c, 32), c02);
    c03 = f32x4.add(v128.load(c, 48), c03);
    c10 = f32x4.add(v128.load(c, 64), c10);
    c11 = f32x4.add(v128.load(c, 80), c11);
    c12 = f32x4.add(v128.load(c, 96), c12);
    c13 = f32x4.add(v128.load(c, 112), c13);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(c, c02, 32);
  v128.store(c, c03, 48);
  v128.store(c, c10, 64);
  v128.store(c, c11, 80);
  v128.store(c, c12, 96);
  v128.store(c, c13, 112);
}

/** Sixteen channels of the first n of four pixels → rows of dx, `plane` bytes apart; the second lies at `second` of the tile. */
function spillFour(n: i32, tile: usize, second: usize, dx: usize, plane: usize): void {
  const end = tile + 64;
  for (; tile < end; tile += 16) {
    const v1 = v128.load(tile + second);
    const v2 = v128.load(tile + 192 - second);
    if (n >= 4) {
      transposeVectors(v128.load(tile), v1, v2, v128.load(tile, 192), dx, plane);
    } else {
      transposeVectors(v128.load(tile), v1, v2, v128.load(tile, 192), tile, 64);
      for (let i: usize = 0; i < 4; i++) storeTail(dx + i * plane, n, v128.load(tile + i * 64));
    }
    dx += 4 * plane;
  }
}

/** Taps of all phases before one. */
@inline
export function tapsBefore(phase: i32, taps: i32, stride: i32): i32 {
  let n = 0;
  for (let f = 0; f < phase; f++) n += tapsOf(f, taps, stride);
  return n;
}

/** Of each tap of a phase, in order, and each output: its place beside a pixel, and its filters' weights of sixteen channels. */
function packPhase(
  fz: i32, fy: i32, fx: i32, o: i32, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  od: i32, oh: i32, ow: i32, w: usize, places: usize, filters: usize,
): void {
  const taps = kd * kh * kw;
  const channel = <usize>taps * 4;
  const filter = channel * c;
  const volume = 4 * od * oh * (ow + 1);
  for (let p = fz; p < kd; p += sd) {
    for (let q = fy; q < kh; q += sh) {
      for (let r = fx; r < kw; r += sw) {
        let at = -4 * (((p / sd) * oh + q / sh) * (ow + 1) + r / sw);
        let from = w + <usize>((p * kh + q) * kw + r) * 4;
        for (let i = 0; i < o; i++) {
          store<i32>(places, at);
          for (let j: usize = 0; j < 64; j += 16) {
            v128.store(filters + j, gather4(from + (j >> 2) * channel, channel, 4));
          }
          at += volume;
          from += filter;
          places += 4;
          filters += 64;
        }
      }
    }
  }
}

/** The same of all phases, one behind the other. */
function packTaps(
  o: i32, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, od: i32, oh: i32, ow: i32,
  w: usize, places: usize, filters: usize,
): void {
  for (let fz = 0; fz < sd; fz++) {
    for (let fy = 0; fy < sh; fy++) {
      for (let fx = 0; fx < sw; fx++) {
        packPhase(fz, fy, fx, o, c, kd, kh, kw, sd, sh, sw, od, oh, ow, w, places, filters);
        const n = <usize>(o * tapsOf(fz, kd, sd) * tapsOf(fy, kh, sh) * tapsOf(fx, kw, sw));
        places += 4 * n;
        filters += 64 * n;
      }
    }
  }
}

/**
 * The tile of two neighbours of a phase: taps p0…p1, q0…q1 and r0…r1, of slices of K × L, with `o` outputs each. dy of the first
 * pixel's first tap lies at `at`.
 */
function pair(
  p0: i32, p1: i32, q0: i32, q1: i32, r0: i32, r1: i32, K: i32, L: i32, o: i32, at: usize, places: usize, filters: usize,
  tile: usize,
): void {
  const whole = r0 == 0 && r1 == L - 1;
  const run = (whole ? q1 - q0 + 1 : 1) * (r1 - r0 + 1) * o;
  const last = whole ? min(q0, q1) : q1;
  let add = false;
  for (let p = p0; p <= p1; p++) {
    for (let q = q0; q <= last; q++) {
      let from = <usize>(((p * K + q) * L + r0) * o);
      for (let left = run; left > 0; left -= KC) {
        tileOfPair(min(left, KC), at, places + 4 * from, filters + 64 * from, tile, add);
        from += KC;
        add = true;
      }
    }
  }
  if (!add) memory.fill(tile, 0, 128);
}

/** Sixteen channels of one sample. */
function image(
  o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, D: i32, H: i32, W: i32,
  od: i32, oh: i32, ow: i32, frame: usize, places: usize, filters: usize, tile: usize, dx: usize,
): void {
  const plane = <usize>(D * H * W) * 4;
  const second: usize = sw == 1 ? 64 : 128;
  for (let z = pd; z < D + pd; z++) {
    const J = tapsOf(z % sd, kd, sd);
    const slice = z / sd;
    const p0 = max(0, slice - od + 1);
    const p1 = min(J - 1, slice);
    for (let y = ph; y < H + ph; y++) {
      const K = tapsOf(y % sh, kh, sh);
      const row = y / sh;
      const q0 = max(0, row - oh + 1);
      const q1 = min(K - 1, row);
      const before = tapsBefore(z % sd, kd, sd) * kh * kw + J * tapsBefore(y % sh, kh, sh) * kw;
      const dyRow = frame + <usize>((slice * oh + row) * (ow + 1) + 1) * 4;
      for (let x = 0; x < W; x += 4) {
        for (let i = 0; i < 2; i++) {
          // By stride 1 pixels 0, 1 and 2, 3 of the four are pairs, by stride 2 0, 2 and 1, 3.
          const first = x + (sw == 1 ? 2 * i : i);
          if (first >= W) break;
          const phase = (first + pw) & (sw - 1);
          const column = (first + pw) >> (sw - 1);
          const L = tapsOf(phase, kw, sw);
          const r0 = max(0, column - ow + 1);
          const r1 = min(L - 1, column + 1);
          const from = <usize>((before + J * K * (phase == 0 ? 0 : tapsOf(0, kw, sw))) * o);
          const at = dyRow + <usize>column * 4;
          pair(p0, p1, q0, q1, r0, r1, K, L, o, at, places + 4 * from, filters + 64 * from, tile + <usize>i * 128);
        }
        spillFour(min(4, W - x), tile, second, dx, plane);
        dx += <usize>min(4, W - x) * 4;
      }
    }
  }
}

/** dx of all samples and groups: channels by sixteens, by stride 1 or 2 along the last axis, without dilation. */
export function inputGradByPixels(
  N: i32, groups: i32, c: i32, D: i32, H: i32, W: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, od: i32, oh: i32, ow: i32, dy: usize, w: usize, dx: usize, ws: usize,
): void {
  const taps = kd * kh * kw;
  const frame = ws + TILE;
  const places = frame + <usize>frameBytes(o, od, oh, ow);
  const filters = places + <usize>roundUp(o * taps * 4);
  const volume = <usize>(D * H * W) * 4;
  const dyGroup = <usize>(o * od * oh * ow) * 4;
  memory.fill(frame, 0, places - frame);
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < c; i += 16) {
      const channel = <usize>(g * c + i);
      packTaps(o, c, kd, kh, kw, sd, sh, sw, od, oh, ow, w + <usize>((g * o * c + i) * taps) * 4, places, filters);
      for (let n = 0; n < N; n++) {
        const sample = <usize>(n * groups);
        intoFrame(o * od, 1, oh, ow, 0, 0, 1, 1, oh, ow + 1, dy + (sample + <usize>g) * dyGroup, frame);
        const to = dx + (sample * c + channel) * volume;
        image(o, kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow, frame, places, filters, ws, to);
      }
    }
  }
}
