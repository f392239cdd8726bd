/** Attention as its kernels take it (`workers/kernels/attention.ts`), block by block of queries and keys. */
import type { AttentionSizes } from '../../ops/attention.ts';
import { keyBlock, queryBlock, up16 } from '../wasm/attention.ts';

export interface AttentionBlocks extends AttentionSizes {
  readonly causal: number;
  readonly scale: number;
  /** Rows and columns of the largest block of scores. */
  readonly rows: number;
  readonly columns: number;
}

/** How many numbers come before the operands. */
export const attentionSizeArgs = 8;

export function readAttention(args: readonly number[]): AttentionBlocks {
  const [samples, heads, queries, keys, size, valueSize, causal, scale] = args as Eight;
  const rows = Math.min(queries, queryBlock);
  const columns = Math.min(causal ? Math.min(queries, keys) : keys, keyBlock);
  return { samples, heads, queries, keys, size, valueSize, causal, scale, rows, columns };
}

type Eight = readonly [number, number, number, number, number, number, number, number];

/** Byte offsets in the workspace: scaled q from 0 on, scores, what each row keeps; the last row's last byte is written. */
export function attentionPlaces({ rows, columns, size }: AttentionBlocks) {
  const scores = up16(4 * rows * size);
  const block = up16(4 * rows * columns);
  return {
    forward: {
      scores,
      tops: scores + block,
      sums: scores + block + up16(4 * rows),
      end: scores + block + up16(4 * rows) + 8 * rows,
    },
    gradient: {
      weights: scores,
      grads: scores + block,
      deltas: scores + 2 * block,
      end: scores + 2 * block + 4 * rows,
    },
  };
}
