import { UsageError } from '../core/errors.ts';
import type { PreparedExperiment } from '../train/experiment/prepare.ts';
import type { Feed } from './record.ts';

/** Full batches of an experiment's data, again and again: an epoch's smaller last one is another program's. */
export function feedOf({ source, tail, learningRate, momentum }: PreparedExperiment): Feed {
  if (!source) {
    throw new UsageError('profile-no-data', 'what is timed are real steps, and the experiment has no data', {
      remedy: '--data.kind digits',
    });
  }
  const full = Math.max(1, tail === undefined ? source.stepsPerEpoch : source.stepsPerEpoch - 1);
  const available = Math.min(full, source.steps);
  return {
    tensorsAt: (step) => source.batchAt(step % available).tensors,
    // A list of rates may end before: what a step takes does not depend on its rate.
    rateAt: () => learningRate(0),
    ...(momentum ? { momentumAt: () => momentum(0) } : {}),
  };
}
