import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AutoSchedule,
  type AutoScheduleOptions,
  autoSchedule,
  makeSchedule,
  placementOver,
  playClock,
  type Schedule,
  type ScheduleShape,
  type StageEdge,
  scheduleNames,
  type Task,
  validateSchedule,
} from '../../src/schedule/index.ts';
import { bruteForce, heldOf } from '../support/scheduling-problem.ts';

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
      { numRuns: 40 },
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
      { numRuns: 40 },
    );
  });

  it('are not led astray by a longer whole schedule that ends with a short task', () => {
    // Stage 1 alone decides: 1 + 0.5 where its backwards are whole. Of the orders that place a B and W of 8 before, some end
    // with a task that itself ends early.
    const table = [
      { F: 0, B: 0, W: 0, BW: 3 },
      { F: 0, B: 0, W: 8, BW: 1 },
    ];
    const durations = ({ kind, stage, microbatch }: Task): number => table[stage]![kind] * (microbatch === 1 ? 0.5 : 1);
    const memory = { perMicrobatch: [4, 0], perWeightGradient: [0, 0], budget: [0, 4] };
    const shape = { stages: 2, microbatches: 2, placement: [1, 0] };
    expect(autoSchedule(shape, { durations, memory, effort: 300_000 })).toMatchObject({ makespan: 1.5, gap: 0 });
  });
});

// Each is lost by an exact search that leaves out one of its rules: what a device holds between B and W, the time of a value
// on its way, and that a device is not free before its last task ends.
describe('the optimum depends', () => {
  const kinds = ['F', 'B', 'W', 'BW'];
  it.each<[string, number, ScheduleShape, number[], number[], AutoScheduleOptions['memory']]>([
    [
      'on what is kept from B to W',
      49,
      { stages: 2, microbatches: 3, placement: [0, 1] },
      [4, 7, 6, 7, 8, 2, 1, 3],
      [0, 2, 4, 2],
      { perMicrobatch: [1, 0], perWeightGradient: [4, 3], budget: [4, 5] },
    ],
    [
      'on links within a device, and on when it is free',
      27,
      { stages: 2, microbatches: 2, placement: [0, 0] },
      [4, 5, 2, 0, 1, 4, 5, 8],
      [2, 2, 4, 0],
      { perMicrobatch: [2, 0], perWeightGradient: [2, 3], budget: [7] },
    ],
  ])('%s: %i', (_, makespan, shape, times, links, memory) => {
    const durations = (t: Task): number => times[4 * t.stage + kinds.indexOf(t.kind)]!;
    const link = (from: number, to: number): number => links[from * shape.stages + to]!;
    const result = autoSchedule(shape, { durations, link, memory, effort: 100_000 });
    expect(result).toMatchObject({ makespan, lowerBound: makespan, gap: 0 });
  });
});

describe('a V of four stages on two devices', () => {
  // The bound alone is 14, 20 and 19: that nothing is shorter takes all orders.
  it.each([
    [2, 2, 17],
    [3, 2, 25],
    [3, 3, 21],
  ])('%i microbatches in a memory of %i: %i is proved', (microbatches, budget, makespan) => {
    const memory = { perMicrobatch: [1, 1, 1, 1], budget: [budget, budget] };
    const shape = { stages: 4, microbatches, placement: [0, 1, 1, 0] };
    const result = autoSchedule(shape, { durations: { F: 1, B: 1, W: 1 }, memory, effort: 1_000_000 });
    expect(result).toMatchObject({ makespan, lowerBound: makespan, gap: 0 });
  });
});

describe('the least memory', () => {
  it('is what the refusal says: with it there is a schedule, below it there is none', () => {
    fc.assert(
      fc.property(problems, fc.nat(3), (drawn, device) => {
        const { stages, devices } = drawn;
        // One last stage: here the claim is that nothing less will do.
        const { shape, options } = caseOf({
          ...drawn,
          chain: true,
          microbatches: 1,
          slack: new Array(devices).fill(0),
        });
        const result = autoSchedule(shape, options);
        expect(result.held).toEqual(options.memory!.budget);
        const d = device % devices;
        const need = options.memory!.budget[d]!;
        fc.pre(need > 0 && stages <= 3);
        const budget = options.memory!.budget.with(d, need - 0.5);
        const memory = { ...options.memory!, budget };
        expect(bruteForce(shape, { ...options, memory })).toBe(Infinity);
        expect(() => autoSchedule(shape, { ...options, memory })).toThrow(
          expect.objectContaining({
            code: 'schedule-memory-budget',
            message: expect.stringContaining(`device ${d} has a budget of ${need - 0.5}`),
            remedy: expect.stringContaining(`at least ${need}`),
          }),
        );
      }),
      { numRuns: 20 },
    );
  });

  it('is that of whole backwards where a W would hold more than its F', () => {
    const shape = { stages: 2, microbatches: 2, placement: [0, 1], devices: 2 };
    const durations = { F: 2, B: 2, W: 2, BW: 4 };
    for (const splitBackward of [true, false]) {
      const options = { durations, splitBackward };
      const memory = { perMicrobatch: [1, 1], perWeightGradient: [4, 1], budget: [2, 2] };
      const { schedule, makespan, gap } = autoSchedule(shape, { ...options, memory });
      expect(schedule.rows[0]!.map((t) => t.kind)).toEqual(['F', 'F', 'BW', 'BW']);
      expect([makespan, gap]).toEqual([bruteForce(shape, { ...options, memory }), 0]);
      expect(() => autoSchedule(shape, { ...options, memory: { ...memory, budget: [0.5, 2] } })).toThrow(
        expect.objectContaining({ fields: expect.objectContaining({ need: 1, smallestBudget: [1, 1] }) }),
      );
    }
  });

  it('is less where branches end apart: one goes back before the other is begun', () => {
    const shape = { stages: 3, microbatches: 4, placement: [0, 1, 1] };
    const dependencies: StageEdge[] = [
      [0, 1],
      [0, 2],
    ];
    const memory = { perMicrobatch: [1, 1, 1], budget: [1, 1] };
    const { schedule, held } = autoSchedule(shape, { dependencies, memory });
    validateSchedule(schedule, { dependencies, forwards: 'ordered' });
    expect(held).toEqual([1, 1]);
  });
});

// Qi et al. (ICLR 2024), table 5 with the times of table 9: the searched schedule ZB-2p. A device may hold what 2p
// microbatches take before their B; a W needs 32sbh of the (34 + 5as/h)sbh bytes that a B does (table 1), with s = 1024 and
// the models of table 3: a = 24, h = 2304 on 8 devices, a = 40, h = 5120 on 16.
describe('the zero-bubble table', () => {
  const [, ...table] = readFileSync(new URL('data/zero-bubble-table.csv', import.meta.url), 'utf8')
    .trim()
    .split('\n');
  const rows = table.map((line) => line.split(',').slice(1).map(Number) as [number, number, ...number[]]);
  const solve = ([p, M, F, B, W, link]: number[], keep: number, effort: number) => {
    const all = (x: number): number[] => new Array<number>(p!).fill(x);
    const memory = { perMicrobatch: all(1), perWeightGradient: all(keep), budget: all(2 * p!) };
    const durations = { F: F!, B: B!, W: W! };
    const shape = { stages: p!, microbatches: M! };
    const result = autoSchedule(shape, { durations, link, memory, objective: 'span', effort });
    const bubble = (span: number): number => 1 - (M! * (F! + B! + W!)) / span;
    return { ...result, bubble: bubble(result.span), least: bubble(result.lowerBound) };
  };

  it.each(rows)('p=%i M=%i: no more bubble than published, in the same memory', (...row) => {
    const keep = row[0] === 8 ? 32 / (34 + (5 * 24 * 1024) / 2304) : 32 / (34 + (5 * 40 * 1024) / 5120);
    const { bubble, held, against } = solve(row, keep, row[1] === 24 ? 3_000_000 : 400_000);
    const published = row[10]!;
    expect(bubble).toBeLessThan(published + 0.00005);
    expect(Math.max(...held)).toBeLessThanOrEqual(2 * row[0]);
    expect(against!.name).toBe('zb-h2');
  });

  it('could not be had where a W holds all that its B did: the bound says so', () => {
    const { bubble, least, gap } = solve(rows[0]!, 1, 400_000);
    expect(gap).toBe(0);
    expect(bubble).toBe(least);
    expect(least).toBeGreaterThan(2 * rows[0]![10]!);
  });
});

describe('what is known', () => {
  const equal = { durations: { F: 1, B: 1, W: 1 } };
  it.each<[string, number, ScheduleShape, AutoScheduleOptions]>([
    // The last stage is two tasks away from the first, by either branch.
    [
      'a diamond',
      12 * 3 + 2,
      { stages: 4, microbatches: 12 },
      {
        dependencies: [
          [0, 1],
          [0, 2],
          [1, 3],
          [2, 3],
        ],
      },
    ],
    ['a chain', 8 * 3 + 3, { stages: 4, microbatches: 8 }, {}],
    ['one device', 8 * 3 * 4, { stages: 4, microbatches: 8, placement: [0, 0, 0, 0] }, {}],
    [
      'a chain in the memory of 1f1b',
      30,
      { stages: 4, microbatches: 8 },
      { memory: { perMicrobatch: [1, 1, 1, 1], budget: [4, 3, 2, 1] } },
    ],
    ['whole backwards', (8 + 3) * 3, { stages: 4, microbatches: 8 }, { splitBackward: false }],
    [
      'a V',
      8 * 6 + 3,
      { stages: 8, microbatches: 8, placement: [0, 1, 2, 3, 3, 2, 1, 0] },
      { memory: { perMicrobatch: new Array(8).fill(1), budget: new Array(4).fill(8) } },
    ],
  ])('%s of equal stages: %i, and no schedule is shorter', (_, makespan, shape, options) => {
    const result = autoSchedule(shape, { ...equal, ...options });
    expect(result).toMatchObject({ makespan, lowerBound: makespan, gap: 0 });
  });

  it('takes BW where it is shorter than its parts, and B where its gradient is waited for', () => {
    const durations = { F: 1, B: 1, W: 1, BW: 1.25 };
    const { schedule, makespan, gap } = autoSchedule({ stages: 2, microbatches: 2 }, { durations });
    expect(schedule.rows.flat().some((t) => t.kind === 'BW')).toBe(true);
    expect(gap).toBe(0);
    expect(makespan).toBeLessThan(autoSchedule({ stages: 2, microbatches: 2 }, equal).makespan);
  });

  it('gives the same schedule for the same problem, and none is worse for more effort', () => {
    const shape = { stages: 8, microbatches: 12, placement: [0, 1, 2, 3, 3, 2, 1, 0] };
    const memory = { perMicrobatch: new Array(8).fill(1), budget: new Array(4).fill(4) };
    const [none, some, again, more] = [0, 20_000, 20_000, 200_000].map((effort) =>
      autoSchedule(shape, { ...equal, memory, effort }),
    );
    expect(again).toEqual(some);
    expect(some!.makespan).toBeLessThanOrEqual(none!.makespan);
    expect(more!.makespan).toBeLessThan(none!.makespan);
  });

  it('does with more effort all that it does with less: never a longer step, nor at the same length more idle', () => {
    const times = [3, 1, 4, 2, 2, 3];
    const durations = ({ kind, stage }: Task): number => times[(stage + { F: 0, B: 1, W: 3, BW: 0 }[kind]) % 6]!;
    for (const objective of ['makespan', 'span'] as const) {
      for (const budget of [3, 8]) {
        const memory = { perMicrobatch: new Array(6).fill(1), budget: new Array(3).fill(budget) };
        const shape = { stages: 6, microbatches: 9, placement: [0, 1, 2, 2, 1, 0] };
        const other = objective === 'span' ? 'makespan' : 'span';
        let before: AutoSchedule | undefined;
        for (let effort = 250; effort < 60_000; effort *= 1.7) {
          const found = autoSchedule(shape, { durations, objective, memory, link: 0.25, splitBackward: true, effort });
          if (before) {
            expect(found[objective]).toBeLessThanOrEqual(before[objective]);
            if (found[objective] === before[objective]) expect(found[other]).toBeLessThanOrEqual(before[other]);
          }
          before = found;
        }
      }
    }
  });

  it('without a placement takes the best of those by rule, each with its share of the effort', () => {
    const durations = ({ kind, stage }: Task): number => (stage === 0 ? 3 : 1) * { F: 1, B: 2, W: 1, BW: 3 }[kind];
    const shape = { stages: 6, microbatches: 6, devices: 3 };
    const found = autoSchedule(shape, { durations, link: 0.5, effort: 30_000 });
    const all = (['looped', 'v', 'straight'] as const).map((rule) =>
      autoSchedule({ ...shape, placement: placementOver(rule, 6, 3) }, { durations, link: 0.5, effort: 10_000 }),
    );
    expect(found.makespan).toBe(Math.min(...all.map((a) => a.makespan)));
    expect(all.map((a) => a.makespan)).not.toEqual(new Array(3).fill(found.makespan));
    expect(found.searched.placements).toEqual(['looped', 'v', 'straight']);
  });

  it('of very many tasks tries few orders, and says so', () => {
    const { searched, gap } = autoSchedule({ stages: 16, microbatches: 11_000 }, { ...equal, effort: 600_000 });
    expect(searched).toMatchObject({ named: ['zb-h1'], isLarge: true, orders: 1 });
    expect(gap).toBe(0);
    // Only the schedules of this very placement.
    const thereAndBack = { stages: 16, microbatches: 11_000, placement: placementOver('v', 16, 8), devices: 8 };
    expect(autoSchedule(thereAndBack, { ...equal, effort: 600_000 }).searched.named).toEqual(['zb-v']);
    expect(autoSchedule({ stages: 4, microbatches: 4 }, equal).searched).toMatchObject({
      named: [...scheduleNames],
      isLarge: false,
    });
  });

  it('of devices without a limit holds what it likes', () => {
    const shape = { stages: 3, microbatches: 6 };
    const without = autoSchedule(shape, { ...equal, effort: 3000 });
    for (const budget of [
      [Infinity, Infinity, Infinity],
      [Infinity, 6, Infinity],
    ]) {
      const memory = { perMicrobatch: [1, 1, 1], budget };
      const found = autoSchedule(shape, { ...equal, memory, effort: 3000 });
      expect(found.makespan).toBe(without.makespan);
      expect(found.held).toEqual(heldOf(found.schedule, memory));
    }
  });

  it('lays stages over fewer devices in rounds', () => {
    expect(autoSchedule({ stages: 4, devices: 2, microbatches: 1 }, { effort: 0 }).schedule.placement).toEqual([
      0, 1, 0, 1,
    ]);
  });
});

describe('what cannot be made', () => {
  it.each<[string, AutoScheduleOptions]>([
    ['schedule-duration', { durations: { F: 1, B: -1, W: 1 } }],
    ['schedule-duration', { durations: { F: 1, B: 1, W: Number.POSITIVE_INFINITY } }],
    ['schedule-link', { link: Number.NaN }],
    ['schedule-link', { link: Number.POSITIVE_INFINITY }],
    ['schedule-link', { link: (from) => (from === 1 ? -1 : 0) }],
    ['schedule-dependencies', { dependencies: [[0, 2]] }],
    ['schedule-dependencies', { dependencies: [[0, 0]] }],
    [
      'schedule-dependencies',
      {
        dependencies: [
          [0, 1],
          [1, 0],
        ],
      },
    ],
    ['schedule-memory', { memory: { perMicrobatch: [1], budget: [1, 1] } }],
    ['schedule-memory', { memory: { perMicrobatch: [1, 1], budget: [1] } }],
    ['schedule-memory', { memory: { perMicrobatch: [1, 1], perWeightGradient: [1, Infinity], budget: [1, 1] } }],
    ['schedule-memory-budget', { memory: { perMicrobatch: [1, 1], budget: [1, 0.5] } }],
    ['schedule-objective', { objective: 'time' as 'span' }],
    ['schedule-effort', { effort: -1 }],
  ])('%s: %o', (code, options) => {
    const remedy = expect.any(String);
    expect(() => autoSchedule({ stages: 2, microbatches: 2 }, options)).toThrow(
      expect.objectContaining({ code, remedy }),
    );
  });
});
