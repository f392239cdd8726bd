/** Normalisations of each sample by itself: how the batch is cut changes nothing. */
import { shown } from '../core/options.ts';
import { elementCount, formatShape, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { ParameterInit } from '../graph/source.ts';
import { ones, zeros } from '../init/index.ts';
import { batchNormInference } from '../ops/batch-norm.ts';
import { mul, sub } from '../ops/elementwise.ts';
import { groupNorm as normalizeGroups, instanceNorm as normalizeInstances } from '../ops/group-norm.ts';
import { layerNorm as normalizeRows } from '../ops/norm.ts';
import { mean } from '../ops/reduce.ts';
import { trackStatistics } from '../ops/running-statistics.ts';
import { reshape } from '../ops/shape.ts';
import { refuse, requireShare } from './refuse.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface LayerNormOptions extends LayerOptions {
  /** The trailing axes that are normalised together; default the last one. */
  readonly normalizedShape?: number | readonly number[];
  /** default 1e-5 */
  readonly eps?: number;
  /** Scales and shifts every element by its own weight and bias; default true. */
  readonly elementwiseAffine?: boolean;
  /** With elementwiseAffine: false leaves the bias out; default true. */
  readonly bias?: boolean;
}

const layerNormOptions = { name: true, normalizedShape: true, eps: true, elementwiseAffine: true, bias: true } as const;

/** Layer normalisation of the last axes (PyTorch LayerNorm). weight and bias have the normalised axes' shape. */
export const layerNorm = (x: Tensor, options: LayerNormOptions = {}): Tensor =>
  scoped('layerNorm', x, options, layerNormOptions, () => {
    const { normalizedShape = x.shape.slice(-1), eps, elementwiseAffine = true, bias = true } = options;
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    if (shape.length === 0 || !sameShape(shape, x.shape.slice(-shape.length))) {
      refuse('layerNorm', x, `normalizedShape ${formatShape(shape)} is not that of the last axes`);
    }
    const weight = elementwiseAffine ? x.graph.parameter('weight', shape, ones) : undefined;
    const shift = elementwiseAffine && bias ? x.graph.parameter('bias', shape, zeros) : undefined;
    return normalizeRows(x, weight, shift, { eps, axes: shape.length });
  });

/** What normalisations of channels take. */
export interface ChannelNormOptions extends LayerOptions {
  /** default 1e-5 */
  readonly eps?: number;
  /** Scales and shifts every channel by its own weight and bias; default true, of instance normalisation false. */
  readonly affine?: boolean;
  /** First value of the weight; default ones. */
  readonly init?: ParameterInit;
}

const channelNormOptions = { name: true, eps: true, affine: true, init: true } as const;
/** Those of normalisations that keep running statistics. */
export const runningNormOptions = { ...channelNormOptions, momentum: true, trackRunningStats: true } as const;

/** weight and bias of every channel. */
export function channelAffine(x: Tensor, { init = ones }: ChannelNormOptions): readonly [weight: Tensor, bias: Tensor] {
  const shape = [x.shape[1]!];
  return [x.graph.parameter('weight', shape, init), x.graph.parameter('bias', shape, zeros)];
}

/** Running mean and variance of every channel, under PyTorch's names. */
export function runningStatistics(x: Tensor): { readonly mean: Tensor; readonly variance: Tensor } {
  const shape = [x.shape[1]!];
  return { mean: x.graph.buffer('running_mean', shape, zeros), variance: x.graph.buffer('running_var', shape, ones) };
}

/** Normalisation of [N, C, …] over `numGroups` groups of channels (PyTorch GroupNorm). weight and bias [C]. */
export const groupNorm = (x: Tensor, numGroups: number, options: ChannelNormOptions = {}): Tensor =>
  scoped('groupNorm', x, options, channelNormOptions, () => {
    const { eps, affine = true } = options;
    const channels = x.shape[1] ?? refuse('groupNorm', x, 'takes [N, C, …]');
    if (!Number.isInteger(numGroups) || numGroups < 1 || channels % numGroups !== 0) {
      refuse('groupNorm', x, `${channels} channels do not make ${shown(numGroups)} groups`);
    }
    const [weight, bias] = affine ? channelAffine(x, options) : [];
    return normalizeGroups(x, numGroups, weight, bias, { eps });
  });

export interface InstanceNormOptions extends ChannelNormOptions {
  /** Share of the new statistics in the running ones; default 0.1. */
  readonly momentum?: number;
  /** Keeps the statistics' means over the samples, and normalises by them in evaluation; default false, as PyTorch. */
  readonly trackRunningStats?: boolean;
}

const instanceNorm =
  (layer: string, axes: readonly string[]) =>
  (x: Tensor, options: InstanceNormOptions = {}): Tensor =>
    scoped(layer, x, options, runningNormOptions, () => {
      const { eps, momentum = 0.1, affine = false, trackRunningStats = false } = options;
      if (x.rank !== axes.length) refuse(layer, x, `takes [${axes.join(', ')}]`);
      requireShare(layer, x, 'momentum', momentum);
      const [weight, bias] = affine ? channelAffine(x, options) : [];
      const running = trackRunningStats ? runningStatistics(x) : undefined;
      if (running && x.graph.mode === 'evaluation') {
        return batchNormInference(x, running.mean, running.variance, weight, bias, { eps });
      }
      const count = elementCount(x.shape.slice(2));
      if (count === 1) refuse(layer, x, 'a channel of one value has no variance: normalising leaves zeros');
      if (running) trackStatistics(running, { ...meanStatistics(x), count }, momentum);
      return normalizeInstances(x, weight, bias, { eps });
    });

/** Mean and biased variance of every channel of every sample, averaged over the samples: [C]. */
function meanStatistics(x: Tensor): { readonly mean: Tensor; readonly variance: Tensor } {
  const [n, c] = x.shape as [number, number];
  const places = reshape(x, [n, c, elementCount(x.shape.slice(2))]);
  const deviation = sub(places, mean(places, { axes: 2, keepDims: true }));
  return {
    mean: mean(places, { axes: [0, 2] }),
    variance: mean(mul(deviation, deviation), { axes: [0, 2] }),
  };
}

/** Normalisation of every channel of every sample of [N, C, L] by itself (PyTorch InstanceNorm1d). */
export const instanceNorm1d = instanceNorm('instanceNorm1d', ['N', 'C', 'L']);
/** Normalisation of every channel of every sample of [N, C, H, W] by itself (PyTorch InstanceNorm2d). */
export const instanceNorm2d = instanceNorm('instanceNorm2d', ['N', 'C', 'H', 'W']);
/** Normalisation of every channel of every sample of [N, C, D, H, W] by itself (PyTorch InstanceNorm3d). */
export const instanceNorm3d = instanceNorm('instanceNorm3d', ['N', 'C', 'D', 'H', 'W']);
