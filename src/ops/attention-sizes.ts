/** What attention ops take: attributes, shapes and what is required of them. */
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import { require } from '../graph/op-record.ts';
import { type AttentionMaskKind, requireMasks } from './attention-masks.ts';
import { type DropoutAttrs, dropoutLayout, requireDropout } from './dropout.ts';
import { requireFloats } from './type-rules.ts';

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

export const lseShape = (q: Shape, layout: AttentionLayout): Shape =>
  layout === 'NTHD' ? [q[0]!, q[2]!, q[1]!] : q.slice(0, -1);

/** Of the weights that are never held. */
export const weightsShape = (q: Shape, k: Shape, layout: AttentionLayout): Shape => [
  ...lseShape(q, layout),
  k.at(layout === 'NTHD' ? -3 : -2)!,
];

export const outputShape = (q: Shape, v: Shape): Shape => [...q.slice(0, -1), v.at(-1)!];

/** Pairs of a query and a key that it sees. */
export function pairs({ samples, heads, queries, keys }: AttentionSizes, causal: boolean): number {
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
export function requireInputs(inputs: readonly TensorType[], names: readonly string[], attrs: AttentionAttrs): void {
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
