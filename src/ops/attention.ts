import { elementCount, type Shape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, RefTensor, Sample } from '../graph/op-record.ts';
import { type AttentionMask, type AttentionMaskKind, kernelMask } from './attention-masks.ts';
import { dropoutFactors, eachQuery, inLayout, logSum } from './attention-reference.ts';
import { bad, cases, drawn, dropping, half, masking, plain, wholeMask } from './attention-samples.ts';
import {
  type AttentionAttrs,
  type AttentionLayout,
  attentionSizes,
  lseShape,
  maskAndDraw,
  outputShape,
  pairs,
  requireInputs,
  weightsShape,
} from './attention-sizes.ts';
import { column, mover, unfusedGradients, unfusedWeights } from './attention-unfused.ts';
import { add, mul } from './binary.ts';
import { sumTo } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { type DropoutAttrs, type DropoutOptions, dropoutDraw, flopsPerDraw } from './dropout.ts';
import { matmul } from './matmul.ts';
import { requireOptions } from './options.ts';
import { requireShape } from './type-rules.ts';

/**
 * Attention that never holds the matrix of its weights (Dao, Fu, Ermon, Rudra, Ré: "FlashAttention", 2022):
 *
 *     s = scale·q·kᵀ, −∞ at keys behind the query where it is causal
 *     y = softmax(s)·v,  lse = log Σ e^s of each row
 *
 * The gradient makes the weights again, as e^(s − lse), block by block. It takes y and lse as independent inputs, so that
 * each op's derivative stands by itself; how lse depends on q and k is in the forward op's own rule. A second derivative
 * is that of the graph of ordinary ops, weights and all.
 *
 * With `masks`, inputs behind v, keys are hidden from queries and scores added to (attention-masks.ts); a query that sees
 * nothing has the result 0 and the least f32 as lse. Where an added mask's gradient is asked for, all gradients are those of
 * the graph of ordinary ops, whose matrix of scores' cotangents it is.
 *
 * With `dropout`, y = dropout(softmax(s))·v: two more inputs, samples and key, draw the mask of the weights, and draw it
 * again for the gradient; lse is that of all scores.
 */
export const scaledDotProductAttentionOp: OpRecord<AttentionAttrs> = defineOp<AttentionAttrs>({
  name: 'scaledDotProductAttention',
  doc: 'y = softmax(scale·q·kᵀ)·v; outputs y and lse, the log Σ e^score of each row. q […, T, D], k […, S, D], v […, S, V], y […, T, V], lse […, T], or with layout NTHD q [N, T, H, D] and so on, lse [N, H, T]; causal: query i sees the keys j ≤ i. With `masks`, one or two follow: bool, keys hidden or seen, or f32, added to the scores (−∞ hides); a query that sees no key gives 0 and the least f32. With `dropout`, samples i32 [N] and key i32 [4] follow, and weights are dropped behind the softmax. No matrix of weights is held (FlashAttention; PyTorch scaled_dot_product_attention).',
  infer: (inputs, attrs) => {
    requireInputs(inputs, ['q', 'k', 'v'], attrs);
    const [q, , v] = inputs as [TensorType, TensorType, TensorType];
    return [
      { dtype: 'f32', shape: outputShape(q.shape, v.shape) },
      { dtype: 'f32', shape: lseShape(q.shape, attrs.layout) },
    ];
  },
  reference: inLayout(3, (inputs, attrs) => {
    const [q, , v] = inputs as [RefTensor, RefTensor, RefTensor];
    const size = v.type.shape.at(-1)!;
    const [yShape, rows] = [outputShape(q.type.shape, v.type.shape), q.type.shape.slice(0, -1)];
    const y = new Float64Array(elementCount(yShape));
    const lse = new Float64Array(elementCount(rows));
    const factors = dropoutFactors(inputs, attrs);
    const keys = v.type.shape.at(-2)!;
    eachQuery(
      inputs,
      maskAndDraw(inputs, 3, attrs).masks,
      attrs,
      (row, scores) => (lse[row] = logSum(scores)),
      (row, weights, firstKey) => {
        weights.forEach((weight, j) => {
          const w = factors ? weight * factors[row * keys + j]! : weight;
          for (let c = 0; c < size; c++) y[row * size + c]! += w * v.data[(firstKey + j) * size + c]!;
        });
      },
    );
    return [
      { type: { dtype: 'f32', shape: yShape }, data: y },
      // Of rank 3 at most where a layout has heads.
      { type: { dtype: 'f32', shape: rows }, data: lse },
    ];
  }),
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
      const [y, lse] = outputs as [Tensor, Tensor];
      const [dy, dLse] = grads;
      const { masks } = maskAndDraw(inputs, 3, attrs);
      const all = dy ? [q, k, v, y, lse, dy, ...inputs.slice(3)] : [];
      const wantsMask = masks.some((_, i) => needs(3 + i));
      const whole = dy && wantsMask ? unfusedGradients(all, attrs) : undefined;
      let [dq, dk, dv] = whole?.gradients ?? (dy ? q.graph.add(scaledDotProductAttentionGradOp, all, attrs) : []);
      let ds = whole?.ds;
      const plus = (x: Tensor | undefined, part: Tensor): Tensor => (x ? add(x, part) : part);
      if (dLse) {
        // ∂lse/∂s are the weights. Only higher derivatives ask for them.
        const move = mover(attrs.layout);
        const [a, b] = [move(q), move(k)];
        const part = mul(unfusedWeights(a, b, lse, masks, attrs), column(dLse));
        if (needs(0)) dq = plus(dq, move(mul(matmul(part, b), attrs.scale)));
        if (needs(1)) dk = plus(dk, move(matmul(part, mul(a, attrs.scale), { transA: true })));
        if (wantsMask) ds = plus(ds, part);
      }
      const ofMasks = masks.map((mask, i) => (needs(3 + i) ? sumTo(ds!, mask.shape) : undefined));
      const found = [dq, dk, dv, ...ofMasks];
      return inputs.map((_, i) => (needs(i) ? found[i] : undefined));
    },
  },
  cost: (inputs, outputs, { causal, layout, masks, dropout }) => {
    const sizes = attentionSizes(inputs[0]!.shape, inputs[1]!.shape, inputs[2]!.shape, layout);
    return {
      flops: pairs(sizes, causal) * (2 * (sizes.size + sizes.valueSize) + weightFlops(masks, dropout)),
      bytes: elementwiseBytes(inputs, outputs),
    };
  },
  samples: [
    ...cases.map(
      (c): Sample<AttentionAttrs> => ({
        name: c.name,
        inputs: [{ shape: c.q }, { shape: c.k }, { shape: c.v ?? c.k }, ...drawn(c)],
        attrs: c.attrs,
        ...(c.blind ? { differentiateOutputs: [0] } : {}),
      }),
    ),
    {
      name: 'several blocks of queries',
      inputs: [{ shape: [67, 2] }, { shape: [67, 2] }, { shape: [67, 1] }],
      attrs: { ...plain, causal: true },
      gradientOf: [],
    },
  ],
  badSamples: [
    bad([3], [3], [3], 'have two axes or more, got [3]'),
    bad([2, 3, 4], [2, 5, 6], [2, 5, 4], 'k must be [2, S, 4], got [2, 5, 6]'),
    bad([2, 3, 4], [3, 4], [3, 4], 'k must be [2, S, 4], got [3, 4]'),
    bad([2, 3, 4], [2, 5, 4], [2, 3, 4], 'v must be [2, 5, V], got [2, 3, 4]'),
    bad([3, 4], [3, 4], [3, 4], 'scale must be a finite number, got Infinity', { scale: Infinity }),
    bad([3, 2, 4], [3, 2, 4], [3, 2, 4], 'q must be [N, T, H, D], got [3, 2, 4]', { layout: 'NTHD' }),
    dropping('takes q, k, v, samples, key: 5 inputs, got 3', []),
    dropping('axis 1 of weights [6, 4, 5] is none of samples', [[4], [4]], { ...half, axis: 1 }),
    dropping('axis 0 of size 6 does not hold 4 samples', [[4], [4]]),
    dropping('the ratio of dropout must lie in (0, 1), got 0', [[6], [4]], { ...half, ratio: 0 }),
    {
      inputs: [
        ...[
          [1, 2 ** 18, 1],
          [1, 2 ** 17, 1],
          [1, 2 ** 17, 1],
        ].map((shape): TensorType => ({ dtype: 'f32', shape })),
        ...[[1], [4]].map((shape): TensorType => ({ dtype: 'i32', shape })),
      ],
      attrs: { ...plain, dropout: half },
      message: 'more than dropout can tell apart',
    },
    bad([1, 3, 2, 4], [1, 5, 3, 4], [1, 5, 3, 4], 'k must be [1, S, 2, 4], got [1, 5, 3, 4]', { layout: 'NTHD' }),
    {
      inputs: [{ dtype: 'f32', shape: [3, 4] }],
      attrs: plain,
      message: 'takes q, k, v: 3 inputs, got 1',
    },
    masking('takes q, k, v, mask 0: 4 inputs, got 3', ['added']),
    masking('a mask of what is hidden must be bool, got f32', ['hidden'], { dtype: 'f32', shape: [4, 5] }),
    masking('a mask of what is added must be f32, got bool', ['added'], { dtype: 'bool', shape: [4, 5] }),
    masking('a mask must be [6, 4, 5] or 1', ['seen'], { dtype: 'bool', shape: [5, 5] }),
    masking('a mask must be [6, 4, 5] or 1', ['seen'], { dtype: 'bool', shape: [4, 1] }),
    masking(
      'takes one or two masks where it has any, got 3',
      ['seen', 'seen', 'seen'],
      ...[1, 2, 3].map(() => wholeMask),
    ),
    masking('masks must be of hidden, seen, added, got shown', ['shown' as AttentionMaskKind], wholeMask),
  ],
});

/** An exponential and the passes over a row, as softmax counts them, masks, and what draws a weight's dropping. */
const weightFlops = (masks: readonly AttentionMaskKind[] = [], dropout: DropoutAttrs | undefined): number =>
  25 + 2 * masks.length + (dropout ? flopsPerDraw : 0);

export const scaledDotProductAttentionGradOp: OpRecord<AttentionAttrs> = defineOp<AttentionAttrs>({
  name: 'scaledDotProductAttentionGrad',
  doc: 'dq = scale·ds·k, dk = scale·dsᵀ·q and dv = pᵀ·dy with p = e^(scale·q·kᵀ − lse), made again block by block, and ds = p∘(dy·vᵀ − Σ dy∘y); inputs q, k, v, y, lse, dy, then masks as in the forward op. With `dropout`, samples and key follow, p in dv and dy·vᵀ are dropped.',
  infer: (inputs, attrs) => {
    requireInputs(inputs, ['q', 'k', 'v', 'y', 'lse', 'dy'], attrs);
    const [q, , v, y, lse, dy] = inputs.map((t) => t.shape) as [Shape, Shape, Shape, Shape, Shape, Shape];
    requireShape('y', y, outputShape(q, v));
    requireShape('lse', lse, lseShape(q, attrs.layout));
    requireShape('dy', dy, y);
    return inputs.slice(0, 3);
  },
  reference: inLayout(6, (inputs, attrs) => {
    const [q, k, v, y, lse, dy] = inputs as [RefTensor, RefTensor, RefTensor, RefTensor, RefTensor, RefTensor];
    const size = q.type.shape.at(-1)!;
    const valueSize = v.type.shape.at(-1)!;
    const keys = v.type.shape.at(-2)!;
    const factors = dropoutFactors(inputs, attrs);
    const [dq, dk, dv] = [q, k, v].map((t) => new Float64Array(t.data.length)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    eachQuery(
      inputs,
      maskAndDraw(inputs, 6, attrs).masks,
      attrs,
      (row) => lse.data[row]!,
      (row, weights, firstKey) => {
        let delta = 0;
        for (let c = row * valueSize; c < (row + 1) * valueSize; c++) delta += dy.data[c]! * y.data[c]!;
        weights.forEach((w, j) => {
          const key = firstKey + j;
          const factor = factors ? factors[row * keys + j]! : 1;
          let dp = -delta;
          for (let c = 0; c < valueSize; c++) {
            const g = factor * dy.data[row * valueSize + c]!;
            dp += g * v.data[key * valueSize + c]!;
            dv[key * valueSize + c]! += w * g;
          }
          const ds = attrs.scale * w * dp;
          for (let d = 0; d < size; d++) {
            dq[row * size + d]! += ds * k.data[key * size + d]!;
            dk[key * size + d]! += ds * q.data[row * size + d]!;
          }
        });
      },
    );
    return [
      { type: q.type, data: dq },
      { type: k.type, data: dk },
      { type: v.type, data: dv },
    ];
  }),
  gradient: {
    kind: 'decompose',
    build: (inputs, attrs) => unfusedGradients(inputs, attrs).gradients,
  },
  cost: (inputs, outputs, { causal, layout, masks, dropout }) => {
    const sizes = attentionSizes(inputs[0]!.shape, inputs[1]!.shape, inputs[2]!.shape, layout);
    return {
      // Scores again and the gradients of all three: five products.
      flops: pairs(sizes, causal) * (6 * sizes.size + 4 * sizes.valueSize + weightFlops(masks, dropout)),
      bytes: elementwiseBytes(inputs, outputs),
    };
  },
  samples: cases.map((c) => {
    const { name, q, k, v = k, attrs } = c;
    const y = outputShape(q, v);
    // lse about what log Σ e^score is, so that the weights are of the size they have.
    const lse = { shape: lseShape(q, attrs.layout), low: 0.5, high: 1.5 };
    return {
      name,
      inputs: [...[q, k, v, y].map((shape) => ({ shape })), lse, { shape: y }, ...drawn(c)],
      attrs,
      atol: 2e-6,
    };
  }),
  badSamples: [
    {
      inputs: [[3, 4], [5, 4], [5, 2], [3, 4], [3], [3, 2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: plain,
      message: 'y must have the shape [3, 2], got [3, 4]',
    },
    {
      inputs: [[3, 4], [5, 4], [5, 2], [3, 2], [5], [3, 2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: plain,
      message: 'lse must have the shape [3], got [5]',
    },
  ],
});

export interface ScaledDotProductAttentionOptions {
  /** Query i sees the keys j ≤ i only; default false. */
  readonly causal?: boolean;
  /**
   * Broadcasts to the weights […, T, S] ([N, H, T, S] in NTHD): bool, true where a query sees a key, or f32, added to the
   * scores, −∞ hiding a key (PyTorch's attn_mask; beside `causal` both hold). A query that sees no key has the result 0.
   */
  readonly attnMask?: Tensor;
  /** Of the scores; default 1 / √D. */
  readonly scale?: number;
  /** NHTD: heads in front, lse […, T]; NTHD: q [N, T, H, D], y [N, T, H, V] and lse [N, H, T]. Default NHTD. */
  readonly layout?: AttentionLayout;
  /**
   * Of the weights […, T, S] ([N, H, T, S] in NTHD), behind the softmax (PyTorch's dropout_p); default none. The axis is the
   * batch's, in front of T and S; the mask's stream follows from the node's name.
   */
  readonly dropout?: Omit<DropoutOptions, 'name'>;
}

const dropoutNames = { ratio: true, axis: true, samples: true } as const;

/** `scaledDotProductAttention`, and log Σ e^score of each row; with any masks that the op takes. */
export function scaledDotProductAttentionWithLogSumExp(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: Omit<ScaledDotProductAttentionOptions, 'attnMask'> & { readonly masks?: readonly AttentionMask[] } = {},
): { readonly y: Tensor; readonly logSumExp: Tensor } {
  const { causal = false, scale = 1 / Math.sqrt(q.shape.at(-1) ?? 1), layout = 'NHTD', masks = [], dropout } = options;
  const { graph } = q;
  if (dropout) requireOptions('scaledDotProductAttention', q, dropout, dropoutNames, 'dropout');
  const plain: AttentionAttrs = { causal, scale, layout };
  const masked: AttentionAttrs = masks.length > 0 ? { ...plain, masks: masks.map(({ kind }) => kind) } : plain;
  const inputs = [q, k, v, ...masks.map(({ mask }) => kernelMask(mask, weightsShape(q.shape, k.shape, layout)))];
  if (!dropout || dropout.ratio === 0 || dropout.ratio === 1) {
    const [y, logSumExp] = graph.add(scaledDotProductAttentionOp, inputs, masked) as [Tensor, Tensor];
    // All dropped: the limit, which the scale 1 / 0 would hide.
    return { y: dropout?.ratio === 1 ? mul(y, 0) : y, logSumExp };
  }
  const { name } = scaledDotProductAttentionOp;
  const draw = dropoutDraw(graph, weightsShape(q.shape, k.shape, layout), { ...dropout, name });
  const attrs: AttentionAttrs = { ...masked, dropout: draw.attrs };
  const [y, logSumExp] = graph.add(scaledDotProductAttentionOp, [...inputs, ...draw.inputs], attrs);
  return { y: y!, logSumExp: logSumExp! };
}

/**
 * softmax(scale·q·kᵀ)·v for q […, T, D], k […, S, D] and v […, S, V] (or `layout` NTHD), without holding the weights (PyTorch's
 * scaled_dot_product_attention).
 */
export const scaledDotProductAttention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { attnMask: mask, ...options }: ScaledDotProductAttentionOptions = {},
): Tensor => {
  const masks: AttentionMask[] = mask ? [{ kind: mask.dtype === 'bool' ? 'seen' : 'added', mask }] : [];
  return scaledDotProductAttentionWithLogSumExp(q, k, v, { ...options, masks }).y;
};
