import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CommandClock } from '../../src/cli/partition-clock.ts';
import { fastRandom, flatten } from '../../src/partition/flat.ts';
import { Groups } from '../../src/partition/groups.ts';
import { defaultTimeLimit, solvePlacement } from '../../src/partition/methods.ts';
import { FlowNetwork } from '../../src/partition/min-cut.ts';
import { OrderCut } from '../../src/partition/order-cut.ts';
import { boundaryBound } from '../../src/partition/placement-bound.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';
import { readOperatorGraph } from '../../src/partition/read-operator-graph.ts';
import { firstOrders } from '../../src/partition/topological-orders.ts';

afterEach(() => void vi.restoreAllMocks());

/** A chain with skips on equal devices. */
function chain(parts: number, devices: number): PlacementProblem {
  const random = fastRandom(1);
  const edges = Array.from({ length: parts - 1 }, (_, p) => [p, p + 1] as const);
  return {
    parts: edges.concat([[0, 0]]).map((_, p) => ({ name: `p${p}`, work: 1 + random(), bytes: 0 })),
    values: edges.map(([p]) => ({ producer: p, consumers: p + 2 < parts ? [p + 1, p + 2] : [p + 1], cost: random() })),
    edges,
    devices: Array.from({ length: devices }, () => ({
      kind: 'accelerator',
      speed: 1,
      capacity: Infinity,
      linkSpeed: 1,
    })),
    load: 'sum',
    unit: '',
  };
}

describe('the time limit of the command', () => {
  it('runs from the start of the process, and keeps back a part for what comes after', () => {
    let now = 2000;
    const clock = new CommandClock(20, () => now);
    expect(clock.secondsFor(1)).toBeCloseTo(16.6, 9);
    now = 9000;
    expect(clock.secondsFor(1)).toBeCloseTo(9.6, 9);
    expect(clock.secondsFor(0.8)).toBeCloseTo(7.68, 9);
    now = 30_000;
    expect(clock.secondsFor(1)).toBe(1);
  });

  it('is shorter where no proof is in reach', () => {
    expect(defaultTimeLimit(chain(1000, 20))).toBe(60);
    expect(defaultTimeLimit(chain(1001, 20))).toBe(18);
  });
});

describe('at the deadline', () => {
  it('a flow stops with what bounds the cut', () => {
    const network = new FlowNetwork(3);
    network.connect(0, 1, 2);
    network.connect(1, 2, 3);
    expect(network.maximumFlow(0, 2)).toBe(2);
    expect(network.maximumFlow(0, 2, { deadline: 0 })).toBe(0);
  });

  it('an attempt at a cut gives up within a few of its ends, and says nothing of limits', () => {
    const flat = flatten(chain(500, 4));
    const cut = new OrderCut(flat).use(firstOrders(flat)[0]!());
    const looks = vi.spyOn(performance, 'now');
    expect(cut.attempt(1e9, 0)).toEqual({ reached: 0, nextLimit: 1e9 });
    expect(looks).toHaveBeenCalledTimes(1);
    expect(cut.attempt(1e9).reached).toBe(500);
  });

  it('a bound stops early and still holds', () => {
    const flat = flatten(chain(200, 4));
    const looks = vi.spyOn(performance, 'now').mockReturnValue(1);
    const late = boundaryBound(flat, 1, 100, 0);
    const afterLate = looks.mock.calls.length;
    expect(late).toBeLessThanOrEqual(boundaryBound(flat, 1, 100, Infinity));
    // Two closures, three boundaries, one round: not 7 blocks of each closure.
    expect(afterLate).toBeLessThan(8);
  });

  it.each(['auto', 'orders', 'moves'])('%s answers with a legal placement whatever the time', async (method) => {
    // A clock that a look at it moves on: the limit is over after so many looks.
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 1));
    for (const looks of [0, 10, 100]) {
      const { objective, lowerBound } = await solvePlacement(chain(300, 8), { method, timeLimitSeconds: looks / 1000 });
      expect(objective).toBeLessThan(300);
      expect(lowerBound).toBeLessThanOrEqual(objective);
    }
  });
});

describe('reading grows with the graph', () => {
  /** A chain whose first half takes no time: node after node goes with the next. */
  const idleChain = (n: number): string =>
    JSON.stringify({
      nodes: Array.from({ length: n }, (_, id) => ({
        id,
        fpgaLatency: id < n / 2 ? 0 : 1,
        cpuLatency: id < n / 2 ? 0 : 1,
      })),
      edges: Array.from({ length: n - 1 }, (_, id) => ({ sourceId: id, destId: id + 1, cost: 1 })),
    });

  it('also where nodes that take no time join one after the other', () => {
    const finds = vi.spyOn(Groups.prototype, 'find');
    const callsFor = (n: number): number => {
      finds.mockClear();
      expect(readOperatorGraph(idleChain(n), 'g.json').problem.parts).toHaveLength(n / 2);
      return finds.mock.calls.length;
    };
    expect(callsFor(800)).toBeLessThan(2.5 * callsFor(400));
  });
});

describe('the order of narrow cuts', () => {
  it('takes the open part that leaves least alive, by its definition', () => {
    const random = fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { maxLength: 20 });
    fc.assert(
      fc.property(random, fc.array(fc.nat(5), { minLength: 10, maxLength: 10 }), (pairs, costs) => {
        const edges = pairs.filter(([a, b]) => a < b);
        const problem: PlacementProblem = {
          ...chain(10, 2),
          edges,
          values: costs.flatMap((cost, producer) => {
            const consumers = [...new Set(edges.filter(([a]) => a === producer).map(([, b]) => b))];
            return consumers.length > 0 && cost > 0 ? [{ producer, consumers, cost }] : [];
          }),
        };
        const order = [...firstOrders(flatten(problem))[1]!()];
        const alive = (taken: readonly number[]): number =>
          problem.values
            .filter(({ producer, consumers }) => {
              const done = [producer, ...consumers].filter((p) => taken.includes(p)).length;
              return done > 0 && done <= consumers.length;
            })
            .reduce((sum, { cost }) => sum + cost, 0);
        order.forEach((part, i) => {
          const taken = order.slice(0, i);
          const open = order.slice(i).filter((p) => edges.every(([a, b]) => b !== p || taken.includes(a)));
          const least = Math.min(...open.map((p) => alive([...taken, p])));
          expect(alive([...taken, part])).toBe(least);
        });
      }),
      { numRuns: 60 },
    );
  });
});
