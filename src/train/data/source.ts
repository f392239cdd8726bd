/** Step → tensors: what a training session pulls from, whether a data set or a file stands behind it. */
import type { HostTensor } from '../../core/types.ts';
import type { Dataset } from './dataset.ts';
import { Sampler, type SamplerOptions } from './sampler.ts';

export interface BatchSource {
  readonly name: string;
  /** Steps it can give: Infinity unless the data run out. */
  readonly steps: number;
  /** Steps until every sample was seen once. */
  readonly stepsPerEpoch: number;
  /** A function of the step alone; throws `data-exhausted` from step `steps` on. */
  batchAt(step: number): SourceBatch;
}

export interface SourceBatch {
  readonly epoch: number;
  readonly step: number;
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

/** Seeded shuffled epochs of a data set. */
export function epochsOf(dataset: Dataset, options: Omit<SamplerOptions, 'size'>): BatchSource {
  const sampler = new Sampler({ ...options, size: dataset.size });
  return {
    name: dataset.name,
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: sampler.stepsPerEpoch,
    batchAt(step) {
      const { epoch, indices } = sampler.batchAt(step);
      return { epoch, step, tensors: dataset.batch(indices) };
    },
  };
}
