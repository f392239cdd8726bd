import { describe, expect, it } from 'vitest';
import {
  bubbleFraction,
  closedFormBubble,
  makeSchedule,
  peakInFlight,
  peakInFlightOfDevices,
  playClock,
  scheduleNames,
} from '../../src/schedule/index.ts';

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

describe('the bubble', () => {
  it.each(scheduleNames)('%s: the closed form is what the clock shows, whatever the durations', (name) => {
    for (const stages of range(8)) {
      for (const microbatches of range(12)) {
        const schedule = makeSchedule(name, { stages, microbatches });
        for (const durations of [
          { F: 1, B: 0, W: 1 },
          { F: 1, B: 1, W: 1 },
          { F: 18.522, B: 18.086, W: 9.337 },
          { F: 3, B: 0.1, W: 0.7 },
        ]) {
          const measured = bubbleFraction(playClock(schedule, { durations }));
          expect(Math.abs(measured - closedFormBubble(name, stages, microbatches))).toBeLessThan(1e-12);
        }
      }
    }
  });

  // Zero Bubble Pipeline Parallelism (Qi et al., ICLR 2024), tables 5 and 9: the 1F1B column, to all its digits.
  it.each([
    [8, 24, 18.522, 18.086, 9.337, 0.601, 0.2431],
    [8, 32, 18.513, 18.086, 9.331, 0.626, 0.1985],
    [8, 64, 18.546, 18.097, 9.321, 0.762, 0.124],
    [16, 48, 11.347, 11.248, 8.132, 0.377, 0.2552],
    [16, 64, 11.307, 11.254, 8.101, 0.379, 0.2082],
    [16, 128, 11.325, 11.308, 8.109, 0.378, 0.1251],
  ])('p=%i M=%i as published, with links', (stages, microbatches, F, B, W, link, published) => {
    const schedule = makeSchedule('1f1b', { stages, microbatches });
    const { rows } = playClock(schedule, { durations: { F, B, W }, link });
    const longest = Math.max(...rows.map((row) => row.at(-1)!.end - row[0]!.start));
    expect(1 - (microbatches * (F + B + W)) / longest).toBeCloseTo(published, 4);
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

  it.each([NaN, -1, Infinity])('refuses a duration of %d', (F) => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    expect(() => playClock(schedule, { durations: { F, B: 1, W: 1 } })).toThrow('0F0 takes');
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
});
