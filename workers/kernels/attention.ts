// softmax(scale·q·kᵀ)·v without its matrix of weights (Dao et al., "FlashAttention", 2022): blocks of queries meet blocks
// of KEYS keys one after the other, each row's maximum and sum running along (Milakov, Gimelshein 2018). Kept is the
// logarithm of each row's Σ e^score, from which the gradient makes the weights again. Causal: query i sees the keys j ≤ i;
// a block of queries does not meet keys behind its last one, and within the block on the diagonal what is hidden is 0.
//
// Dropout takes weights behind the softmax: e^score times 0 or 1 / (1 − ratio), while the sums are of all. Each is drawn by
// its place in the matrix (dropout.ts), and drawn again for the gradient; `drop` is where its state lies, or NONE.
//
// Masks hide keys, whose scores become −∞ and whose weights are 0, or are added to scores; `mask` is where their state lies, or
// NONE. A query that sees nothing has the result 0 and the logarithm LEAST, what the graph of ordinary ops has.
//
// Order of every sum, depending on the sizes alone: products as gemm's, with q scaled first; a block's Σ e^(score − top) in
// two f32 vectors, their lanes and the last 1–3 terms in f64; blocks of keys in ascending order, each added to what came
// before scaled by e^(old top − new top), the sum in f64. Gradients: dk and dv add blocks of queries, dq blocks of keys,
// ascending, dk and dv from zero.
import { DROP_STATE, dropFactors, dropMatrix, dropRow, dropState } from './dropout';
import { fillRow, loadBool, loadTail, storeTail, sum4 } from './lanes';
import { vexp } from './math';
import { gemm, gemmWorkspace } from './gemm';
import { dotRow, logOne, scaleRow } from './softmax';

const KEYS = 256; // keys a block: one block of gemm's depth
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

/** Queries a block from query i on. Causal, half a block is hidden on the diagonal: few where few keys are seen at all. */
@inline
function queryBlock(i: i32, causal: i32): i32 {
  return !causal || i >= 256 ? 64 : i >= 64 ? 32 : 16;
}

/** The most of T. */
@inline
function largestBlock(T: i32, causal: i32): i32 {
  return min(T, queryBlock(T - 1, causal));
}

/** The least f32: what a running maximum starts from, so that a block of nothing but −∞ adds 0 and no NaN. */
const LEAST: f32 = -3.4028234663852886e38;

@inline
function up16(n: i32): i32 {
  return (n + 15) & ~15;
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
 * Forward:  [[dropout]][[masks]][scaled q][scores][f32 top a row][f64 sum a row][gemm]
 * Gradient: [[dropout]][[masks]][scaled q][weights][their cotangents][[factors of a row]][f32 Σ dy·y a row][gemm]
 */
export function attentionWorkspace(
  gradient: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, drops: i32, masks: i32,
): i32 {
  const m = largestBlock(T, causal);
  const n = min(keysSeen(T, S, causal), KEYS);
  const scores = up16(4 * m * n);
  const states = (drops ? <i32>DROP_STATE : 0) + (masks ? <i32>MASK_STATE : 0);
  const shared = states + up16(4 * m * D) + scores + up16(4 * m);
  if (!gradient) return shared + up16(8 * m) + max(gemmWorkspace(m, n, D), gemmWorkspace(m, V, n));
  let product = max(gemmWorkspace(m, n, max(D, V)), gemmWorkspace(n, max(D, V), m));
  product = max(product, gemmWorkspace(m, D, n));
  return shared + scores + (drops ? up16(4 * n) : 0) + product;
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

/** x becomes e^(x − shift), n ≤ KEYS; their sum. */
function expSumRow(n: i32, x: usize, shift: f32): f64 {
  const m = f32x4.splat(shift);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (; n >= 8; n -= 8) {
    const e0 = vexp(f32x4.sub(v128.load(x), m));
    const e1 = vexp(f32x4.sub(v128.load(x, 16), m));
    v128.store(x, e0);
    v128.store(x, e1, 16);
    s0 = f32x4.add(s0, e0);
    s1 = f32x4.add(s1, e1);
    x += 32;
  }
  if (n >= 4) {
    const e = vexp(f32x4.sub(v128.load(x), m));
    v128.store(x, e);
    s0 = f32x4.add(s0, e);
    n -= 4;
    x += 16;
  }
  let total = sum4(f32x4.add(s0, s1));
  if (n > 0) {
    const e = vexp(f32x4.sub(loadTail(x, n), m));
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
    const w0 = vexp(f32x4.sub(v128.load(p), shift));
    const w1 = vexp(f32x4.sub(v128.load(p, 16), shift));
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
    const w = vexp(f32x4.sub(r == 4 ? v128.load(p) : loadTail(p, r), shift));
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
  rows: i32, cols: i32, i: i32, j: i32, causal: i32, scores: usize, tops: usize, sums: usize, V: i32, y: usize, ldv: i32,
  mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    if (n > 0) {
      if (mask != NONE) maskRow(n, mask, i + r, j, scores);
      // Whole vectors: what is hidden in the last is made nothing first.
      const whole = min(cols, (n + 7) & ~7);
      if (n < whole) fillRow(whole - n, f32x4.splat(-Infinity), scores + <usize>n * 4);
      const before = j > 0 ? load<f32>(tops) : LEAST;
      const top = topOf(whole, scores, before);
      let total = expSumRow(whole, scores, top);
      if (j > 0) {
        const factor = f32x4.extract_lane(vexp(f32x4.splat(before - top)), 0);
        total += load<f64>(sums) * <f64>factor;
        if (factor != 1) scaleRow(V, y, factor);
      }
      store<f32>(tops, top);
      store<f64>(sums, total);
      if (whole < cols) fillRow(cols - whole, f32x4.splat(0), scores + <usize>whole * 4);
    } else {
      fillRow(cols, f32x4.splat(0), scores);
    }
    scores += <usize>cols * 4;
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
  }
}

/** Drops of what queries i… see of keys j…, in a matrix of S columns. */
export function attentionDrops(
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, scores: usize, drop: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    dropRow(n, drop, <u64>(i + r) * <u64>S + <u64>j, scores);
    scores += <usize>cols * 4;
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

/** One head of one sample: `ldk` elements from a query or key to the next, `ldv` from a value or result to the next. */
function head(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, ws: usize, drop: usize, mask: usize,
): void {
  const m = largestBlock(T, causal);
  const scores = ws + <usize>up16(4 * m * D);
  const tops = scores + <usize>up16(4 * m * min(keysSeen(T, S, causal), KEYS));
  const sums = tops + <usize>up16(4 * m);
  const product = sums + <usize>up16(8 * m);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let i = 0, rows = 0; i < T; i += rows) {
    rows = min(queryBlock(i, causal), T - i);
    attentionScaled(rows, D, q, kRow, scale, ws);
    const end = keysSeen(i + rows, S, causal);
    for (let j = 0; j < end; j += KEYS) {
      const cols = min(KEYS, end - j);
      gemm(rows, cols, D, ws, D, 1, k + <usize>j * kRow, 1, ldk, scores, cols, 0, product);
      attentionRows(rows, cols, i, j, causal, scores, tops, sums, V, y, ldv, mask);
      if (drop != NONE) attentionDrops(rows, cols, i, j, S, causal, scores, drop);
      gemm(rows, V, cols, scores, cols, 1, v + <usize>j * vRow, ldv, 1, y, ldv, j > 0 ? 1 : 0, product);
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
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, weights: usize, grads: usize, lse: usize, deltas: usize,
  factors: usize, drop: usize, mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    if (mask != NONE && n > 0) maskRow(n, mask, i + r, j, weights);
    if (drop == NONE) {
      weightGradRow(n, weights, grads, load<f32>(lse), load<f32>(deltas), 0, false);
    } else {
      dropFactors(n, drop, <u64>(i + r) * <u64>S + <u64>j, factors);
      weightGradRow(n, weights, grads, load<f32>(lse), load<f32>(deltas), factors, true);
    }
    if (n < cols) {
      fillRow(cols - n, f32x4.splat(0), weights + <usize>n * 4);
      fillRow(cols - n, f32x4.splat(0), grads + <usize>n * 4);
    }
    weights += <usize>cols * 4;
    grads += <usize>cols * 4;
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

/** As `head`; dk and dv are added to. */
function headGrad(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, dy: usize, dq: usize, dk: usize, dv: usize, ws: usize, drop: usize,
  mask: usize,
): void {
  const m = largestBlock(T, causal);
  const n = min(keysSeen(T, S, causal), KEYS);
  const weights = ws + <usize>up16(4 * m * D);
  const grads = weights + <usize>up16(4 * m * n);
  const factors = grads + <usize>up16(4 * m * n);
  const deltas = factors + (drop != NONE ? <usize>up16(4 * n) : 0);
  const product = deltas + <usize>up16(4 * m);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let i = 0, rows = 0; i < T; i += rows) {
    rows = min(queryBlock(i, causal), T - i);
    attentionScaled(rows, D, q, kRow, scale, ws);
    attentionDeltas(rows, V, dy, y, ldv, deltas);
    const end = keysSeen(i + rows, S, causal);
    for (let j = 0; j < end; j += KEYS) {
      const cols = min(KEYS, end - j);
      const kAt = <usize>j * kRow;
      const vAt = <usize>j * vRow;
      gemm(rows, cols, D, ws, D, 1, k + kAt, 1, ldk, weights, cols, 0, product);
      gemm(rows, cols, V, dy, ldv, 1, v + vAt, 1, ldv, grads, cols, 0, product);
      attentionWeightGrads(rows, cols, i, j, S, causal, weights, grads, lse, deltas, factors, drop, mask);
      gemm(cols, V, rows, weights, 1, cols, dy, ldv, 1, dv + vAt, ldv, 1, product);
      gemm(cols, D, rows, grads, 1, cols, ws, D, 1, dk + kAt, ldk, 1, product);
      gemm(rows, D, cols, grads, cols, 1, k + kAt, ldk, 1, dq, ldk, j > 0 ? 1 : 0, product);
    }
    attentionScale(rows, D, dq, ldk, scale);
    dq += <usize>rows * kRow;
    q += <usize>rows * kRow;
    y += <usize>rows * vRow;
    dy += <usize>rows * vRow;
    lse += <usize>rows * 4;
  }
}
