/** Cases of both attention ops, and calls that they refuse. */
import { elementCount, type Shape, type TensorType } from '../core/types.ts';
import type { SampleInput } from '../graph/op-record.ts';
import type { AttentionMaskKind } from './attention-masks.ts';
import type { AttentionAttrs } from './attention-sizes.ts';
import type { DropoutAttrs } from './dropout.ts';

export const plain: AttentionAttrs = { causal: false, scale: 0.5, layout: 'NHTD' };

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
export const half: DropoutAttrs = { ratio: 0.5, stream: [0x2545f491, 0x4f6cdd1d], axis: 0 };

export const cases: readonly Case[] = [
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
export const drawn = ({ samples, masks = [] }: Case): SampleInput[] => [
  ...masks,
  ...(samples
    ? [
        { shape: [samples.length], dtype: 'i32' as const, values: samples },
        { shape: [4], dtype: 'i32' as const, values: [7, 0, 3, 0] },
      ]
    : []),
];

export const bad = (q: Shape, k: Shape, v: Shape, message: string, attrs: Partial<AttentionAttrs> = {}) => ({
  inputs: [q, k, v].map((shape): TensorType => ({ dtype: 'f32', shape })),
  attrs: { ...plain, ...attrs },
  message,
});

/** Of weights [6, 4, 5]. */
export const dropping = (message: string, draw: readonly Shape[], dropout = half) => {
  const { inputs, attrs } = bad([6, 4, 3], [6, 5, 3], [6, 5, 3], message, { dropout });
  return { inputs: [...inputs, ...draw.map((shape): TensorType => ({ dtype: 'i32', shape }))], attrs, message };
};

export const wholeMask: TensorType = { dtype: 'bool', shape: [4, 5] };

/** The same with masks. */
export const masking = (message: string, masks: readonly AttentionMaskKind[], ...given: readonly TensorType[]) => {
  const { inputs, attrs } = bad([6, 4, 3], [6, 5, 3], [6, 5, 3], message, { masks });
  return { inputs: [...inputs, ...given], attrs, message };
};
