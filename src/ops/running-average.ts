import { elementCount, formatType, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

export type RunningAverageAttrs = {
  /** Weight of the new sample, PyTorch's convention (ONNX's momentum is 1 − this). */
  readonly momentum: number;
  /** Names the value for graphs of other chunk sizes. */
  readonly total: string;
};

const blend = (momentum: number, old: Float64Array, sample: Float64Array): Float64Array =>
  old.map((v, i) => (1 - momentum) * v + momentum * sample[i]!);

/**
 * The way of a statistic from the microbatches into the step. The first microbatch starts from the buffer, later ones
 * from what the one before left, in their order; the buffer itself changes only when the step assigns it.
 */
export const runningAverageOp = defineOp<RunningAverageAttrs>({
  name: 'runningAverage',
  doc: 'y = (1 − momentum)·running + momentum·sample, microbatch after microbatch in their order; running exists once a step, sample once a microbatch. f32 of one shape (running statistics of torch.nn.BatchNorm; ONNX BatchNormalization with momentum 1 − m).',
  infer: ([running, sample], { momentum }) => {
    require(running && sample, 'takes the running value and a sample');
    for (const t of [running, sample]) require(t.dtype === 'f32', `takes f32, got ${t.dtype}`);
    require(sameShape(
      running.shape,
      sample.shape,
    ), `needs equal shapes, got ${formatType(running)} and ${formatType(sample)}`);
    require(momentum >= 0 && momentum <= 1, `momentum must lie in [0, 1], got ${momentum}`);
    return [running];
  },
  reference: ([running, sample], { momentum }) => [blend(momentum, running!.data, sample!.data)],
  accumulates: { next: (previous, [, sample], { momentum }) => blend(momentum, previous, sample!.data) },
  gradient: { kind: 'none', why: 'running statistics are no part of the objective' },
  cost: (inputs, outputs) => ({
    flops: 3 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    { name: 'channels', inputs: [{ shape: [7] }, { shape: [7] }], attrs: { momentum: 0.1, total: 'mean' } },
    { name: 'keeps all', inputs: [{ shape: [3] }, { shape: [3] }], attrs: { momentum: 0, total: 'mean' } },
    { name: 'takes all', inputs: [{ shape: [5] }, { shape: [5] }], attrs: { momentum: 1, total: 'mean' } },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2] },
        { dtype: 'f32', shape: [3] },
      ],
      attrs: { momentum: 0.1, total: 'mean' },
      message: 'needs equal shapes, got f32[2] and f32[3]',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2] },
        { dtype: 'f32', shape: [2] },
      ],
      attrs: { momentum: 1.5, total: 'mean' },
      message: 'momentum must lie in [0, 1], got 1.5',
    },
  ],
});

/**
 * Lets a buffer of the graph follow a statistic of the microbatches: behind a training step it holds
 * (1 − momentum)·buffer + momentum·sample, once for each microbatch in their order. Returns the new value, a step value.
 */
export function trackAverage(buffer: Tensor, sample: Tensor, momentum: number): Tensor {
  const { graph } = buffer;
  const { name } = buffer.node.source!;
  const value = graph.add(runningAverageOp, [buffer, sample], { momentum, total: `running/${name}` })[0]!;
  graph.assign(buffer, value);
  return value;
}
