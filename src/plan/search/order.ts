/** Which combinations come first, and which are worth telling. */
import type { EvaluatedCandidate } from './candidate.ts';
import type { Weighed } from './weigh.ts';

export const largest = ({ peakBytes }: EvaluatedCandidate): number => Math.max(...peakBytes);

/** The fastest on paper first, but every fourth is the next of those that nothing else on paper beats in time and memory. */
export function* inOrderOfPromise(weighed: readonly Weighed[]): Generator<Weighed, undefined> {
  const fast = [...weighed].sort((a, b) => a.estimatedSeconds - b.estimatedSeconds);
  const front = new Set<Weighed>();
  let least = Number.POSITIVE_INFINITY;
  for (const c of fast) {
    const bytes = Math.max(...c.estimatedBytes);
    if (bytes < least) front.add(c);
    least = Math.min(least, bytes);
  }
  const lean = [...front].reverse();
  const done = new Set<Weighed>();
  for (let n = 0; done.size < weighed.length; n++) {
    const list = n % 4 === 3 && lean.some((c) => !done.has(c)) ? lean : fast;
    const next = list.find((c) => !done.has(c))!;
    done.add(next);
    yield next;
  }
}

/** Of candidates in ascending order of time. */
export function paretoFront(candidates: readonly EvaluatedCandidate[]): EvaluatedCandidate[] {
  let least = Number.POSITIVE_INFINITY;
  return candidates.filter((c) => {
    const better = largest(c) < least;
    least = Math.min(least, largest(c));
    return better;
  });
}
