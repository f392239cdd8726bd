// softmax(scale·q·kᵀ)·v without its matrix of weights (Rabe, Staats: "Self-attention does not need O(n²) memory", 2021; Dao et al.,
// "FlashAttention", 2022): blocks of QUERIES queries meet blocks of keys one after the other, each row's maximum and sum running
// along (Milakov, Gimelshein 2018). Kept is the logarithm of each row's Σ e^score, from which the gradient makes the weights
// again. Causal: query i sees the keys j ≤ i.
//
// Of FEW queries products go row by row, and nothing is packed. Else operands of products are packed once a block (of keys:
// once a head, where one block holds them all), and scores are read where they lie (attentionTile.ts).
//
// Dropout takes weights behind the softmax: e^score times 0 or 1 / (1 − ratio), while the sums are of all. Each is drawn by
// its place in the matrix (dropout.ts); `drop` is where its state lies, or NONE, and `mask` where that of masks lies, or NONE. A
// query that sees nothing has the result 0 and the logarithm LEAST, what the graph of ordinary ops has.
//
// Order of every sum, depending on the sizes alone: a product's from zero in ascending order (of few queries, scores in four
// lanes; y, dq, dk and dv go on from what is there), with q scaled first; sums of weights in attentionRows.ts.
import {
  attentionWorkspace, EDGE, FEW, KEYS, keysSeen, panels, QUERIES, ROWS_AT_ONCE, scoreBlock, scoreStep, seenFirst, up16,
  weighted,
} from './attentionBlocks';
import { addWeighted, dots } from './attentionFew';
import { MASK_STATE, maskMatrix, maskState, NONE } from './attentionMasks';
import { attentionDrops, attentionFinish, attentionRows, attentionScaled } from './attentionRows';
import { DROP_STATE, dropMatrix, dropState } from './dropout';
import { fillRow } from './lanes';

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
