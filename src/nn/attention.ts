import { GraphError } from '../core/errors.ts';
import { formatShape, formatType, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { kaimingUniform, xavierUniform, zeros } from '../init/index.ts';
import { scaledDotProductAttentionOp, scaledDotProductAttentionWithLogSumExp } from '../ops/attention.ts';
import type { AttentionMask } from '../ops/attention-masks.ts';
import { hiddenScores, unhidden } from '../ops/attention-unfused.ts';
import { dropout as drop } from '../ops/dropout.ts';
import { mul } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { reshape, slice, transpose } from '../ops/shape.ts';
import { softmax } from '../ops/softmax.ts';
import { dropoutOf } from './dropout.ts';
import { affine } from './linear.ts';
import { requireShare } from './refuse.ts';
import { type LayerOptions, scoped } from './scope.ts';

/**
 * Which keys a query does not see: a bool mask is true where a key is *not* to be seen (as in PyTorch's
 * MultiheadAttention), an f32 mask is added to the scores, −∞ hiding a key.
 */
export interface AttentionMasks {
  /** Each position sees itself and earlier ones only; default false. */
  readonly causal?: boolean;
  /** [T, S], the same for all; [N·heads, T, S] as in PyTorch; or [N or 1, heads or 1, T, S], which microbatches can cut. */
  readonly attnMask?: Tensor;
  /** [N, S]: keys that are padding. */
  readonly keyPaddingMask?: Tensor;
}

export interface AttentionOptions extends LayerOptions, AttentionMasks {
  readonly heads: number;
  /** What is looked at, [N, S, kdim]; default the query itself. */
  readonly key?: Tensor;
  /** What is taken from there, [N, S, vdim]; default the key. */
  readonly value?: Tensor;
  /** Probability that an attention weight is dropped in training; default 0. */
  readonly dropout?: number;
  /** Biases of all four projections; default true. */
  readonly bias?: boolean;
  /**
   * By `scaledDotProductAttention`, which never holds the [T, S] weights; otherwise they are tensors of the graph. Both drop the
   * same weights. Default true.
   */
  readonly fused?: boolean;
}

const attentionOptions = {
  name: true,
  heads: 'required',
  key: true,
  value: true,
  dropout: true,
  bias: true,
  fused: true,
  causal: true,
  attnMask: true,
  keyPaddingMask: true,
} as const;

/**
 * Attention (Vaswani et al., "Attention Is All You Need", 2017; PyTorch MultiheadAttention with batch_first): query
 * [N, T, D] → [N, T, D], over itself or over `key` and `value`. Parameters as PyTorch's: in_proj_weight [3·D, D] (queries,
 * keys, values), in_proj_bias [3·D], out_proj.weight [D, D], out_proj.bias [D]; where key or value have another width than
 * D, q_proj_weight [D, D], k_proj_weight [D, kdim] and v_proj_weight [D, vdim] stand for in_proj_weight.
 *
 * A query whose keys are all hidden takes nothing: its attention weights are 0 and its output is out_proj.bias, as in
 * PyTorch from 2.5 on (before, it was NaN). `addBiasKv` and `addZeroAttn` are not here.
 */
export const multiheadAttention = (query: Tensor, options: AttentionOptions): Tensor =>
  scoped('multiheadAttention', query, options, attentionOptions, () => {
    const { graph } = query;
    const { heads, key = query, value = key, bias = true, dropout: p = 0 } = options;
    check(query, key, value, options);
    const [n, t, d] = query.shape as [number, number, number];
    const s = key.shape[1]!;
    const size = d / heads;
    const packed = key.shape[2] === d && value.shape[2] === d;
    const weights = packed
      ? [graph.parameter('in_proj_weight', [3 * d, d], xavierUniform([3 * d, d]))]
      : (['q', 'k', 'v'] as const).map((name, i) => {
          const shape = [d, [query, key, value][i]!.shape[2]!];
          return graph.parameter(`${name}_proj_weight`, shape, xavierUniform(shape));
        });
    const inBias = bias ? graph.parameter('in_proj_bias', [3 * d], zeros) : undefined;

    const { fused = true } = options;
    const drops = graph.mode === 'training' && p > 0;
    /**
     * Projections `from` to `to` of queries, keys and values, as one product: each [N, length, heads, D / heads] if fused,
     * else heads first.
     */
    const project = (x: Tensor, from: number, to: number): Tensor[] => {
      const rows = (w: Tensor): Tensor => (to - from === 3 ? w : slice(w, { 0: [from * d, to * d] }));
      const [length, count] = [x.shape[1]!, to - from];
      const y = affine(x, packed ? rows(weights[0]!) : weights[from]!, inBias && rows(inBias));
      // [N, length, count·D] → [count, N, length, heads, D / heads] or [count, N, heads, length, D / heads]
      const parts = transpose(reshape(y, [n, length, count, heads, size]), fused ? [2, 0, 1, 3, 4] : [2, 0, 3, 1, 4]);
      const shape = fused ? [n, length, heads, size] : [n, heads, length, size];
      return Array.from({ length: count }, (_, i) =>
        reshape(count === 1 ? parts : slice(parts, { 0: [i, i + 1] }), shape),
      );
    };
    const [q, k, v] = (
      packed && key === query && value === query
        ? project(query, 0, 3)
        : packed && value === key
          ? [...project(query, 0, 1), ...project(key, 1, 3)]
          : [...project(query, 0, 1), ...project(key, 1, 2), ...project(value, 2, 3)]
    ) as [Tensor, Tensor, Tensor];

    const attended = fused
      ? scaledDotProductAttentionWithLogSumExp(q, k, v, {
          causal: options.causal,
          layout: 'NTHD',
          masks: masksOf({ n, heads, t, s }, options),
          dropout: drops ? dropoutOf('multiheadAttention', q, { p }) : undefined,
        }).y
      : transpose(unfused(q, k, v, { n, heads, t, s }, options, drops), [0, 2, 1, 3]);
    const joined = reshape(attended, [n, t, d]);
    return graph.scope('out_proj', () =>
      affine(
        joined,
        graph.parameter('weight', [d, d], kaimingUniform([d, d])),
        bias ? graph.parameter('bias', [d], zeros) : undefined,
      ),
    );
  });

/** The masks of the options, as they broadcast to the weights [N, heads, T, S]. */
function masksOf({ n, heads, t, s }: Sizes, { attnMask, keyPaddingMask }: AttentionMasks): AttentionMask[] {
  const pairs = attnMask?.rank === 3 ? reshape(attnMask, [n, heads, t, s]) : attnMask;
  const padding = keyPaddingMask && reshape(keyPaddingMask, [n, 1, 1, s]);
  return [pairs, padding].flatMap((mask) => (mask ? [{ kind: mask.dtype === 'bool' ? 'hidden' : 'added', mask }] : []));
}

/** The same with its weights as a tensor, which masks hide and dropout drops. */
function unfused(q: Tensor, k: Tensor, v: Tensor, sizes: Sizes, options: AttentionOptions, drops: boolean): Tensor {
  const scores = matmul(mul(q, 1 / Math.sqrt(q.shape[3]!)), k, { transB: true });
  const { scores: masked, hidden } = hiddenScores(scores, masksOf(sizes, options), !!options.causal);
  const weights = unhidden(softmax(masked), hidden);
  if (!drops) return matmul(weights, v);
  // Named as the fused op would be, so that both draw the same mask.
  const { name } = scaledDotProductAttentionOp;
  return matmul(drop(weights, { ...dropoutOf('multiheadAttention', q, { p: options.dropout }), name }), v);
}

interface Sizes {
  readonly n: number;
  readonly heads: number;
  readonly t: number;
  readonly s: number;
}

function check(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): void {
  const { heads, attnMask, keyPaddingMask } = options;
  const refuse = (reason: string, remedy?: string): never => {
    const masks = [attnMask && `attnMask ${formatType(attnMask.type)}`];
    const got = [query, key, value].map((x) => formatType(x.type)).join(', ');
    throw new GraphError('attention-shape', `multiheadAttention(${got}): ${reason}${callerLine()}`, {
      fields: { shapes: [query, key, value].map((x) => x.shape), heads, reason, masks: masks.filter(Boolean) },
      remedy,
    });
  };
  if (!Number.isInteger(heads) || heads < 1) refuse(`heads must be a positive integer, got ${heads}`);
  if (query.rank !== 3 || query.shape[2]! % heads !== 0) {
    refuse(
      `the query must be [N, T, D] with D divisible by ${heads} heads`,
      'choose a width that is a multiple of the number of heads',
    );
  }
  const [n, t] = query.shape as [number, number];
  if (key.rank !== 3 || key.shape[0] !== n) refuse(`the key must be [N, S, kdim] with N = ${n}`);
  const s = key.shape[1]!;
  if (value.rank !== 3 || value.shape[0] !== n || value.shape[1] !== s) {
    refuse(`the value must be [N, S, vdim] with N = ${n} and S = ${s} as the key`);
  }
  const fits = (mask: Tensor): boolean => {
    if (mask.rank === 2) return sameShape(mask.shape, [t, s]);
    if (mask.rank === 3) return sameShape(mask.shape, [n * heads, t, s]);
    const sizes = [n, heads, t, s];
    return mask.rank === 4 && mask.shape.every((d, i) => d === sizes[i] || (d === 1 && i < 2));
  };
  for (const [name, mask] of Object.entries({ attnMask, keyPaddingMask })) {
    if (mask && mask.dtype === 'i32') {
      refuse(`${name} must be bool (true: hidden) or f32 (added to the scores), got i32`, `ops.cast(${name}, 'bool')`);
    }
  }
  if (attnMask && !fits(attnMask)) {
    const [whole, heads4] = [formatShape([n * heads, t, s]), formatShape([n, heads, t, s])];
    refuse(`attnMask must be ${formatShape([t, s])}, ${whole} or ${heads4}, got ${formatShape(attnMask.shape)}`);
  }
  if (keyPaddingMask && !sameShape(keyPaddingMask.shape, [n, s])) {
    refuse(`keyPaddingMask must be ${formatShape([n, s])}, got ${formatShape(keyPaddingMask.shape)}`);
  }
  requireShare('multiheadAttention', query, 'dropout', options.dropout ?? 0);
}
