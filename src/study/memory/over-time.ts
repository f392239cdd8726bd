/** A device's memory over a step, as few samples as a picture needs. */

import { memoryCategories } from '../../program/instruction.ts';
import type { MemoryOverTime, MemorySample } from '../../simulate/index.ts';

export interface TimedSample extends MemorySample {
  readonly instruction: number;
  readonly liveBytes: number;
}

/** All samples where there are at most `most`; else `highestOf` them. */
export function samplesOf({ samples }: MemoryOverTime, most: number): TimedSample[] {
  const all = samples.map((sample, instruction): TimedSample => {
    const liveBytes = memoryCategories.reduce((sum, c) => sum + sample.live[c], 0);
    return { ...sample, instruction, liveBytes };
  });
  return highestOf(all, most);
}

/**
 * At most `most` samples, in order: the step is cut into so many equal times, and of each the sample with the most live bytes
 * stands for it: the peak stays, and so does its moment.
 */
export function highestOf<S extends { readonly seconds: number; readonly liveBytes: number }>(
  all: readonly S[],
  most: number,
): S[] {
  if (all.length <= most) return [...all];
  const end = all.at(-1)!.seconds;
  const kept = new Map<number, S>();
  for (const sample of all) {
    const part = end > 0 ? Math.min(most - 1, Math.floor((most * sample.seconds) / end)) : 0;
    const before = kept.get(part);
    if (!before || sample.liveBytes > before.liveBytes) kept.set(part, sample);
  }
  return [...kept.values()];
}
