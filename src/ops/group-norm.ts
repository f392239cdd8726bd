import { elementCount, type Shape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type BadSample, require, type Sample } from '../graph/op-record.ts';
import { add, mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { channelColumn, channelLayout, channelsOf, filled, type NormOptions } from './norm-shapes.ts';
import { mean as meanOf, sum } from './reduce.ts';
import { broadcastTo, reshape } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';

/**
 * Group normalisation (Wu, He: "Group Normalization", 2018): x [N, C, …] seen as [N, groups, C / groups · spatial], each
 * row normalised by its own mean and biased variance, each channel scaled and shifted. With one channel a group it is
 * instance normalisation (Ulyanov, Vedaldi, Lempitsky 2016), with one group layer normalisation of all but the batch.
 *
 * As in layerNorm, mean and rstd of each row are outputs, and the gradient ops take them as independent inputs: the
 * dependence of mean and rstd on x is in groupNorm's own rule.
 */
export type GroupNormAttrs = { readonly groups: number; readonly eps: number };
type GroupAttrs = { readonly groups: number };

/** Sizes of x seen as [n, groups, channels a group, spatial]. */
export function groupLayout(x: Shape, groups: number): { n: number; groups: number; size: number; spatial: number } {
  const { n, channels, spatial } = channelLayout(x);
  return { n, groups, size: channels / groups, spatial };
}

function requireGroups(x: TensorType, groups: number): void {
  require(x.shape.length >= 2, `x must be [N, C, …] and so have two axes or more, got ${x.shape.length}`);
  require(Number.isInteger(groups) && groups >= 1, `groups must be a positive integer, got ${groups}`);
  require(x.shape[1]! % groups === 0, `${x.shape[1]} channels are not divisible by ${groups} groups`);
}

function requireStatistics(x: TensorType, groups: number, mean: TensorType, rstd: TensorType, dy: TensorType): void {
  requireGroups(x, groups);
  requireShape('mean', mean.shape, [x.shape[0]!, groups]);
  requireShape('rstd', rstd.shape, [x.shape[0]!, groups]);
  requireShape('dy', dy.shape, x.shape);
}

/** Calls `visit` for each row of x with its elements' range; `channel` gives the channel of an element of the whole. */
function eachRow(
  x: Shape,
  groups: number,
  visit: (row: number, from: number, to: number, channel: (at: number) => number) => void,
): void {
  const { n, size, spatial } = groupLayout(x, groups);
  const length = size * spatial;
  const channel = (at: number): number => Math.floor(at / spatial) % (groups * size);
  for (let row = 0; row < n * groups; row++) visit(row, row * length, (row + 1) * length, channel);
}

const cases: readonly { name: string; shape: number[]; groups: number }[] = [
  { name: 'two groups', shape: [2, 4, 3, 3], groups: 2 },
  { name: 'instance', shape: [2, 3, 5], groups: 3 },
  { name: 'one group, one sample', shape: [1, 3, 7], groups: 1 },
  { name: 'no spatial axes', shape: [3, 10], groups: 2 },
];

/** Σ over the batch and the places of each channel. */
const perChannel = (t: Tensor): Tensor => sum(t, { axes: [0, 2] });

/** x as rows [n, groups, length], statistics as [n, groups, 1]. */
function rowsOf(x: Tensor, groups: number): { rows: Tensor; column: (statistic: Tensor) => Tensor } {
  const { n, size, spatial } = groupLayout(x.shape, groups);
  return {
    rows: reshape(x, [n, groups, size * spatial]),
    column: (statistic) => reshape(statistic, [n, groups, 1]),
  };
}

/** (x − mean)·rstd as rows. */
function normalized(x: Tensor, mean: Tensor, rstd: Tensor, groups: number): Tensor {
  const { rows, column } = rowsOf(x, groups);
  return mul(sub(rows, column(mean)), column(rstd));
}

export const groupNormOp = defineOp<GroupNormAttrs>({
  name: 'groupNorm',
  doc: 'y = (x − mean)·rstd·gamma[c] + beta[c], mean and rstd = 1/√(biased variance + eps) over the channels of a group and all places; outputs y, mean, rstd (ONNX GroupNormalization and InstanceNormalization, PyTorch group_norm and instance_norm). x [N, C, …], gamma and beta [C], mean and rstd [N, groups].',
  infer: (inputs, { groups, eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'beta']);
    const [x, gamma, beta] = inputs as [TensorType, TensorType, TensorType];
    requireGroups(x, groups);
    require(eps >= 0, `eps must not be negative, got ${eps}`);
    requireShape('gamma', gamma.shape, [x.shape[1]!]);
    requireShape('beta', beta.shape, [x.shape[1]!]);
    const row: TensorType = { dtype: 'f32', shape: [x.shape[0]!, groups] };
    return [x, row, row];
  },
  reference: ([x, gamma, beta], { groups, eps }, [, row]) => {
    const y = new Float64Array(x!.data.length);
    const mean = new Float64Array(elementCount(row!.shape));
    const rstd = new Float64Array(mean.length);
    eachRow(x!.type.shape, groups, (r, from, to, channel) => {
      const values = x!.data.subarray(from, to);
      const mu = values.reduce((s, v) => s + v, 0) / values.length;
      const scale = 1 / Math.sqrt(values.reduce((s, v) => s + (v - mu) ** 2, 0) / values.length + eps);
      mean[r] = mu;
      rstd[r] = scale;
      for (let i = from; i < to; i++) {
        y[i] = (x!.data[i]! - mu) * scale * gamma!.data[channel(i)]! + beta!.data[channel(i)]!;
      }
    });
    return [y, mean, rstd];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs: { groups }, grads, needs }) => {
      const [x, gamma] = inputs as [Tensor, Tensor];
      const [, mean, rstd] = outputs as [Tensor, Tensor, Tensor];
      const [dy, dMean, dRstd] = grads;
      const parts: Tensor[] = [];
      if (needs(0)) {
        if (dy) parts.push(groupNormInputGrad(x, gamma, mean, rstd, dy, { groups }));
        // ∂mean/∂x = 1 / length; ∂rstd/∂x = −rstd³·(x − mean) / length. Only higher derivatives ask for these.
        const { rows, column } = rowsOf(x, groups);
        const length = rows.shape[2]!;
        if (dMean) parts.push(reshape(broadcastTo(column(mul(dMean, 1 / length)), rows.shape), x.shape));
        if (dRstd) {
          const factor = mul(mul(mul(mul(rstd, rstd), rstd), dRstd), -1 / length);
          parts.push(reshape(mul(column(factor), sub(rows, column(mean))), x.shape));
        }
      }
      const [dGamma, dBeta] = dy && (needs(1) || needs(2)) ? groupNormWeightGrad(x, mean, rstd, dy, { groups }) : [];
      return [
        parts.length ? parts.reduce((s, t) => add(s, t)) : undefined,
        needs(1) ? dGamma : undefined,
        needs(2) ? dBeta : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: 8 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: cases.map(
    ({ name, shape, groups }): Sample<GroupNormAttrs> => ({
      name,
      inputs: [{ shape }, { shape: [shape[1]!], low: 0.5, high: 1.5 }, { shape: [shape[1]!] }],
      attrs: { groups, eps: name === 'instance' ? 0.1 : 1e-5 },
      atol: 1e-5, // cancellation: a small difference of x and mean times a large rstd
    }),
  ),
  badSamples: [
    {
      inputs: [[2, 5, 3], [5], [5]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { groups: 2, eps: 1e-5 },
      message: '5 channels are not divisible by 2 groups',
    },
    {
      inputs: [[2, 4, 3], [2], [4]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { groups: 2, eps: 1e-5 },
      message: 'gamma must have the shape [4], got [2]',
    },
    {
      inputs: [[4], [4], [4]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { groups: 2, eps: 1e-5 },
      message: 'two axes or more',
    },
  ],
});

const badStatistics = (shapes: readonly number[][], message: string): BadSample<GroupAttrs> => ({
  inputs: shapes.map((shape) => ({ dtype: 'f32', shape })),
  attrs: { groups: 2 },
  message,
});

export const groupNormInputGradOp = defineOp<GroupAttrs>({
  name: 'groupNormInputGrad',
  doc: 'dx = rstd·(g − mean(g) − h·mean(g·h)) with h = (x − mean)·rstd, g = dy·gamma[c] and means over a group.',
  infer: (inputs, { groups }) => {
    requireFloats(inputs, ['x', 'gamma', 'mean', 'rstd', 'dy']);
    const [x, gamma, mean, rstd, dy] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    requireStatistics(x, groups, mean, rstd, dy);
    requireShape('gamma', gamma.shape, [x.shape[1]!]);
    return [x];
  },
  reference: ([x, gamma, mean, rstd, dy], { groups }) => {
    const dx = new Float64Array(x!.data.length);
    eachRow(x!.type.shape, groups, (r, from, to, channel) => {
      const h = (i: number): number => (x!.data[i]! - mean!.data[r]!) * rstd!.data[r]!;
      const g = (i: number): number => dy!.data[i]! * gamma!.data[channel(i)]!;
      let sumG = 0;
      let sumGH = 0;
      for (let i = from; i < to; i++) {
        sumG += g(i);
        sumGH += g(i) * h(i);
      }
      for (let i = from; i < to; i++) {
        dx[i] = rstd!.data[r]! * (g(i) - (sumG + h(i) * sumGH) / (to - from));
      }
    });
    return [dx];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, gamma, mean, rstd, dy], { groups }) => {
      const h = normalized(x!, mean!, rstd!, groups);
      const g = rowsOf(mul(channelsOf(dy!), channelColumn(gamma!)), groups).rows;
      const rowMean = (t: Tensor): Tensor => meanOf(t, { axes: [2], keepDims: true });
      const inner = sub(sub(g, rowMean(g)), mul(h, rowMean(mul(g, h))));
      return [reshape(mul(rowsOf(x!, groups).column(rstd!), inner), x!.shape)];
    },
  },
  cost: (inputs, outputs) => ({
    flops: 12 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, shape, groups }) => ({
    name,
    inputs: [
      { shape },
      { shape: [shape[1]!] },
      { shape: [shape[0]!, groups] },
      { shape: [shape[0]!, groups], low: 0.5, high: 1.5 },
      { shape },
    ],
    attrs: { groups },
    atol: 2e-6,
  })),
  badSamples: [
    badStatistics([[2, 4, 3], [4], [2, 4], [2, 2], [2, 4, 3]], 'mean must have the shape [2, 2], got [2, 4]'),
    badStatistics([[2, 4, 3], [3], [2, 2], [2, 2], [2, 4, 3]], 'gamma must have the shape [4], got [3]'),
  ],
});

export const groupNormWeightGradOp = defineOp<GroupAttrs>({
  name: 'groupNormWeightGrad',
  doc: 'dgamma[c] = Σ dy·(x − mean)·rstd, dbeta[c] = Σ dy, over the batch and all places of channel c.',
  infer: (inputs, { groups }) => {
    requireFloats(inputs, ['x', 'mean', 'rstd', 'dy']);
    const [x, mean, rstd, dy] = inputs as [TensorType, TensorType, TensorType, TensorType];
    requireStatistics(x, groups, mean, rstd, dy);
    const weight: TensorType = { dtype: 'f32', shape: [x.shape[1]!] };
    return [weight, weight];
  },
  reference: ([x, mean, rstd, dy], { groups }, [weight]) => {
    const dGamma = new Float64Array(weight!.shape[0]!);
    const dBeta = new Float64Array(dGamma.length);
    eachRow(x!.type.shape, groups, (r, from, to, channel) => {
      for (let i = from; i < to; i++) {
        const c = channel(i);
        dGamma[c] = dGamma[c]! + dy!.data[i]! * (x!.data[i]! - mean!.data[r]!) * rstd!.data[r]!;
        dBeta[c] = dBeta[c]! + dy!.data[i]!;
      }
    });
    return [dGamma, dBeta];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, mean, rstd, dy], { groups }) => {
      const channels = channelsOf(dy!);
      const h = reshape(normalized(x!, mean!, rstd!, groups), channels.shape);
      return [perChannel(mul(channels, h)), perChannel(channels)];
    },
  },
  cost: (inputs, outputs) => ({ flops: 5 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: cases.map(({ name, shape, groups }) => ({
    name,
    inputs: [{ shape }, { shape: [shape[0]!, groups] }, { shape: [shape[0]!, groups], low: 0.5, high: 1.5 }, { shape }],
    attrs: { groups },
    atol: 2e-6,
  })),
  badSamples: [
    badStatistics(
      [
        [2, 4, 3],
        [2, 2],
        [2, 2],
        [2, 4, 4],
      ],
      'dy must have the shape [2, 4, 3], got [2, 4, 4]',
    ),
    badStatistics([[2, 4, 3], [2, 2], [2], [2, 4, 3]], 'rstd must have the shape [2, 2], got [2]'),
  ],
});

/**
 * Group normalisation of [N, C, …], as PyTorch's `group_norm`: gamma and beta [C] by default 1 and 0. Statistics are of
 * each sample alone, so that microbatches change nothing.
 */
export function groupNorm(x: Tensor, groups: number, gamma?: Tensor, beta?: Tensor, options: NormOptions = {}): Tensor {
  return groupNormWithStatistics(x, groups, gamma, beta, options).y;
}

/** `groupNorm` with the mean and 1/√(variance + eps) of each group, [N, groups]. */
export function groupNormWithStatistics(
  x: Tensor,
  groups: number,
  gamma?: Tensor,
  beta?: Tensor,
  options: NormOptions = {},
): { readonly y: Tensor; readonly mean: Tensor; readonly rstd: Tensor } {
  const channels = x.shape.slice(1, 2);
  const weights = [gamma ?? filled(x, channels, 1), beta ?? filled(x, channels, 0)];
  const [y, mean, rstd] = x.graph.add(groupNormOp, [x, ...weights], { groups, eps: options.eps ?? 1e-5 });
  return { y: y!, mean: mean!, rstd: rstd! };
}

/** Instance normalisation of [N, C, …]: every channel of every sample by itself, as PyTorch's `instance_norm`. */
export const instanceNorm = (x: Tensor, gamma?: Tensor, beta?: Tensor, options: NormOptions = {}): Tensor =>
  groupNorm(x, x.shape[1] ?? 1, gamma, beta, options);

/** Gradient of `groupNorm` for x, from its saved statistics. */
export const groupNormInputGrad = (
  x: Tensor,
  gamma: Tensor,
  mean: Tensor,
  rstd: Tensor,
  dy: Tensor,
  attrs: GroupAttrs,
): Tensor => x.graph.add(groupNormInputGradOp, [x, gamma, mean, rstd, dy], attrs)[0]!;

/** Gradients of `groupNorm` for gamma and beta, from its saved statistics. */
export const groupNormWeightGrad = (
  x: Tensor,
  mean: Tensor,
  rstd: Tensor,
  dy: Tensor,
  attrs: GroupAttrs,
): readonly [Tensor, Tensor] =>
  x.graph.add(groupNormWeightGradOp, [x, mean, rstd, dy], attrs) as readonly [Tensor, Tensor];
