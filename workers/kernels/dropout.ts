// Dropout by counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
// 1, 2, 3", SC'11), the same bits as philox4x32 in src/core/random.ts. Four counters go side by side, one a lane.
//
// x is [outer, samples, run]: element i of sample s's run in row o has the place o·run + i inside the sample, and is kept
// where word (place mod 4) of the block (place / 4, sample, c, d) under the key (a, b) is at least `threshold`, with
// (a, b, c, d) = philox(counter = key, key = stream). What an element gets does not depend on which samples lie beside it.
import { storeBool, storeTail, loadTail } from './lanes';

const M0: u32 = 0xd2511f53;
const M1: u32 = 0xcd9e8d57;
const W0: u32 = 0x9e3779b9; // golden ratio
const W1: u32 = 0xbb67ae85; // √3 − 1

@inline
function high(a: u32, b: u32): u32 {
  return <u32>((<u64>a * <u64>b) >> 32);
}

/** One word of one block. */
function philoxWord(word: i32, c0: u32, c1: u32, c2: u32, c3: u32, k0: u32, k1: u32): u32 {
  for (let round = 0; round < 10; round++) {
    const n0 = high(M1, c2) ^ c1 ^ k0;
    const n2 = high(M0, c0) ^ c3 ^ k1;
    c1 = M1 * c2;
    c3 = M0 * c0;
    c0 = n0;
    c2 = n2;
    k0 += W0;
    k1 += W1;
  }
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

/** Lower halves of the four products whose 64 bits are in `a` (lanes 0, 1) and `b` (lanes 2, 3). */
@inline
function lowWords(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

@inline
function highWords(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

/** Up to four lanes from lane `skip` on: the first places of a run that begins inside a block. */
@inline
function fromLane(v: v128, skip: i32): v128 {
  const bytes = i8x16.add(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>(skip * 4)));
  return i8x16.swizzle(v, bytes);
}

/** What a run gives: the mask as bool, or factor and 0, or x times these. */
const MASK = 0;
const FACTORS = 1;
const PRODUCTS = 2;

/** r elements by their words. */
@inline
function apply(gives: i32, r: i32, words: v128, threshold: v128, x: usize, factor: v128, y: usize): void {
  const kept = i32x4.ge_u(words, threshold);
  if (gives == MASK) storeBool(y, r, kept);
  else if (gives == FACTORS && r == 4) v128.store(y, v128.and(factor, kept));
  else if (gives == FACTORS) storeTail(y, r, v128.and(factor, kept));
  else if (r == 4) v128.store(y, f32x4.mul(v128.load(x), v128.and(factor, kept)));
  else storeTail(y, r, f32x4.mul(loadTail(x, r), v128.and(factor, kept)));
}

/** n places from `place` on, sixteen a time: four blocks, transposed into the order of places. */
@inline
function dropRun(
  gives: i32, n: i32, place: u64, sample: i32, a: u32, b: u32, c: u32, d: u32, threshold: v128, x: usize, factor: v128,
  y: usize,
): void {
  const size: i32 = gives == MASK ? 1 : 4;
  const m0 = i32x4.splat(<i32>M0);
  const m1 = i32x4.splat(<i32>M1);
  let first = <i32>(place >> 2);
  let skip = <i32>place & 3;
  while (n > 0) {
    let c0 = i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
    let c1 = i32x4.splat(sample);
    let c2 = i32x4.splat(<i32>c);
    let c3 = i32x4.splat(<i32>d);
    let k0 = a;
    let k1 = b;
    for (let round = 0; round < 10; round++) {
      const low0 = i64x2.extmul_low_i32x4_u(c0, m0);
      const high0 = i64x2.extmul_high_i32x4_u(c0, m0);
      const low1 = i64x2.extmul_low_i32x4_u(c2, m1);
      const high1 = i64x2.extmul_high_i32x4_u(c2, m1);
      c0 = v128.xor(v128.xor(highWords(low1, high1), c1), i32x4.splat(<i32>k0));
      c2 = v128.xor(v128.xor(highWords(low0, high0), c3), i32x4.splat(<i32>k1));
      c1 = lowWords(low1, high1);
      c3 = lowWords(low0, high0);
      k0 += W0;
      k1 += W1;
    }
    // Lane l of c0…c3 holds the words of block l: a 4 × 4 transpose puts each block's words side by side.
    const t0 = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7);
    const b0 = v128.shuffle<i64>(t0, t2, 0, 2);
    const b1 = v128.shuffle<i64>(t0, t2, 1, 3);
    const b2 = v128.shuffle<i64>(t1, t3, 0, 2);
    const b3 = v128.shuffle<i64>(t1, t3, 1, 3);
    first += 4;
    if (skip == 0 && n >= 16) {
      apply(gives, 4, b0, threshold, x, factor, y);
      apply(gives, 4, b1, threshold, x + 16, factor, y + <usize>(4 * size));
      apply(gives, 4, b2, threshold, x + 32, factor, y + <usize>(8 * size));
      apply(gives, 4, b3, threshold, x + 48, factor, y + <usize>(12 * size));
      n -= 16;
      x += 64;
      y += <usize>(16 * size);
      continue;
    }
    let words = fromLane(b0, skip);
    let r = min(n, 4 - skip);
    skip = 0;
    for (let block = 0; r > 0; ) {
      apply(gives, r, words, threshold, x, factor, y);
      n -= r;
      x += <usize>(4 * r);
      y += <usize>(size * r);
      if (++block == 4) break;
      words = block == 1 ? b1 : block == 2 ? b2 : b3;
      r = min(n, 4);
    }
  }
}

/** What a step and a node draw from, at `state`: the words a, b, c, d, then a byte offset a word. */
const THRESHOLD = 16;
const FACTOR = 20;
const SAMPLE = 24;
const FIRST = 32; // u64
/** Bytes of it. */
export const DROP_STATE: usize = 48;

/** Sets all but the sample and its first place. */
export function dropState(
  state: usize, key: usize, stream0: i32, stream1: i32, threshold: i32, factor: f32,
): void {
  const k0 = load<u32>(key);
  const k1 = load<u32>(key, 4);
  const k2 = load<u32>(key, 8);
  const k3 = load<u32>(key, 12);
  for (let word = 0; word < 4; word++) {
    store<u32>(state + <usize>word * 4, philoxWord(word, k0, k1, k2, k3, <u32>stream0, <u32>stream1));
  }
  store<i32>(state, threshold, THRESHOLD);
  store<f32>(state, factor, FACTOR);
}

/** Places count on from the first of the `matrix`-th of T × S, of which each of n samples owns `run` side by side. */
export function dropMatrix(state: usize, samples: usize, n: i32, run: i32, matrix: i32, T: i32, S: i32): void {
  const row = matrix / run;
  store<i32>(state, load<i32>(samples + <usize>(row % n) * 4), SAMPLE);
  const before = <u64>(row / n) * <u64>run + <u64>(matrix % run);
  store<u64>(state, before * <u64>T * <u64>S, FIRST);
}

@inline
function dropAt(gives: i32, n: i32, state: usize, place: u64, x: usize, y: usize): void {
  const threshold = v128.load32_splat(state, THRESHOLD);
  const factor = v128.load32_splat(state, FACTOR);
  const a = load<u32>(state);
  const b = load<u32>(state, 4);
  const c = load<u32>(state, 8);
  const d = load<u32>(state, 12);
  dropRun(gives, n, load<u64>(state, FIRST) + place, load<i32>(state, SAMPLE), a, b, c, d, threshold, x, factor, y);
}

/** x ·= the factors of n places. */
export function dropRow(n: i32, state: usize, place: u64, x: usize): void {
  dropAt(PRODUCTS, n, state, place, x, x);
}

/** y = the factors of n places: `factor` or 0. */
export function dropFactors(n: i32, state: usize, place: u64, y: usize): void {
  dropAt(FACTORS, n, state, place, 0, y);
}

@inline
function eachRun(
  gives: i32,
  n: i32, outer: i32, run: i32, x: usize, samples: usize, key: usize, y: usize,
  stream0: u32, stream1: u32, threshold: i32, scale: f32,
): void {
  const k0 = load<u32>(key);
  const k1 = load<u32>(key, 4);
  const k2 = load<u32>(key, 8);
  const k3 = load<u32>(key, 12);
  const a = philoxWord(0, k0, k1, k2, k3, stream0, stream1);
  const b = philoxWord(1, k0, k1, k2, k3, stream0, stream1);
  const c = philoxWord(2, k0, k1, k2, k3, stream0, stream1);
  const d = philoxWord(3, k0, k1, k2, k3, stream0, stream1);
  const limit = i32x4.splat(threshold);
  const factor = f32x4.splat(scale);
  for (let o = 0; o < outer; o++) {
    const place = <u64>o * <u64>run;
    for (let s: usize = 0; s < <usize>n; s++) {
      dropRun(gives, run, place, load<i32>(samples + s * 4), a, b, c, d, limit, x, factor, y);
      x += <usize>run * 4;
      y += <usize>run * (gives == MASK ? 1 : 4);
    }
  }
}

/** y = x·scale where an element is kept, 0·x where it is not; `threshold` is an unsigned word. */
export function dropout(
  n: i32, outer: i32, run: i32, x: usize, samples: usize, key: usize, y: usize,
  stream0: i32, stream1: i32, threshold: i32, scale: f32,
): void {
  eachRun(PRODUCTS, n, outer, run, x, samples, key, y, <u32>stream0, <u32>stream1, threshold, scale);
}

/** y (bool) = the element is kept. */
export function dropoutMask(
  n: i32, outer: i32, run: i32, samples: usize, key: usize, y: usize, stream0: i32, stream1: i32, threshold: i32,
): void {
  eachRun(MASK, n, outer, run, 0, samples, key, y, <u32>stream0, <u32>stream1, threshold, 0);
}
