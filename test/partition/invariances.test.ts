import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PlanError } from '../../src/core/errors.ts';
import { solvePlacement } from '../../src/partition/methods.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';
import { smallProblems } from '../support/placement-problem.ts';

/** The optimum, proved; Infinity where there is none. */
async function optimum(problem: PlacementProblem): Promise<number> {
  try {
    const { objective, lowerBound } = await solvePlacement(problem, { method: 'ideals' });
    expect(lowerBound).toBe(objective);
    return objective;
  } catch (error) {
    if (!(error instanceof PlanError)) throw error;
    return Number.POSITIVE_INFINITY;
  }
}

const withCosts = (problem: PlacementProblem, factor: number): PlacementProblem => ({
  ...problem,
  parts: problem.parts.map((p) => ({ ...p, work: p.work * factor, cpuWork: (p.cpuWork ?? p.work) * factor })),
  values: problem.values.map((v) => ({ ...v, cost: v.cost * factor })),
});

/** Part p under the number `to[p]`, and all lists the other way round. */
function renumbered(problem: PlacementProblem, to: readonly number[]): PlacementProblem {
  const parts = [...problem.parts];
  problem.parts.forEach((part, p) => {
    parts[to[p]!] = part;
  });
  return {
    ...problem,
    parts,
    values: problem.values
      .map((v) => ({ ...v, producer: to[v.producer]!, consumers: v.consumers.map((c) => to[c]!).reverse() }))
      .reverse(),
    edges: problem.edges.map(([a, b]) => [to[a]!, to[b]!] as const).reverse(),
  };
}

describe('the optimum of contiguous placements', () => {
  const problems = smallProblems({ parts: 7, devices: 3 });
  const parts = Array.from({ length: 7 }, (_, p) => p);

  it('follows all costs, and knows no numbers of parts', async () => {
    const orders = fc.shuffledSubarray(parts, { minLength: 7 });
    await fc.assert(
      fc.asyncProperty(problems, orders, async (problem, order) => {
        const best = await optimum(problem);
        // Powers of two do not round.
        for (const factor of [2 ** -40, 4]) expect(await optimum(withCosts(problem, factor))).toBe(best * factor);
        const to = order.filter((p) => p < problem.parts.length);
        expect(await optimum(renumbered(problem, to))).toBeCloseTo(best, 9);
      }),
      { numRuns: 60 },
    );
  });

  it('is never raised by a device more, by more memory, or by faster devices and links', async () => {
    await fc.assert(
      fc.asyncProperty(problems, fc.nat(3), fc.constantFrom(1.5, 4), async (problem, at, factor) => {
        const best = await optimum(problem);
        const { devices } = problem;
        const more = devices.toSpliced(at, 0, { ...devices.at(-1)!, capacity: 3 });
        const roomier = devices.map((d) => ({ ...d, capacity: d.capacity * factor }));
        const faster = devices.map((d) => ({ ...d, speed: d.speed * factor, linkSpeed: d.linkSpeed * factor }));
        for (const changed of [more, roomier, faster]) {
          expect(await optimum({ ...problem, devices: changed })).toBeLessThanOrEqual(best * (1 + 1e-12));
        }
      }),
      { numRuns: 60 },
    );
  });
});
