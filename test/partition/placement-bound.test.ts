import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockMilp } from '../../src/partition/block-milp.ts';
import { flatten } from '../../src/partition/flat.ts';
import { fuseInseparable, fusePlacement, unfuse } from '../../src/partition/inseparable.ts';
import { solveMilp } from '../../src/partition/milp-solver.ts';
import { boundaryBound, crowds, partBound, setNetwork } from '../../src/partition/placement-bound.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';
import { workBound } from '../../src/partition/work-bound.ts';
import { bruteForce, placements, plainObjective, smallProblems } from '../support/placement-problem.ts';

const never = Number.POSITIVE_INFINITY;
const device = { kind: 'accelerator', speed: 1, capacity: Infinity, linkSpeed: 1 } as const;

/** Parts of a chain with the costs of the values between them. */
const chain = (work: readonly number[], costs: readonly number[], k: number): PlacementProblem => ({
  parts: work.map((w, i) => ({ name: `p${i}`, work: w, bytes: 0 })),
  values: costs.map((cost, i) => ({ producer: i, consumers: [i + 1], cost })),
  edges: costs.map((_, i) => [i, i + 1] as const),
  devices: Array.from({ length: k }, () => device),
  load: 'sum',
  unit: '',
});

describe('lower bounds', () => {
  it('are told of more parts than a call has arguments', () => {
    const parts = Array.from({ length: 200_000 }, (_, i) => ({ name: `p${i}`, work: 2, cpuWork: 4, bytes: 0 }));
    const problem = { ...chain([], [], 1), parts, devices: [device, { ...device, kind: 'cpu' as const }] };
    // Half as fast, the CPU does a third of it.
    expect(workBound(problem)).toBeCloseTo((2 * 200_000) / 1.5, 3);
  });

  it('are never above the optimum', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), (problem) => {
        const flat = flatten(problem);
        const any = bruteForce(problem, false);
        expect(partBound(flat, never)).toBeLessThanOrEqual(any + 1e-9);
        const contiguous = bruteForce(problem, true);
        if (contiguous === Number.POSITIVE_INFINITY) return;
        for (const reached of [contiguous, contiguous * 1.5]) {
          const bound = boundaryBound(flat, workBound(problem), reached, never);
          expect(bound).toBeLessThanOrEqual(contiguous * (1 + 1e-9));
        }
      }),
      { numRuns: 150 },
    );
  });

  it('crowding: one of two devices holds two of three equal parts', () => {
    expect(partBound(flatten(chain([6, 6, 6], [0, 0], 2)), never)).toBeCloseTo(12, 6);
  });

  it('crowding: of the longest parts, and of how many says most', () => {
    // Of 9, 7 and 6 some device has two; of all five, three.
    const flat = flatten(chain([1, 7, 5, 9, 6], [0, 0, 0, 0], 2));
    expect(crowds(flat)).toEqual([
      { of: [3, 1, 4], least: 2, together: 13 },
      { of: [3, 1, 4, 2, 0], least: 3, together: 12 },
    ]);
    expect(crowds(flat, 1)).toHaveLength(1);
    // With 7, 7, 7, 7, 7: of three, two are 14; of five, three are 21.
    expect(crowds(flatten(chain([7, 7, 7, 7, 7], [0, 0, 0, 0], 2)), 1)).toMatchObject([{ least: 3, together: 21 }]);
    expect(crowds(flatten(chain([7, 7, 7], [0, 0], 1)))).toEqual([]);
  });

  it('company: the lightest of all sets that hold a part, whatever counts of its load', () => {
    fc.assert(
      fc.property(
        smallProblems({ parts: 6, devices: 1 }),
        fc.constantFrom([1, 1, 1], [0.5, 0.5, 0], [0.75, 0, 0.25]),
        (problem, [work, incoming, outgoing]) => {
          const two = [0, 1].map(() => ({ ...device, speed: 1 }));
          const parts = problem.parts.map((p) => ({ ...p, work: Number.isFinite(p.work) ? p.work : 5 }));
          const isSum = incoming === 1;
          // Where loads are sums the direction of a value is no matter, and values there and back are one.
          const plain: PlacementProblem = { ...problem, parts, devices: two, load: isSum ? 'sum' : 'max' };
          const flat = flatten(plain);
          const mix = { work: work!, incoming: incoming!, outgoing: outgoing! };
          for (let p = 0; p < parts.length; p++) {
            const flow = setNetwork(flat, 0, ...(isSum ? [] : [mix])).maximumFlow(p, parts.length, {});
            let lightest = Infinity;
            for (const side of placements(plain)) {
              if (side[p] !== 0) continue;
              const inside = (q: number) => side[q] === 0;
              const own = parts.reduce((sum, q, i) => sum + (inside(i) ? q.work : 0), 0);
              const cost = (of: (v: (typeof plain.values)[number]) => boolean) =>
                plain.values.reduce((sum, v) => sum + (of(v) ? v.cost : 0), 0);
              const into = cost((v) => !inside(v.producer) && v.consumers.some(inside));
              const out = cost((v) => inside(v.producer) && !v.consumers.every(inside));
              lightest = Math.min(lightest, work! * own + incoming! * into + outgoing! * out);
            }
            expect(flow).toBeCloseTo(lightest, 6);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('company: whoever holds the middle pays for its values or takes their other ends', () => {
    // Alone: 4 + 5 + 5; with a neighbour: 4 + 3 + 5 + 0.
    expect(partBound(flatten(chain([3, 4, 3, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0], 7)), never)).toBeCloseTo(10, 6);
  });

  it('company where transfers overlap: the reader of many values waits for them or computes what makes them', () => {
    // Part 8 reads eight values of 4 whose parts take 4 each: with n of them on its device, max(4n, 4(8 − n)).
    const many: PlacementProblem = {
      ...chain([4, 4, 4, 4, 4, 4, 4, 4, 0], [], 9),
      values: Array.from({ length: 8 }, (_, producer) => ({ producer, consumers: [8], cost: 4 })),
      load: 'max',
    };
    expect(partBound(flatten(many), never)).toBeCloseTo(16, 6);
    const turned = {
      ...many,
      values: many.values.map(({ producer }) => ({ producer: 8, consumers: [producer], cost: 4 })),
    };
    expect(partBound(flatten(turned), never)).toBeCloseTo(16, 6);
  });

  it('boundaries: what every cut of the window costs', () => {
    // Work 40 on 2 devices; within a load of 24 the cut lies at a cost of 2 at least: (40 + 2 · 2) / 2.
    const problem = chain([10, 10, 10, 10], [9, 2, 9], 2);
    expect(boundaryBound(flatten(problem), workBound(problem), 24, never)).toBeCloseTo(22, 3);
    expect(bruteForce(problem, true)).toBe(22);
    // Where transfers overlap with computing, what both come to together bounds nothing.
    const overlapped: PlacementProblem = { ...problem, load: 'max' };
    expect(boundaryBound(flatten(overlapped), workBound(overlapped), 24, never)).toBeCloseTo(20, 6);
    expect(bruteForce(overlapped, true)).toBe(20);
  });

  it('boundaries: a value over several of them is paid for once', () => {
    // One value from the first of three to the last: 30 of work, and 6 at both its ends.
    const problem = { ...chain([10, 10, 10], [0, 0], 3), values: [{ producer: 0, consumers: [2], cost: 6 }] };
    expect(bruteForce(problem, true)).toBe(16);
    expect(boundaryBound(flatten(problem), workBound(problem), 16, never)).toBeCloseTo(14, 3);
  });

  it('boundaries: cuts keep to the order of the parts', () => {
    // The first and third alone would cut nothing, but the second is before the third.
    const values = [
      { producer: 0, consumers: [2], cost: 5 },
      { producer: 1, consumers: [3], cost: 5 },
    ];
    const problem = { ...chain([10, 2, 2, 10], [0, 0, 0], 2), values };
    expect(bruteForce(problem, true)).toBe(19);
    expect(boundaryBound(flatten(problem), workBound(problem), 19, never)).toBeCloseTo(17, 3);
  });

  it('sets as cuts: the lightest set that holds one part and not another', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 5, devices: 1 }), (problem) => {
        const two = { ...problem, load: 'sum', devices: [problem.devices[0]!, problem.devices[0]!] } as const;
        const roomy: PlacementProblem = { ...two, devices: two.devices.map((d) => ({ ...d, capacity: Infinity })) };
        if (roomy.parts.length < 2) return;
        const flat = flatten(roomy);
        const found = setNetwork(flat, 0).maximumFlow(0, flat.parts, { open: 2 });
        let lightest = Number.POSITIVE_INFINITY;
        for (const deviceOf of placements(roomy)) {
          if (deviceOf[0] !== 0 || deviceOf[1] !== 1) continue;
          // Device 1 is left free of work, so that the load of device 0 is the largest.
          const alone = roomy.parts.map((p, i) => (deviceOf[i] === 0 ? p : { ...p, work: 0, cpuWork: 0 }));
          lightest = Math.min(lightest, plainObjective({ ...roomy, parts: alone }, deviceOf, false));
        }
        if (Number.isFinite(lightest) || Number.isFinite(found)) expect(found).toBeCloseTo(lightest, 6);
      }),
      { numRuns: 150 },
    );
  });

  it('blocks: what HiGHS finds for one device bounds all of them', async () => {
    const problem = chain([6, 6, 6, 6, 6], [1, 1, 1, 1], 2);
    const flat = flatten(problem);
    const [crowd] = crowds(flat, 1);
    expect(crowd).toMatchObject({ least: 3, together: 18 });
    for (const contiguous of [false, true]) {
      const model = blockMilp(flat, 0, { kind: 'crowd', ...crowd! }, { contiguous, lower: 0, upper: 30 });
      const answer = await solveMilp(model, { deadline: performance.now() + 20_000, seed: 0 });
      expect(answer).not.toBe('missing');
      if (answer !== 'missing') expect(answer.bound * 30).toBeCloseTo(19, 4);
    }
    expect(bruteForce(problem, false)).toBe(19);
  });

  it('blocks: a set holds no part that the device has no room or no time for', async () => {
    // The first is too large and the last takes too long, which leaves the two in the middle.
    const problem = chain([4, 6, 7, 50], [0, 0, 0], 2);
    const parts = problem.parts.map((p, i) => ({ ...p, bytes: i === 0 ? 2 : 0 }));
    const devices = problem.devices.map((d) => ({ ...d, capacity: 1 }));
    const flat = flatten({ ...problem, parts, devices });
    const demand = { kind: 'crowd', of: [0, 1, 2, 3], least: 2 } as const;
    for (const contiguous of [false, true]) {
      const model = blockMilp(flat, 0, demand, { contiguous, lower: 0, upper: 30 });
      const answer = await solveMilp(model, { deadline: performance.now() + 20_000, seed: 0 });
      expect(answer).not.toBe('missing');
      if (answer !== 'missing') expect(answer.bound * 30).toBeCloseTo(13, 4);
    }
  });
});

describe('parts that no better placement separates', () => {
  it('leave the optimum as it is', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 5, devices: 3 }), fc.boolean(), (problem, contiguous) => {
        const best = bruteForce(problem, contiguous);
        if (!(best < Number.POSITIVE_INFINITY)) return;
        const above = best * 1.1 + 1e-3;
        const fused = fuseInseparable(problem, { below: above, contiguous, deadline: never });
        expect(bruteForce(fused.problem, contiguous)).toBeCloseTo(best, 9);
        for (const deviceOf of placements(fused.problem)) {
          const wide = unfuse(fused, deviceOf);
          const [small, large] = [
            plainObjective(fused.problem, deviceOf, contiguous),
            plainObjective(problem, wide, contiguous),
          ];
          if (small < Number.POSITIVE_INFINITY) expect(large).toBeCloseTo(small, 9);
          expect(fusePlacement(fused, wide)).toEqual(deviceOf);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('joins the ends of a value that costs more than is reached', () => {
    const problem = chain([1, 1, 1, 1], [9, 1, 9], 2);
    const fused = fuseInseparable(problem, { below: 4, contiguous: false, deadline: never });
    expect(fused.partOf).toEqual([0, 0, 1, 1]);
    expect(fusePlacement(fused, [0, 1, 1, 1])).toBeUndefined();
  });
});
