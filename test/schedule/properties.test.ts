import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/errors.ts';
import {
  forwardOnly,
  inFlightBounds,
  makeSchedule,
  parseTaskKey,
  peakInFlight,
  playClock,
  readScheduleCsv,
  type Schedule,
  type ScheduleName,
  type ScheduleShape,
  scheduleNames,
  task,
  taskKey,
  validateSchedule,
  writeScheduleCsv,
} from '../../src/schedule/index.ts';

const shapes: fc.Arbitrary<ScheduleShape> = fc.integer({ min: 1, max: 6 }).chain((stages) =>
  fc.record({
    stages: fc.constant(stages),
    microbatches: fc.integer({ min: 1, max: 8 }),
    devices: fc.constant(6),
    placement: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: stages, maxLength: stages }),
  }),
);
const names: fc.Arbitrary<ScheduleName> = fc.constantFrom(...scheduleNames);

describe('any p, M and placement', () => {
  it('gives a valid schedule within its bound, with each task once', () => {
    fc.assert(
      fc.property(names, shapes, (name, shape) => {
        const schedule = makeSchedule(name, shape);
        const { stages, microbatches } = shape;
        const inFlightBound = inFlightBounds(name, stages, microbatches);
        validateSchedule(schedule, { inFlightBound, forwards: 'ordered' });
        const keys = schedule.rows.flat().map(taskKey);
        expect(keys).toHaveLength(2 * stages * microbatches);
        expect(new Set(keys).size).toBe(keys.length);
        expect(peakInFlight(schedule)).toEqual(inFlightBound);
      }),
      { numRuns: 400 },
    );
  });

  it('keeps the order of every stage, whatever shares its device: the same bits for every placement', () => {
    fc.assert(
      fc.property(names, shapes, (name, shape) => {
        const ofStage = (schedule: Schedule, s: number) => schedule.rows.flat().filter((t) => t.stage === s);
        const alone = makeSchedule(name, { stages: shape.stages, microbatches: shape.microbatches });
        const placed = makeSchedule(name, shape);
        for (let s = 0; s < shape.stages; s++) expect(ofStage(placed, s)).toEqual(ofStage(alone, s));
      }),
    );
  });

  it('has a forward-only schedule', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const schedule = forwardOnly(shape);
        validateSchedule(schedule, { passes: 'forward', inFlightBound: new Array(shape.stages).fill(0) });
        expect(schedule.rows.flat()).toHaveLength(shape.stages * shape.microbatches);
      }),
    );
  });

  it('leaves no device idle at a clock when one of its tasks could have run in the row', () => {
    fc.assert(
      fc.property(
        names,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 8 }),
        (name, stages, microbatches) => {
          const schedule = makeSchedule(name, { stages, microbatches, placement: new Array(stages).fill(0) });
          expect(playClock(schedule).makespan).toBe(2 * stages * microbatches);
        },
      ),
    );
  });
});

describe('round trips', () => {
  it('CSV, with any backwards split', () => {
    fc.assert(
      fc.property(names, shapes, fc.infiniteStream(fc.boolean()), (name, shape, coins) => {
        const whole = makeSchedule(name, shape);
        const rows = whole.rows.map((row) =>
          row.flatMap((t) => {
            const split = t.kind === 'BW' && coins.next().value === true;
            return split ? [task('B', t.stage, t.microbatch), task('W', t.stage, t.microbatch)] : [t];
          }),
        );
        const schedule = { ...whole, rows };
        validateSchedule(schedule);
        expect(readScheduleCsv(writeScheduleCsv(schedule), { name })).toEqual(schedule);
      }),
      { numRuns: 300 },
    );
  });

  it('JSON', () => {
    const schedule = makeSchedule('1f1b', { stages: 3, microbatches: 4 });
    expect(JSON.parse(JSON.stringify(schedule))).toEqual(schedule);
  });

  it('task keys', () => {
    fc.assert(
      fc.property(fc.constantFrom('F', 'B', 'W', 'BW' as const), fc.nat(), fc.nat(), (kind, stage, microbatch) => {
        const t = task(kind, stage, microbatch);
        expect(parseTaskKey(taskKey(t))).toEqual(t);
      }),
    );
    expect(() => parseTaskKey('2U0')).toThrow('expected stage, kind');
  });
});

describe('what cannot be made', () => {
  it('an unknown name says the nearest', () => {
    expect(() => makeSchedule('gpip' as ScheduleName, { stages: 1, microbatches: 1 })).toThrow(UsageError);
    expect(() => inFlightBounds('toString' as ScheduleName, 1, 1)).toThrow(UsageError);
  });
  it.each<[string, ScheduleShape]>([
    ['schedule-shape', { stages: 0, microbatches: 1 }],
    ['schedule-shape', { stages: 1, microbatches: 1.5 }],
    ['schedule-placement', { stages: 2, microbatches: 1, placement: [0] }],
    ['schedule-placement', { stages: 2, microbatches: 1, placement: [0, -1] }],
    ['schedule-placement', { stages: 3, microbatches: 1, devices: 2 }],
  ])('%s: %o', (code, shape) => {
    expect(() => makeSchedule('gpipe', shape)).toThrow(expect.objectContaining({ code, remedy: expect.any(String) }));
  });
});
