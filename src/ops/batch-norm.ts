import { elementCount, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { BadSample, Sample } from '../graph/op-record.ts';
import {
  affine,
  imageCases as cases,
  channelMeans,
  channelStatistics,
  eachElement,
  requireImages,
  rootsOf,
  weightRange as weight,
} from './batch-norm-reference.ts';
import { add, mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { channelColumn, channelsOf, filled, type NormOptions } from './norm-shapes.ts';
import { mean as meanOf, sum } from './reduce.ts';
import { broadcastTo, reshape } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { neg, reciprocal, sqrt } from './unary.ts';

/**
 * Batch normalisation (Ioffe, Szegedy: "Batch Normalization", 2015) of x [N, C, …]: each channel by its mean and biased
 * variance over the chunk's samples and all places.
 *
 * Outputs are mean and variance rather than 1/√(variance + eps): running statistics are averages of the former, and a
 * channel's root costs nothing beside its elements. The gradient ops take them as independent inputs; how they depend on
 * x is in batchNorm's own rule. `batchNormInference` is the same map with statistics from outside, and gives the same
 * bits for the statistics that batchNorm has found.
 */
export type BatchNormAttrs = { readonly eps: number };

const elementsOf = (x: Tensor): number => elementCount(x.shape) / x.shape[1]!;

/** 1 / √(variance + eps) as a graph. */
const rootOf = (variance: Tensor, eps: number): Tensor => reciprocal(sqrt(add(variance, eps)));

/** (x − mean)·rstd as [N, C, spatial]. */
const normalized = (x: Tensor, mean: Tensor, rstd: Tensor): Tensor =>
  mul(sub(channelsOf(x), channelColumn(mean)), channelColumn(rstd));

const overChannels = { axes: [0, 2] };

const bad = (message: string, ...shapes: number[][]): BadSample<BatchNormAttrs> => ({
  inputs: shapes.map((shape) => ({ dtype: 'f32', shape })),
  attrs: { eps: 1e-5 },
  message,
});

export const batchNormOp = defineOp<BatchNormAttrs>({
  name: 'batchNorm',
  doc: 'y = (x − mean)·gamma/√(variance + eps) + beta with mean and biased variance of each channel over the chunk; outputs y, mean, variance (ONNX BatchNormalization with training_mode, PyTorch batch_norm with training). x [N, C, …], all others [C].',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'beta']);
    const [x, gamma, beta] = inputs as [TensorType, TensorType, TensorType];
    requireImages(x, eps, { gamma, beta });
    const channel: TensorType = { dtype: 'f32', shape: [x.shape[1]!] };
    return [x, channel, channel];
  },
  reference: ([x, gamma, beta], { eps }) => {
    const { mean, variance } = channelStatistics(x!);
    return [affine(x!, rootsOf(variance, eps), mean, gamma!, beta!), mean, variance];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [x, gamma] = inputs as [Tensor, Tensor];
      const [, mean, variance] = outputs as [Tensor, Tensor, Tensor];
      const [dy, dMean, dVariance] = grads;
      const parts: Tensor[] = [];
      if (needs(0)) {
        if (dy) parts.push(batchNormInputGrad(x, gamma, mean, variance, dy, attrs));
        // ∂mean/∂x = 1 / n; ∂variance/∂x = 2·(x − mean) / n.
        const n = elementsOf(x);
        const channels = channelsOf(x);
        if (dMean) parts.push(reshape(broadcastTo(channelColumn(mul(dMean, 1 / n)), channels.shape), x.shape));
        if (dVariance) {
          const deviation = sub(channels, channelColumn(mean));
          parts.push(reshape(mul(channelColumn(mul(dVariance, 2 / n)), deviation), x.shape));
        }
      }
      const [dGamma, dBeta] = dy && (needs(1) || needs(2)) ? batchNormWeightGrad(x, mean, variance, dy, attrs) : [];
      return [
        parts.length ? parts.reduce((s, t) => add(s, t)) : undefined,
        needs(1) ? dGamma : undefined,
        needs(2) ? dBeta : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: 8 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    ...cases.map(
      ({ name, shape }): Sample<BatchNormAttrs> => ({
        name,
        inputs: [{ shape }, { shape: [shape[1]!], ...weight }, { shape: [shape[1]!] }],
        attrs: { eps: name === 'sequences' ? 0.1 : 1e-5 },
        atol: 1e-5, // cancellation: a small difference of x and mean times a large rstd
      }),
    ),
    {
      name: 'one value a channel',
      inputs: [{ shape: [1, 3] }, { shape: [3], ...weight }, { shape: [3] }],
      attrs: { eps: 1e-5 },
      gradientOf: [1, 2], // y = beta: x has no gradient
    },
  ],
  badSamples: [
    bad('gamma must have the shape [3], got [4]', [2, 3, 4], [4], [3]),
    bad('two axes or more', [3], [3], [3]),
    bad('takes x, gamma, beta: 3 inputs, got 2', [2, 3], [3]),
  ],
});

export const batchNormInputGradOp = defineOp<BatchNormAttrs>({
  name: 'batchNormInputGrad',
  doc: 'dx = gamma·rstd·(dy − mean(dy) − h·mean(dy·h)) with rstd = 1/√(variance + eps), h = (x − mean)·rstd and means over the batch and all places of a channel.',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'mean', 'variance', 'dy']);
    const [x, gamma, mean, variance, dy] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    requireImages(x, eps, { gamma, mean, variance });
    requireShape('dy', dy.shape, x.shape);
    return [x];
  },
  reference: ([x, gamma, mean, variance, dy], { eps }) => {
    const scale = rootsOf(variance!.data, eps);
    const h = (at: number, c: number): number => (x!.data[at]! - mean!.data[c]!) * scale[c]!;
    const meanDy = channelMeans(dy!, (at) => dy!.data[at]!);
    const meanDyH = channelMeans(dy!, (at, c) => dy!.data[at]! * h(at, c));
    const dx = new Float64Array(x!.data.length);
    eachElement(x!.type.shape, (at, c) => {
      dx[at] = gamma!.data[c]! * scale[c]! * (dy!.data[at]! - meanDy[c]! - h(at, c) * meanDyH[c]!);
    });
    return [dx];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, gamma, mean, variance, dy], { eps }) => {
      const rstd = rootOf(variance!, eps);
      const h = normalized(x!, mean!, rstd);
      const g = channelsOf(dy!);
      const average = (t: Tensor): Tensor => channelColumn(meanOf(t, overChannels));
      const inner = sub(sub(g, average(g)), mul(h, average(mul(g, h))));
      return [reshape(mul(channelColumn(mul(gamma!, rstd)), inner), x!.shape)];
    },
  },
  cost: (inputs, outputs) => ({
    flops: 10 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, shape }) => ({
    name,
    inputs: [{ shape }, { shape: [shape[1]!] }, { shape: [shape[1]!] }, { shape: [shape[1]!], ...weight }, { shape }],
    attrs: { eps: 1e-5 },
    atol: 2e-6,
  })),
  badSamples: [
    bad('mean must have the shape [3], got [2]', [2, 3, 4], [3], [2], [3], [2, 3, 4]),
    bad('dy must have the shape [2, 3, 4], got [2, 3]', [2, 3, 4], [3], [3], [3], [2, 3]),
  ],
});

export const batchNormWeightGradOp = defineOp<BatchNormAttrs>({
  name: 'batchNormWeightGrad',
  doc: 'dgamma[c] = Σ dy·(x − mean)/√(variance + eps), dbeta[c] = Σ dy, over the batch and all places of channel c.',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'mean', 'variance', 'dy']);
    const [x, mean, variance, dy] = inputs as [TensorType, TensorType, TensorType, TensorType];
    requireImages(x, eps, { mean, variance });
    requireShape('dy', dy.shape, x.shape);
    return [mean, mean];
  },
  reference: ([x, mean, variance, dy], { eps }) => {
    const scale = rootsOf(variance!.data, eps);
    const dGamma = new Float64Array(scale.length);
    const dBeta = new Float64Array(scale.length);
    eachElement(x!.type.shape, (at, c) => {
      dGamma[c] = dGamma[c]! + dy!.data[at]! * (x!.data[at]! - mean!.data[c]!) * scale[c]!;
      dBeta[c] = dBeta[c]! + dy!.data[at]!;
    });
    return [dGamma, dBeta];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, mean, variance, dy], { eps }) => {
      const g = channelsOf(dy!);
      const h = normalized(x!, mean!, rootOf(variance!, eps));
      return [sum(mul(g, h), overChannels), sum(g, overChannels)];
    },
  },
  cost: (inputs, outputs) => ({ flops: 5 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: cases.map(({ name, shape }) => ({
    name,
    inputs: [{ shape }, { shape: [shape[1]!] }, { shape: [shape[1]!], ...weight }, { shape }],
    attrs: { eps: 1e-5 },
    atol: 2e-6,
  })),
  badSamples: [
    bad('variance must have the shape [3], got [4]', [2, 3, 4], [3], [4], [2, 3, 4]),
    bad('dy must have the shape [2, 3, 4], got [2, 4, 3]', [2, 3, 4], [3], [3], [2, 4, 3]),
  ],
});

export const batchNormInferenceOp = defineOp<BatchNormAttrs>({
  name: 'batchNormInference',
  doc: 'y = (x − mean)·gamma/√(variance + eps) + beta with given statistics (ONNX BatchNormalization, PyTorch batch_norm without training). x [N, C, …], all others [C].',
  infer: (inputs, { eps }) => {
    requireFloats(inputs, ['x', 'gamma', 'beta', 'mean', 'variance']);
    const [x, gamma, beta, mean, variance] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    requireImages(x, eps, { gamma, beta, mean, variance });
    return [x];
  },
  reference: ([x, gamma, beta, mean, variance], { eps }) => [
    affine(x!, rootsOf(variance!.data, eps), mean!.data, gamma!, beta!),
  ],
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads, needs }) => {
      const [x, gamma, , mean, variance] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
      const dy = grads[0]!;
      const rstd = rootOf(variance, attrs.eps);
      const slope = mul(gamma, rstd);
      const sums = [1, 2, 3, 4].some(needs) ? batchNormWeightGrad(x, mean, variance, dy, attrs) : undefined;
      return [
        needs(0) ? reshape(mul(channelsOf(dy), channelColumn(slope)), x.shape) : undefined,
        sums && needs(1) ? sums[0] : undefined,
        sums && needs(2) ? sums[1] : undefined,
        // ∂y/∂mean = −gamma·rstd; ∂y/∂variance = −½·h·gamma·rstd²
        sums && needs(3) ? neg(mul(sums[1], slope)) : undefined,
        sums && needs(4) ? mul(mul(sums[0], mul(slope, rstd)), -0.5) : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: 4 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: cases.map(({ name, shape }) => ({
    name,
    inputs: [{ shape }, ...[weight, {}, {}, weight].map((range) => ({ shape: [shape[1]!], ...range }))],
    attrs: { eps: name === 'images' ? 0.1 : 1e-5 },
    atol: 2e-6,
  })),
  badSamples: [
    bad('variance must have the shape [3], got [1]', [2, 3, 4], [3], [3], [3], [1]),
    bad('takes x, gamma, beta, mean, variance: 5 inputs, got 4', [2, 3], [3], [3], [3]),
  ],
});

export interface BatchNormResult {
  readonly y: Tensor;
  /** Of each channel of the chunk, [C]. */
  readonly mean: Tensor;
  /** Biased: divided by the number of values, N · spatial. Unbiased it is variance·n / (n − 1). */
  readonly variance: Tensor;
}

/**
 * Batch normalisation of [N, C, …] by the statistics of the chunk itself: PyTorch's `batch_norm` in training. gamma and
 * beta [C] are by default 1 and 0.
 */
export function batchNorm(x: Tensor, gamma?: Tensor, beta?: Tensor, options: NormOptions = {}): BatchNormResult {
  const channels = x.shape.slice(1, 2);
  const weights = [gamma ?? filled(x, channels, 1), beta ?? filled(x, channels, 0)];
  const [y, mean, variance] = x.graph.add(batchNormOp, [x, ...weights], { eps: options.eps ?? 1e-5 });
  return { y: y!, mean: mean!, variance: variance! };
}

/** Batch normalisation of [N, C, …] by given statistics [C]: PyTorch's `batch_norm` in evaluation. */
export function batchNormInference(
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  gamma?: Tensor,
  beta?: Tensor,
  options: NormOptions = {},
): Tensor {
  const channels = x.shape.slice(1, 2);
  const weights = [gamma ?? filled(x, channels, 1), beta ?? filled(x, channels, 0)];
  const inputs = [x, ...weights, mean, variance];
  // The node's name is that of the layer in training, so that a partition of the training graph knows it too.
  return x.graph.add(batchNormInferenceOp, inputs, { eps: options.eps ?? 1e-5 }, batchNormOp.name)[0]!;
}

/** Gradient of `batchNorm` for x, from its saved statistics. */
export const batchNormInputGrad = (
  x: Tensor,
  gamma: Tensor,
  mean: Tensor,
  variance: Tensor,
  dy: Tensor,
  attrs: BatchNormAttrs,
): Tensor => x.graph.add(batchNormInputGradOp, [x, gamma, mean, variance, dy], attrs)[0]!;

/** Gradients of `batchNorm` and `batchNormInference` for gamma and beta. */
export const batchNormWeightGrad = (
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  dy: Tensor,
  attrs: BatchNormAttrs,
): readonly [Tensor, Tensor] =>
  x.graph.add(batchNormWeightGradOp, [x, mean, variance, dy], attrs) as readonly [Tensor, Tensor];
