/**
 * Masks of attention: which keys a query does not see, and what is added to the others' scores. Several hold at once.
 *
 *     score = scale·q·k + Σ added masks, hidden where any mask hides it
 *
 * A hidden key has the weight 0, and takes and gives nothing. A query whose keys are all hidden has only such weights: its
 * result is 0, as PyTorch's from 2.5 on, and not NaN.
 */
import { broadcastShapes, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type RefTensor, require } from '../graph/op-record.ts';
import { add } from './binary.ts';
import { broadcastMap, broadcastStrides } from './broadcast.ts';
import { equal, not, or, where } from './compare.ts';
import { broadcastTo } from './shape.ts';

/**
 * `hidden`: bool, true where a key is not seen (masks of PyTorch's MultiheadAttention). `seen`: bool, true where it is
 * (attn_mask of scaled_dot_product_attention). `added`: f32, added to the scores; −∞ hides.
 */
export const attentionMaskKinds = ['hidden', 'seen', 'added'] as const;
export type AttentionMaskKind = (typeof attentionMaskKinds)[number];

export interface AttentionMask {
  readonly kind: AttentionMaskKind;
  readonly mask: Tensor;
}

/** No more of them at once: those of a layer, of pairs and of padding. */
export const mostMasks = 2;

/**
 * The score of a hidden key, the least f32: softmax makes an exact 0 of it beside any score, and no NaN where a row has
 * nothing else.
 */
export const leastScore = -3.4028234663852886e38;

/**
 * Where a mask's rows for each matrix of the weights […, T, S] lie, in elements: matrix m has its first row at
 * ⌊m / inner⌋·outerStep + (m mod inner)·innerStep, its next rows `rowStep` behind each other. Undefined where no such numbers
 * exist: two axes that are repeated with one between them that is not, or rows that are not S long.
 */
export function maskLayout(mask: Shape, weights: Shape) {
  const fits = broadcastShapes(mask, weights);
  if (!fits || !sameShape(fits, weights) || mask.at(-1) !== weights.at(-1)) return undefined;
  const strides = broadcastStrides(mask, weights);
  const rowStep = strides.at(-2)!;
  let [inner, innerStep, outer, outerStep] = [1, 0, 1, 0];
  for (let axis = weights.length - 3; axis >= 0; axis--) {
    const [size, step] = [weights[axis]!, strides[axis]!];
    if (size === 1) continue;
    // An axis continues those behind it where it is one step more of the same walk.
    if (outer === 1 && (inner === 1 || step === innerStep * inner)) {
      if (inner === 1) innerStep = step;
      inner *= size;
    } else if (outer === 1 || step === outerStep * outer) {
      if (outer === 1) outerStep = step;
      outer *= size;
    } else {
      return undefined;
    }
  }
  return { inner, innerStep, outerStep, rowStep };
}

export function requireMasks(masks: readonly TensorType[], kinds: readonly AttentionMaskKind[], weights: Shape): void {
  const refuse = (kind: AttentionMaskKind): boolean => !attentionMaskKinds.includes(kind);
  require(kinds.length > 0 &&
    kinds.length <= mostMasks, `takes one or two masks where it has any, got ${kinds.length}`);
  require(!kinds.some(refuse), `masks must be of ${attentionMaskKinds.join(', ')}, got ${kinds.join(', ')}`);
  masks.forEach(({ dtype, shape }, i) => {
    const kind = kinds[i]!;
    const wanted = kind === 'added' ? 'f32' : 'bool';
    require(dtype === wanted, `a mask of what is ${kind} must be ${wanted}, got ${dtype}`);
    require(maskLayout(shape, weights) !==
      undefined, `a mask must be ${formatShape(weights)} or 1 where it repeats but for the last axis, got ${formatShape(shape)}`);
  });
}

/** What the masks say of each weight in order: whether it is hidden, and what is added. */
export function maskReference(masks: readonly RefTensor[], kinds: readonly AttentionMaskKind[], weights: Shape) {
  const maps = masks.map(({ type }) => broadcastMap(type.shape, weights));
  const value = (i: number, at: number): number => masks[i]!.data[maps[i]![at]!]!;
  return {
    hides: (at: number): boolean =>
      kinds.some((kind, i) => {
        const v = value(i, at);
        return kind === 'added' ? v === -Infinity : (v !== 0) === (kind === 'hidden');
      }),
    adds: (at: number): number => kinds.reduce((sum, kind, i) => (kind === 'added' ? sum + value(i, at) : sum), 0),
  };
}

/** Scores with what is added, `leastScore` where they are hidden, and where that is: nowhere without masks. */
export function maskedScores(
  scores: Tensor,
  masks: readonly AttentionMask[],
): { readonly scores: Tensor; readonly hidden: Tensor | undefined } {
  if (masks.length === 0) return { scores, hidden: undefined };
  const added = masks.filter(({ kind }) => kind === 'added').reduce((sum, { mask }) => add(sum, mask), scores);
  const hidden = masks
    .map(({ kind, mask }) => (kind === 'added' ? equal(mask, -Infinity) : kind === 'seen' ? not(mask) : mask))
    .reduce((a, b) => or(a, b));
  return { scores: where(hidden, leastScore, added), hidden };
}

/** The mask, repeated along those axes where the kernels cannot do so; as it is where it does not fit at all. */
export function kernelMask(mask: Tensor, weights: Shape): Tensor {
  const whole = broadcastShapes(mask.shape, weights);
  if (!whole || !sameShape(whole, weights) || maskLayout(mask.shape, weights)) return mask;
  const rows = [...weights.slice(0, -2), mask.shape.at(-2) ?? 1, weights.at(-1)!];
  const lead = mask.shape.slice(0, -2);
  const own = [...lead, mask.shape.at(-2) ?? 1, weights.at(-1)!];
  return broadcastTo(mask, maskLayout(own, weights) ? own : rows);
}
