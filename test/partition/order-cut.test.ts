import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fastRandom, flatten } from '../../src/partition/flat.ts';
import { loadMeter } from '../../src/partition/load-meter.ts';
import { OrderCut } from '../../src/partition/order-cut.ts';
import { OrderWindow } from '../../src/partition/order-window.ts';
import { bestCut } from '../../src/partition/orders.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';
import { firstOrders } from '../../src/partition/topological-orders.ts';
import { placements, plainObjective, smallProblems } from '../support/placement-problem.ts';

/** Of the placements that cut the order into segments, the least objective. */
function bestOfOrder(problem: PlacementProblem, order: Int32Array): number {
  let best = Number.POSITIVE_INFINITY;
  for (const deviceOf of placements(problem)) {
    const along = Array.from(order, (p) => deviceOf[p]!);
    const segments = along.filter((d, i) => i === 0 || d !== along[i - 1]);
    if (new Set(segments).size !== segments.length) continue;
    if (problem.deviceOrder !== 'any' && segments.some((d, i) => i > 0 && d < segments[i - 1]!)) continue;
    best = Math.min(best, plainObjective({ ...problem, edges: [] }, deviceOf, false));
  }
  return best;
}

const isTopological = (problem: PlacementProblem, order: Int32Array): boolean =>
  problem.edges.every(([a, b]) => order.indexOf(a) < order.indexOf(b)) && new Set(order).size === problem.parts.length;

describe('the cut of an order', () => {
  it('fits a limit exactly where some cut does, and says when a larger one would', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 5, devices: 3 }), fc.nat(6), (problem, which) => {
        const flat = flatten(problem);
        const order = firstOrders(flat)[which]!();
        const cut = new OrderCut(flat).use(order);
        const best = bestOfOrder(problem, order);
        // Limits climb to the next that can make a difference until one is met.
        let limit = 0;
        for (let tries = 0; tries < 500; tries++) {
          const { reached, nextLimit } = cut.attempt(limit);
          if (reached === flat.parts) expect(limit).toBeGreaterThanOrEqual(best - 1e-9);
          else expect(limit).toBeLessThan(best);
          if (reached === flat.parts) {
            const deviceOf = Array.from(cut.deviceOf());
            expect(plainObjective({ ...problem, edges: [] }, deviceOf, false)).toBeCloseTo(best, 9);
            return;
          }
          if (nextLimit === Number.POSITIVE_INFINITY) break;
          expect(nextLimit).toBeGreaterThan(limit);
          limit = nextLimit;
        }
        expect(best).toBe(Number.POSITIVE_INFINITY);
      }),
      { numRuns: 150 },
    );
  });

  it('counts a value once, however many readers it has and in whichever order they stand', () => {
    const parts = 60;
    const reversed = Int32Array.from({ length: parts }, (_, i) => (i === 0 ? 0 : parts - i));
    const hub: PlacementProblem = {
      parts: Array.from({ length: parts }, (_, p) => ({ name: `p${p}`, work: 1 + (p % 3), bytes: 0 })),
      values: [
        { producer: 0, consumers: Array.from({ length: parts - 1 }, (_, i) => i + 1), cost: 5 },
        { producer: 30, consumers: Array.from({ length: 29 }, (_, i) => i + 1), cost: 2 },
      ],
      edges: [],
      devices: Array.from({ length: 4 }, () => ({ kind: 'accelerator', speed: 1, capacity: Infinity, linkSpeed: 1 })),
      load: 'sum',
      unit: '',
    };
    const flat = flatten(hub);
    const cut = new OrderCut(flat).use(reversed);
    const measure = loadMeter(flat);
    const best = bestCut(flat, cut, 0, Infinity, Infinity, measure)!;
    expect(plainObjective(hub, Array.from(best.deviceOf), false)).toBeCloseTo(best.objective, 9);
    // Every cut of the order into four.
    let least = Number.POSITIVE_INFINITY;
    for (let a = 0; a <= parts; a++) {
      for (let b = a; b <= parts; b++) {
        for (let c = b; c <= parts; c++) {
          const deviceOf = new Int32Array(parts);
          reversed.forEach((p, i) => {
            deviceOf[p] = i < a ? 0 : i < b ? 1 : i < c ? 2 : 3;
          });
          least = Math.min(least, measure(deviceOf));
        }
      }
    }
    expect(best.objective).toBeCloseTo(least, 9);
  });

  it('is found at its best below a limit, from any bound that holds, and not where there is none', () => {
    const below = fc.constantFrom(Number.POSITIVE_INFINITY, 1.5, 1.01, 1);
    const share = fc.constantFrom(0, 0.4, 0.9, 1);
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), fc.nat(6), below, share, (problem, which, above, under) => {
        const flat = flatten(problem);
        const order = firstOrders(flat)[which]!();
        const best = bestOfOrder(problem, order);
        fc.pre(best > 0); // below nothing there is nothing
        const measure = loadMeter(flat);
        const bound = best < Number.POSITIVE_INFINITY ? under * best : 0;
        const limit = best < Number.POSITIVE_INFINITY ? above * best : above;
        const found = bestCut(flat, new OrderCut(flat).use(order), bound, limit, Number.POSITIVE_INFINITY, measure);
        if (!(best < limit)) expect(found).toBeUndefined();
        else {
          expect(found!.objective).toBeCloseTo(best, 9);
          expect(measure(found!.deviceOf)).toBe(found!.objective);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('is found where others are within half a percent of it', () => {
    const problem: PlacementProblem = {
      parts: [1000, 4, 3, 1000].map((work, i) => ({ name: `p${i}`, work, bytes: 0 })),
      values: [],
      edges: [],
      devices: Array.from({ length: 2 }, () => ({
        kind: 'accelerator' as const,
        speed: 1,
        capacity: Number.POSITIVE_INFINITY,
        linkSpeed: 1,
      })),
      load: 'sum',
      unit: '',
    };
    const flat = flatten(problem);
    const table = new OrderCut(flat).use(Int32Array.of(0, 1, 2, 3));
    const most = Number.POSITIVE_INFINITY;
    expect(bestCut(flat, table, 0, most, most, loadMeter(flat))!.objective).toBe(1004);
  });

  it('meters loads as the definitions say', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), fc.infiniteStream(fc.nat(5)), (problem, draw) => {
        const deviceOf = problem.parts.map(() => (draw.next().value as number) % problem.devices.length);
        const roomy = { ...problem, devices: problem.devices.map((d) => ({ ...d, capacity: Infinity })) };
        const plain = plainObjective(roomy, deviceOf, false);
        expect(loadMeter(flatten(problem))(Int32Array.from(deviceOf))).toBeCloseTo(plain, 9);
      }),
    );
  });
});

describe('topological orders', () => {
  it('are topological, and stay so when a window is rearranged', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 12, devices: 2 }), fc.nat(), (problem, seed) => {
        const flat = flatten(problem);
        const window = new OrderWindow(flat, fastRandom(seed));
        for (const make of firstOrders(flat)) {
          let order = make();
          expect(isTopological(problem, order)).toBe(true);
          for (let i = 0; i < 8; i++) {
            const from = i % flat.parts;
            const next = window.rearrange(order, from, Math.min(flat.parts, from + 6));
            expect(isTopological(problem, next)).toBe(true);
            order = next;
          }
        }
      }),
    );
  });
});
