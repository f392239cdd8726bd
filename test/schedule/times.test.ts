import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bubbleFraction,
  closedFormBubble,
  type Durations,
  forwardOnly,
  makeSchedule,
  namedSchedules,
  peakHeldOfDevices,
  peakInFlight,
  peakInFlightOfDevices,
  playClock,
  type Schedule,
  type ScheduleName,
  scheduleNames,
  schedulePlacement,
  stageFigures,
  task,
  timesUntilStuck,
  writeScheduleCsv,
} from '../../src/schedule/index.ts';

const golden = (file: string): string => readFileSync(new URL(`./data/${file}`, import.meta.url), 'utf8');

describe('the bubble', () => {
  const layouts = scheduleNames.flatMap((name) => {
    const { stagesPerDevice, placement } = namedSchedules[name];
    return placement === 'looped' ? [1, 2, 3].map((v) => [name, v] as const) : [[name, stagesPerDevice] as const];
  });
  it.each(layouts)('%s, %i a device: the closed form is what the clock shows', (name, v) => {
    let known = 0;
    const check = (p: number, M: number, durations: Durations): void => {
      const closed = closedFormBubble(name, p, M, { stagesPerDevice: v, durations });
      if (closed === null) return;
      known++;
      const schedule = makeSchedule(name, { stages: p * v, microbatches: M, placement: schedulePlacement(name, p, v) });
      expect(Math.abs(bubbleFraction(playClock(schedule, { durations })) - closed)).toBeLessThan(1e-9);
    };
    const time = fc.double({ min: 0.01, max: 9, noNaN: true });
    const sizes = [fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 16 })] as const;
    fc.assert(
      fc.property(...sizes, time, time, time, (p, M, F, B, W) => check(p, M, { F, B, W })),
      { numRuns: 60 },
    );
    fc.assert(
      fc.property(...sizes, time, (p, M, t) => check(p, M, { F: t, B: t, W: t })),
      { numRuns: 30 },
    );
    expect(known > 0).toBe(name !== 'dualpipe-v');
  });

  it('is unknown where it depends on durations that are not given, or where there are too few microbatches', () => {
    expect(closedFormBubble('gpipe', 4, 8)).toBeCloseTo(3 / 11, 12);
    expect(closedFormBubble('interleaved-1f1b', 4, 8)).toBeCloseTo(3 / 19, 12);
    expect(closedFormBubble('zb-h1', 4, 8)).toBeNull();
    expect(closedFormBubble('zb-h1', 4, 3, { durations: { F: 1, B: 1, W: 1 } })).toBeNull();
    // Qi et al.: a third of the bubble of 1F1B where F = B = W.
    expect(closedFormBubble('zb-h1', 4, 8, { durations: { F: 1, B: 1, W: 1 } })).toBeCloseTo(3 / 27, 12);
  });

  // Zero Bubble Pipeline Parallelism (Qi et al., ICLR 2024), tables 5 and 9: test/schedule/data/README.md.
  const [, ...table] = golden('zero-bubble-table.csv').trim().split('\n');
  it.each(table)('%s: as published, with links', (line) => {
    const [stages, microbatches, F, B, W, link, bubble1f1b, , bubbleH1, bubbleH2] = line
      .split(',')
      .slice(1)
      .map(Number);
    const bubble = (name: ScheduleName): number => {
      const schedule = makeSchedule(name, { stages: stages!, microbatches: microbatches! });
      const { rows } = playClock(schedule, { durations: { F: F!, B: B!, W: W! }, link });
      const longest = Math.max(...rows.map((row) => row.at(-1)!.end - row[0]!.start));
      return 1 - (microbatches! * (F! + B! + W!)) / longest;
    };
    const printed = (x: number): string => x.toFixed(4);
    expect(printed(bubble('1f1b'))).toBe(printed(bubble1f1b!));
    expect(printed(bubble('zb-h1'))).toBe(printed(bubbleH1!));
    expect(printed(bubble('zb-h2'))).toBe(printed(bubbleH2!));
  });
});

describe('the clock', () => {
  it('takes a duration a task and a delay an edge', () => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 1 });
    const clock = playClock(schedule, {
      durations: ({ kind, stage }) => (kind === 'F' ? 1 : 2) * (stage + 1),
      link: (from, to) => (from < to ? 10 : 20),
    });
    expect(clock.rows.map((row) => row.map(({ start, end }) => [start, end]))).toEqual([
      [
        [0, 1],
        [37, 39],
      ],
      [
        [11, 13],
        [13, 17],
      ],
    ]);
    expect(clock.makespan).toBe(39);
  });

  it('takes a whole backward at its own time where one is given, else at that of its parts', () => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    expect(playClock(schedule, { durations: { F: 1, B: 2, W: 3 } }).makespan).toBe(6);
    expect(playClock(schedule, { durations: { F: 1, B: 2, W: 3, BW: 4 } }).makespan).toBe(5);
  });

  it('waits for ever with a W that stands before its B, in numbers too', () => {
    const row = [task('F', 0, 0), task('W', 0, 0), task('B', 0, 0)];
    const schedule = { name: 'x', stages: 1, devices: 1, microbatches: 1, placement: [0], rows: [row] };
    expect(timesUntilStuck(schedule).waiting).toEqual([{ device: 0, index: 1, task: row[1], waitsFor: row[2] }]);
    expect(() => playClock(schedule)).toThrow(expect.objectContaining({ code: 'schedule-dependency-cycle' }));
  });

  it.each([NaN, -1, Infinity])('refuses a duration of %d', (F) => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    expect(() => playClock(schedule, { durations: { F, B: 1, W: 1 } })).toThrow('0F0 takes');
  });

  it.each([Number.NaN, -1, Infinity])('refuses a link of %d', (link) => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 1 });
    expect(() => playClock(schedule, { link })).toThrow(expect.objectContaining({ code: 'schedule-link' }));
    expect(() => playClock(schedule, { link: () => link })).toThrow('from stage 0 to stage 1');
  });

  it('starts an overlap cell when both its tasks may, and runs them one after the other', () => {
    // 0F1 could start at 1; in a cell with 0BW0 it waits for the gradient, which arrives at 3.
    const rows = [
      [task('F', 0, 0), task('F', 0, 1), task('BW', 0, 0), task('BW', 0, 1)],
      [task('F', 1, 0), task('BW', 1, 0), task('F', 1, 1), task('BW', 1, 1)],
    ];
    const plain = { name: 'x', stages: 2, devices: 2, microbatches: 2, placement: [0, 1], rows };
    const startsOf = (schedule: Schedule) => playClock(schedule).rows[0]!.map(({ start }) => start);
    expect(startsOf(plain)).toEqual([0, 1, 3, 5]);
    expect(startsOf({ ...plain, overlaps: [[1], []] })).toEqual([0, 3, 4, 6]);
    // A cell of one task is none; that it is refused is the validator's to say.
    expect(startsOf({ ...plain, overlaps: [[3], []] })).toEqual([0, 1, 3, 5]);
    expect(writeScheduleCsv({ ...plain, overlaps: [[3], []] })).toBe(writeScheduleCsv(plain));
  });

  it('gives the figures of each device, also of one that begins late and of one without a stage', () => {
    const schedule = forwardOnly({ stages: 2, microbatches: 2, devices: 3 });
    const figures = stageFigures(schedule, { durations: ({ stage }) => (stage === 0 ? 1 : 3) });
    // Device 1 works from 1 to 7 without a gap.
    expect(figures).toEqual({
      makespan: 7,
      bubbleFraction: 0,
      bubbleFractionMakespan: 1 - 6 / 7,
      devices: [
        { busy: 2, idle: 5, peakInFlight: 0 },
        { busy: 6, idle: 1, peakInFlight: 0 },
        { busy: 0, idle: 7, peakInFlight: 0 },
      ],
    });
    const nothing = { durations: { F: 0, B: 0, W: 0 } };
    expect(stageFigures(schedule, nothing)).toMatchObject({ bubbleFraction: 0, bubbleFractionMakespan: 0 });
    expect(bubbleFraction(playClock(schedule, nothing))).toBe(0);
  });

  it('holds a share of a microbatch from its B to its W', () => {
    const row = [
      ...[task('F', 0, 0), task('F', 0, 1), task('B', 0, 0), task('F', 0, 2), task('B', 0, 1), task('F', 0, 3)],
      ...[task('B', 0, 2), task('B', 0, 3), ...[0, 1, 2, 3].map((m) => task('W', 0, m))],
    ];
    const schedule = { name: 'x', stages: 1, devices: 1, microbatches: 4, placement: [0], rows: [row] };
    // Behind the last F: two from their F on, and two from their B on.
    expect([0, 0.5, 1].map((share) => peakHeldOfDevices(schedule, share))).toEqual([[2], [3], [4]]);
  });

  it('is the same by numbers', () => {
    const schedule = makeSchedule('dualpipe-v', { stages: 6, microbatches: 7 });
    const options = { durations: { F: 1.25, B: 1.5, W: 0.5 }, link: 0.25 };
    const { rowStarts, starts, ends, makespan } = timesUntilStuck(schedule, options);
    const clock = playClock(schedule, options);
    expect(makespan).toBe(clock.makespan);
    clock.rows.forEach((row, d) => {
      const place = rowStarts[d]!;
      expect(row.map(({ start }) => start)).toEqual([...starts.slice(place, place + row.length)]);
      expect(row.map(({ end }) => end)).toEqual([...ends.slice(place, place + row.length)]);
    });
  });

  it('looks at a task a few times, however long the schedule is', () => {
    const count = (stages: number, microbatches: number): number => {
      let calls = 0;
      playClock(makeSchedule('1f1b', { stages, microbatches }), { link: () => ++calls * 0 });
      return calls / (2 * stages * microbatches);
    };
    expect(count(64, 64)).toBeLessThan(2);
    expect(count(16, 256)).toBeLessThan(2);
  });

  it('of rows that cannot finish there are none, however few devices wait', () => {
    const rows = [[task('BW', 0, 0), task('F', 0, 0)]];
    const stuck = { name: 'stuck', stages: 1, devices: 1, microbatches: 1, placement: [0], rows };
    for (const play of [playClock, stageFigures]) {
      expect(() => play(stuck)).toThrow(expect.objectContaining({ code: 'schedule-dependency-cycle' }));
    }
  });

  it('lets branches run side by side where the dependencies allow', () => {
    const schedule = makeSchedule('gpipe', { stages: 3, microbatches: 1 });
    const dependencies = [
      [0, 1],
      [0, 2],
    ] as const;
    expect(playClock(schedule, { dependencies }).makespan).toBe(4);
    expect(playClock(schedule).makespan).toBe(6);
  });
});

describe('microbatches in flight', () => {
  it('gpipe holds all, 1f1b min(p − s, M)', () => {
    expect(peakInFlight(makeSchedule('gpipe', { stages: 4, microbatches: 6 }))).toEqual([6, 6, 6, 6]);
    expect(peakInFlight(makeSchedule('1f1b', { stages: 4, microbatches: 6 }))).toEqual([4, 3, 2, 1]);
    expect(peakInFlight(makeSchedule('1f1b', { stages: 4, microbatches: 2 }))).toEqual([2, 2, 2, 1]);
  });
  it('a device holds what its stages hold together', () => {
    const schedule = makeSchedule('gpipe', { stages: 3, microbatches: 5, placement: [0, 1, 0], devices: 3 });
    expect(peakInFlightOfDevices(schedule)).toEqual([10, 5, 0]);
  });
  it('as the papers say: ZB-H1 p, ZB-H2 2p − 1 and ZB-V p microbatches of a whole device on every device', () => {
    const [stages, microbatches] = [6, 24];
    const peaks = (name: ScheduleName, s: number) =>
      peakInFlightOfDevices(makeSchedule(name, { stages: s, microbatches }));
    expect(peaks('zb-h1', stages)).toEqual(new Array(6).fill(6));
    expect(peaks('zb-h2', stages)).toEqual(new Array(6).fill(11));
    expect(peaks('zb-v', 2 * stages)).toEqual(new Array(6).fill(2 * 6));
    expect(peaks('dualpipe-v', 2 * stages)).toEqual(new Array(6).fill(2 * 6 + 1));
    // Narayanan et al.: (v − 1)p + 2(p − 1) + 1 on the first device.
    expect(peaks('interleaved-1f1b', 2 * stages)[0]).toBe(6 + 10 + 1);
  });
});
