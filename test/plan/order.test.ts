import { describe, expect, it } from 'vitest';
import type { EvaluatedCandidate } from '../../src/plan/search/candidate.ts';
import { inOrderOfPromise, paretoFront } from '../../src/plan/search/order.ts';
import type { Weighed } from '../../src/plan/search/weigh.ts';

/** By seconds and bytes a device. */
const weighed = (list: readonly (readonly [seconds: number, bytes: readonly number[]])[]) =>
  list.map(([estimatedSeconds, estimatedBytes]) => ({ estimatedSeconds, estimatedBytes }) as Weighed);
const orderOf = (list: readonly Weighed[]) => [...inOrderOfPromise(list)].map((c) => list.indexOf(c));

describe('combinations come in the order of their promise', () => {
  it('the fastest first, every fourth the leanest of those that are not beaten, each once', () => {
    // Not beaten: 0, 1, 3, 4, 6 and 7.
    const list = weighed([80, 70, 90, 60, 50, 95, 40, 30].map((bytes, i) => [1 + i, [10, bytes]]));
    expect(orderOf(list)).toEqual([0, 1, 2, 7, 3, 4, 5, 6]);
    expect(orderOf([...list].reverse())).toEqual([7, 6, 5, 0, 4, 3, 2, 1]);
    expect(orderOf([])).toEqual([]);
  });

  it('all by their seconds where the fastest is the leanest, on its fullest device', () => {
    const list = weighed([5, 2, 4, 1, 3, 6].map((seconds) => [seconds, [100 - seconds, 100 + seconds]]));
    expect(orderOf(list)).toEqual([3, 1, 4, 2, 0, 5]);
  });
});

it('those are told that no faster one beats in its largest peak', () => {
  const candidates = [
    [8, 9],
    [9, 1],
    [7, 7],
    [7, 2],
    [1, 6],
  ].map((peakBytes) => ({ peakBytes }) as unknown as EvaluatedCandidate);
  expect(paretoFront(candidates).map((c) => candidates.indexOf(c))).toEqual([0, 2, 4]);
});
