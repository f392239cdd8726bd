/** Step → tensors: what a training session pulls from, whether a data set or a file stands behind it. */
import { checkOptions, requireArgument } from '../../core/options.ts';
import type { HostTensor } from '../../core/types.ts';
import type { ContentVisitor, Dataset } from './dataset.ts';
import { Sampler, type SamplerOptions } from './sampler.ts';

export interface BatchSource {
  readonly name: string;
  /** Steps it can give: Infinity unless the data run out. */
  readonly steps: number;
  /** Steps until every sample was seen once. */
  readonly stepsPerEpoch: number;
  /** A function of the step alone; throws `data-exhausted` from step `steps` on. */
  batchAt(step: number): SourceBatch;
  /** In words, which samples a step takes. A checkpoint is resumed with the same order only. */
  readonly order?: string;
  /** The samples it takes from (see `Dataset`). */
  readonly contents?: (visit: ContentVisitor) => void;
}

export interface SourceBatch {
  readonly epoch: number;
  readonly step: number;
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

/** Seeded shuffled epochs of a data set. */
export function epochsOf(dataset: Dataset, options: Omit<SamplerOptions, 'size'>): BatchSource {
  const isSet = typeof dataset?.batch === 'function';
  requireArgument(
    'epochsOf',
    isSet,
    'a data set',
    dataset,
    "epochsOf(openDataset({ kind: 'digits' }), { batchSize: 32, seed: 0 })",
  );
  checkOptions('epochsOf', options as Partial<typeof options>, { batchSize: true, seed: 'index', shuffle: true });
  const { shuffle = 'seeded' } = options;
  const isOrder = shuffle === 'seeded' || shuffle === 'none';
  requireArgument('epochsOf', isOrder, "shuffle 'seeded' or 'none'", shuffle, "shuffle: 'none'");
  const sampler = new Sampler({ ...options, size: dataset.size });
  return {
    name: dataset.name,
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: sampler.stepsPerEpoch,
    order: orderOf(options),
    contents: dataset.contents,
    batchAt(step) {
      const { epoch, indices } = sampler.batchAt(step);
      return { epoch, step, tensors: dataset.batch(indices) };
    },
  };
}

/** The order of shuffled epochs, in words. */
export const orderOf = ({ batchSize, seed, shuffle = 'seeded' }: Omit<SamplerOptions, 'size'>): string =>
  `epochs of batches of ${batchSize}, ${shuffle === 'none' ? "in the data's order" : `shuffled by seed ${seed}`}`;
