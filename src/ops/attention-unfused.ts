/** The graphs of ordinary ops that attention ops stand for, weights and all. */
import { GraphError } from '../core/errors.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { type AttentionMask, maskedScores } from './attention-masks.ts';
import { type AttentionAttrs, type AttentionLayout, maskAndDraw } from './attention-sizes.ts';
import { add, mul, sub } from './binary.ts';
import { where } from './compare.ts';
import { dropoutOp } from './dropout.ts';
import { matmul } from './matmul.ts';
import { logSumExp, sum } from './reduce.ts';
import { transpose, view } from './shape.ts';
import { softmax } from './softmax.ts';
import { exp } from './unary.ts';

/** A value a row as […, T, 1]. */
export const column = (t: Tensor): Tensor => view(t, [...t.shape, 1]);

/** Between a layout and heads in front: exchanging two axes, it is its own inverse. */
export const mover =
  (layout: AttentionLayout) =>
  (t: Tensor): Tensor =>
    layout === 'NTHD' ? transpose(t, [0, 2, 1, 3]) : t;

/** Weights, or their cotangents, heads in front, as dropout leaves them: the same mask as the op's own. */
const dropped = (t: Tensor, draw: readonly Tensor[], { dropout }: AttentionAttrs): Tensor =>
  dropout ? t.graph.add(dropoutOp, [t, ...draw], dropout)[0]! : t;

/** What `scaledDotProductAttentionGrad` stands for, and the scores' cotangents, heads in front. */
export function unfusedGradients(
  inputs: readonly Tensor[],
  attrs: AttentionAttrs,
): { readonly gradients: readonly [dq: Tensor, dk: Tensor, dv: Tensor]; readonly ds: Tensor } {
  const move = mover(attrs.layout);
  const lse = inputs[4]!;
  const [q, k, v, y, dy] = [0, 1, 2, 3, 5].map((i) => move(inputs[i]!)) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const { masks, draw } = maskAndDraw(inputs, 6, attrs);
  const p = unfusedWeights(q, k, lse, masks, attrs);
  const delta = sum(mul(dy, y), { axes: [-1], keepDims: true });
  const ds = mul(p, sub(dropped(matmul(dy, v, { transB: true }), draw, attrs), delta));
  return {
    gradients: [
      move(mul(matmul(ds, k), attrs.scale)),
      move(matmul(ds, mul(q, attrs.scale), { transA: true })),
      move(matmul(dropped(p, draw, attrs), dy, { transA: true })),
    ],
    ds,
  };
}

/** The graph of ordinary ops that the op stands for; log Σ e^score where it is asked for. */
export function unfusedAttention(
  inputs: readonly Tensor[],
  attrs: AttentionAttrs,
  wantsLogSumExp = true,
): [y: Tensor, logSumExp: Tensor | undefined] {
  const move = mover(attrs.layout);
  const [q, k, v] = inputs.slice(0, 3).map(move) as [Tensor, Tensor, Tensor];
  const { masks, draw } = maskAndDraw(inputs, 3, attrs);
  const { scores, hidden } = attentionScores(q, k, masks, attrs);
  const weights = dropped(unhidden(softmax(scores), hidden), draw, attrs);
  return [move(matmul(weights, v)), wantsLogSumExp ? logSumExp(scores, { axes: [-1] }) : undefined];
}

/** scale·q·kᵀ of heads in front with its masks; without them −∞ behind the diagonal where it is causal. */
function attentionScores(
  q: Tensor,
  k: Tensor,
  masks: readonly Tensor[],
  { causal, scale, masks: kinds = [] }: AttentionAttrs,
): ReturnType<typeof maskedScores> {
  const scores = matmul(mul(q, scale), k, { transB: true });
  const given = masks.map((mask, i): AttentionMask => ({ kind: kinds[i]!, mask }));
  return hiddenScores(scores, given, causal);
}

/** The masks' and the diagonal's scores. No row of the diagonal's alone is hidden as a whole, so that −∞ does for it. */
export function hiddenScores(
  scores: Tensor,
  masks: readonly AttentionMask[],
  causal: boolean,
): ReturnType<typeof maskedScores> {
  if (!causal) return maskedScores(scores, masks);
  const diagonal = causalMask(scores.graph, scores.shape.at(-2)!, scores.shape.at(-1)!);
  return masks.length === 0
    ? { scores: add(scores, diagonal), hidden: undefined }
    : maskedScores(scores, [...masks, { kind: 'added', mask: diagonal }]);
}

/** Nothing where it is hidden. */
export const unhidden = (weights: Tensor, hidden: Tensor | undefined): Tensor =>
  hidden ? where(hidden, 0, weights) : weights;

export function unfusedWeights(
  q: Tensor,
  k: Tensor,
  lse: Tensor,
  masks: readonly Tensor[],
  attrs: AttentionAttrs,
): Tensor {
  const { scores, hidden } = attentionScores(q, k, masks, attrs);
  return unhidden(exp(sub(scores, column(lse))), hidden);
}

/** [T, S]: 0 where column ≤ row, −∞ elsewhere; added to the scores, it leaves weight 0 for later positions. */
function causalMask(graph: Graph, t: number, s: number): Tensor {
  return graph.constant({ type: { dtype: 'f32', shape: [t, s] }, data: causalValues(t, s) }, 'causalMask');
}

/** A gigabyte; no device holds scores of as many elements for many heads. */
const MOST_MASKED = 2 ** 28;

/** The masks in use, by sizes: every layer of every graph has the same values, and a long context has many. */
const causalMasks = new Map<string, WeakRef<Float32Array>>();

function causalValues(t: number, s: number): Float32Array {
  const key = `${t} ${s}`;
  const known = causalMasks.get(key)?.deref();
  if (known) return known;
  if (t * s > MOST_MASKED) {
    throw new GraphError('mask-too-large', `the causal mask of ${t} × ${s} positions has ${t * s} elements`, {
      fields: { queries: t, keys: s, most: MOST_MASKED },
      remedy: 'fused attention, which needs no mask (--model.attention fused), or a shorter context',
    });
  }
  const data = new Float32Array(t * s);
  for (let row = 0; row < t; row++) data.fill(-Infinity, row * s + Math.min(s, row + 1), (row + 1) * s);
  causalMasks.set(key, new WeakRef(data));
  return data;
}
