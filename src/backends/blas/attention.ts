/**
 * Attention and its gradient with products by a native library: the walks over blocks of `workers/kernels/attention.ts` and
 * `attentionGrad.ts`, in the same order; the exports of `attentionRows.ts` do what lies between the products.
 */
import {
  type AttentionBlocks,
  type AttentionOperands,
  attentionOperands,
  attentionPlaces,
  nativeQueryBlock,
  readAttention,
} from '../../lower/blas/attention-blocks.ts';
import { keyBlock } from '../../lower/wasm/attention.ts';
import type { Blas } from './library.ts';
import type { BindNative } from './products.ts';

type Export = (...args: number[]) => void;

/** What it takes of the WebAssembly kernels. */
export interface AttentionExports {
  readonly attentionScaled: Export;
  readonly attentionRows: Export;
  readonly attentionFinish: Export;
  readonly attentionDeltas: Export;
  readonly attentionWeightGrads: Export;
  readonly attentionScale: Export;
  readonly attentionDrops: Export;
  readonly dropState: Export;
  readonly dropMatrix: Export;
  readonly maskState: Export;
  readonly maskMatrix: Export;
  readonly fill32: Export;
}

/** A pointer that the kernels take for none. */
const none = -1;

/** A head's keys that any of the queries before `end` sees. */
const keysSeen = ({ causal, keys }: AttentionBlocks, end: number): number => (causal ? Math.min(end, keys) : keys);

/** Each head of each sample: byte offsets of its first query or key, its first value, and its first row. */
function eachHead(
  { samples, heads, queries, keys, size, valueSize }: AttentionBlocks,
  visit: (query: number, key: number, value: number, result: number, row: number, matrix: number) => void,
): void {
  for (let n = 0; n < samples; n++) {
    for (let h = 0; h < heads; h++) {
      const [a, b] = [4 * h * size, 4 * h * valueSize];
      const [query, key] = [4 * n * queries * heads, 4 * n * keys * heads];
      visit(
        query * size + a,
        key * size + a,
        key * valueSize + b,
        query * valueSize + b,
        4 * (n * heads + h) * queries,
        n * heads + h,
      );
    }
  }
}

/** The states of dropout and masks at `ws`, `none` where there is none: set for a call, and for each matrix. */
function states(blocks: AttentionBlocks, kernels: AttentionExports, ws: number, operands: AttentionOperands) {
  const { dropout, masks, queries, keys } = blocks;
  const drop = dropout ? ws : none;
  const mask = masks ? ws + attentionPlaces(blocks).mask : none;
  return {
    drop,
    mask,
    begin: () => {
      if (dropout) kernels.dropState(ws, operands.key, ...dropout.numbers);
      if (masks) kernels.maskState(mask, ...masks, ...operands.masks);
    },
    matrix: (at: number) => {
      if (dropout) kernels.dropMatrix(ws, operands.samples, dropout.samples, dropout.matrices, at, queries, keys);
      if (masks) kernels.maskMatrix(mask, at);
    },
  };
}

export function nativeAttention({ sgemm }: Blas, base: number, kernels: AttentionExports): BindNative {
  return (args) => {
    const blocks = readAttention(args, false);
    const { heads, queries, keys, size: D, valueSize: V, causal, scale } = blocks;
    const operands = attentionOperands(args, false);
    const [q, k, v] = operands.given as [number, number, number];
    const [y, lse, ws] = operands.taken as [number, number, number];
    const { forward, scaled: scaledAt } = attentionPlaces(blocks);
    const scaled = ws + scaledAt;
    const { drop, mask, begin, matrix: enter } = states(blocks, kernels, ws, operands);
    const masked = mask === none ? 0 : 1;
    const [scores, tops, sums] = [ws + forward.scores, ws + forward.tops, ws + forward.sums];
    const [ldk, ldv] = [heads * D, heads * V];
    const head = (qAt: number, kAt: number, vAt: number, yAt: number, lseAt: number, matrix: number) => {
      enter(matrix);
      for (let i = 0; i < queries; i += nativeQueryBlock) {
        const rows = Math.min(nativeQueryBlock, queries - i);
        const yRows = yAt + 4 * i * ldv;
        kernels.attentionScaled(rows, D, qAt + 4 * i * ldk, 4 * ldk, scale, scaled);
        const end = keysSeen(blocks, i + rows);
        for (let j = 0; j < end; j += keyBlock) {
          const cols = Math.min(keyBlock, end - j);
          sgemm(0, 1, rows, cols, D, base + scaled, D, base + kAt + 4 * j * ldk, ldk, 0, base + scores, cols);
          kernels.attentionRows(rows, cols, i, j, causal, scores, cols, tops, sums, V, yRows, ldv, mask);
          if (drop !== none) kernels.attentionDrops(rows, cols, i, j, keys, causal, scores, cols, drop);
          const beta = j > 0 ? 1 : 0;
          sgemm(0, 0, rows, V, cols, base + scores, cols, base + vAt + 4 * j * ldv, ldv, beta, base + yRows, ldv);
        }
        kernels.attentionFinish(rows, tops, sums, V, yRows, ldv, lseAt + 4 * i, masked);
      }
    };
    return () => {
      begin();
      eachHead(blocks, (query, key, value, result, row, matrix) =>
        head(q + query, k + key, v + value, y + result, lse + row, matrix),
      );
    };
  };
}

export function nativeAttentionGrad({ sgemm }: Blas, base: number, kernels: AttentionExports): BindNative {
  return (args) => {
    const blocks = readAttention(args, true);
    const { samples, heads, queries, keys, size: D, valueSize: V, causal, scale } = blocks;
    const operands = attentionOperands(args, true);
    const [q, k, v, y, lse, dy] = operands.given as [number, number, number, number, number, number];
    const [dq, dk, dv, ws] = operands.taken as [number, number, number, number];
    const { gradient, scaled: scaledAt } = attentionPlaces(blocks);
    const scaled = ws + scaledAt;
    const [weights, grads, deltas] = [ws + gradient.weights, ws + gradient.grads, ws + gradient.deltas];
    const factors = ws + gradient.factors;
    const { drop, mask, begin, matrix: enter } = states(blocks, kernels, ws, operands);
    const [ldk, ldv] = [heads * D, heads * V];
    const head = (query: number, key: number, value: number, result: number, row: number, matrix: number) => {
      enter(matrix);
      for (let i = 0; i < queries; i += nativeQueryBlock) {
        const rows = Math.min(nativeQueryBlock, queries - i);
        const [queryAt, resultAt] = [query + 4 * i * ldk, result + 4 * i * ldv];
        const [dyAt, dqAt] = [dy + resultAt, dq + queryAt];
        kernels.attentionScaled(rows, D, q + queryAt, 4 * ldk, scale, scaled);
        kernels.attentionDeltas(rows, V, dyAt, y + resultAt, ldv, deltas);
        const end = keysSeen(blocks, i + rows);
        for (let j = 0; j < end; j += keyBlock) {
          const cols = Math.min(keyBlock, end - j);
          const [keyAt, valueAt] = [key + 4 * j * ldk, value + 4 * j * ldv];
          sgemm(0, 1, rows, cols, D, base + scaled, D, base + k + keyAt, ldk, 0, base + weights, cols);
          sgemm(0, 1, rows, cols, V, base + dyAt, ldv, base + v + valueAt, ldv, 0, base + grads, cols);
          const rowAt = lse + row + 4 * i;
          kernels.attentionWeightGrads(
            rows,
            cols,
            i,
            j,
            keys,
            causal,
            weights,
            grads,
            cols,
            rowAt,
            deltas,
            factors,
            drop,
            mask,
          );
          sgemm(1, 0, cols, V, rows, base + weights, cols, base + dyAt, ldv, 1, base + dv + valueAt, ldv);
          sgemm(1, 0, cols, D, rows, base + grads, cols, base + scaled, D, 1, base + dk + keyAt, ldk);
          sgemm(0, 0, rows, D, cols, base + grads, cols, base + k + keyAt, ldk, j > 0 ? 1 : 0, base + dqAt, ldk);
        }
        kernels.attentionScale(rows, D, dqAt, ldk, scale);
      }
    };
    return () => {
      begin();
      kernels.fill32(samples * keys * ldk, 0, dk);
      kernels.fill32(samples * keys * ldv, 0, dv);
      eachHead(blocks, head);
    };
  };
}
