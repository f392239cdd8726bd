/** Type rule, f64 arithmetic and samples that the batch normalisations share. */
import type { Shape, TensorType } from '../core/types.ts';
import { type RefTensor, require } from '../graph/op-record.ts';
import { channelLayout } from './norm-shapes.ts';
import { requireShape } from './type-rules.ts';

/** x [N, C, …] and tensors of one value a channel. */
export function requireImages(x: TensorType, eps: number, perChannel: Readonly<Record<string, TensorType>>): void {
  require(x.shape.length >= 2, `x must be [N, C, …] and so have two axes or more, got ${x.shape.length}`);
  require(eps >= 0, `eps must not be negative, got ${eps}`);
  for (const [name, type] of Object.entries(perChannel)) requireShape(name, type.shape, [x.shape[1]!]);
}

/** Calls `visit` with each element's place and channel. */
export function eachElement(x: Shape, visit: (at: number, channel: number) => void): void {
  const { n, channels, spatial } = channelLayout(x);
  for (let at = 0; at < n * channels * spatial; at++) visit(at, Math.floor(at / spatial) % channels);
}

/** (Σ f over each channel) / elements of a channel. */
export function channelMeans(x: RefTensor, f: (at: number, channel: number) => number): Float64Array {
  const { n, channels, spatial } = channelLayout(x.type.shape);
  const total = new Float64Array(channels);
  eachElement(x.type.shape, (at, c) => {
    total[c] = total[c]! + f(at, c);
  });
  return total.map((t) => t / (n * spatial));
}

/** Mean and biased variance of each channel. */
export function channelStatistics(x: RefTensor): { mean: Float64Array; variance: Float64Array } {
  const mean = channelMeans(x, (at) => x.data[at]!);
  return { mean, variance: channelMeans(x, (at, c) => (x.data[at]! - mean[c]!) ** 2) };
}

/** 1 / √(variance + eps) of each channel. */
export const rootsOf = (variance: Float64Array, eps: number): Float64Array =>
  variance.map((v) => 1 / Math.sqrt(v + eps));

/** y = (x − mean)·scale·gamma + beta. */
export function affine(x: RefTensor, scale: Float64Array, mean: Float64Array, gamma: RefTensor, beta: RefTensor) {
  const y = new Float64Array(x.data.length);
  eachElement(x.type.shape, (at, c) => {
    y[at] = (x.data[at]! - mean[c]!) * scale[c]! * gamma.data[c]! + beta.data[c]!;
  });
  return y;
}

/** Shapes that the samples of all batch normalisations go through. */
export const imageCases: readonly { name: string; shape: number[] }[] = [
  { name: 'images', shape: [3, 2, 2, 3] },
  { name: 'no spatial axes', shape: [5, 6] },
  { name: 'sequences', shape: [2, 3, 9] },
  { name: 'one sample', shape: [1, 4, 5] },
];

/** What samples draw weights and variances from. */
export const weightRange = { low: 0.5, high: 1.5 };
