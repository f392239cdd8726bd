/** Which samples a step takes: shuffled epochs, a function of (seed, step) alone, so training resumes at any step. */

import { UsageError } from '../../core/errors.ts';
import { shown } from '../../core/options.ts';
import { permutation } from '../../core/random.ts';

export interface SampledBatch {
  readonly epoch: number;
  /** Counted from 0 over all epochs. */
  readonly step: number;
  readonly indices: Int32Array;
}

export interface SamplerOptions {
  /** Number of samples. */
  readonly size: number;
  readonly batchSize: number;
  readonly seed: number;
  /** `seeded` (default): a new order every epoch; `none`: the data's own order. */
  readonly shuffle?: 'seeded' | 'none';
}

export class Sampler {
  readonly batchSize: number;
  /** The last batch of an epoch holds what remains: smaller, never dropped. */
  readonly stepsPerEpoch: number;
  readonly #orderOf: (epoch: number) => Int32Array;
  #epoch = -1;
  #order: Int32Array = new Int32Array(0);

  constructor({ size, batchSize, seed, shuffle = 'seeded' }: SamplerOptions) {
    for (const [key, value] of Object.entries({ size, batchSize })) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new UsageError('sampler-option', `${key} must be an integer ≥ 1, not ${shown(value)}`, {
          fields: { key, value },
          remedy: `${key}: 32`,
        });
      }
    }
    this.batchSize = batchSize;
    this.stepsPerEpoch = Math.ceil(size / batchSize);
    this.#orderOf = (epoch) =>
      shuffle === 'none' ? Int32Array.from({ length: size }, (_, i) => i) : permutation(seed, `epoch/${epoch}`, size);
  }

  batchAt(step: number): SampledBatch {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    if (epoch !== this.#epoch) {
      this.#order = this.#orderOf(epoch);
      this.#epoch = epoch;
    }
    const start = (step - epoch * this.stepsPerEpoch) * this.batchSize;
    return { epoch, step, indices: this.#order.slice(start, start + this.batchSize) };
  }

  /** Batches from `fromStep` on, to the end of epoch `epochs` (counted from the beginning of training; default: no end). */
  *batches(options: { fromStep?: number; epochs?: number } = {}): Generator<SampledBatch> {
    const end = (options.epochs ?? Number.POSITIVE_INFINITY) * this.stepsPerEpoch;
    for (let step = options.fromStep ?? 0; step < end; step++) yield this.batchAt(step);
  }
}
