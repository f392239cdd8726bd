import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findIdeals } from '../../src/partition/ideals.ts';

const graphs = fc.integer({ min: 2, max: 7 }).chain((parts) =>
  fc.record({
    parts: fc.constant(parts),
    edges: fc.array(
      fc.tuple(fc.nat(parts - 1), fc.nat(parts - 1)).filter(([a, b]) => a < b),
      { maxLength: 16 },
    ),
  }),
);

describe('ideals', () => {
  it('are all down-sets, each once, smaller ones first, one part a step', () => {
    fc.assert(
      fc.property(graphs, ({ parts, edges }) => {
        const ideals = findIdeals(parts, edges, 1000)!;
        const sets = Array.from({ length: ideals.count }, (_, i) =>
          ideals.members(i).reduce((s, p) => s | (1 << p), 0),
        );
        const expected: number[] = [];
        for (let set = 0; set < 1 << parts; set++) {
          if (edges.every(([a, b]) => !((set >> b) & 1) || (set >> a) & 1)) expected.push(set);
        }
        expect([...sets].sort((a, b) => a - b)).toEqual(expected);
        sets.forEach((set, i) => {
          let rank = -1;
          const targets = new Set<number>();
          for (let e = ideals.first[i]!; e < ideals.first[i + 1]!; e++) {
            expect(sets[ideals.target[e]!]).toBe(set | (1 << ideals.added[e]!));
            expect(ideals.target[e]).toBeGreaterThan(i);
            expect(ideals.rank[ideals.added[e]!]).toBeGreaterThan(rank);
            rank = ideals.rank[ideals.added[e]!]!;
            targets.add(ideals.target[e]!);
          }
          expect(targets.size).toBe(expected.filter((s) => (s & set) === set && oneMore(s ^ set)).length);
        });
      }),
      { numRuns: 60 },
    );
  });

  it('of 70 parts in a row are 71, beyond one word of bits', () => {
    const edges = Array.from({ length: 69 }, (_, i) => [i, i + 1] as const);
    expect(findIdeals(70, edges, 100)?.count).toBe(71);
  });

  it('are given up beyond the limit', () => {
    expect(findIdeals(10, [], 1024)?.count).toBe(1024);
    expect(findIdeals(10, [], 1023)).toBeUndefined();
  });

  it('are given up soon where thousands of parts may come next', () => {
    const started = performance.now();
    expect(findIdeals(10_000, [], 1e6)).toBeUndefined();
    // Some milliseconds; a search that walks on takes as long as the test may.
    expect(performance.now() - started).toBeLessThan(30_000);
  });
});

const oneMore = (bits: number): boolean => bits !== 0 && (bits & (bits - 1)) === 0;
