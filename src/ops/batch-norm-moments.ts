import { elementCount, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { BadSample, Sample } from '../graph/op-record.ts';
import { accumulate } from './accumulate.ts';
import { requireMoments, splitMoments } from './batch-moments.ts';
import { type BatchNormAttrs, batchNormWeightGrad } from './batch-norm.ts';
import { affine, eachElement, imageCases, requireImages, rootsOf, weightRange } from './batch-norm-reference.ts';
import { add, div, mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { channelColumn, channelsOf } from './norm-shapes.ts';
import { broadcastTo, reshape, slice } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';

/**
 * Batch normalisation of a chunk by the statistics of the whole batch, which are complete only behind the last microbatch:
 *
 *     micro   x ─► channelMoments ─► accumulateMoments            the same statistics for all microbatches
 *     step                               └► moments [3, C]
 *     micro   x, gamma, beta, moments ─► batchNormWithMoments ─► y
 *
 * Every value of the batch is behind mean and variance, so the gradient by x needs Σ dy and Σ dy·h over the whole batch as
 * well: its rule accumulates them over the microbatches, and so waits for all of them once more on the way back.
 */

const secondOrder =
  'it reads sums over all microbatches, and with statistics of the whole batch (batchNorm exact) there are first derivatives only';

/** Moments of no particular x: counts of 6, means about 0, variances away from 0. */
const drawnMoments = (channels: number): number[] =>
  [6, 0, 1].flatMap((base) =>
    Array.from({ length: channels }, (_, c) => (base === 6 ? 6 : base + 0.25 * Math.sin(1 + 3 * c))),
  );

const bad = (message: string, ...shapes: number[][]): BadSample<BatchNormAttrs> => ({
  inputs: shapes.map((shape) => ({ dtype: 'f32', shape })),
  attrs: { eps: 1e-5 },
  message,
});

export const batchNormWithMomentsOp = defineOp<BatchNormAttrs>({
  name: 'batchNormWithMoments',
  doc: 'y = (x − mean)·gamma/√(variance + eps) + beta with mean and biased variance from moments [3, C] of the whole batch, of which x [N, C, …] is a microbatch; outputs y, mean, variance. Its gradient by x holds the way through the statistics, summed over the microbatches.',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'beta', 'moments']);
    const [x, gamma, beta, moments] = inputs as [TensorType, TensorType, TensorType, TensorType];
    requireImages(x, eps, { gamma, beta });
    requireMoments(moments, x.shape[1]!);
    return [x, gamma, gamma];
  },
  reference: ([x, gamma, beta, moments], { eps }) => {
    const { mean, variance } = splitMoments(moments!.data);
    return [affine(x!, rootsOf(variance, eps), mean, gamma!, beta!), mean, variance];
  },
  gradient: {
    kind: 'rule',
    // The moments get no cotangent. What they would hand on to x is complete only behind the last microbatch, and is in the
    // gradient by x here: in closed form, as in batchNorm's rule, with sums over all microbatches in place of the chunk's.
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [x, gamma, , moments] = inputs as [Tensor, Tensor, Tensor, Tensor];
      const [, mean, variance] = outputs as [Tensor, Tensor, Tensor];
      const [dy, dMean, dVariance] = grads;
      const sums = dy && [0, 1, 2].some(needs) ? batchNormWeightGrad(x, mean, variance, dy, attrs) : undefined;
      const parts: Tensor[] = [];
      if (needs(0)) {
        if (sums) {
          const [sumDyH, sumDy] = sums.map(overMicrobatches) as [Tensor, Tensor];
          parts.push(batchNormWithMomentsInputGrad(x, gamma, moments, dy!, sumDyH, sumDy, attrs));
        }
        // ∂mean/∂x = 1 / n; ∂variance/∂x = 2·(x − mean) / n, for the share of every microbatch's objective.
        const channels = channelsOf(x);
        const perValue = (d: Tensor): Tensor => div(overMicrobatches(d), countOf(moments));
        if (dMean) parts.push(reshape(broadcastTo(channelColumn(perValue(dMean)), channels.shape), x.shape));
        if (dVariance) {
          const deviation = sub(channels, channelColumn(mean));
          parts.push(reshape(mul(channelColumn(mul(perValue(dVariance), 2)), deviation), x.shape));
        }
      }
      return [
        parts.length ? parts.reduce((s, t) => add(s, t)) : undefined,
        sums && needs(1) ? sums[0] : undefined,
        sums && needs(2) ? sums[1] : undefined,
        undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: 4 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: imageCases.map(
    ({ name, shape }): Sample<BatchNormAttrs> => ({
      name,
      inputs: [
        { shape },
        { shape: [shape[1]!], ...weightRange },
        { shape: [shape[1]!] },
        { shape: [3, shape[1]!], values: drawnMoments(shape[1]!) },
      ],
      attrs: { eps: name === 'images' ? 0.1 : 1e-5 },
      // By x it is the whole batch's, which no sample of one chunk is: test/ops/batch-moments.test.ts has it.
      gradientOf: [1, 2],
      atol: 2e-6,
    }),
  ),
  badSamples: [
    bad('moments must be count, mean and variance of 3 channels, [3, 3], got [2, 3]', ...[[2, 3, 4], [3], [3], [2, 3]]),
    bad('gamma must have the shape [3], got [4]', [2, 3, 4], [4], [3], [3, 3]),
    bad('takes x, gamma, beta, moments: 4 inputs, got 3', [2, 3], [3], [3]),
  ],
});

/** The sum over microbatches, read by them again: a barrier. */
const overMicrobatches = (t: Tensor): Tensor => accumulate(t, t.graph.nextName('accumulate'));

/** Values a channel of the whole batch, [C]. */
const countOf = (moments: Tensor): Tensor => reshape(slice(moments, { 0: [0, 1] }), [moments.shape[1]!]);

export const batchNormWithMomentsInputGradOp = defineOp<BatchNormAttrs>({
  name: 'batchNormWithMomentsInputGrad',
  doc: 'dx = gamma·rstd·(dy − sumDy/n − h·sumDyH/n) with n, mean and variance from moments [3, C], rstd = 1/√(variance + eps), h = (x − mean)·rstd, and Σ dy·h, Σ dy [C] over the whole batch, of which x and dy are a microbatch.',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'moments', 'dy', 'sumDyH', 'sumDy']);
    const [x, gamma, moments, dy, sumDyH, sumDy] = inputs as [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
    ];
    requireImages(x, eps, { gamma, sumDyH, sumDy });
    requireMoments(moments, x.shape[1]!);
    requireShape('dy', dy.shape, x.shape);
    return [x];
  },
  reference: ([x, gamma, moments, dy, sumDyH, sumDy], { eps }) => {
    const { count, mean, variance } = splitMoments(moments!.data);
    const scale = rootsOf(variance, eps);
    const dx = new Float64Array(x!.data.length);
    eachElement(x!.type.shape, (at, c) => {
      const h = (x!.data[at]! - mean[c]!) * scale[c]!;
      const inner = dy!.data[at]! - (sumDy!.data[c]! + h * sumDyH!.data[c]!) / count[c]!;
      dx[at] = gamma!.data[c]! * scale[c]! * inner;
    });
    return [dx];
  },
  gradient: {
    kind: 'none',
    why: secondOrder,
    remedy: '--batchNorm micro',
  },
  cost: (inputs, outputs) => ({
    flops: 8 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: imageCases.map(({ name, shape }) => {
    const channel = [shape[1]!];
    return {
      name,
      inputs: [
        { shape },
        { shape: channel },
        { shape: [3, shape[1]!], values: drawnMoments(shape[1]!) },
        { shape },
        ...[{ shape: channel }, { shape: channel }],
      ],
      attrs: { eps: 1e-5 },
      atol: 2e-6,
    };
  }),
  badSamples: [
    bad('sumDy must have the shape [3], got [4]', [2, 3, 4], [3], [3, 3], [2, 3, 4], [3], [4]),
    bad('dy must have the shape [2, 3, 4], got [2, 3]', [2, 3, 4], [3], [3, 3], [2, 3], [3], [3]),
  ],
});

/** Gradient of `batchNormWithMoments` for x, from Σ dy·h and Σ dy of the whole batch. */
const batchNormWithMomentsInputGrad = (
  x: Tensor,
  gamma: Tensor,
  moments: Tensor,
  dy: Tensor,
  sumDyH: Tensor,
  sumDy: Tensor,
  attrs: BatchNormAttrs,
): Tensor => x.graph.add(batchNormWithMomentsInputGradOp, [x, gamma, moments, dy, sumDyH, sumDy], attrs)[0]!;
