/** Attention query by query in f64: what the references of both ops share. */
import type { RefTensor } from '../graph/op-record.ts';
import { leastScore, maskReference } from './attention-masks.ts';
import { type AttentionAttrs, attentionSizes, weightsShape } from './attention-sizes.ts';
import { dropoutMaskValues } from './dropout.ts';

/** Factors of the weights, heads in front, in the order of their matrix; undefined where none is dropped. */
export function dropoutFactors(inputs: readonly RefTensor[], { dropout }: AttentionAttrs): Float64Array | undefined {
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
export const inLayout =
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
export function eachQuery(
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
export function logSum(x: Float64Array): number {
  const top = x.reduce((m, v) => Math.max(m, v), -Infinity);
  return top + Math.log(x.reduce((s, v) => s + Math.exp(v - top), 0));
}
