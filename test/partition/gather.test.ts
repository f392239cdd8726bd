import { describe, expect, it } from 'vitest';
import { gatherHanging } from '../../src/partition/gather.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';

/** a → b → c; d hangs on b, and e on d. */
const problem: PlacementProblem = {
  parts: [
    { name: 'a', work: 500, bytes: 1000, heldBytes: 1 },
    { name: 'b', work: 500, bytes: 1000, heldBytes: 2 },
    { name: 'c', work: 500, bytes: 1000, heldBytes: 4 },
    { name: 'd', work: 1, bytes: 2, heldBytes: 8 },
    { name: 'e', work: 1, bytes: 2, heldBytes: 16 },
  ],
  edges: [
    [0, 1],
    [1, 2],
    [1, 3],
    [3, 4],
  ],
  values: [
    { producer: 0, consumers: [1, 4], cost: 3 },
    { producer: 1, consumers: [2, 3], cost: 5 },
    { producer: 3, consumers: [2], cost: 7 },
    { producer: 3, consumers: [4], cost: 9 },
  ],
  devices: [],
  load: 'sum',
  unit: '',
};

describe('light parts that hang on one neighbour', () => {
  it('are part of it, with all they cost, however long the chain; values that then move together are one', () => {
    const { problem: smaller, into } = gatherHanging(problem);
    expect(into).toEqual([0, 1, 2, 1, 1]);
    expect(smaller.parts).toEqual([
      problem.parts[0],
      { name: 'b', work: 502, bytes: 1004, heldBytes: 26 },
      problem.parts[2],
    ]);
    expect(smaller.edges).toEqual([
      [0, 1],
      [1, 2],
    ]);
    expect(smaller.values).toEqual([
      { producer: 0, consumers: [1], cost: 3 },
      { producer: 1, consumers: [2], cost: 12 },
    ]);
  });

  it('are nobody where all hang but none is light', () => {
    const heavy = { ...problem, parts: problem.parts.map((p) => ({ ...p, work: 500, bytes: 1000 })) };
    expect(gatherHanging(heavy).problem).toBe(heavy);
  });
});
