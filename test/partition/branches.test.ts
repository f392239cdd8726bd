import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { branches, cutCosts } from '../../src/partition/baselines/pipedream.ts';
import { biconnectedComponents } from '../../src/partition/biconnected.ts';
import { circles, components } from '../../src/partition/components.ts';
import { findIdeals } from '../../src/partition/ideals.ts';
import { smallProblems } from '../support/placement-problem.ts';

type Edges = readonly (readonly [number, number])[];

const graphs = fc.record({
  nodes: fc.constant(7),
  edges: fc.array(fc.tuple(fc.nat(6), fc.nat(6)), { maxLength: 14 }),
});

/** Nodes that a node reaches without passing `without`. */
function reached(edges: Edges, from: number, without: number): Set<number> {
  const seen = new Set([from]);
  for (const node of seen) {
    for (const [a, b] of edges) {
      for (const [x, y] of [
        [a, b],
        [b, a],
      ] as const) {
        if (x === node && y !== without) seen.add(y);
      }
    }
  }
  return seen;
}

describe('biconnected components', () => {
  it('hold the edges that no single node parts', () => {
    fc.assert(
      fc.property(graphs, ({ nodes, edges }) => {
        const found = biconnectedComponents(nodes, edges);
        const simple = edges.filter(([a, b], i) => {
          const same = edges.findIndex(([c, d]) => (a === c && b === d) || (a === d && b === c));
          return a !== b && same === i;
        });
        expect(found.flat().length).toBe(simple.length);
        const componentOf = new Map(found.flatMap((list, c) => list.map((e) => [edges[e]!, c] as const)));
        for (const e of simple) {
          for (const f of simple) {
            const parted = Array.from({ length: nodes }, (_, v) => v).some((v) => {
              const from = e.find((x) => x !== v)!;
              return !reached(simple, from, v).has(f.find((x) => x !== v)!);
            });
            expect(componentOf.get(e) === componentOf.get(f)).toBe(e === f || !parted);
          }
        }
      }),
      { numRuns: 80 },
    );
  });
});

describe('circles', () => {
  it('are the strongly connected components of more than one node', () => {
    fc.assert(
      fc.property(graphs, ({ nodes, edges }) => {
        const sorted = (lists: number[][]) => lists.map((l) => l.join(' ')).sort();
        const links = edges.filter(([a, b]) => a !== b);
        expect(sorted(circles(nodes, links))).toEqual(sorted(components(nodes, links).filter((c) => c.length > 1)));
      }),
    );
  });
});

describe("PipeDream's contraction", () => {
  const part = (name: string, work = 1) => ({ name, work, bytes: 0 });
  const groupsOf = (parts: number, edges: Edges, idle: readonly number[] = []) =>
    branches({ parts: Array.from({ length: parts }, (_, p) => part(`p${p}`, idle.includes(p) ? 0 : 1)), edges })
      .members()
      .map((g) => g.join(' '));

  it('joins a fork with its branches, but not where they meet', () => {
    // 0 → (1 → 2 beside 3) → 4 → 5
    const diamond: Edges = [
      [0, 1],
      [1, 2],
      [0, 3],
      [2, 4],
      [3, 4],
      [4, 5],
    ];
    expect(groupsOf(6, diamond)).toEqual(['0 1 2 3', '4', '5']);
    // An input that several layers read makes no branches of them.
    expect(groupsOf(4, [[0, 1], [1, 2], [3, 1], [3, 2]], [3])).toEqual(['0', '1', '2', '3']); // biome-ignore format: a row
    expect(groupsOf(4, [[0, 1], [1, 2], [3, 1], [3, 2]])).toEqual(['0', '1 3', '2']); // biome-ignore format: a row
  });

  it('knows what each cut costs', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 2 }), (problem) => {
        const ideals = findIdeals(problem.parts.length, problem.edges, 1000)!;
        const costs = cutCosts(problem, ideals);
        for (let i = 0; i < ideals.count; i++) {
          const inside = new Set(ideals.members(i));
          const crossing = problem.values.filter(({ producer, consumers }) =>
            consumers.some((c) => inside.has(c) !== inside.has(producer)),
          );
          expect(costs[i]).toBeCloseTo(
            crossing.reduce((sum, { cost }) => sum + cost, 0),
            9,
          );
        }
      }),
    );
  });
});
