import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PlanError } from '../../src/core/errors.ts';
import { blockCuts } from '../../src/partition/baselines/block-partition.ts';
import { placementMethods, solvePlacement } from '../../src/partition/methods.ts';
import { evaluatePlacement } from '../../src/partition/placement-load.ts';
import type { PlacementProblem } from '../../src/partition/problem.ts';
import { bruteForce, smallProblems } from '../support/placement-problem.ts';

/** Parts in a row on equal accelerators. */
const row = (parts: readonly { work: number; bytes?: number }[], k: number, capacity = Infinity): PlacementProblem => ({
  parts: parts.map(({ work, bytes = 0 }, i) => ({ name: `layer${i}`, work, bytes })),
  values: parts.slice(1).map((_, i) => ({ producer: i, consumers: [i + 1], cost: 0 })),
  edges: parts.slice(1).map((_, i) => [i, i + 1] as const),
  devices: Array.from({ length: k }, () => ({ kind: 'accelerator', speed: 1, capacity, linkSpeed: 1 })),
  load: 'sum',
  unit: '',
});

const baselines = placementMethods.filter((m) => m.baseline).map((m) => m.name);

describe('methods', () => {
  it('are never better than the optimum, and what they say of their answer is so', async () => {
    await fc.assert(
      fc.asyncProperty(smallProblems({ parts: 5, devices: 3 }), fc.boolean(), async (problem, contiguous) => {
        const best = bruteForce(problem, contiguous);
        for (const method of ['auto', 'ideals', ...baselines]) {
          try {
            const found = await solvePlacement(problem, { method, contiguous, timeLimitSeconds: 1 });
            const { objective, loads, violations } = evaluatePlacement(problem, found.deviceOf, { contiguous });
            expect(violations).toEqual([]);
            expect([found.objective, found.loads]).toEqual([objective, loads]);
            expect(objective).toBeGreaterThanOrEqual(best - 1e-9);
            expect(found.lowerBound).toBeLessThanOrEqual(best + 1e-9);
            if (contiguous && method === 'ideals') expect(objective).toBeCloseTo(best, 9);
          } catch (error) {
            if (!(error instanceof PlanError)) throw error;
            if (contiguous && (method === 'ideals' || method === 'auto')) expect(best).toBe(Infinity);
            if (error.code === 'placement-does-not-fit') expect(best).toBe(Infinity);
          }
        }
      }),
      { numRuns: 40 },
    );
  }, 30_000);

  it('end with what is near enough to its bound, where less than a proof is asked for', async () => {
    // Nothing is better than 150.5 of 150.25, which only a solver proves.
    const problem = row(
      [100, 50, 50.5, 100].map((work) => ({ work })),
      2,
    );
    const asked = { contiguous: false, timeLimitSeconds: 20 };
    const near = await solvePlacement(problem, { ...asked, gap: 0.01 });
    expect([near.objective, near.method]).toEqual([150.5, 'ideals']);
    expect(near.lowerBound).toBeCloseTo(150.25, 6);
    expect((await solvePlacement(problem, { ...asked, gap: 0.001 })).lowerBound).toBe(150.5);
    expect((await solvePlacement(problem, asked)).lowerBound).toBe(150.5);
  });

  it('name the smallest capacity that would do', async () => {
    const sizes = [5, 3, 4, 6, 2].map((bytes) => ({ work: 1, bytes }));
    const refused = await solvePlacement(row(sizes, 2, 9)).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(PlanError);
    expect(refused).toMatchObject({ code: 'placement-does-not-fit', fields: { leastCapacityBytes: 12 } });
    await expect(solvePlacement(row(sizes, 2, 11))).rejects.toThrow(/do not fit/);
    await expect(solvePlacement(row(sizes, 2, 12))).resolves.toMatchObject({ objective: 3 });
  });

  it('say that nothing fits only where that is proved', async () => {
    const sizes = [5, 3, 4, 6, 2].map((bytes) => ({ work: 1, bytes }));
    const asked = { method: 'ideals', contiguous: false, timeLimitSeconds: 1 };
    // 5 + 6 and 3 + 4 + 2 fit into 11 each, but no two stages do.
    expect(bruteForce(row(sizes, 2, 11), false)).toBe(3);
    await expect(solvePlacement(row(sizes, 2, 11), asked)).rejects.toMatchObject({
      code: 'placement-not-found',
      fields: { leastCapacityBytes: 12 },
    });
    for (const capacity of [9, 5]) {
      await expect(solvePlacement(row(sizes, 2, capacity), asked)).rejects.toMatchObject({
        code: 'placement-does-not-fit',
        message: expect.stringContaining('however they are placed'),
      });
    }
  });

  it('say so as well of graphs with too many cuts to look at, and where no capacity would do', async () => {
    const loose = { values: [], edges: [] };
    const wide = { ...row(new Array(60).fill({ work: 1, bytes: 100 }), 2, 150), ...loose };
    for (const contiguous of [true, false]) {
      await expect(solvePlacement(wide, { contiguous, timeLimitSeconds: 1 })).rejects.toMatchObject({
        code: 'placement-does-not-fit',
        fields: { enoughCapacityBytes: 3000, leastCapacityBytes: null, leastFactor: null },
      });
    }
    // The CPU's part lies between those of the only accelerator, which have no room there.
    const chain = row(new Array(3).fill({ work: 1, bytes: 100 }), 1, 50);
    const between: PlacementProblem = {
      ...chain,
      parts: chain.parts.map((p, i) => ({
        ...p,
        ...(i === 1 ? { work: Infinity, cpuWork: 1 } : { cpuWork: Infinity }),
      })),
      devices: [...chain.devices, { kind: 'cpu', speed: 1, capacity: Infinity, linkSpeed: Infinity }],
    };
    await expect(solvePlacement(between, { timeLimitSeconds: 1 })).rejects.toMatchObject({
      code: 'placement-does-not-fit',
      remedy: 'more devices, or larger ones',
    });
  });

  it('do not say so where another order of so many parts than that which was looked at might fit', async () => {
    // 5 + 3 + 2 and 4 + 6 fit into 10 each; the cuts of the order as it is given do not.
    const sizes = [5, 3, 4, 6, 2, ...new Array(15).fill(0)].map((bytes) => ({ work: 1, bytes }));
    const problem = { ...row(sizes, 2, 10), values: [], edges: [] };
    await expect(solvePlacement(problem, { method: 'single', timeLimitSeconds: 1 })).rejects.toMatchObject({
      code: 'placement-not-found',
      message: 'method single finds no contiguous placement that fits into the devices',
      fields: { enoughCapacityBytes: 12, enoughFactor: 1.2, leastCapacityBytes: null, leastFactor: null },
      remedy: '--memory 12: a contiguous placement fits into that',
    });
  });

  it.each(['auto', 'milp'])('%s refuses what does not fit where nothing takes any time', async (method) => {
    const idle = row([{ work: 0, bytes: 8 }, { work: 0 }], 2, 7);
    for (const contiguous of [true, false]) {
      await expect(solvePlacement(idle, { method, contiguous, timeLimitSeconds: 1 })).rejects.toMatchObject({
        code: 'placement-does-not-fit',
      });
    }
  });

  it('refuse what no device can run, and names that are none', async () => {
    await expect(solvePlacement(row([{ work: Infinity }], 1))).rejects.toThrow(/no device can run layer0/);
    await expect(solvePlacement(row([{ work: 1 }], 1), { method: 'ideal' })).rejects.toMatchObject({
      code: 'placement-method',
      remedy: 'method ideals',
    });
  });

  it('start from a placement that is given', async () => {
    const problem = row([{ work: 1 }, { work: 1 }], 2);
    const { objective } = await solvePlacement(problem, { method: 'ideals', start: [0, 1] });
    expect(objective).toBe(1);
  });
});

describe('baselines', () => {
  const long = row(
    [...new Array(40).fill(100), ...new Array(8).fill(101)].map((work) => ({ work })),
    4,
  );
  const solved = async (problem: PlacementProblem, method: string) =>
    (await solvePlacement(problem, { method })).objective;

  it("torchgpipe's blocks: 3.48 times the optimum where its theorem allows it", async () => {
    const [blocks, best] = [await solved(long, 'blocks'), await solved(long, 'ideals')];
    expect(blocks / best).toBeCloseTo(3.48, 2);
  });

  // torchgpipe's own examples of its balance.
  it.each([
    [[1, 2, 3, 4, 5, 6], 2, [4]],
    [[0, 1, 0, 0, 1, 0], 2, [3]],
    [[1, 1, 1], 3, [1, 2]],
  ])('blocks of %j in %i begin at %j', (sequence, blocks, cuts) => {
    expect(blockCuts(sequence, blocks)).toEqual(cuts);
  });

  it('parameters balance bytes, equal counts parts, single takes one device', async () => {
    const problem = row(
      [
        { work: 8, bytes: 1 },
        { work: 1, bytes: 1 },
        { work: 1, bytes: 1 },
        { work: 1, bytes: 3 },
      ],
      2,
    );
    expect((await solvePlacement(problem, { method: 'parameters' })).deviceOf).toEqual([0, 0, 0, 1]);
    expect((await solvePlacement(problem, { method: 'equal' })).deviceOf).toEqual([0, 0, 1, 1]);
    expect((await solvePlacement(problem, { method: 'single' })).deviceOf).toEqual([0, 0, 0, 0]);
  });

  it('PipeDream pays for what passes through a stage, and so cuts otherwise than is best', async () => {
    // Values 0 → 2 and 1 → 3 pass the cut in the middle together, but no stage sends or receives both.
    const problem: PlacementProblem = {
      ...row([{ work: 5 }, { work: 5 }, { work: 5 }, { work: 5 }], 4),
      values: [
        { producer: 0, consumers: [2], cost: 5.5 },
        { producer: 1, consumers: [3], cost: 5.5 },
      ],
      load: 'max',
    };
    expect(await solved(problem, 'ideals')).toBe(5.5);
    expect(await solved(problem, 'pipedream')).toBe(10);
  });
});
