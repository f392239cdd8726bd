/** Which of the plans that were predicted to be fast are worth real steps. */
import type { EvaluatedCandidate } from './candidate.ts';

/** Predicted to take longer than the fastest by more than this share: that much no prediction errs. */
const WORTH_TRYING = 0.25;

/**
 * What to try of `fitting` (the fastest first), in order: the fastest, then the fastest of each other number of
 * microbatches and of each other schedule, since what predictions get wrong (caches, wakes, kernels' times at another size)
 * is nearly the same for plans that differ in neither; then the next by prediction.
 */
export function candidatesToTry(fitting: readonly EvaluatedCandidate[]): EvaluatedCandidate[] {
  const [best] = fitting;
  const near = fitting.filter((c) => c.stepSeconds <= (1 + WORTH_TRYING) * best!.stepSeconds);
  const firstOf = (key: (c: EvaluatedCandidate) => unknown) =>
    near.filter((c, i) => near.findIndex((other) => key(other) === key(c)) === i);
  const byMicrobatches = firstOf((c) => c.microbatches);
  const bySchedule = firstOf((c) => c.schedule);
  return [...new Set([...byMicrobatches, ...bySchedule, ...near])];
}
