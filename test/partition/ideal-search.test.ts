import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { searchIdeals } from '../../src/partition/ideal-search.ts';
import { findIdeals } from '../../src/partition/ideals.ts';
import { leastCapacityFactor } from '../../src/partition/least-capacity.ts';
import { evaluatePlacement } from '../../src/partition/placement-load.ts';
import { workBound } from '../../src/partition/work-bound.ts';
import { bruteForce, placements, plainObjective, smallProblems } from '../support/placement-problem.ts';

describe('the search over ideals', () => {
  it('finds the optimum of brute force: any loads, links, capacities, devices and their order', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), (problem) => {
        const ideals = findIdeals(problem.parts.length, problem.edges, 1000)!;
        const best = bruteForce(problem, true);
        const answer = searchIdeals({ problem, ideals });
        if (answer.kind !== 'found') {
          expect(best).toBe(Infinity);
          return;
        }
        const { objective, violations } = evaluatePlacement(problem, answer.deviceOf, { contiguous: true });
        expect(violations).toEqual([]);
        expect(objective).toBeCloseTo(best, 9);
        expect(answer.objective).toBeCloseTo(best, 9);
        // Below the optimum there is nothing, right above it there is.
        expect(searchIdeals({ problem, ideals, limit: best }).kind).toBe('none');
        const again = searchIdeals({ problem, ideals, limit: best + 1e-6 });
        expect(again.kind === 'found' && again.objective).toBeCloseTo(best, 9);
      }),
      { numRuns: 200 },
    );
  });

  it('is bounded by the work alone', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), (problem) => {
        const bound = workBound(problem);
        expect(bound).toBeGreaterThanOrEqual(0);
        const { devices, ...rest } = problem;
        const endless = { ...rest, devices: devices.map((d) => ({ ...d, capacity: Infinity })) };
        expect(bound).toBeLessThanOrEqual(bruteForce(endless, false));
      }),
      { numRuns: 200 },
    );
  });

  it('leaves the last of equal devices empty where they do not help', () => {
    const accelerator = { kind: 'accelerator', speed: 1, capacity: Infinity, linkSpeed: 1 } as const;
    const problem = {
      parts: [
        { name: 'big', work: 10, bytes: 0 },
        { name: 'small', work: 1, bytes: 0 },
      ],
      values: [{ producer: 0, consumers: [1], cost: 1 }],
      edges: [[0, 1]],
      devices: [accelerator, accelerator, accelerator],
      load: 'sum',
      unit: '',
    } as const;
    const answer = searchIdeals({ problem, ideals: findIdeals(2, problem.edges, 10)! });
    expect(answer).toEqual({ kind: 'found', deviceOf: [0, 0], objective: 11 });
  });

  it('says by what factor capacities are too small', () => {
    fc.assert(
      fc.property(smallProblems({ parts: 6, devices: 3 }), (problem) => {
        const factor = leastCapacityFactor(problem, Infinity)?.factor;
        const scaled = (by: number) => ({
          ...problem,
          devices: problem.devices.map((d) => ({ ...d, capacity: d.capacity * by })),
        });
        const fits = (by: number): boolean => {
          const scaledProblem = scaled(by);
          for (const deviceOf of placements(problem)) {
            if (plainObjective(scaledProblem, deviceOf, true) < Infinity) return true;
          }
          return false;
        };
        if (factor === undefined) expect(fits(1e6)).toBe(false);
        else {
          expect(fits(factor * (1 + 1e-9))).toBe(true);
          if (factor > 0) expect(fits(factor * (1 - 1e-9))).toBe(false);
        }
      }),
      { numRuns: 100 },
    );
  });
});
