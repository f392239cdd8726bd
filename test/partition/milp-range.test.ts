import { expect, it } from 'vitest';
import { partition } from '../../src/index.ts';
import { solveMilp } from '../../src/partition/milp-solver.ts';

it('numbers further apart than the solver computes with leave the answer of the moves, unproved or proved otherwise', async () => {
  const accelerator = { kind: 'accelerator', speed: 1, capacity: Infinity, linkSpeed: 1 } as const;
  const placement = await partition.solvePlacement(
    {
      parts: Array.from({ length: 6 }, (_, i) => ({ name: `p${i}`, work: 1 + i, bytes: 1 })),
      values: Array.from({ length: 5 }, (_, i) => ({
        producer: i,
        consumers: [i + 1],
        cost: i % 2 === 0 ? 1e30 : 1e-6,
      })),
      edges: Array.from({ length: 5 }, (_, i) => [i, i + 1] as const),
      devices: [accelerator, accelerator],
      load: 'sum',
      unit: 's',
    },
    { method: 'milp', timeLimitSeconds: 5 },
  );
  // The cheap values are behind parts 1 and 3: 1 + 2 + 3 + 4 and 5 + 6 is the best cut.
  expect(placement.deviceOf).toEqual([0, 0, 0, 0, 1, 1]);
  expect(placement.objective).toBeCloseTo(11, 4);
  expect(placement.lowerBound).toBeLessThanOrEqual(placement.objective);
});

it('what the solver refuses for another reason is an error, and no answer without a proof', async () => {
  const model = {
    columns: 1,
    lower: new Float64Array(1),
    upper: Float64Array.of(1),
    integer: new Uint8Array(1),
    starts: Int32Array.of(0, 1),
    indices: Int32Array.of(7),
    coefficients: Float64Array.of(1),
    rowLower: Float64Array.of(0),
    rowUpper: Float64Array.of(1),
  };
  const deadline = performance.now() + 20_000;
  await expect(solveMilp(model, { deadline, seed: 0 })).rejects.toThrow('matrix.indices[0] is outside the model');
  const far = { ...model, indices: Int32Array.of(0), coefficients: Float64Array.of(1e40) };
  await expect(solveMilp(far, { deadline, seed: 0 })).resolves.toEqual({ bound: -Infinity, values: undefined });
});
