import { UsageError } from '../core/errors.ts';

/** A list of them stands in every plan. */
const MOST_MICROBATCHES = 2 ** 20;

/** Sizes of M microbatches of a batch, in order: as even as possible, larger ones first. */
export function chunkSizes(batch: number, microbatches: number): number[] {
  if (!Number.isInteger(microbatches) || microbatches < 1) {
    throw new UsageError(
      'microbatches-range',
      `microbatches must be a whole number of at least 1, not ${microbatches}`,
      {
        fields: { microbatches },
        remedy: '--microbatches 1',
      },
    );
  }
  if (microbatches > batch) {
    throw new UsageError('microbatches-range', `a batch of ${batch} cannot be cut into ${microbatches} microbatches`, {
      fields: { microbatches, batch },
      remedy: `--microbatches ${batch}`,
    });
  }
  if (microbatches > MOST_MICROBATCHES) {
    throw new UsageError(
      'microbatches-range',
      `${microbatches} microbatches: a step has at most ${MOST_MICROBATCHES}`,
      {
        fields: { microbatches, most: MOST_MICROBATCHES },
        remedy: 'fewer, larger microbatches, in several steps',
      },
    );
  }
  const small = Math.floor(batch / microbatches);
  const larger = batch % microbatches;
  return Array.from({ length: microbatches }, (_, m) => small + (m < larger ? 1 : 0));
}
