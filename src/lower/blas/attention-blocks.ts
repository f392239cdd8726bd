/** Attention as its kernels take it (`workers/kernels/attentionRows.ts`), block by block of queries and keys. */
import type { AttentionSizes } from '../../ops/attention-sizes.ts';
import type { Arg } from '../kernel-call.ts';
import { dropStateBytes, keyBlock, maskStateBytes, queryBlock, up16 } from '../wasm/attention.ts';

/** Queries a block, as our kernels'. */
export const nativeQueryBlock = queryBlock;

export interface AttentionBlocks extends AttentionSizes {
  readonly causal: number;
  readonly scale: number;
  /** Rows and columns of the largest block of scores. */
  readonly rows: number;
  readonly columns: number;
  /** Where weights are dropped: what draws their mask. */
  readonly dropout: AttentionDraw | undefined;
  /** Where there are masks: their numbers, as `maskState` takes them. */
  readonly masks: readonly number[] | undefined;
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
const maskArgs = 10;
const firstOperand = sizeArgs + dropoutArgs + maskArgs;

/** Byte offsets behind the numbers, none of them negative but for what is not there. */
export interface AttentionOperands {
  /** q, k, v, and for the gradient y, lse, dy. */
  readonly given: readonly number[];
  readonly masks: readonly [number, number];
  readonly samples: number;
  readonly key: number;
  /** Outputs and workspace. */
  readonly taken: readonly number[];
}

export function attentionOperands(args: readonly number[], gradient: boolean): AttentionOperands {
  const behind = firstOperand + (gradient ? 6 : 3);
  const [mask0, mask1, samples, key] = args.slice(behind) as [number, number, number, number];
  return {
    given: args.slice(firstOperand, behind),
    masks: [mask0, mask1],
    samples,
    key,
    taken: args.slice(behind + 4),
  };
}

/** Whether an argument is an operand of the call, and no "none". */
const isThere = (arg: Arg): boolean => arg !== -1;

export function readAttention(args: readonly Arg[], gradient: boolean): AttentionBlocks {
  const numbers = args.slice(0, firstOperand) as number[];
  const [samples, heads, queries, keys, size, valueSize, causal, scale] = numbers as unknown as Eight;
  const rows = Math.min(queries, nativeQueryBlock);
  const columns = Math.min(causal ? Math.min(queries, keys) : keys, keyBlock);
  const behind = firstOperand + (gradient ? 6 : 3);
  const [count, matrices, ...draw] = numbers.slice(sizeArgs, sizeArgs + dropoutArgs) as [number, number, ...number[]];
  const dropout = isThere(args[behind + 3]!) ? { samples: count, matrices, numbers: draw } : undefined;
  const masks = isThere(args[behind]!) ? numbers.slice(sizeArgs + dropoutArgs) : undefined;
  return { samples, heads, queries, keys, size, valueSize, causal, scale, rows, columns, dropout, masks };
}

type Eight = readonly [number, number, number, number, number, number, number, number];

/** Byte offsets in the workspace, in the kernels' order; the last row's last byte is written. */
export function attentionPlaces({ rows, columns, size, dropout, masks }: AttentionBlocks) {
  const mask = dropout ? dropStateBytes : 0;
  const scaled = mask + (masks ? maskStateBytes : 0);
  const scores = scaled + up16(4 * rows * size);
  const block = up16(4 * rows * columns);
  const factors = scores + 2 * block;
  const deltas = factors + (dropout ? up16(4 * columns) : 0);
  return {
    mask,
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
