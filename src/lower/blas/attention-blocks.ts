/** Attention as its kernels take it (`workers/kernels/attention.ts`), block by block of queries and keys. */
import type { AttentionSizes } from '../../ops/attention.ts';
import { dropStateBytes, keyBlock, up16 } from '../wasm/attention.ts';

/** Queries a block: more than our kernels', since a call costs the same whatever it multiplies. */
export const nativeQueryBlock = 64;

export interface AttentionBlocks extends AttentionSizes {
  readonly causal: number;
  readonly scale: number;
  /** Rows and columns of the largest block of scores. */
  readonly rows: number;
  readonly columns: number;
  /** Where weights are dropped: what draws their mask. */
  readonly dropout: AttentionDraw | undefined;
}

export interface AttentionDraw {
  readonly samples: number;
  /** How many matrices in a row are a sample's. */
  readonly matrices: number;
  /** As `dropState` takes them: two words of the stream, the threshold, the factor. */
  readonly numbers: readonly number[];
}

const sizeArgs = 8;
const dropoutArgs = 6;

/** The operands behind the numbers. */
export const attentionOperands = (args: readonly number[], { dropout }: AttentionBlocks): readonly number[] =>
  args.slice(dropout ? sizeArgs + dropoutArgs : sizeArgs);

export function readAttention(args: readonly number[], drops: boolean): AttentionBlocks {
  const [samples, heads, queries, keys, size, valueSize, causal, scale] = args as Eight;
  const rows = Math.min(queries, nativeQueryBlock);
  const columns = Math.min(causal ? Math.min(queries, keys) : keys, keyBlock);
  const [count, matrices, ...numbers] = args.slice(sizeArgs, sizeArgs + dropoutArgs) as [number, number, ...number[]];
  const dropout = drops ? { samples: count, matrices, numbers } : undefined;
  return { samples, heads, queries, keys, size, valueSize, causal, scale, rows, columns, dropout };
}

type Eight = readonly [number, number, number, number, number, number, number, number];

/** Byte offsets in the workspace, in the kernels' order; the last row's last byte is written. */
export function attentionPlaces({ rows, columns, size, dropout }: AttentionBlocks) {
  const scaled = dropout ? dropStateBytes : 0;
  const scores = scaled + up16(4 * rows * size);
  const block = up16(4 * rows * columns);
  const factors = scores + 2 * block;
  const deltas = factors + (dropout ? up16(4 * columns) : 0);
  return {
    scaled,
    forward: {
      scores,
      tops: scores + block,
      sums: scores + block + up16(4 * rows),
      end: scores + block + up16(4 * rows) + 8 * rows,
    },
    gradient: { weights: scores, grads: scores + block, factors, deltas, end: deltas + 4 * rows },
  };
}
