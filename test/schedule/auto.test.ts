import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AutoScheduleOptions,
  autoSchedule,
  clockUntilStuck,
  makeSchedule,
  playClock,
  type Schedule,
  type ScheduleShape,
  type StageEdge,
  scheduleNames,
  type Task,
  validateSchedule,
} from '../../src/schedule/index.ts';

/** Any problem: acyclic stages, unequal times, links that differ by direction, several stages a device, budgets. */
const problems = fc
  .record({ stages: fc.integer({ min: 1, max: 5 }), devices: fc.integer({ min: 1, max: 4 }) })
  .chain(({ stages, devices }) =>
    fc.record({
      stages: fc.constant(stages),
      devices: fc.constant(devices),
      microbatches: fc.integer({ min: 1, max: 6 }),
      placement: fc.array(fc.nat(devices - 1), { minLength: stages, maxLength: stages }),
      // Stage i may feed stage j where i is before j in a shuffled order.
      order: fc.shuffledSubarray([...Array(stages).keys()], { minLength: stages }),
      joined: fc.array(fc.boolean(), { minLength: stages * stages, maxLength: stages * stages }),
      chain: fc.boolean(),
      times: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 4 * stages, maxLength: 4 * stages }),
      late: fc.boolean(),
      links: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: stages * stages, maxLength: stages * stages }),
      hold: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: stages, maxLength: stages }),
      keep: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: stages, maxLength: stages }),
      slack: fc.option(fc.array(fc.nat(12), { minLength: devices, maxLength: devices })),
      splitBackward: fc.boolean(),
      objective: fc.constantFrom('makespan', 'span' as const),
    }),
  );

interface Case {
  readonly shape: ScheduleShape;
  readonly options: AutoScheduleOptions;
}

type Drawn = typeof problems extends fc.Arbitrary<infer T> ? T : never;

function caseOf(drawn: Drawn): Case {
  const { stages, devices, microbatches, placement, order, joined, chain, times, late, links, hold, keep } = drawn;
  const edges: StageEdge[] = order.flatMap((from, i) =>
    order.slice(i + 1).flatMap((to): StageEdge[] => (joined[from * stages + to] ? [[from, to]] : [])),
  );
  const kinds = ['F', 'B', 'W', 'BW'];
  // The last microbatch is smaller in some problems.
  const durations = (t: Task): number =>
    times[4 * t.stage + kinds.indexOf(t.kind)]! * (late && t.microbatch === microbatches - 1 ? 0.5 : 1);
  const base = {
    durations,
    dependencies: chain ? undefined : edges,
    link: (from: number, to: number) => links[from * stages + to]!,
    splitBackward: drawn.splitBackward,
    objective: drawn.objective,
    effort: 3000,
  };
  const shape = { stages, devices, microbatches, placement };
  if (drawn.slack === null) return { shape, options: base };
  const need = smallestBudget(shape, { ...base, memory: { perMicrobatch: hold, perWeightGradient: keep, budget: [] } });
  const budget = need.map((n, d) => n + drawn.slack![d]!);
  return { shape, options: { ...base, memory: { perMicrobatch: hold, perWeightGradient: keep, budget } } };
}

/** What the refusal of a budget of nothing says would do. */
function smallestBudget(shape: ScheduleShape, options: AutoScheduleOptions): number[] {
  const none = new Array<number>(shape.devices ?? shape.stages).fill(0);
  try {
    autoSchedule(shape, { ...options, memory: { ...options.memory!, budget: none } });
    return none;
  } catch (error) {
    return (error as { fields: { smallestBudget: number[] } }).fields.smallestBudget;
  }
}

/** The most that each device holds, told apart from the program's own accounting. */
function heldOf({ rows, devices }: Schedule, memory: NonNullable<AutoScheduleOptions['memory']>): number[] {
  const { perMicrobatch, perWeightGradient = perMicrobatch } = memory;
  return Array.from({ length: devices }, (_, d) => {
    let held = 0;
    let peak = 0;
    for (const { kind, stage } of rows[d]!) {
      const [hold, keep] = [perMicrobatch[stage]!, perWeightGradient[stage]!];
      if (kind === 'F') held += hold;
      if (kind === 'B') held += keep - hold;
      peak = Math.max(peak, held);
      if (kind === 'W') held -= keep;
      if (kind === 'BW') held -= hold;
    }
    return peak;
  });
}

const lengthsOf = (schedule: Schedule, options: AutoScheduleOptions) => {
  const clock = playClock(schedule, options);
  const spans = clock.rows.flatMap((row) => (row.length > 0 ? [row.at(-1)!.end - row[0]!.start] : []));
  return { makespan: clock.makespan, span: Math.max(...spans) };
};

describe('any graph of stages, placement, times and memory', () => {
  it('gives a valid schedule within its budget, between the bound and the best named one', () => {
    fc.assert(
      fc.property(problems, (drawn) => {
        const { shape, options } = caseOf(drawn);
        const result = autoSchedule(shape, options);
        const { schedule } = result;
        const objective = options.objective!;
        validateSchedule(schedule, { dependencies: options.dependencies, forwards: 'ordered' });
        expect(schedule.placement).toEqual(shape.placement);
        const measured = lengthsOf(schedule, options);
        expect(measured.makespan).toBeCloseTo(result.makespan, 9);
        expect(measured.span).toBeCloseTo(result.span, 9);
        expect(result[objective]).toBeGreaterThanOrEqual(result.lowerBound);
        expect(result.gap).toBeCloseTo(result[objective] > 0 ? 1 - result.lowerBound / result[objective] : 0, 9);
        if (!options.splitBackward) expect(schedule.rows.flat().some((t) => t.kind === 'W')).toBe(false);
        if (options.memory !== undefined) {
          const held = heldOf(schedule, options.memory);
          expect(held).toEqual(result.held);
          held.forEach((h, d) => {
            expect(h).toBeLessThanOrEqual(options.memory!.budget[d]!);
          });
        }
        for (const name of scheduleNames) {
          const other = namedWithin(name, shape, options);
          if (other !== undefined) expect(result[objective]).toBeLessThanOrEqual(other[objective] + 1e-9);
        }
      }),
      { numRuns: Number(process.env.RUNS ?? 60) },
    );
  });
});

/** The lengths of a named schedule; undefined where it breaks the limits or does not fit the stages. */
function namedWithin(name: (typeof scheduleNames)[number], shape: ScheduleShape, options: AutoScheduleOptions) {
  try {
    const schedule = makeSchedule(name, shape);
    validateSchedule(schedule, { dependencies: options.dependencies, forwards: 'ordered' });
    if (!options.splitBackward && schedule.rows.flat().some((t) => t.kind === 'W')) return undefined;
    const { memory } = options;
    if (memory !== undefined && heldOf(schedule, memory).some((h, d) => h > memory.budget[d]!)) return undefined;
    return lengthsOf(schedule, options);
  } catch {
    return undefined;
  }
}

/** Every row of a device: its stages' tasks in every order that keeps each stage's own. */
function allRows(own: readonly number[], microbatches: number, split: boolean): Task[][] {
  const rows: Task[][] = [];
  const counts = own.map(() => ({ F: 0, B: 0, W: 0 }));
  const row: Task[] = [];
  const visit = (): void => {
    if (counts.every((c) => c.W === microbatches)) rows.push([...row]);
    own.forEach((stage, i) => {
      const c = counts[i]!;
      const take = (kind: Task['kind'], ...counted: (keyof typeof c)[]): void => {
        row.push({ kind, stage, microbatch: c[counted[0]!] });
        for (const k of counted) c[k]++;
        visit();
        for (const k of counted) c[k]--;
        row.pop();
      };
      if (c.F < microbatches) take('F', 'F');
      if (split && c.B < c.F) take('B', 'B');
      if (split && c.W < c.B) take('W', 'W');
      if (c.B < c.F && c.W === c.B) take('BW', 'B', 'W');
    });
  };
  visit();
  return rows;
}

/** The shortest of all schedules there are. */
function bruteForce({ stages, microbatches, placement, devices }: ScheduleShape, options: AutoScheduleOptions): number {
  const { memory, dependencies, durations, link, splitBackward } = options;
  const choices = Array.from({ length: devices! }, (_, d) => {
    const own = [...Array(stages).keys()].filter((s) => placement![s] === d);
    const rows = allRows(own, microbatches, splitBackward!);
    if (memory === undefined) return rows;
    const fits = (row: Task[]): boolean =>
      heldOf({ rows: [row], devices: 1 } as unknown as Schedule, memory)[0]! <= memory.budget[d]!;
    return rows.filter(fits);
  });
  let best = Infinity;
  const visit = (rows: Task[][]): void => {
    if (rows.length < devices!) {
      for (const row of choices[rows.length]!) visit([...rows, row]);
      return;
    }
    const schedule = { name: '', stages, microbatches, placement: placement!, devices: devices!, rows };
    const clock = clockUntilStuck(schedule, { dependencies, durations, link });
    if (clock.waiting.length === 0) best = Math.min(best, clock.makespan);
  };
  visit([]);
  return best;
}

describe('few tasks', () => {
  it('are solved to the optimum, which no bound is above', () => {
    fc.assert(
      fc.property(problems, (drawn) => {
        const { stages, microbatches, placement } = drawn;
        const most = Math.max(...drawn.placement.map((d) => placement.filter((x) => x === d).length));
        fc.pre(stages * microbatches <= 3 || (stages * microbatches <= 6 && most === 1 && microbatches <= 2));
        const { shape, options } = caseOf({ ...drawn, objective: 'makespan' });
        const result = autoSchedule(shape, { ...options, effort: 300_000 });
        expect(result.makespan).toBeCloseTo(bruteForce(shape, options), 9);
        expect(result.gap).toBe(0);
      }),
      { numRuns: Number(process.env.RUNS ?? 60) },
    );
  });
});
