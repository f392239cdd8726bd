import { describe, expect, it } from 'vitest';
import { gatherHanging, together } from '../../src/partition/gather.ts';
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

  it('are light in work and in bytes, beside what is finite, and have one neighbour', () => {
    const into = (change: (parts: { work: number; bytes: number }[]) => unknown, edges = problem.edges) => {
      const parts = problem.parts.map((p) => ({ ...p }));
      change(parts);
      return gatherHanging({ ...problem, parts, edges }).into;
    };
    expect(into(() => {})).toEqual([0, 1, 2, 1, 1]);
    // e is too long, or too large: it stays, and d between it and b as well.
    expect(into((parts) => Object.assign(parts[4]!, { work: 9 }))).toEqual([0, 1, 2, 3, 4]);
    expect(into((parts) => Object.assign(parts[4]!, { bytes: 9 }))).toEqual([0, 1, 2, 3, 4]);
    // What can run nowhere here does not make all others light.
    const endless = (parts: { work: number }[]) => Object.assign(parts[0]!, { work: Infinity });
    expect(into((parts) => [endless(parts), Object.assign(parts[4]!, { work: 9 })])).toEqual([0, 1, 2, 3, 4]);
    // Between two others.
    expect(into(() => {}, [...problem.edges, [4, 2]])).toEqual([0, 1, 2, 3, 4]);
    // Whatever the numbers: here e is 3 and d is 4.
    expect(
      into(() => {}, [
        [0, 1],
        [1, 2],
        [1, 4],
        [4, 3],
      ]),
    ).toEqual([0, 1, 2, 1, 1]);
  });
});

describe('a long chain of equal parts', () => {
  const chain = (count: number, work = 1): PlacementProblem => ({
    ...problem,
    parts: Array.from({ length: count }, (_, i) => ({ name: `p${i}`, work, bytes: work })),
    edges: Array.from({ length: count - 1 }, (_, i) => [i, i + 1] as const),
    values: Array.from({ length: count - 1 }, (_, i) => ({ producer: i, consumers: [i + 1], cost: 1 })),
  });

  it('stays one, though each is light beside all of them', () => {
    // A thousandth each: two may join a third at either end.
    const { problem: smaller, into } = gatherHanging(chain(1000));
    expect(smaller.parts.map((p) => p.work)).toEqual([3, ...new Array<number>(994).fill(1), 3]);
    expect([into[2], into[3], into[996], into[997]]).toEqual([0, 1, 994, 995]);
    expect(smaller.values).toHaveLength(995);
  });

  it('is one part where it weighs nothing, however long', () => {
    expect(gatherHanging(chain(20_000, 0)).problem.parts).toHaveLength(1);
  });
});

describe('values together', () => {
  it('are those of one producer for the same others, in any order and however often; none within a part', () => {
    const values = [
      { producer: 0, consumers: [2, 1, 2], cost: 1 },
      { producer: 0, consumers: [1, 2], cost: 2 },
      { producer: 3, consumers: [1, 2], cost: 4 },
      { producer: 0, consumers: [1], cost: 8 },
      { producer: 0, consumers: [0, 1, 2], cost: 16 },
      { producer: 0, consumers: [0], cost: 32 },
    ];
    expect(together(values)).toEqual([
      { producer: 0, consumers: [1, 2], cost: 19 },
      { producer: 3, consumers: [1, 2], cost: 4 },
      { producer: 0, consumers: [1], cost: 8 },
    ]);
  });
});
