import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { type OpRecord, type RefTensor, require, type Sample } from '../graph/op-record.ts';
import { add, mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { matmul } from './matmul.ts';
import { sum } from './reduce.ts';
import { view } from './shape.ts';
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
 */
export type AttentionAttrs = {
  /** Query i sees the keys j ≤ i (PyTorch's is_causal). */
  readonly causal: boolean;
  /** Of the scores. */
  readonly scale: number;
};

/** Sizes of q […, T, D], k […, S, D] and v […, S, V], the leading axes joined. */
export interface AttentionSizes {
  readonly matrices: number;
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly valueSize: number;
}

export function attentionSizes(q: Shape, k: Shape, v: Shape): AttentionSizes {
  return {
    matrices: elementCount(q.slice(0, -2)),
    queries: q.at(-2)!,
    keys: k.at(-2)!,
    size: q.at(-1)!,
    valueSize: v.at(-1)!,
  };
}

const outputShape = (q: Shape, v: Shape): Shape => [...q.slice(0, -1), v.at(-1)!];

/** Pairs of a query and a key that it sees. */
function pairs({ matrices, queries, keys }: AttentionSizes, causal: boolean): number {
  if (!causal) return matrices * queries * keys;
  const first = Math.min(queries, keys);
  return matrices * ((first * (first + 1)) / 2 + (queries - first) * keys);
}

function requireAttention([q, k, v]: readonly TensorType[], { scale }: AttentionAttrs): void {
  const [a, b, c] = [q!.shape, k!.shape, v!.shape];
  require(a.length >= 2, `q must be […, T, D] and so have two axes or more, got ${formatShape(a)}`);
  const leading = a.slice(0, -2);
  const fits = (t: Shape) => t.length === a.length && sameShape(t.slice(0, -2), leading);
  require(fits(b) &&
    b.at(-1) === a.at(-1), `k must be [${[...leading, 'S', a.at(-1)].join(', ')}], got ${formatShape(b)}`);
  require(fits(c) &&
    c.at(-2) === b.at(-2), `v must be [${[...leading, b.at(-2), 'V'].join(', ')}], got ${formatShape(c)}`);
  require(Number.isFinite(scale), `scale must be a finite number, got ${scale}`);
}

/** Calls `visit` for each query with its weights e^(s − shift) over the keys it sees; `shift` of the row from its scores. */
function eachQuery(
  [q, k, v]: readonly RefTensor[],
  { causal, scale }: AttentionAttrs,
  shift: (row: number, scores: Float64Array) => number,
  visit: (row: number, weights: Float64Array, firstKey: number) => void,
): void {
  const { matrices, queries, keys, size } = attentionSizes(q!.type.shape, k!.type.shape, v!.type.shape);
  for (let row = 0; row < matrices * queries; row++) {
    const firstKey = Math.floor(row / queries) * keys;
    const scores = new Float64Array(causal ? Math.min(keys, (row % queries) + 1) : keys);
    for (let j = 0; j < scores.length; j++) {
      let dot = 0;
      for (let d = 0; d < size; d++) dot += q!.data[row * size + d]! * k!.data[(firstKey + j) * size + d]!;
      scores[j] = dot * scale;
    }
    const by = shift(row, scores);
    visit(
      row,
      scores.map((s) => Math.exp(s - by)),
      firstKey,
    );
  }
}

/** log Σ eˣ */
function logSum(x: Float64Array): number {
  const top = x.reduce((m, v) => Math.max(m, v), -Infinity);
  return top + Math.log(x.reduce((s, v) => s + Math.exp(v - top), 0));
}

const cases: readonly {
  name: string;
  lead?: number[];
  t: number;
  s: number;
  d: number;
  v?: number;
  attrs: AttentionAttrs;
}[] = [
  { name: 'heads', lead: [2, 3], t: 4, s: 4, d: 5, attrs: { causal: false, scale: 0.5 } },
  { name: 'causal', lead: [2, 2], t: 5, s: 5, d: 4, attrs: { causal: true, scale: 0.5 } },
  { name: 'fewer keys, wider values', lead: [2, 1], t: 5, s: 3, d: 2, v: 6, attrs: { causal: false, scale: 1 } },
  { name: 'causal, fewer keys', lead: [3], t: 6, s: 2, d: 3, attrs: { causal: true, scale: -0.7 } },
  { name: 'causal, keys nobody sees', t: 2, s: 7, d: 3, v: 2, attrs: { causal: true, scale: 1.5 } },
  { name: 'one of each', t: 1, s: 1, d: 1, attrs: { causal: false, scale: 1 } },
];

const bad = (q: Shape, k: Shape, v: Shape, message: string, scale = 1) => ({
  inputs: [q, k, v].map((shape): TensorType => ({ dtype: 'f32', shape })),
  attrs: { causal: false, scale },
  message,
});

export const scaledDotProductAttentionOp: OpRecord<AttentionAttrs> = defineOp<AttentionAttrs>({
  name: 'scaledDotProductAttention',
  doc: 'y = softmax(scale·q·kᵀ)·v; outputs y and lse, the log Σ e^score of each row. q […, T, D], k […, S, D], v […, S, V], y […, T, V], lse […, T]; causal: query i sees the keys j ≤ i. No matrix of weights is held (FlashAttention; PyTorch scaled_dot_product_attention).',
  infer: (inputs, attrs) => {
    requireFloats(inputs, ['q', 'k', 'v']);
    requireAttention(inputs, attrs);
    const [q, , v] = inputs as [TensorType, TensorType, TensorType];
    return [
      { dtype: 'f32', shape: outputShape(q.shape, v.shape) },
      { dtype: 'f32', shape: q.shape.slice(0, -1) },
    ];
  },
  reference: (inputs, attrs, [yType, lseType]) => {
    const v = inputs[2]!;
    const size = v.type.shape.at(-1)!;
    const y = new Float64Array(elementCount(yType!.shape));
    const lse = new Float64Array(elementCount(lseType!.shape));
    eachQuery(
      inputs,
      attrs,
      (row, scores) => (lse[row] = logSum(scores)),
      (row, weights, firstKey) => {
        weights.forEach((w, j) => {
          for (let c = 0; c < size; c++) y[row * size + c]! += w * v.data[(firstKey + j) * size + c]!;
        });
      },
    );
    return [y, lse];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
      const [y, lse] = outputs as [Tensor, Tensor];
      const [dy, dLse] = grads;
      const [dq, dk, dv] = dy ? scaledDotProductAttentionGrad(q, k, v, y, lse, dy, attrs) : [];
      if (!dLse) return [needs(0) ? dq : undefined, needs(1) ? dk : undefined, needs(2) ? dv : undefined];
      // ∂lse/∂s are the weights. Only higher derivatives ask for them.
      const ds = mul(unfusedWeights(q, k, lse, attrs), column(dLse));
      const plus = (a: Tensor | undefined, b: Tensor): Tensor => (a ? add(a, b) : b);
      return [
        needs(0) ? plus(dq, mul(matmul(ds, k), attrs.scale)) : undefined,
        needs(1) ? plus(dk, matmul(ds, mul(q, attrs.scale), { transA: true })) : undefined,
        needs(2) ? dv : undefined,
      ];
    },
  },
  cost: (inputs, outputs, { causal }) => {
    const sizes = attentionSizes(inputs[0]!.shape, inputs[1]!.shape, inputs[2]!.shape);
    return {
      flops: pairs(sizes, causal) * (2 * (sizes.size + sizes.valueSize) + flopsPerWeight),
      bytes: elementwiseBytes(inputs, outputs),
    };
  },
  samples: [
    ...cases.map(
      ({ name, lead = [], t, s, d, v = d, attrs }): Sample<AttentionAttrs> => ({
        name,
        inputs: [{ shape: [...lead, t, d] }, { shape: [...lead, s, d] }, { shape: [...lead, s, v] }],
        attrs,
      }),
    ),
    {
      name: 'several blocks of queries',
      inputs: [{ shape: [67, 2] }, { shape: [67, 2] }, { shape: [67, 1] }],
      attrs: { causal: true, scale: 1 },
      gradientOf: [],
    },
  ],
  badSamples: [
    bad([3], [3], [3], 'have two axes or more, got [3]'),
    bad([2, 3, 4], [2, 5, 6], [2, 5, 4], 'k must be [2, S, 4], got [2, 5, 6]'),
    bad([2, 3, 4], [3, 4], [3, 4], 'k must be [2, S, 4], got [3, 4]'),
    bad([2, 3, 4], [2, 5, 4], [2, 3, 4], 'v must be [2, 5, V], got [2, 3, 4]'),
    bad([3, 4], [3, 4], [3, 4], 'scale must be a finite number, got Infinity', Infinity),
    {
      inputs: [{ dtype: 'f32', shape: [3, 4] }],
      attrs: { causal: false, scale: 1 },
      message: 'takes q, k, v: 3 inputs, got 1',
    },
  ],
});

/** An exponential and the passes over a row, as softmax counts them. */
const flopsPerWeight = 25;

export const scaledDotProductAttentionGradOp: OpRecord<AttentionAttrs> = defineOp<AttentionAttrs>({
  name: 'scaledDotProductAttentionGrad',
  doc: 'dq = scale·ds·k, dk = scale·dsᵀ·q and dv = pᵀ·dy with p = e^(scale·q·kᵀ − lse), made again block by block, and ds = p∘(dy·vᵀ − Σ dy∘y); inputs q, k, v, y, lse, dy.',
  infer: (inputs, attrs) => {
    requireFloats(inputs, ['q', 'k', 'v', 'y', 'lse', 'dy']);
    requireAttention(inputs, attrs);
    const [q, , v, y, lse, dy] = inputs.map((t) => t.shape) as [Shape, Shape, Shape, Shape, Shape, Shape];
    requireShape('y', y, outputShape(q, v));
    requireShape('lse', lse, q.slice(0, -1));
    requireShape('dy', dy, y);
    return inputs.slice(0, 3);
  },
  reference: (inputs, attrs) => {
    const [q, k, v, y, lse, dy] = inputs as [RefTensor, RefTensor, RefTensor, RefTensor, RefTensor, RefTensor];
    const size = q.type.shape.at(-1)!;
    const valueSize = v.type.shape.at(-1)!;
    const [dq, dk, dv] = [q, k, v].map((t) => new Float64Array(t.data.length)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    eachQuery(
      inputs,
      attrs,
      (row) => lse.data[row]!,
      (row, weights, firstKey) => {
        let delta = 0;
        for (let c = row * valueSize; c < (row + 1) * valueSize; c++) delta += dy.data[c]! * y.data[c]!;
        weights.forEach((w, j) => {
          const key = firstKey + j;
          let dp = -delta;
          for (let c = 0; c < valueSize; c++) {
            const g = dy.data[row * valueSize + c]!;
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
    return [dq, dk, dv];
  },
  gradient: {
    kind: 'decompose',
    build: ([q, k, v, y, lse, dy], attrs) => {
      const p = unfusedWeights(q!, k!, lse!, attrs);
      const delta = sum(mul(dy!, y!), { axes: [-1], keepDims: true });
      const ds = mul(p, sub(matmul(dy!, v!, { transB: true }), delta));
      return [
        mul(matmul(ds, k!), attrs.scale),
        matmul(ds, mul(q!, attrs.scale), { transA: true }),
        matmul(p, dy!, { transA: true }),
      ];
    },
  },
  cost: (inputs, outputs, { causal }) => {
    const sizes = attentionSizes(inputs[0]!.shape, inputs[1]!.shape, inputs[2]!.shape);
    return {
      // Scores again and the gradients of all three: five products.
      flops: pairs(sizes, causal) * (6 * sizes.size + 4 * sizes.valueSize + flopsPerWeight),
      bytes: elementwiseBytes(inputs, outputs),
    };
  },
  samples: cases.map(({ name, lead = [], t, s, d, v = d, attrs }) => ({
    name,
    inputs: [
      { shape: [...lead, t, d] },
      { shape: [...lead, s, d] },
      { shape: [...lead, s, v] },
      { shape: [...lead, t, v] },
      // About what log Σ e^score is, so that the weights are of the size they have.
      { shape: [...lead, t], low: 0.5, high: 1.5 },
      { shape: [...lead, t, v] },
    ],
    attrs,
    atol: 2e-6,
  })),
  badSamples: [
    {
      inputs: [[3, 4], [5, 4], [5, 2], [3, 4], [3], [3, 2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { causal: false, scale: 1 },
      message: 'y must have the shape [3, 2], got [3, 4]',
    },
    {
      inputs: [[3, 4], [5, 4], [5, 2], [3, 2], [5], [3, 2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { causal: false, scale: 1 },
      message: 'lse must have the shape [3], got [5]',
    },
  ],
});

/** A value a row as […, T, 1]. */
const column = (t: Tensor): Tensor => view(t, [...t.shape, 1]);

/** scale·q·kᵀ, −∞ where a query does not see the key. */
export function attentionScores(q: Tensor, k: Tensor, { causal, scale }: AttentionAttrs): Tensor {
  const scores = matmul(mul(q, scale), k, { transB: true });
  return causal ? add(scores, causalMask(q.graph, q.shape.at(-2)!, k.shape.at(-2)!)) : scores;
}

const unfusedWeights = (q: Tensor, k: Tensor, lse: Tensor, attrs: AttentionAttrs): Tensor =>
  exp(sub(attentionScores(q, k, attrs), column(lse)));

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
  /** Of the scores; default 1 / √D. */
  readonly scale?: number;
}

/** `scaledDotProductAttention`, and log Σ e^score of each row, […, T]. */
export function scaledDotProductAttentionWithLogSumExp(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { causal = false, scale = 1 / Math.sqrt(q.shape.at(-1) ?? 1) }: ScaledDotProductAttentionOptions = {},
): { readonly y: Tensor; readonly logSumExp: Tensor } {
  const [y, logSumExp] = q.graph.add(scaledDotProductAttentionOp, [q, k, v], { causal, scale });
  return { y: y!, logSumExp: logSumExp! };
}

/**
 * softmax(scale·q·kᵀ)·v for q […, T, D], k […, S, D] and v […, S, V], without holding the weights, as PyTorch's
 * scaled_dot_product_attention without mask and dropout.
 */
export const scaledDotProductAttention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: ScaledDotProductAttentionOptions = {},
): Tensor => scaledDotProductAttentionWithLogSumExp(q, k, v, options).y;

function scaledDotProductAttentionGrad(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  y: Tensor,
  lse: Tensor,
  dy: Tensor,
  attrs: AttentionAttrs,
): readonly Tensor[] {
  return q.graph.add(scaledDotProductAttentionGradOp, [q, k, v, y, lse, dy], attrs);
}
