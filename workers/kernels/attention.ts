// softmax(scale·q·kᵀ)·v without its matrix of weights (Dao et al., "FlashAttention", 2022): blocks of ROWS queries meet
// blocks of KEYS keys one after the other, each row's maximum and sum running along (Milakov, Gimelshein 2018). Kept is the
// logarithm of each row's Σ e^score, from which the gradient makes the weights again. Causal: query i sees the keys j ≤ i;
// a block of queries does not meet keys behind its last one, and within the block on the diagonal what is hidden is 0.
//
// Order of every sum, depending on the sizes alone: products as gemm's, with q scaled first; a block's Σ e^(score − top) in
// f32 vectors, their lanes and the last 1–3 terms in f64; blocks of keys in ascending order, each added to what came before
// scaled by e^(old top − new top), the sum in f64. Gradients: dk and dv add blocks of queries, dq blocks of keys, ascending,
// dk and dv from zero.
import { fillRow, loadTail, storeTail } from './lanes';
import { vexp } from './math';
import { gemm, gemmWorkspace } from './gemm';
import { maxRow } from './reduce';
import { dotRow, logOne, scaleRow } from './softmax';

const ROWS = 64; // queries a block
const KEYS = 256; // keys a block: one block of gemm's depth

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
 * Exact bytes of `ws`; every call writes the last of them.
 * Forward:  [scaled q][scores][f32 top a row][f64 sum a row][gemm]
 * Gradient: [scaled q][weights][their cotangents][f32 Σ dy·y a row][gemm]
 */
export function attentionWorkspace(gradient: i32, T: i32, S: i32, D: i32, V: i32, causal: i32): i32 {
  const m = min(T, ROWS);
  const n = min(keysSeen(T, S, causal), KEYS);
  const scores = up16(4 * m * n);
  const shared = up16(4 * m * D) + scores + up16(4 * m);
  if (!gradient) return shared + up16(8 * m) + max(gemmWorkspace(m, n, D), gemmWorkspace(m, V, n));
  let product = max(gemmWorkspace(m, n, max(D, V)), gemmWorkspace(n, max(D, V), m));
  product = max(product, gemmWorkspace(m, D, n));
  return shared + scores + product;
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

/** x becomes e^(x − shift), n ≤ KEYS; their sum. */
function expSumRow(n: i32, x: usize, shift: f32): f64 {
  const m = f32x4.splat(shift);
  let s = f32x4.splat(0);
  for (; n >= 4; n -= 4) {
    const e = vexp(f32x4.sub(v128.load(x), m));
    v128.store(x, e);
    s = f32x4.add(s, e);
    x += 16;
  }
  let total = <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1);
  total += <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
  if (n > 0) {
    const e = vexp(f32x4.sub(loadTail(x, n), m));
    storeTail(x, n, e);
    total += <f64>f32x4.extract_lane(e, 0);
    if (n > 1) total += <f64>f32x4.extract_lane(e, 1);
    if (n > 2) total += <f64>f32x4.extract_lane(e, 2);
  }
  return total;
}

/** A row of scores p becomes its weights e^(p − lse), and dp, their cotangents, becomes the scores': p·(dp − delta). */
function weightGradRow(n: i32, p: usize, dp: usize, lse: f32, delta: f32): void {
  const shift = f32x4.splat(lse);
  const d = f32x4.splat(delta);
  for (; n >= 4; n -= 4) {
    const w = vexp(f32x4.sub(v128.load(p), shift));
    v128.store(p, w);
    v128.store(dp, f32x4.mul(w, f32x4.sub(v128.load(dp), d)));
    p += 16;
    dp += 16;
  }
  if (n > 0) {
    const w = vexp(f32x4.sub(loadTail(p, n), shift));
    storeTail(p, n, w);
    storeTail(dp, n, f32x4.mul(w, f32x4.sub(loadTail(dp, n), d)));
  }
}

/** Of `cols` keys from key `first` on, those that query `row` sees. */
@inline
function visible(causal: i32, row: i32, first: i32, cols: i32): i32 {
  return causal ? max(0, min(cols, row + 1 - first)) : cols;
}

/** q [N, T, H, D], k [N, S, H, D], v [N, S, H, V] → y [N, T, H, V], lse [N, H, T]. */
export function attention(
  N: i32, H: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, ws: usize,
): void {
  store<u8>(ws + <usize>attentionWorkspace(0, T, S, D, V, causal) - 1, 0);
  for (; N > 0; N--) {
    for (let h: usize = 0; h < <usize>H; h++) {
      const keyAt = h * <usize>D * 4;
      const valueAt = h * <usize>V * 4;
      head(T, S, D, V, H * D, H * V, causal, scale, q + keyAt, k + keyAt, v + valueAt, y + valueAt, lse, ws);
      lse += <usize>T * 4;
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
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    if (n > 0) {
      const before = j > 0 ? load<f32>(tops) : LEAST;
      const top = max(before, maxRow(n, scores));
      let total = expSumRow(n, scores, top);
      if (j > 0) {
        const factor = f32x4.extract_lane(vexp(f32x4.splat(before - top)), 0);
        total += load<f64>(sums) * <f64>factor;
        if (factor != 1) scaleRow(V, y, factor);
      }
      store<f32>(tops, top);
      store<f64>(sums, total);
    }
    if (n < cols) fillRow(cols - n, f32x4.splat(0), scores + <usize>n * 4);
    scores += <usize>cols * 4;
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
  }
}

/** Behind the last block of keys: y over the sums, and their logarithms. */
export function attentionFinish(rows: i32, tops: usize, sums: usize, V: i32, y: usize, ldv: i32, lse: usize): void {
  for (; rows > 0; rows--) {
    const total = load<f64>(sums);
    scaleRow(V, y, <f32>(1 / total));
    store<f32>(lse, load<f32>(tops) + logOne(<f32>total));
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
    lse += 4;
  }
}

/** One head of one sample: `ldk` elements from a query or key to the next, `ldv` from a value or result to the next. */
function head(
  T: i32, S: i32, D: i32, V: i32, ldk: i32, ldv: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, ws: usize,
): void {
  const m = min(T, ROWS);
  const scores = ws + <usize>up16(4 * m * D);
  const tops = scores + <usize>up16(4 * m * min(keysSeen(T, S, causal), KEYS));
  const sums = tops + <usize>up16(4 * m);
  const product = sums + <usize>up16(8 * m);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let i = 0; i < T; i += ROWS) {
    const rows = min(ROWS, T - i);
    attentionScaled(rows, D, q, kRow, scale, ws);
    const end = keysSeen(i + rows, S, causal);
    for (let j = 0; j < end; j += KEYS) {
      const cols = min(KEYS, end - j);
      gemm(rows, cols, D, ws, D, 1, k + <usize>j * kRow, 1, ldk, scores, cols, 0, product);
      attentionRows(rows, cols, i, j, causal, scores, tops, sums, V, y, ldv);
      gemm(rows, V, cols, scores, cols, 1, v + <usize>j * vRow, ldv, 1, y, ldv, j > 0 ? 1 : 0, product);
    }
    attentionFinish(rows, tops, sums, V, y, ldv, lse);
    y += <usize>rows * vRow;
    lse += <usize>rows * 4;
    q += <usize>rows * kRow;
  }
}

/** dq, dk and dv of `attention` from its inputs, its outputs y and lse, and y's cotangent dy. */
export function attentionGrad(
  N: i32, H: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, scale: f32, q: usize, k: usize, v: usize, y: usize,
  lse: usize, dy: usize, dq: usize, dk: usize, dv: usize, ws: usize,
): void {
  store<u8>(ws + <usize>attentionWorkspace(1, T, S, D, V, causal) - 1, 0);
  const queries = <usize>(T * H) * <usize>D * 4;
  const keys = <usize>(S * H) * <usize>D * 4;
  const values = <usize>(S * H) * <usize>V * 4;
  const results = <usize>(T * H) * <usize>V * 4;
  memory.fill(dk, 0, <usize>N * keys);
  memory.fill(dv, 0, <usize>N * values);
  for (; N > 0; N--) {
    for (let h: usize = 0; h < <usize>H; h++) {
      const a = h * <usize>D * 4;
      const b = h * <usize>V * 4;
      headGrad(
        T, S, D, V, H * D, H * V, causal, scale, q + a, k + a, v + b, y + b, lse, dy + b, dq + a, dk + a, dv + b, ws,
      );
      lse += <usize>T * 4;
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

/** Scores of queries i… and keys j… become weights, and these' cotangents the scores'; what is hidden is 0. */
export function attentionWeightGrads(
  rows: i32, cols: i32, i: i32, j: i32, causal: i32, weights: usize, grads: usize, lse: usize, deltas: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    weightGradRow(n, weights, grads, load<f32>(lse), load<f32>(deltas));
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
  lse: usize, dy: usize, dq: usize, dk: usize, dv: usize, ws: usize,
): void {
  const m = min(T, ROWS);
  const block = <usize>up16(4 * m * min(keysSeen(T, S, causal), KEYS));
  const weights = ws + <usize>up16(4 * m * D);
  const grads = weights + block;
  const deltas = grads + block;
  const product = deltas + <usize>up16(4 * m);
  const kRow = <usize>ldk * 4;
  const vRow = <usize>ldv * 4;
  for (let i = 0; i < T; i += ROWS) {
    const rows = min(ROWS, T - i);
    attentionScaled(rows, D, q, kRow, scale, ws);
    attentionDeltas(rows, V, dy, y, ldv, deltas);
    const end = keysSeen(i + rows, S, causal);
    for (let j = 0; j < end; j += KEYS) {
      const cols = min(KEYS, end - j);
      const kAt = <usize>j * kRow;
      const vAt = <usize>j * vRow;
      gemm(rows, cols, D, ws, D, 1, k + kAt, 1, ldk, weights, cols, 0, product);
      gemm(rows, cols, V, dy, ldv, 1, v + vAt, 1, ldv, grads, cols, 0, product);
      attentionWeightGrads(rows, cols, i, j, causal, weights, grads, lse, deltas);
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
