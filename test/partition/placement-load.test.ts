import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluatePlacement, PlacementState } from '../../src/partition/placement-load.ts';
import type { PlacementDevice, PlacementProblem } from '../../src/partition/problem.ts';
import { plainObjective, smallProblems } from '../support/placement-problem.ts';

const accelerator: PlacementDevice = { kind: 'accelerator', speed: 1, capacity: 100, linkSpeed: 1 };

/** a → b → c, and what c makes goes back to a. */
const triangle: PlacementProblem = {
  parts: [
    { name: 'a', work: 2, bytes: 10 },
    { name: 'b', work: 3, bytes: 20, heldBytes: 5 },
    { name: 'c', work: 4, cpuWork: 40, bytes: 30 },
  ],
  values: [
    { producer: 0, consumers: [1, 2], cost: 0.5 },
    { producer: 1, consumers: [2], cost: 0.25 },
    { producer: 2, consumers: [0], cost: 8 },
  ],
  edges: [
    [0, 1],
    [1, 2],
  ],
  devices: [
    accelerator,
    { ...accelerator, speed: 2, inFlight: 3 },
    { ...accelerator, kind: 'cpu', linkSpeed: Infinity },
  ],
  load: 'sum',
  unit: '',
};

describe('the evaluator of placements', () => {
  it('adds work and transfers, a value once a device in either direction', () => {
    const { loads, objective, bytes, violations } = evaluatePlacement(triangle, [0, 1, 1]);
    expect(loads).toEqual([2 + 0.5 + 8, 7 / 2 + 0.5 + 8, 0]);
    expect(objective).toBe(12);
    expect(bytes).toEqual([10, 20 + 3 * 5 + 30, 0]);
    expect(violations).toEqual([]);
  });

  it('overlaps them under the rule max', () => {
    expect(evaluatePlacement({ ...triangle, load: 'max' }, [0, 1, 1]).loads).toEqual([8, 8, 0]);
    expect(evaluatePlacement({ ...triangle, load: 'max' }, [0, 0, 1]).loads).toEqual([8, 8, 0]);
  });

  it('overlaps at the speed of each device’s own link, in both directions', () => {
    const slow = { ...accelerator, linkSpeed: 0.5 };
    const max: PlacementProblem = { ...triangle, load: 'max', devices: [slow, { ...slow, linkSpeed: 0.25 }] };
    // Device 0 sends 0.5 and receives 8, device 1 the other way round; and of what passes only 0.5, the sender bears it too.
    expect(evaluatePlacement(max, [0, 1, 1]).loads).toEqual([8 / 0.5, 8 / 0.25]);
    const oneWay = { ...max, values: [{ producer: 0, consumers: [1], cost: 5 }] };
    expect(evaluatePlacement(oneWay, [0, 1, 1]).loads).toEqual([5 / 0.5, 5 / 0.25]);
  });

  it('lets a CPU compute in its own time and take part in transfers for nothing', () => {
    expect(evaluatePlacement(triangle, [0, 0, 2]).loads).toEqual([5 + 0.5 + 0.25 + 8, 0, 40]);
  });

  it('names capacities, devices that cannot run a part, and edges that lead back', () => {
    const tight = { ...triangle, devices: triangle.devices.map((d) => ({ ...d, capacity: 45 })) };
    expect(evaluatePlacement(tight, [0, 1, 1]).violations).toEqual([
      { kind: 'capacity', device: 1, bytes: 65, capacity: 45 },
    ]);
    const unsupported = { ...triangle, parts: [{ name: 'a', work: Infinity, bytes: 0 }, ...triangle.parts.slice(1)] };
    const { objective, violations } = evaluatePlacement(unsupported, [0, 1, 1]);
    expect(objective).toBe(Infinity);
    expect(violations).toEqual([{ kind: 'unsupported', device: 0, part: 0 }]);
    expect(evaluatePlacement(triangle, [1, 0, 0], { contiguous: true }).violations).toEqual([
      { kind: 'order', from: 0, to: 1 },
    ]);
  });

  it('refuses what is no device of every part', () => {
    for (const deviceOf of [[0, 1], [0, 1, 3], [0, 1, -1], [0, 1, 0.5], [0, 1, Number.NaN], '011']) {
      expect(() => evaluatePlacement(triangle, deviceOf as number[])).toThrow(
        expect.objectContaining({ message: expect.stringContaining('a device of 3 for each of 3 parts') }),
      );
    }
  });

  it('takes devices in any order where that is free, but not in a circle', () => {
    const free: PlacementProblem = { ...triangle, deviceOrder: 'any' };
    expect(evaluatePlacement(free, [1, 0, 0], { contiguous: true }).violations).toEqual([]);
    expect(evaluatePlacement(free, [1, 0, 1], { contiguous: true }).violations).toHaveLength(1);
  });

  it('agrees with the definitions on random problems, and so do moves', () => {
    fc.assert(
      fc.property(
        smallProblems({ parts: 7, devices: 4 }),
        fc.array(fc.tuple(fc.nat(6), fc.nat(3)), { minLength: 1, maxLength: 12 }),
        fc.boolean(),
        (problem, moves, contiguous) => {
          const state = new PlacementState(problem, new Int32Array(problem.parts.length));
          for (const [part, device] of moves) {
            state.move(part % problem.parts.length, device % problem.devices.length);
          }
          const deviceOf = Array.from(state.deviceOf);
          const { loads, bytes, objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous });
          problem.devices.forEach((_, d) => {
            expect(state.load(d)).toBeCloseTo(loads[d]!, 9);
            expect(state.bytes(d)).toBeCloseTo(bytes[d]!, 9);
          });
          const plain = plainObjective(problem, deviceOf, contiguous);
          if (violations.length > 0) expect(plain).toBe(Infinity);
          else expect(objective).toBeCloseTo(plain, 9);
        },
      ),
      { numRuns: 300 },
    );
  });
});
