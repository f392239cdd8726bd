import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { type OpRecord, type RefTensor, require, type Sample, type SampleInput } from '../graph/op-record.ts';
import {
  type AttentionMask,
  type AttentionMaskKind,
  kernelMask,
  leastScore,
  maskedScores,
  maskReference,
  requireMasks,
} from './attention-masks.ts';
import { add, mul, sub } from './binary.ts';
import { sumTo } from './broadcast.ts';
import { where } from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import {
  type DropoutAttrs,
  type DropoutOptions,
  dropoutDraw,
  dropoutLayout,
  dropoutMaskValues,
  dropoutOp,
  flopsPerDraw,
  requireDropout,
} from './dropout.ts';
import { matmul } from './matmul.ts';
import { requireOptions } from './options.ts';
import { logSumExp, sum } from './reduce.ts';
import { transpose, view } from './shape.ts';
import { softmax } from './softmax.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { exp } from './unary.ts';

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
export type AttentionAttrs = {
  /** Query i sees the keys j ≤ i (PyTorch's is_causal). */
  readonly causal: boolean;
  /** Of the scores. */
  readonly scale: number;
  /**
   * `NHTD`: q […, T, D], k […, S, D], v […, S, V], the heads among the leading axes (PyTorch's). `NTHD`: q [N, T, H, D],
   * k [N, S, H, D], v [N, S, H, V], the heads side by side, as projections leave and take them.
   */
  readonly layout: AttentionLayout;
  /** What each mask says; its shape broadcasts to the weights', heads in front in either layout, with all S keys. */
  readonly masks?: readonly AttentionMaskKind[];
  /** Of the weights […, T, S], or [N, H, T, S] in either layout, by `dropout`'s rule; its axis stands before T. */
  readonly dropout?: DropoutAttrs;
};
export type AttentionLayout = 'NHTD' | 'NTHD';

/** Every tensor seen as [samples, queries or keys, heads, …]: in NHTD a head counts as a sample of its own. */
export interface AttentionSizes {
  readonly samples: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly valueSize: number;
}

export function attentionSizes(q: Shape, k: Shape, v: Shape, layout: AttentionLayout): AttentionSizes {
  const behind = layout === 'NTHD' ? 1 : 0;
  return {
    samples: elementCount(q.slice(0, -2 - behind)),
    heads: behind ? q.at(-2)! : 1,
    queries: q.at(-2 - behind)!,
    keys: k.at(-2 - behind)!,
    size: q.at(-1)!,
    valueSize: v.at(-1)!,
  };
}

const lseShape = (q: Shape, layout: AttentionLayout): Shape =>
  layout === 'NTHD' ? [q[0]!, q[2]!, q[1]!] : q.slice(0, -1);

/** Of the weights that are never held. */
export const weightsShape = (q: Shape, k: Shape, layout: AttentionLayout): Shape => [
  ...lseShape(q, layout),
  k.at(layout === 'NTHD' ? -3 : -2)!,
];

const outputShape = (q: Shape, v: Shape): Shape => [...q.slice(0, -1), v.at(-1)!];

/** Pairs of a query and a key that it sees. */
function pairs({ samples, heads, queries, keys }: AttentionSizes, causal: boolean): number {
  const matrices = samples * heads;
  if (!causal) return matrices * queries * keys;
  const first = Math.min(queries, keys);
  return matrices * ((first * (first + 1)) / 2 + (queries - first) * keys);
}

function requireAttention([q, k, v]: readonly TensorType[], { scale, layout }: AttentionAttrs): void {
  const [a, b, c] = [q!.shape, k!.shape, v!.shape];
  const heads = layout === 'NTHD';
  require(heads || layout === 'NHTD', `layout must be NHTD or NTHD, got ${layout}`);
  if (heads) require(a.length === 4, `q must be [N, T, H, D], got ${formatShape(a)}`);
  else require(a.length >= 2, `q must be […, T, D] and so have two axes or more, got ${formatShape(a)}`);
  const at = a.length - (heads ? 3 : 2);
  const keys = b[at];
  /** q's shape with another length and another size of a row. */
  const like = (length: number, size: number): Shape =>
    a.map((d, i) => (i === at ? length : i === a.length - 1 ? size : d));
  const say = (length: number | string, size: number | string): string =>
    `[${a.map((d, i) => (i === at ? length : i === a.length - 1 ? size : d)).join(', ')}]`;
  require(keys !== undefined &&
    sameShape(b, like(keys, a.at(-1)!)), `k must be ${say('S', a.at(-1)!)}, got ${formatShape(b)}`);
  require(c.length > 0 && sameShape(c, like(keys, c.at(-1)!)), `v must be ${say(keys, 'V')}, got ${formatShape(c)}`);
  require(Number.isFinite(scale), `scale must be a finite number, got ${scale}`);
}

/** The number of the first element that a sample's counters cannot tell from another: 2³² blocks of four. */
const dropoutPlaces = 2 ** 34;

/** What stands behind the `first` inputs: masks, and what dropout draws from. */
export function maskAndDraw<T>(
  inputs: readonly T[],
  first: number,
  { masks = [] }: AttentionAttrs,
): { readonly masks: readonly T[]; readonly draw: readonly T[] } {
  const behind = first + masks.length;
  return { masks: inputs.slice(first, behind), draw: inputs.slice(behind) };
}

/** Tensors of these names, and behind them masks and what dropout draws from, where there are any. */
function requireInputs(inputs: readonly TensorType[], names: readonly string[], attrs: AttentionAttrs): void {
  const { dropout, layout, masks } = attrs;
  const all = [...names, ...(masks ?? []).map((_, i) => `mask ${i}`), ...(dropout ? ['samples', 'key'] : [])];
  require(inputs.length === all.length, `takes ${all.join(', ')}: ${all.length} inputs, got ${inputs.length}`);
  requireFloats(inputs.slice(0, names.length), names);
  requireAttention(inputs, attrs);
  const weights = weightsShape(inputs[0]!.shape, inputs[1]!.shape, layout);
  const more = maskAndDraw(inputs, names.length, attrs);
  if (masks) requireMasks(more.masks, masks, weights);
  if (!dropout) return;
  const [samples, key] = more.draw as [TensorType, TensorType];
  requireDropout(weights, samples, key, dropout);
  const { ratio, axis } = dropout;
  require(ratio > 0, `the ratio of dropout must lie in (0, 1), got ${ratio}`);
  require(axis === null ||
    axis < weights.length - 2, `axis ${axis} of weights ${formatShape(weights)} is none of samples`);
  const { outer, run } = dropoutLayout(weights, axis, samples.shape[0]!);
  require(outer * run <= dropoutPlaces, `a sample has ${outer * run} weights, more than dropout can tell apart: 2^34`);
}

/** How many matrices of weights in a row are a sample's. */
export function dropoutMatrices(q: Shape, k: Shape, { layout, dropout }: AttentionAttrs, samples: number): number {
  const shape = weightsShape(q, k, layout);
  return dropoutLayout(shape, dropout!.axis, samples).run / (shape.at(-1)! * shape.at(-2)!);
}

/** Factors of the weights, heads in front, in the order of their matrix; undefined where none is dropped. */
function dropoutFactors(inputs: readonly RefTensor[], { dropout }: AttentionAttrs): Float64Array | undefined {
  if (!dropout) return undefined;
  const [q, k] = inputs as [RefTensor, RefTensor];
  const [samples, key] = inputs.slice(-2) as [RefTensor, RefTensor];
  const shape = weightsShape(q.type.shape, k.type.shape, 'NHTD');
  return dropoutMaskValues(shape, samples, key, dropout).map((kept) => kept / (1 - dropout.ratio));
}

/** [N, T, H, D] as [N, H, T, D], or back. */
function exchanged({ type, data }: RefTensor): RefTensor {
  const [n, a, b, size] = type.shape as [number, number, number, number];
  const out = new Float64Array(data.length);
  for (let row = 0; row < n * a * b; row++) {
    const [i, j, l] = [Math.floor(row / (a * b)), Math.floor(row / b) % a, row % b];
    out.set(data.subarray(row * size, (row + 1) * size), ((i * b + l) * a + j) * size);
  }
  return { type: { ...type, shape: [n, b, a, size] }, data: out };
}

const isRank4 = ({ type }: RefTensor): boolean => type.shape.length === 4;

/** A reference of `count` tensors and what stands behind, heads in front, for any layout. lse [N, H, T] is the same in both. */
const inLayout =
  (count: number, reference: (inputs: readonly RefTensor[], attrs: AttentionAttrs) => readonly RefTensor[]) =>
  (inputs: readonly RefTensor[], attrs: AttentionAttrs): readonly Float64Array[] => {
    const moved = (t: RefTensor): RefTensor => (attrs.layout === 'NTHD' && isRank4(t) ? exchanged(t) : t);
    const given = inputs.map((t, i) => (i < count ? moved(t) : t));
    return reference(given, attrs).map((t) => moved(t).data);
  };

/**
 * Calls `visit` for each query with its weights e^(s − shift) over the keys it may see, 0 where one is hidden; `shift` of the
 * row from its scores.
 */
function eachQuery(
  [q, k, v]: readonly RefTensor[],
  masks: readonly RefTensor[],
  { causal, scale, masks: kinds = [] }: AttentionAttrs,
  shift: (row: number, scores: Float64Array) => number,
  visit: (row: number, weights: Float64Array, firstKey: number) => void,
): void {
  const { samples, queries, keys, size } = attentionSizes(q!.type.shape, k!.type.shape, v!.type.shape, 'NHTD');
  const { hides, adds } = maskReference(masks, kinds, weightsShape(q!.type.shape, k!.type.shape, 'NHTD'));
  for (let row = 0; row < samples * queries; row++) {
    const firstKey = Math.floor(row / queries) * keys;
    const scores = new Float64Array(causal ? Math.min(keys, (row % queries) + 1) : keys);
    for (let j = 0; j < scores.length; j++) {
      let dot = 0;
      for (let d = 0; d < size; d++) dot += q!.data[row * size + d]! * k!.data[(firstKey + j) * size + d]!;
      const at = row * keys + j;
      scores[j] = hides(at) ? leastScore : dot * scale + adds(at);
    }
    const by = shift(row, scores);
    visit(
      row,
      scores.map((s, j) => (hides(row * keys + j) ? 0 : Math.exp(s - by))),
      firstKey,
    );
  }
}

/** log Σ eˣ */
function logSum(x: Float64Array): number {
  const top = x.reduce((m, v) => Math.max(m, v), -Infinity);
  return top + Math.log(x.reduce((s, v) => s + Math.exp(v - top), 0));
}

const plain: AttentionAttrs = { causal: false, scale: 0.5, layout: 'NHTD' };

interface Case {
  readonly name: string;
  readonly q: Shape;
  readonly k: Shape;
  readonly v?: Shape;
  readonly attrs: AttentionAttrs;
  readonly masks?: readonly SampleInput[];
  /** A query sees nothing: beside the least f32 no difference in its lse shows. */
  readonly blind?: true;
  /** Whose weights are dropped. */
  readonly samples?: readonly number[];
}
/** Every third key is hidden from a query, or seen; none of a query's first three is as the next. */
const third = (shape: Shape): SampleInput => ({
  shape,
  dtype: 'bool',
  values: Array.from({ length: elementCount(shape) }, (_, i) =>
    ((i % shape.at(-1)!) + Math.floor(i / shape.at(-1)!)) % 3 === 1 ? 1 : 0,
  ),
});
const half: DropoutAttrs = { ratio: 0.5, stream: [0x2545f491, 0x4f6cdd1d], axis: 0 };

const cases: readonly Case[] = [
  { name: 'heads', q: [2, 3, 4, 5], k: [2, 3, 4, 5], attrs: plain },
  { name: 'causal', q: [2, 2, 5, 4], k: [2, 2, 5, 4], attrs: { ...plain, causal: true } },
  { name: 'fewer keys, wider values', q: [2, 1, 5, 2], k: [2, 1, 3, 2], v: [2, 1, 3, 6], attrs: plain },
  { name: 'causal, fewer keys', q: [3, 6, 3], k: [3, 2, 3], attrs: { ...plain, causal: true, scale: -0.7 } },
  { name: 'causal, keys nobody sees', q: [2, 3], k: [7, 3], v: [7, 2], attrs: { ...plain, causal: true } },
  { name: 'one of each', q: [1, 1], k: [1, 1], attrs: plain },
  {
    name: 'heads side by side',
    q: [2, 4, 3, 2],
    k: [2, 5, 3, 2],
    v: [2, 5, 3, 4],
    attrs: { ...plain, layout: 'NTHD' },
  },
  {
    name: 'heads side by side, causal',
    q: [2, 5, 2, 3],
    k: [2, 5, 2, 3],
    attrs: { causal: true, scale: 1, layout: 'NTHD' },
  },
  { name: 'dropped', q: [2, 3, 5, 4], k: [2, 3, 7, 4], attrs: { ...plain, dropout: half }, samples: [4, 70_000] },
  {
    name: 'dropped, causal, not batched',
    q: [2, 6, 3],
    k: [2, 6, 3],
    attrs: { ...plain, causal: true, dropout: { ...half, axis: null } },
    samples: [0],
  },
  {
    name: 'dropped, heads side by side',
    q: [4, 5, 2, 3],
    k: [4, 5, 2, 3],
    attrs: { causal: true, scale: 1, layout: 'NTHD', dropout: { ...half, ratio: 0.25 } },
    samples: [8, 3],
  },
  {
    name: 'hidden keys',
    q: [2, 3, 4, 5],
    k: [2, 3, 7, 5],
    attrs: { ...plain, masks: ['hidden'] },
    masks: [third([2, 1, 1, 7])],
  },
  {
    name: 'seen keys, causal, of heads side by side',
    q: [2, 5, 3, 2],
    k: [2, 5, 3, 2],
    attrs: { causal: true, scale: 1, layout: 'NTHD', masks: ['seen'] },
    masks: [third([1, 3, 5, 5])],
    blind: true,
  },
  {
    name: 'scores added to, for all matrices',
    q: [3, 4, 2],
    k: [3, 6, 2],
    v: [3, 6, 3],
    attrs: { ...plain, masks: ['added'] },
    masks: [{ shape: [4, 6] }],
  },
  {
    name: 'two masks, dropped',
    q: [4, 3, 5, 2],
    k: [4, 3, 6, 2],
    attrs: { ...plain, masks: ['added', 'hidden'], dropout: { ...half, ratio: 0.25 } },
    masks: [{ shape: [1, 3, 5, 6] }, third([4, 1, 1, 6])],
    samples: [8, 3],
  },
  {
    name: 'dropped, samples behind another axis',
    q: [2, 2, 3, 2],
    k: [2, 2, 5, 2],
    attrs: { ...plain, dropout: { ...half, axis: 1 } },
    samples: [6, 1],
  },
];

/** Masks, and samples and key where weights are dropped. */
const drawn = ({ samples, masks = [] }: Case): SampleInput[] => [
  ...masks,
  ...(samples
    ? [
        { shape: [samples.length], dtype: 'i32' as const, values: samples },
        { shape: [4], dtype: 'i32' as const, values: [7, 0, 3, 0] },
      ]
    : []),
];

const bad = (q: Shape, k: Shape, v: Shape, message: string, attrs: Partial<AttentionAttrs> = {}) => ({
  inputs: [q, k, v].map((shape): TensorType => ({ dtype: 'f32', shape })),
  attrs: { ...plain, ...attrs },
  message,
});

/** Of weights [6, 4, 5]. */
const dropping = (message: string, draw: readonly Shape[], dropout = half) => {
  const { inputs, attrs } = bad([6, 4, 3], [6, 5, 3], [6, 5, 3], message, { dropout });
  return { inputs: [...inputs, ...draw.map((shape): TensorType => ({ dtype: 'i32', shape }))], attrs, message };
};

const wholeMask: TensorType = { dtype: 'bool', shape: [4, 5] };

/** The same with masks. */
const masking = (message: string, masks: readonly AttentionMaskKind[], ...given: readonly TensorType[]) => {
  const { inputs, attrs } = bad([6, 4, 3], [6, 5, 3], [6, 5, 3], message, { masks });
  return { inputs: [...inputs, ...given], attrs, message };
};

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

/** A value a row as […, T, 1]. */
const column = (t: Tensor): Tensor => view(t, [...t.shape, 1]);

/** Between a layout and heads in front: exchanging two axes, it is its own inverse. */
const mover =
  (layout: AttentionLayout) =>
  (t: Tensor): Tensor =>
    layout === 'NTHD' ? transpose(t, [0, 2, 1, 3]) : t;

/** Weights, or their cotangents, heads in front, as dropout leaves them: the same mask as the op's own. */
const dropped = (t: Tensor, draw: readonly Tensor[], { dropout }: AttentionAttrs): Tensor =>
  dropout ? t.graph.add(dropoutOp, [t, ...draw], dropout)[0]! : t;

/** What `scaledDotProductAttentionGrad` stands for, and the scores' cotangents, heads in front. */
function unfusedGradients(
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

function unfusedWeights(q: Tensor, k: Tensor, lse: Tensor, masks: readonly Tensor[], attrs: AttentionAttrs): Tensor {
  const { scores, hidden } = attentionScores(q, k, masks, attrs);
  return unhidden(exp(sub(scores, column(lse))), hidden);
}

/** [T, S]: 0 where column ≤ row, −∞ elsewhere; added to the scores, it leaves weight 0 for later positions. */
export function causalMask(graph: Graph, t: number, s: number): Tensor {
  return graph.constant({ type: { dtype: 'f32', shape: [t, s] }, data: causalValues(t, s) }, 'causalMask');
}

/** The masks in use, by sizes: every layer of every graph has the same values, and a long context has many. */
const causalMasks = new Map<string, WeakRef<Float32Array>>();

function causalValues(t: number, s: number): Float32Array {
  const key = `${t} ${s}`;
  const known = causalMasks.get(key)?.deref();
  if (known) return known;
  const data = new Float32Array(t * s);
  for (let row = 0; row < t; row++) data.fill(-Infinity, row * s + Math.min(s, row + 1), (row + 1) * s);
  causalMasks.set(key, new WeakRef(data));
  return data;
}

export interface ScaledDotProductAttentionOptions {
  /** Query i sees the keys j ≤ i only; default false. */
  readonly causal?: boolean;
  /**
   * Broadcasts to the weights […, T, S] ([N, H, T, S] in NTHD): bool, true where a query sees a key, or f32, added to the scores,
   * −∞ hiding a key (PyTorch's attn_mask; beside `causal` both hold). A query that sees no key has the result 0.
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
