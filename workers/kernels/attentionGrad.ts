// The gradient of attention (attention.ts) makes the weights again from the logarithms that were kept; it goes through blocks of
// keys and in each through the queries (Dao, "FlashAttention-2", 2023, algorithm 2). dk and dv add blocks of queries, dq blocks of
// keys, ascending, dk and dv from zero. Dropout is drawn again.
import {
  attentionWorkspace, EDGE, FEW, gathered, GRADIENT_KEYS, keysSeen, panels, QUERIES, ROWS_AT_ONCE, scoreBlock, scoreStep,
  seenFirst, up16, weighted,
} from './attentionBlocks';
import { addOuter, addWeighted, dots } from './attentionFew';
import { MASK_STATE, maskMatrix, maskState, NONE } from './attentionMasks';
import { attentionDeltas, attentionScale, attentionScaled, attentionWeightGrads } from './attentionRows';
import { DROP_STATE, dropMatrix, dropState } from './dropout';
import { fillRow } from './lanes';

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
