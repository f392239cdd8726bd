// softmax(scale·q·kᵀ)·v without its matrix of weights (Rabe, Staats: "Self-attention does not need O(n²) memory", 2021; Dao et al.,
// "FlashAttention", 2022): blocks of QUERIES queries meet blocks of keys one after the other, each row's maximum and sum running
// along (Milakov, Gimelshein 2018). Kept is the logarithm of each row's Σ e^score, from which the gradient makes the weights
// again; it goes through blocks of keys and in each through the queries (Dao, "FlashAttention-2", 2023, algorithm 2). Causal:
// query i sees the keys j ≤ i; tiles of two queries and sixteen keys, and the pairs of a sum, that are hidden as a whole are not
// computed, and what else is hidden is 0.
//
// Of FEW queries products go row by row, and nothing is packed. Else operands of products are packed once a block (of keys:
// once a head, where one block holds them all), and scores are read where they lie (attentionTile.ts).
//
// Dropout takes weights behind the softmax: e^score times 0 or 1 / (1 − ratio), while the sums are of all. Each is drawn by
// its place in the matrix (dropout.ts), and drawn again for the gradient; `drop` is where its state lies, or NONE.
//
// Masks hide keys, whose scores become −∞ and whose weights are 0, or are added to scores; `mask` is where their state lies, or
// NONE. A query that sees nothing has the result 0 and the logarithm LEAST, what the graph of ordinary ops has.
//
// Order of every sum, depending on the sizes alone: a product's from zero in ascending order (of few queries, scores in four
// lanes; y, dq, dk and dv go on from what is there), with q scaled first; a block's
// Σ e^(score − top) in two f32 vectors, then their lanes in f64; blocks of keys in ascending order, each added to what came
// before scaled by e^(old top − new top), the sum in f64. Gradients: dk and dv add blocks of queries, dq blocks of keys,
// ascending, dk and dv from zero.
import { DROP_STATE, dropFactors, dropMatrix, dropRow, dropState } from './dropout';
import { fillRow, loadBool, loadTail, storeTail, sum4 } from './lanes';
import { mulAdd } from './math';
import { packB16 } from './gemmPack';
import { addOuter, addWeighted, dots } from './attentionFew';
import { spillTile, tileColumns, tileRows } from './attentionTile';
import { dotRow, logOne, scaleRow } from './softmax';

const QUERIES = 64; // queries a block
const KEYS = 256; // keys a block: their panels and a block of scores lie in L2
const GRADIENT_KEYS = 128; // keys a block of the gradient, which has three panels and two blocks
const FEW = 2; // no more queries than pay for packing keys
const EDGE = 128; // bytes of a whole 2×16 tile, where ragged edges are computed
const ALL = 0x3fffffff; // keys that a block's first query sees, where none are hidden
const NONE: usize = usize.MAX_VALUE;

// What a mask says: where a key is hidden (bool), where it is seen (bool), what is added to its score (f32; −∞ hides).
const HIDDEN = 0;
const SEEN = 1;
const ADDED = 2;
/** Of each of two masks: its kind, bytes from row to row, its first row for this matrix, then what finds that. */
const MASK_BYTES: usize = 32;
const ROW_STEP = 4;
const ROWS = 8;
const BASE = 12;
const INNER = 16;
const OUTER_STEP = 20;
const INNER_STEP = 24;
const MASK_STATE: usize = 2 * MASK_BYTES;

/** The least f32: what a running maximum starts from, so that a block of nothing but −∞ adds 0 and no NaN. */
const LEAST: f32 = -3.4028234663852886e38;

@inline
function up16(n: i32): i32 {
  return (n + 15) & ~15;
}

/** Elements from row to row of a block of scores of n keys: an odd number of cache lines, so that a column's lie in all sets. */
@inline
function scoreStep(n: i32): i32 {
  return up16(n) | 16;
}

@inline
function keysSeen(T: i32, S: i32, causal: i32): i32 {
  return causal ? min(T, S) : S;
}

/**
 * Sets one of two masks; steps in elements. The rows of matrix m are ⌊m / inner⌋·outer + (m mod inner)·innerStep behind `base`,
 * and `row` apart.
 */
@inline
function setMask(state: usize, kind: i32, inner: i32, outer: i32, innerStep: i32, row: i32, base: usize): void {
  const size = kind == ADDED ? 4 : 1;
  store<i32>(state, kind);
  store<i32>(state, row * size, ROW_STEP);
  store<usize>(state, base, BASE);
  store<i32>(state, inner, INNER);
  store<i32>(state, outer * size, OUTER_STEP);
  store<i32>(state, innerStep * size, INNER_STEP);
}

export function maskState(
  state: usize, kind0: i32, inner0: i32, outer0: i32, step0: i32, row0: i32, kind1: i32, inner1: i32, outer1: i32,
  step1: i32, row1: i32, mask0: usize, mask1: usize,
): void {
  setMask(state, kind0, inner0, outer0, step0, row0, mask0);
  setMask(state + MASK_BYTES, kind1, inner1, outer1, step1, row1, mask1);
}

export function maskMatrix(state: usize, matrix: i32): void {
  for (let i = 0; i < 2; i++, state += MASK_BYTES) {
    const inner = load<i32>(state, INNER);
    const outer = <usize>(matrix / inner) * <usize>load<i32>(state, OUTER_STEP);
    const base = load<usize>(state, BASE);
    const rows = base + outer + <usize>(matrix % inner) * <usize>load<i32>(state, INNER_STEP);
    store<usize>(state, base == NONE ? NONE : rows, ROWS);
  }
}

/** Four scores x, or r of them, by a mask of a kind. */
@inline
function maskVector(kind: i32, r: i32, mask: usize, x: v128): v128 {
  const nothing = f32x4.splat(-Infinity);
  if (kind == HIDDEN) return v128.bitselect(nothing, x, loadBool(mask, r));
  if (kind == SEEN) return v128.bitselect(x, nothing, loadBool(mask, r));
  const m = r == 4 ? v128.load(mask) : loadTail(mask, r);
  return v128.bitselect(nothing, f32x4.add(x, m), f32x4.eq(m, nothing));
}

@inline
function maskOne(kind: i32, n: i32, mask: usize, x: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(x, maskVector(kind, 4, mask, v128.load(x)));
    x += 16;
    mask += kind == ADDED ? 16 : 4;
  }
  if (n > 0) storeTail(x, n, maskVector(kind, n, mask, loadTail(x, n)));
}

/** n scores x of query `row` and keys from `key` on, by both masks. */
function maskRow(n: i32, state: usize, row: i32, key: i32, x: usize): void {
  for (let i = 0; i < 2; i++, state += MASK_BYTES) {
    const kind = load<i32>(state);
    const rows = load<usize>(state, ROWS);
    if (rows == NONE) continue;
    const at = rows + <usize>row * <usize>load<i32>(state, ROW_STEP);
    if (kind == HIDDEN) maskOne(HIDDEN, n, at + <usize>key, x);
    else if (kind == SEEN) maskOne(SEEN, n, at + <usize>key, x);
    else maskOne(ADDED, n, at + <usize>key * 4, x);
  }
}

/**
 * Exact bytes of `ws`; every call writes the last of them. What stands in brackets twice is there with dropout or masks only.
 * Forward:  [[dropout]][[masks]][edge][scaled q][kᵀ][v][scores][f32 top a row][f64 sum a row]
 * Gradient: [[dropout]][[masks]][edge][scaled q][its panels][dy][kᵀ][vᵀ][k][weights][their cotangents][[factors of a row]]
 *           [f32 Σ dy·y a row]
 * Of few queries there is neither edge nor panel.
 */
export function attentionWorkspace(
  gradient: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, drops: i32, masks: i32,
): i32 {
  const m = min(T, QUERIES);
  const n = min(keysSeen(T, S, causal), gradient ? GRADIENT_KEYS : KEYS);
  const scores = 4 * m * scoreStep(n);
  const states = (drops ? <i32>DROP_STATE : 0) + (masks ? <i32>MASK_STATE : 0);
  if (T <= FEW) {
    const rows = states + up16(4 * m * D) + scores + up16(4 * m);
    return gradient ? rows + scores + (drops ? 4 * up16(n) : 0) : rows + up16(8 * m);
  }
  const shared = states + EDGE + up16(4 * m * D) + scores + up16(4 * m) + 4 * D * up16(n);
  if (!gradient) return shared + 4 * n * up16(V) + up16(8 * m);
  return shared + scores + 4 * m * (up16(D) + up16(V)) + 4 * V * up16(n) + 4 * n * up16(D) + (drops ? 4 * up16(n) : 0);
}

/** Panels of sixteen of `cols` columns of x, k rows each, `kStep` bytes apart, columns `step`: [⌈cols / 16⌉][k][16]. */
function panels(k: i32, cols: i32, x: usize, kStep: usize, step: usize, out: usize): void {
  for (; cols > 0; cols -= 16) {
    packB16(k, min(cols, 16), x, kStep, step, out);
    x += 16 * step;
    out += <usize>k * 64;
  }
}

/**
 * c[r][j] = a[r]·b[j] of two rows or keys each, b's keys in panels of k: what is hidden as a whole is left out, where the first
 * query sees `first` keys and each one more than the one before.
 */
function scoreBlock(
  rows: i32, cols: i32, k: i32, a: usize, aRow: usize, b: usize, c: usize, cRow: usize, first: i32,
): void {
  for (let j = 0; j < cols; j += 16) {
    for (let r = max(0, j + 1 - first) & ~1; r < rows; r += 2) {
      const one = r + 1 == rows;
      tileRows(k, a + <usize>r * aRow, one ? 0 : aRow, b, c + <usize>r * cRow, one ? 0 : cRow, false);
    }
    b += <usize>k * 64;
    c += 64;
  }
}

/** c (=|+=) a·b: each pair of rows by the keys that one of them sees, of k, whose panels are `bStep` bytes apart. */
function weighted(
  rows: i32, k: i32, cols: i32, a: usize, aRow: usize, b: usize, bStep: usize, c: usize, cRow: usize, add: bool,
  first: i32, edge: usize,
): void {
  for (; cols > 0; cols -= 16) {
    for (let r = 0; r < rows; r += 2) {
      const one = r + 1 == rows;
      const depth = min(k, first + r + 1);
      const at = a + <usize>r * aRow;
      const to = c + <usize>r * cRow;
      if (cols >= 16) {
        tileRows(depth, at, one ? 0 : aRow, b, to, one ? 0 : cRow, add);
      } else {
        tileRows(depth, at, one ? 0 : aRow, b, edge, one ? 0 : 64, false);
        spillTile(one ? 1 : 2, cols, edge, to, cRow, add);
      }
    }
    b += bStep;
    c += 64;
  }
}

/** c += aᵀ·b: each pair of n keys by the queries that see one of them, of m, b in panels of m rows. */
function gathered(
  n: i32, m: i32, cols: i32, a: usize, aRow: usize, b: usize, c: usize, cRow: usize, first: i32, edge: usize,
): void {
  for (; cols > 0; cols -= 16) {
    for (let j = 0; j < n; j += 2) {
      const one = j + 1 == n;
      const r = max(0, j + 1 - first);
      const at = a + <usize>j * 4 + <usize>r * aRow;
      const to = c + <usize>j * cRow;
      if (cols >= 16) {
        tileColumns(m - r, at, aRow, b + <usize>r * 64, to, one ? 0 : cRow, true);
      } else {
        tileColumns(m - r, at, aRow, b + <usize>r * 64, edge, 64, false);
        spillTile(one ? 1 : 2, cols, edge, to, cRow, true);
      }
    }
    b += <usize>m * 64;
    c += 64;
  }
}

/** y = x·factor for `rows` rows of n, xStep bytes apart in x and side by side in y. */
export function attentionScaled(rows: i32, n: i32, x: usize, xStep: usize, factor: f32, y: usize): void {
  const f = f32x4.splat(factor);
  for (; rows > 0; rows--) {
    let from = x;
    let left = n;
    for (; left >= 4; left -= 4) {
      v128.store(y, f32x4.mul(v128.load(from), f));
      from += 16;
      y += 16;
    }
    if (left > 0) {
      storeTail(y, left, f32x4.mul(loadTail(from, left), f));
      y += <usize>left * 4;
    }
    x += xStep;
  }
}

/** Greatest of n ≤ KEYS scores and `least`; what is NaN does not count, and makes the sum NaN. */
function topOf(n: i32, x: usize, least: f32): f32 {
  let a = f32x4.splat(least);
  let b = a;
  for (; n >= 8; n -= 8) {
    a = f32x4.pmax(a, v128.load(x));
    b = f32x4.pmax(b, v128.load(x, 16));
    x += 32;
  }
  for (; n > 0; n--) {
    a = f32x4.pmax(a, v128.load32_splat(x));
    x += 4;
  }
  a = f32x4.pmax(a, b);
  a = f32x4.pmax(a, v128.shuffle<f32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(a, v128.shuffle<f32>(a, a, 1, 0, 3, 2)), 0);
}

/**
 * e^x, x ≤ 0 where it is no `gradient`: 2^(n + r), n the nearest integer to x·log₂e, 2^r a polynomial of degree 6 (minimax, relative
 * error 2e-9). x·log₂e is rounded: relative error 1.2·2^-24·(2 + |x|), which for weights, of 1 at most, is 7.5e-8 absolute. Below
 * 2^-126, and so of what is hidden, it is 0. NaN stays.
 */
@inline
function vexpWeight(x: v128, gradient: bool): v128 {
  let y = f32x4.pmax(f32x4.mul(x, f32x4.splat(1.44269504088896341)), f32x4.splat(-127));
  // Weights of any logarithms: 2^128 is infinite.
  if (gradient) y = f32x4.pmin(y, f32x4.splat(128));
  // 1.5·2^23 + 127 + n: its low bits are the exponent field of 2^n.
  const z = f32x4.add(y, f32x4.splat(12583039));
  const r = f32x4.sub(y, f32x4.sub(z, f32x4.splat(12583039)));
  let p = mulAdd(f32x4.splat(1.5353361959569156e-4), r, f32x4.splat(1.3398875016719103e-3));
  p = mulAdd(p, r, f32x4.splat(9.61843691766262e-3));
  p = mulAdd(p, r, f32x4.splat(5.5503323674201965e-2));
  p = mulAdd(p, r, f32x4.splat(2.4022647738456726e-1));
  p = mulAdd(p, r, f32x4.splat(6.931471824645996e-1));
  p = mulAdd(p, r, f32x4.splat(1));
  return f32x4.mul(p, i32x4.shl(z, 23));
}

/** x becomes e^(x − shift), n ≤ KEYS; their sum. */
function expSumRow(n: i32, x: usize, shift: f32): f64 {
  const m = f32x4.splat(shift);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (; n >= 8; n -= 8) {
    const e0 = vexpWeight(f32x4.sub(v128.load(x), m), false);
    const e1 = vexpWeight(f32x4.sub(v128.load(x, 16), m), false);
    v128.store(x, e0);
    v128.store(x, e1, 16);
    s0 = f32x4.add(s0, e0);
    s1 = f32x4.add(s1, e1);
    x += 32;
  }
  if (n >= 4) {
    const e = vexpWeight(f32x4.sub(v128.load(x), m), false);
    v128.store(x, e);
    s0 = f32x4.add(s0, e);
    n -= 4;
    x += 16;
  }
  let total = sum4(f32x4.add(s0, s1));
  if (n > 0) {
    const e = vexpWeight(f32x4.sub(loadTail(x, n), m), false);
    storeTail(x, n, e);
    total += <f64>f32x4.extract_lane(e, 0);
    if (n > 1) total += <f64>f32x4.extract_lane(e, 1);
    if (n > 2) total += <f64>f32x4.extract_lane(e, 2);
  }
  return total;
}

/** Of a weight w and the cotangent dp of what dropout left of it, by its factor: the score's. */
@inline
function scoreGrad(w: v128, dp: v128, factor: v128, delta: v128, drops: bool): v128 {
  return f32x4.mul(w, f32x4.sub(drops ? f32x4.mul(dp, factor) : dp, delta));
}

/**
 * A row of scores p becomes its weights e^(p − lse), times their factors where there are any, and dp, the cotangents of
 * these, the scores'.
 */
@inline
function weightGradRow(n: i32, p: usize, dp: usize, lse: f32, delta: f32, factors: usize, drops: bool): void {
  const shift = f32x4.splat(lse);
  const d = f32x4.splat(delta);
  for (; n >= 8; n -= 8) {
    const w0 = vexpWeight(f32x4.sub(v128.load(p), shift), true);
    const w1 = vexpWeight(f32x4.sub(v128.load(p, 16), shift), true);
    const f0 = drops ? v128.load(factors) : d;
    const f1 = drops ? v128.load(factors, 16) : d;
    v128.store(p, drops ? f32x4.mul(w0, f0) : w0);
    v128.store(p, drops ? f32x4.mul(w1, f1) : w1, 16);
    v128.store(dp, scoreGrad(w0, v128.load(dp), f0, d, drops));
    v128.store(dp, scoreGrad(w1, v128.load(dp, 16), f1, d, drops), 16);
    p += 32;
    dp += 32;
    factors += 32;
  }
  for (; n > 0; n -= 4) {
    const r = min(n, 4);
    const w = vexpWeight(f32x4.sub(r == 4 ? v128.load(p) : loadTail(p, r), shift), true);
    const f = drops ? (r == 4 ? v128.load(factors) : loadTail(factors, r)) : d;
    const left = drops ? f32x4.mul(w, f) : w;
    const ds = scoreGrad(w, r == 4 ? v128.load(dp) : loadTail(dp, r), f, d, drops);
    if (r == 4) {
      v128.store(p, left);
      v128.store(dp, ds);
    } else {
      storeTail(p, r, left);
      storeTail(dp, r, ds);
    }
    p += 16;
    dp += 16;
    factors += 16;
  }
}

/** Of `cols` keys from key `first` on, those that query `row` sees. */
@inline
function visible(causal: i32, row: i32, first: i32, cols: i32): i32 {
  return causal ? max(0, min(cols, row + 1 - first)) : cols;
}

/**
 * q [N, T, H, D], k [N, S, H, D], v [N, S, H, V] → y [N, T, H, V], lse [N, H, T].
 * Dropout where there is a `key`: each of n `samples` owns `run` matrices side by side; the rest as in `dropout`. Masks where
 * there are any: numbers as in `maskState`.
 */
export function attention(
  N: i32, H: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, scale: f32, n: i32, run: i32, stream0: i32, stream1: i32,
  threshold: i32, factor: f32, kind0: i32, inner0: i32, outer0: i32, step0: i32, row0: i32, kind1: i32, inner1: i32,
  outer1: i32, step1: i32, row1: i32, q: usize, k: usize, v: usize, mask0: usize, mask1: usize, samples: usize,
  key: usize, y: usize, lse: usize, ws: usize,
): void {
  const drop = key != NONE ? ws : NONE;
  if (drop != NONE) dropState(drop, key, stream0, stream1, threshold, factor);
  const behind = drop != NONE ? ws + DROP_STATE : ws;
  const mask = mask0 != NONE ? behind : NONE;
  if (mask != NONE) {
    maskState(mask, kind0, inner0, outer0, step0, row0, kind1, inner1, outer1, step1, row1, mask0, mask1);
  }
  store<u8>(ws + <usize>attentionWorkspace(0, T, S, D, V, causal, drop != NONE ? 1 : 0, mask != NONE ? 1 : 0) - 1, 0);
  ws = mask != NONE ? behind + MASK_STATE : behind;
  const heads = N * H;
  for (let matrix = 0; matrix < heads; ) {
    for (let h: usize = 0; h < <usize>H; h++) {
      if (drop != NONE) dropMatrix(drop, samples, n, run, matrix, T, S);
      if (mask != NONE) maskMatrix(mask, matrix);
      const keyAt = h * <usize>D * 4;
      const valueAt = h * <usize>V * 4;
      head(T, S, D, V, H * D, H * V, causal, scale, q + keyAt, k + keyAt, v + valueAt, y + valueAt, lse, ws, drop, mask);
      lse += <usize>T * 4;
      matrix++;
    }
    q += <usize>(T * H) * <usize>D * 4;
    k += <usize>(S * H) * <usize>D * 4;
    v += <usize>(S * H) * <usize>V * 4;
    y += <usize>(T * H) * <usize>V * 4;
  }
}

/**
 * Scores of queries i… and keys j… become e^(score − top), what is hidden 0; tops and sums run along, and y, what earlier blocks
 * of keys have added up, is scaled to the new top.
 */
export function attentionRows(
  rows: i32, cols: i32, i: i32, j: i32, causal: i32, scores: usize, lds: i32, tops: usize, sums: usize, V: i32, y: usize,
  ldv: i32, mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    if (n > 0) {
      if (mask != NONE) maskRow(n, mask, i + r, j, scores);
      // Whole vectors: what is hidden in the last is made nothing first.
      const whole = min(lds, (n + 7) & ~7);
      if (n < whole) fillRow(whole - n, f32x4.splat(-Infinity), scores + <usize>n * 4);
      const before = j > 0 ? load<f32>(tops) : LEAST;
      const top = topOf(whole, scores, before);
      let total = expSumRow(whole, scores, top);
      if (j > 0) {
        const factor = f32x4.extract_lane(vexpWeight(f32x4.splat(before - top), false), 0);
        total += load<f64>(sums) * <f64>factor;
        if (factor != 1) scaleRow(V, y, factor);
      }
      store<f32>(tops, top);
      store<f64>(sums, total);
      if (whole < cols) fillRow(cols - whole, f32x4.splat(0), scores + <usize>whole * 4);
    } else {
      fillRow(cols, f32x4.splat(0), scores);
    }
    scores += <usize>lds * 4;
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
  }
}

/** Drops of what queries i… see of keys j…, in a matrix of S columns. */
export function attentionDrops(
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, scores: usize, lds: i32, drop: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    dropRow(n, drop, <u64>(i + r) * <u64>S + <u64>j, scores);
    scores += <usize>lds * 4;
  }
}

/** Behind the last block of keys: y over the sums, and their logarithms. Masked: a row that sees nothing sums up to 0. */
export function attentionFinish(
  rows: i32, tops: usize, sums: usize, V: i32, y: usize, ldv: i32, lse: usize, masked: i32,
): void {
  for (; rows > 0; rows--) {
    const total = load<f64>(sums);
    const nothing = masked != 0 && total == 0;
    scaleRow(V, y, nothing ? 0 : <f32>(1 / total));
    store<f32>(lse, nothing ? LEAST : load<f32>(tops) + logOne(<f32>total));
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
    lse += 4;
  }
}

/** Of the keys from j on, those that a block's first query sees, of any number. */
@inline
function seenFirst(causal: i32, i: i32, j: i32): i32 {
  return causal ? i + 1 - j : ALL;
}

/** Rows that are made weights at a time: what is hidden from all of them is not touched. */
const ROWS_AT_ONCE = 16;

/** `head` of few queries: row by row, nothing packed. */
function headOfFew(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, scaled: usize, drop: usize, mask: usize,
): void {
  const seen = keysSeen(T, S, causal);
  const lds = scoreStep(min(seen, KEYS));
  const row = <usize>lds * 4;
  const scores = scaled + <usize>up16(4 * T * D);
  const tops = scores + <usize>T * row;
  const sums = tops + <usize>up16(4 * T);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  attentionScaled(T, D, q, kRow, scale, scaled);
  for (let r = 0; r < T; r++) fillRow(V, f32x4.splat(0), y + <usize>r * vRow);
  for (let j = 0; j < seen; j += KEYS) {
    const cols = min(KEYS, seen - j);
    for (let r = 0; r < T; r++) dots(cols, D, scaled + <usize>(r * D) * 4, k, kRow, scores + <usize>r * row);
    attentionRows(T, cols, 0, j, causal, scores, lds, tops, sums, V, y, ldv, mask);
    if (drop != NONE) attentionDrops(T, cols, 0, j, S, causal, scores, lds, drop);
    for (let r = 0; r < T; r++) addWeighted(cols, V, scores + <usize>r * row, v, vRow, y + <usize>r * vRow);
    k += <usize>cols * kRow;
    v += <usize>cols * vRow;
  }
  attentionFinish(T, tops, sums, V, y, ldv, lse, mask != NONE ? 1 : 0);
}

/** One head of one sample: `ldk` elements from a query or key to the next, `ldv` from a value or result to the next. */
function head(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, ws: usize, drop: usize, mask: usize,
): void {
  if (T <= FEW) {
    headOfFew(T, S, D, V, ldk, ldv, causal, scale, q, k, v, y, lse, ws, drop, mask);
    return;
  }
  const m = min(T, QUERIES);
  const seen = keysSeen(T, S, causal);
  const n = min(seen, KEYS);
  const lds = scoreStep(n);
  const row = <usize>lds * 4;
  const scaled = ws + EDGE;
  const keys = scaled + <usize>up16(4 * m * D);
  const values = keys + <usize>(D * up16(n)) * 4;
  const scores = values + <usize>(n * up16(V)) * 4;
  const tops = scores + <usize>m * row;
  const sums = tops + <usize>up16(4 * m);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let i = 0; i < T; i += QUERIES) {
    const rows = min(QUERIES, T - i);
    attentionScaled(rows, D, q, kRow, scale, scaled);
    const end = keysSeen(i + rows, S, causal);
    for (let j = 0; j < end; j += KEYS) {
      const cols = min(KEYS, end - j);
      const packed = min(KEYS, seen - j);
      // A single block of keys stays packed for all queries.
      if (i == 0 || seen > KEYS) {
        panels(D, packed, k + <usize>j * kRow, 4, kRow, keys);
        panels(packed, V, v + <usize>j * vRow, vRow, 4, values);
      }
      const first = seenFirst(causal, i, j);
      scoreBlock(rows, cols, D, scaled, <usize>D * 4, keys, scores, row, first);
      for (let r = 0; r < rows; r += ROWS_AT_ONCE) {
        const some = min(ROWS_AT_ONCE, rows - r);
        const most = min(cols, first + r + ROWS_AT_ONCE - 1);
        const at = scores + <usize>r * row;
        attentionRows(
          some, most, i + r, j, causal, at, lds, tops + <usize>r * 4, sums + <usize>r * 8, V, y + <usize>r * vRow, ldv, mask,
        );
        if (drop != NONE) attentionDrops(some, most, i + r, j, S, causal, at, lds, drop);
      }
      weighted(rows, cols, V, scores, row, values, <usize>packed * 64, y, vRow, j > 0, first, ws);
    }
    attentionFinish(rows, tops, sums, V, y, ldv, lse, mask != NONE ? 1 : 0);
    y += <usize>rows * vRow;
    lse += <usize>rows * 4;
    q += <usize>rows * kRow;
  }
}

/** dq, dk and dv of `attention` from its inputs, its outputs y and lse, and y's cotangent dy. */
export function attentionGrad(
  N: i32, H: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, scale: f32, n: i32, run: i32, stream0: i32, stream1: i32,
  threshold: i32, factor: f32, kind0: i32, inner0: i32, outer0: i32, step0: i32, row0: i32, kind1: i32, inner1: i32,
  outer1: i32, step1: i32, row1: i32, q: usize, k: usize, v: usize, y: usize, lse: usize, dy: usize, mask0: usize,
  mask1: usize, samples: usize, key: usize, dq: usize, dk: usize, dv: usize, ws: usize,
): void {
  const drop = key != NONE ? ws : NONE;
  if (drop != NONE) dropState(drop, key, stream0, stream1, threshold, factor);
  const behind = drop != NONE ? ws + DROP_STATE : ws;
  const mask = mask0 != NONE ? behind : NONE;
  if (mask != NONE) {
    maskState(mask, kind0, inner0, outer0, step0, row0, kind1, inner1, outer1, step1, row1, mask0, mask1);
  }
  store<u8>(ws + <usize>attentionWorkspace(1, T, S, D, V, causal, drop != NONE ? 1 : 0, mask != NONE ? 1 : 0) - 1, 0);
  ws = mask != NONE ? behind + MASK_STATE : behind;
  const queries = <usize>(T * H) * <usize>D * 4;
  const keys = <usize>(S * H) * <usize>D * 4;
  const values = <usize>(S * H) * <usize>V * 4;
  const results = <usize>(T * H) * <usize>V * 4;
  memory.fill(dk, 0, <usize>N * keys);
  memory.fill(dv, 0, <usize>N * values);
  const heads = N * H;
  for (let matrix = 0; matrix < heads; ) {
    for (let h: usize = 0; h < <usize>H; h++) {
      if (drop != NONE) dropMatrix(drop, samples, n, run, matrix, T, S);
      if (mask != NONE) maskMatrix(mask, matrix);
      const a = h * <usize>D * 4;
      const b = h * <usize>V * 4;
      headGrad(
        T, S, D, V, H * D, H * V, causal, scale, q + a, k + a, v + b, y + b, lse, dy + b, dq + a, dk + a, dv + b, ws,
        drop, mask,
      );
      lse += <usize>T * 4;
      matrix++;
    }
    q += queries;
    dq += queries;
    k += keys;
    dk += keys;
    v += values;
    dv += values;
    y += results;
    dy += results;
  }
}

/** Σ dy·y of each row. */
export function attentionDeltas(rows: i32, V: i32, dy: usize, y: usize, ldv: i32, deltas: usize): void {
  for (; rows > 0; rows--) {
    store<f32>(deltas, <f32>dotRow(V, dy, y));
    dy += <usize>ldv * 4;
    y += <usize>ldv * 4;
    deltas += 4;
  }
}

/**
 * Scores of queries i… and keys j… become what dropout leaves of the weights, and its cotangents the scores'; what is hidden
 * is 0. `factors` is room for a row.
 */
export function attentionWeightGrads(
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, weights: usize, grads: usize, lds: i32, lse: usize,
  deltas: usize, factors: usize, drop: usize, mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    // Whole vectors: what they make of hidden ones is made 0 behind them.
    const whole = min(lds, (n + 7) & ~7);
    if (mask != NONE && n > 0) maskRow(n, mask, i + r, j, weights);
    if (drop == NONE) {
      weightGradRow(whole, weights, grads, load<f32>(lse), load<f32>(deltas), 0, false);
    } else {
      dropFactors(n, drop, <u64>(i + r) * <u64>S + <u64>j, factors);
      weightGradRow(whole, weights, grads, load<f32>(lse), load<f32>(deltas), factors, true);
    }
    if (n < cols) {
      fillRow(cols - n, f32x4.splat(0), weights + <usize>n * 4);
      fillRow(cols - n, f32x4.splat(0), grads + <usize>n * 4);
    }
    weights += <usize>lds * 4;
    grads += <usize>lds * 4;
    lse += 4;
    deltas += 4;
  }
}

/** x·factor in place, rows `ldx` elements apart. */
export function attentionScale(rows: i32, n: i32, x: usize, ldx: i32, factor: f32): void {
  for (; rows > 0; rows--) {
    scaleRow(n, x, factor);
    x += <usize>ldx * 4;
  }
}

/** `headGrad` of few queries. */
function headGradOfFew(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, dy: usize, dq: usize, dk: usize, dv: usize, scaled: usize, drop: usize, mask: usize,
): void {
  const seen = keysSeen(T, S, causal);
  const n = min(seen, GRADIENT_KEYS);
  const lds = scoreStep(n);
  const row = <usize>lds * 4;
  const weights = scaled + <usize>up16(4 * T * D);
  const grads = weights + <usize>T * row;
  const factors = grads + <usize>T * row;
  const deltas = factors + (drop != NONE ? <usize>up16(n) * 4 : 0);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  attentionScaled(T, D, q, kRow, scale, scaled);
  attentionDeltas(T, V, dy, y, ldv, deltas);
  for (let r = 0; r < T; r++) fillRow(D, f32x4.splat(0), dq + <usize>r * kRow);
  for (let j = 0; j < seen; j += GRADIENT_KEYS) {
    const cols = min(GRADIENT_KEYS, seen - j);
    for (let r = 0; r < T; r++) {
      dots(cols, D, scaled + <usize>(r * D) * 4, k, kRow, weights + <usize>r * row);
      dots(cols, V, dy + <usize>r * vRow, v, vRow, grads + <usize>r * row);
    }
    attentionWeightGrads(T, cols, 0, j, S, causal, weights, grads, lds, lse, deltas, factors, drop, mask);
    for (let r = 0; r < T; r++) {
      addOuter(cols, V, weights + <usize>r * row, dy + <usize>r * vRow, dv, vRow);
      addOuter(cols, D, grads + <usize>r * row, scaled + <usize>(r * D) * 4, dk, kRow);
      addWeighted(cols, D, grads + <usize>r * row, k, kRow, dq + <usize>r * kRow);
    }
    k += <usize>cols * kRow;
    v += <usize>cols * vRow;
    dk += <usize>cols * kRow;
    dv += <usize>cols * vRow;
  }
  attentionScale(T, D, dq, ldk, scale);
}

/** As `head`; dk and dv are added to. */
function headGrad(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, dy: usize, dq: usize, dk: usize, dv: usize, ws: usize, drop: usize,
  mask: usize,
): void {
  if (T <= FEW) {
    headGradOfFew(T, S, D, V, ldk, ldv, causal, scale, q, k, v, y, lse, dy, dq, dk, dv, ws, drop, mask);
    return;
  }
  const m = min(T, QUERIES);
  const end = keysSeen(T, S, causal);
  const n = min(end, GRADIENT_KEYS);
  const lds = scoreStep(n);
  const row = <usize>lds * 4;
  const scaled = ws + EDGE;
  const queries = scaled + <usize>up16(4 * m * D);
  const cotangents = queries + <usize>(m * up16(D)) * 4;
  const keysAcross = cotangents + <usize>(m * up16(V)) * 4;
  const valuesAcross = keysAcross + <usize>(D * up16(n)) * 4;
  const keys = valuesAcross + <usize>(V * up16(n)) * 4;
  const weights = keys + <usize>(n * up16(D)) * 4;
  const grads = weights + <usize>m * row;
  const factors = grads + <usize>m * row;
  const deltas = factors + (drop != NONE ? <usize>up16(n) * 4 : 0);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let j = 0; j < end; j += GRADIENT_KEYS) {
    const cols = min(GRADIENT_KEYS, end - j);
    panels(D, cols, k, 4, kRow, keysAcross);
    panels(V, cols, v, 4, vRow, valuesAcross);
    panels(cols, D, k, kRow, 4, keys);
    for (let i = causal ? j : 0; i < T; i += QUERIES) {
      const rows = min(QUERIES, T - i);
      const queryAt = <usize>i * kRow;
      const resultAt = <usize>i * vRow;
      attentionScaled(rows, D, q + queryAt, kRow, scale, scaled);
      attentionDeltas(rows, V, dy + resultAt, y + resultAt, ldv, deltas);
      panels(rows, D, scaled, <usize>D * 4, 4, queries);
      panels(rows, V, dy + resultAt, vRow, 4, cotangents);
      const first = seenFirst(causal, i, j);
      const seen = min(cols, causal ? i + rows - j : cols);
      scoreBlock(rows, seen, D, scaled, <usize>D * 4, keysAcross, weights, row, first);
      scoreBlock(rows, seen, V, dy + resultAt, vRow, valuesAcross, grads, row, first);
      for (let r = 0; r < rows; r += ROWS_AT_ONCE) {
        const some = min(ROWS_AT_ONCE, rows - r);
        const most = min(seen, first + r + ROWS_AT_ONCE - 1);
        const at = <usize>r * row;
        attentionWeightGrads(
          some, most, i + r, j, S, causal, weights + at, grads + at, lds, lse + <usize>(i + r) * 4, deltas + <usize>r * 4,
          factors, drop, mask,
        );
      }
      gathered(seen, rows, V, weights, row, cotangents, dv, vRow, first, ws);
      gathered(seen, rows, D, grads, row, queries, dk, kRow, first, ws);
      weighted(rows, seen, D, grads, row, keys, <usize>cols * 64, dq + queryAt, kRow, j > 0, first, ws);
    }
    k += <usize>cols * kRow;
    v += <usize>cols * vRow;
    dk += <usize>cols * kRow;
    dv += <usize>cols * vRow;
  }
  attentionScale(T, D, dq, ldk, scale);
}
