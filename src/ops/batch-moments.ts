import { elementCount, formatShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { channelStatistics, imageCases, requireImages, weightRange } from './batch-norm-reference.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { requireFloats, requireShape } from './type-rules.ts';

/**
 * Moments: what is known of each channel of all values met so far, [3, C], its rows the number of values, their mean, and
 * their biased variance. Two of them merge into those of both (Chan, Golub, LeVeque: "Updating formulae and a pairwise
 * algorithm for computing sample variances", 1979), which is what makes statistics of the whole batch out of microbatches:
 *
 *     n = nₐ + n_b,  δ = mean_b − meanₐ
 *     mean = meanₐ + δ·n_b/n
 *     M2 = M2ₐ + M2_b + δ²·nₐ·n_b/n,  M2 = n·variance
 *
 * No squares of the values themselves are added, so that a mean far from 0 costs no digits. The variance is kept in place of
 * M2: of one chunk it is the bits that batchNorm has. The number of values is f32, exact up to 2²⁴ a channel.
 */
const rows = 3;

/** Offsets of the rows of moments, in values. */
export const momentRows = (channels: number) => ({ count: 0, mean: channels, variance: 2 * channels });

export function requireMoments(moments: TensorType, channels: number): void {
  require(moments.shape.length === 2 &&
    moments.shape[0] === rows &&
    moments.shape[1] ===
      channels, `moments must be count, mean and variance of ${channels} channels, [${rows}, ${channels}], got ${formatShape(moments.shape)}`);
}

/** The rows of moments. */
export function splitMoments(moments: Float64Array) {
  const channels = moments.length / rows;
  const row = (i: number): Float64Array => moments.slice(i * channels, (i + 1) * channels);
  return { count: row(0), mean: row(1), variance: row(2) };
}

/** Moments of `count` values a channel. */
const joined = (count: number, mean: Float64Array, variance: Float64Array): Float64Array =>
  Float64Array.of(...mean.map(() => count), ...mean, ...variance);

/** Types of moments of so many channels. */
const momentsType = (channels: number): TensorType => ({ dtype: 'f32', shape: [rows, channels] });

export const channelMomentsOp = defineOp({
  name: 'channelMoments',
  doc: 'Moments [3, C] of x [N, C, …]: how many values each channel has over the chunk, their mean and their biased variance, of two passes (PyTorch var_mean over all axes but 1, unbiased = false).',
  infer: (inputs) => {
    requireFloats(inputs, ['x']);
    const [x] = inputs as [TensorType];
    requireImages(x, 0, {});
    return [momentsType(x.shape[1]!)];
  },
  reference: ([x]) => {
    const { mean, variance } = channelStatistics(x!);
    return [joined(valuesPerChannel(x!.type), mean, variance)];
  },
  gradient: {
    kind: 'none',
    why: 'it measures a chunk for the statistics of the whole batch; how those depend on x is in the rule of batchNormWithMoments',
  },
  cost: (inputs, outputs) => ({ flops: 4 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: imageCases.map(({ name, shape }) => ({ name, inputs: [{ shape }], attrs: {} })),
  badSamples: [
    { inputs: [{ dtype: 'f32', shape: [3] }], attrs: {}, message: 'two axes or more' },
    { inputs: [{ dtype: 'i32', shape: [2, 3] }], attrs: {}, message: 'x must be f32, got i32' },
  ],
});

/** Values of each channel of x [N, C, …]. */
export const valuesPerChannel = ({ shape }: TensorType): number => elementCount(shape) / shape[1]!;

/** Moments [3, C] of a chunk. */
export const channelMoments = (x: Tensor, name?: string): Tensor => x.graph.add(channelMomentsOp, [x], {}, name)[0]!;

export type JoinMomentsAttrs = {
  /** Values a channel that mean and variance are of. */
  readonly count: number;
};

export const joinMomentsOp = defineOp<JoinMomentsAttrs>({
  name: 'joinMoments',
  doc: 'Moments [3, C] of `count` values a channel whose mean and biased variance [C] are known (outputs of batchNorm).',
  infer: (inputs, { count }) => {
    requireFloats(inputs, ['mean', 'variance']);
    const [mean, variance] = inputs as [TensorType, TensorType];
    require(mean.shape.length === 1, `mean must be [C], got ${formatShape(mean.shape)}`);
    requireShape('variance', variance.shape, mean.shape);
    require(Number.isInteger(count) && count >= 1, `count must be a positive integer, got ${count}`);
    return [momentsType(mean.shape[0]!)];
  },
  reference: ([mean, variance], { count }) => [joined(count, mean!.data, variance!.data)],
  gradient: { kind: 'none', why: 'running statistics are no part of the objective' },
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    { name: 'channels', inputs: [{ shape: [7] }, { shape: [7], ...weightRange }], attrs: { count: 12 } },
    { name: 'one channel', inputs: [{ shape: [1] }, { shape: [1], ...weightRange }], attrs: { count: 1 } },
  ],
  badSamples: (
    [
      ['variance must have the shape [3], got [2]', 4, [3], [2]],
      ['mean must be [C], got [2, 3]', 4, [2, 3], [2, 3]],
      ['count must be a positive integer, got 0.5', 0.5, [3], [3]],
    ] as const
  ).map(([message, count, ...shapes]) => ({
    inputs: shapes.map((shape) => ({ dtype: 'f32', shape })),
    attrs: { count },
    message,
  })),
});

/** Moments [3, C] of a chunk whose statistics are known. */
export const joinMoments = (mean: Tensor, variance: Tensor, count: number, name?: string): Tensor =>
  mean.graph.add(joinMomentsOp, [mean, variance], { count }, name)[0]!;

/** The way of a statistic of the whole batch from the microbatches into the step: one merge a microbatch, in their order. */
export const accumulateMomentsOp = defineOp<{ readonly total: string }>({
  name: 'accumulateMoments',
  doc: 'Moments [3, C] (count, mean, biased variance) of the microbatches so far, merged in their order by the pairwise formula of Chan, Golub, LeVeque 1979. The way from the microbatch region to the step region.',
  infer: (inputs) => {
    requireFloats(inputs, ['moments']);
    const [moments] = inputs as [TensorType];
    requireMoments(moments, moments.shape[1] ?? 1);
    return [moments];
  },
  reference: ([moments]) => [moments!.data.slice()],
  accumulates: {
    next: (previous, [moments]) => {
      const a = splitMoments(previous);
      const b = splitMoments(moments!.data);
      const all = a.count.map((n, c) => n + b.count[c]!);
      const delta = a.mean.map((m, c) => b.mean[c]! - m);
      return Float64Array.of(
        ...all,
        ...a.mean.map((m, c) => m + (delta[c]! * b.count[c]!) / all[c]!),
        ...a.variance.map((v, c) => {
          const between = (delta[c]! ** 2 * a.count[c]! * b.count[c]!) / all[c]!;
          return (v * a.count[c]! + b.variance[c]! * b.count[c]! + between) / all[c]!;
        }),
      );
    },
    associative: true,
  },
  gradient: {
    kind: 'none',
    why: 'it is the boundary of the microbatch region: how statistics of the whole batch depend on x is in the rule of batchNormWithMoments, for first derivatives only',
    remedy: '--batchNorm micro',
  },
  cost: (inputs, outputs) => ({
    flops: 4 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes([...inputs, ...outputs], outputs),
  }),
  samples: [
    { name: 'channels', inputs: [{ shape: [3, 7], ...weightRange }], attrs: { total: 'moments' } },
    { name: 'one channel', inputs: [{ shape: [3, 1], ...weightRange }], attrs: { total: 'moments' } },
  ],
  badSamples: [
    {
      inputs: [{ dtype: 'f32', shape: [2, 3] }],
      attrs: { total: 'moments' },
      message: 'moments must be count, mean and variance of 3 channels, [3, 3], got [2, 3]',
    },
  ],
});

/** Merges the moments of the microbatches into those of the whole batch, [3, C], a step value; `total` names them. */
export const accumulateMoments = (moments: Tensor, total: string, name?: string): Tensor =>
  moments.graph.add(accumulateMomentsOp, [moments], { total }, name)[0]!;

/** What running statistics follow: `unbiasedVariance` is variance·n / (n − 1), of one value 0. */
export type MomentStatistic = 'mean' | 'variance' | 'unbiasedVariance';

export type RunningMomentsAttrs = {
  /** Weight of the whole batch's statistic, PyTorch's convention. */
  readonly momentum: number;
  readonly statistic: MomentStatistic;
};

function statisticOf(moments: Float64Array, statistic: MomentStatistic): Float64Array {
  const { count, mean, variance } = splitMoments(moments);
  if (statistic === 'mean') return mean;
  return statistic === 'variance' ? variance : variance.map((v, c) => (v * count[c]!) / Math.max(1, count[c]! - 1));
}

export const runningMomentsOp = defineOp<RunningMomentsAttrs>({
  name: 'runningMoments',
  doc: 'y = (1 − momentum)·running + momentum·s, once a step, with s the mean, the biased or the unbiased variance (n − 1) of moments [3, C]; running, y [C] (running statistics of the whole batch: torch.nn.BatchNorm without microbatches, torchgpipe DeferredBatchNorm with them).',
  infer: (inputs, { momentum, statistic }) => {
    requireFloats(inputs, ['running', 'moments']);
    const [running, moments] = inputs as [TensorType, TensorType];
    require(running.shape.length === 1, `running must be [C], got ${formatShape(running.shape)}`);
    requireMoments(moments, running.shape[0]!);
    require(momentum >= 0 && momentum <= 1, `momentum must lie in [0, 1], got ${momentum}`);
    require(['mean', 'variance', 'unbiasedVariance'].includes(
      statistic,
    ), `statistic must be mean, variance or unbiasedVariance, got ${statistic}`);
    return [running];
  },
  reference: ([running, moments], { momentum, statistic }) => {
    const sample = statisticOf(moments!.data, statistic);
    return [running!.data.map((v, c) => (1 - momentum) * v + momentum * sample[c]!)];
  },
  gradient: { kind: 'none', why: 'running statistics are no part of the objective' },
  cost: (inputs, outputs) => ({
    flops: 6 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...(['mean', 'variance', 'unbiasedVariance'] as const).map((statistic) => ({
      name: statistic,
      inputs: [{ shape: [2] }, { shape: [3, 2], values: [4, 9, -0.5, 0.25, 0.75, 1.5] }],
      attrs: { momentum: 0.1, statistic },
    })),
    {
      name: 'one value a channel',
      inputs: [{ shape: [5] }, { shape: [3, 5], values: [1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0] }],
      attrs: { momentum: 1, statistic: 'unbiasedVariance' as const },
    },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2] },
        { dtype: 'f32', shape: [3, 3] },
      ],
      attrs: { momentum: 0.1, statistic: 'mean' },
      message: 'moments must be count, mean and variance of 2 channels, [3, 2], got [3, 3]',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2] },
        { dtype: 'f32', shape: [3, 2] },
      ],
      attrs: { momentum: -1, statistic: 'mean' },
      message: 'momentum must lie in [0, 1], got -1',
    },
  ],
});
