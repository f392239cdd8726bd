import { describe, expect, it } from 'vitest';
import { Bounds } from '../../src/schedule/auto/bound.ts';
import { exactSchedule } from '../../src/schedule/auto/exact.ts';
import { compileInstance } from '../../src/schedule/auto/instance.ts';
import { tasksOf } from '../../src/schedule/auto/rows.ts';
import { playClock } from '../../src/schedule/index.ts';
import { bruteForce, drawProblem, heldOf } from '../support/scheduling-problem.ts';

describe('the search through all orders of few tasks', () => {
  it('finds the shortest, knowing none or a longer one, and nothing below it', () => {
    let [solved, hopeless] = [0, 0];
    for (let seed = 1; seed < 400 && solved < 60; seed++) {
      const p = drawProblem(seed);
      const { stages, microbatches, placement } = p;
      const most = Math.max(...placement.map((d) => placement.filter((x) => x === d).length));
      if (stages * microbatches > 3 && (stages * microbatches > 6 || most > 1 || microbatches > 2)) continue;
      const memory = { perMicrobatch: p.hold, perWeightGradient: p.keep, budget: p.budget };
      const options = { ...p, memory };
      const best = bruteForce(p, options);
      const instance = compileInstance(p, options);
      const solve = (known: number) => exactSchedule(instance, new Bounds(instance), known, 1e7)!.rows;
      if (best === Infinity) {
        expect(solve(Infinity)).toBeUndefined();
        hopeless++;
        continue;
      }
      solved++;
      for (const known of [Infinity, best + 1, best * (1 + 1e-6)]) {
        const rows = solve(known);
        if (best === 0 && known === 0) continue;
        const schedule = { ...p, name: '', rows: tasksOf(rows!, instance) };
        expect(playClock(schedule, options).makespan).toBe(best);
        heldOf(schedule, memory).forEach((held, d) => {
          expect(held).toBeLessThanOrEqual(p.budget[d]!);
        });
      }
      expect(solve(best)).toBeUndefined();
    }
    expect(solved).toBe(60);
    expect(hopeless).toBeGreaterThan(3);
  });

  it('gives up on what is too much, and says nothing then', () => {
    const shape = { stages: 3, devices: 3, microbatches: 8, placement: [0, 1, 2] };
    const instance = compileInstance(shape, {});
    expect(exactSchedule(instance, new Bounds(instance), Infinity, 50)).toBeUndefined();
    const large = compileInstance({ ...shape, microbatches: 9 }, {});
    expect(exactSchedule(large, new Bounds(large), Infinity, 1e9)).toBeUndefined();
  });
});
