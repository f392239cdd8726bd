import { GraphError } from '../core/errors.ts';
import { formatType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { kaimingUniform, xavierUniform, zeros } from '../init/index.ts';
import { add, mul } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { reshape, slice, transpose } from '../ops/shape.ts';
import { softmax } from '../ops/softmax.ts';
import { dropout } from './dropout.ts';
import { affine } from './linear.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface AttentionOptions extends LayerOptions {
  readonly heads: number;
  /** Each position sees itself and earlier ones only; default false. */
  readonly causal?: boolean;
  /** Probability that a weight of the attention is dropped in training; default 0. */
  readonly dropout?: number;
}

/**
 * Self-attention over [N, T, D] (Vaswani et al., "Attention Is All You Need", 2017; PyTorch MultiheadAttention with
 * batch_first). Parameters as PyTorch's: in_proj_weight [3·D, D] (queries, keys, values), in_proj_bias [3·D],
 * out_proj.weight [D, D], out_proj.bias [D].
 */
export const multiheadAttention = (x: Tensor, options: AttentionOptions): Tensor =>
  scoped(x, options, () => {
    const { graph } = x;
    const { heads } = options;
    if (x.rank !== 3 || x.shape[2]! % heads !== 0) {
      throw new GraphError(
        'attention-shape',
        `multiheadAttention takes [N, T, D] with D divisible by ${heads} heads, got ${formatType(x.type)}`,
        { fields: { shape: x.shape, heads }, remedy: 'choose a width that is a multiple of the number of heads' },
      );
    }
    const [n, t, d] = x.shape as [number, number, number];
    const size = d / heads;
    const inWeight = graph.parameter('in_proj_weight', [3 * d, d], xavierUniform([3 * d, d]));
    const inBias = graph.parameter('in_proj_bias', [3 * d], zeros);

    // [N, T, 3·D] → [3, N, heads, T, D / heads]
    const packed = transpose(reshape(affine(x, inWeight, inBias), [n, t, 3, heads, size]), [2, 0, 3, 1, 4]);
    const [q, k, v] = [0, 1, 2].map((i) => reshape(slice(packed, { 0: [i, i + 1] }), [n, heads, t, size])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const scores = matmul(mul(q, 1 / Math.sqrt(size)), k, { transB: true });
    const seen = options.causal ? add(scores, causalMask(graph, t)) : scores;
    const mixed = matmul(dropout(softmax(seen), { p: options.dropout ?? 0 }), v);
    const joined = reshape(transpose(mixed, [0, 2, 1, 3]), [n, t, d]);
    return graph.scope('out_proj', () =>
      affine(joined, graph.parameter('weight', [d, d], kaimingUniform([d, d])), graph.parameter('bias', [d], zeros)),
    );
  });

/** [T, T]: 0 where column ≤ row, −∞ elsewhere; added to the scores, it leaves weight 0 for later positions. */
function causalMask(graph: Graph, t: number): Tensor {
  const data = Float32Array.from({ length: t * t }, (_, i) => (i % t <= Math.floor(i / t) ? 0 : -Infinity));
  return graph.constant({ type: { dtype: 'f32', shape: [t, t] }, data }, 'causalMask');
}
