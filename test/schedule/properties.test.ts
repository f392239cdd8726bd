import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/errors.ts';
import {
  deviceInFlightBounds,
  forwardOnly,
  inFlightBounds,
  makeSchedule,
  parseTaskKey,
  peakInFlight,
  peakInFlightOfDevices,
  placementBy,
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

/** Placements as rules make them, and any. */
const ruled: fc.Arbitrary<ScheduleShape> = fc
  .record({
    rule: fc.constantFrom('straight', 'looped', 'v' as const),
    used: fc.integer({ min: 1, max: 5 }),
    v: fc.integer({ min: 1, max: 4 }),
    microbatches: fc.integer({ min: 1, max: 14 }),
  })
  .map(({ rule, used, v, microbatches }) => ({
    stages: used * v,
    microbatches,
    devices: used + 1,
    // The devices' names turned about: it is the same layout.
    placement: placementBy(rule, used, v).map((d) => used - d),
  }));
const bare: fc.Arbitrary<ScheduleShape> = fc.record({
  stages: fc.integer({ min: 1, max: 12 }),
  microbatches: fc.integer({ min: 1, max: 14 }),
});

const split: readonly ScheduleName[] = ['zb-h1', 'zb-h2', 'zb-v'];

describe('any p, M, v and placement', () => {
  it('gives a valid schedule within its bounds, with each task once', () => {
    fc.assert(
      fc.property(names, fc.oneof(shapes, ruled, bare), (name, shape) => {
        const schedule = makeSchedule(name, shape);
        const { stages, microbatches, placement } = shape;
        const inFlightBound = inFlightBounds(name, stages, microbatches, placement);
        const deviceInFlightBound = deviceInFlightBounds(name, shape);
        validateSchedule(schedule, { inFlightBound, deviceInFlightBound, forwards: 'ordered' });
        const keys = schedule.rows.flat().map(taskKey);
        if (name !== 'dualpipe-v') expect(keys).toHaveLength((split.includes(name) ? 3 : 2) * stages * microbatches);
        expect(new Set(keys).size).toBe(keys.length);
        expect(schedule.placement).toEqual(placement ?? schedule.placement);
        if (placement === undefined) expect(peakInFlight(schedule)).toEqual(inFlightBound);
      }),
      { numRuns: 400 },
    );
  });

  it('reaches its bounds on its own layout', () => {
    const layouts = fc.record({
      p: fc.integer({ min: 1, max: 5 }),
      v: fc.integer({ min: 1, max: 3 }),
      M: fc.integer({ min: 1, max: 14 }),
    });
    fc.assert(
      fc.property(
        fc.constantFrom('interleaved-1f1b', 'looped-bfs', 'zb-h1', 'zb-h2' as const),
        layouts,
        (name, { p, v, M }) => {
          const shape = { stages: p * v, microbatches: M, placement: placementBy('looped', p, v) };
          const schedule = makeSchedule(name, shape);
          expect(peakInFlight(schedule)).toEqual(inFlightBounds(name, p * v, M, shape.placement));
          expect(peakInFlightOfDevices(schedule)).toEqual(deviceInFlightBounds(name, shape));
        },
      ),
    );
  });

  it('is the same when only the devices have other names, with its cells', () => {
    fc.assert(
      fc.property(names, bare, (name, shape) => {
        const own = makeSchedule(name, shape);
        const renamed = makeSchedule(name, { ...shape, placement: own.placement.map((d) => own.devices - d) });
        expect(renamed.rows).toEqual([[], ...[...own.rows].reverse()]);
        expect(renamed.overlaps).toEqual(own.overlaps && [[], ...[...own.overlaps].reverse()]);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps the order of every stage, whatever shares its device, where stages are ordered by themselves', () => {
    fc.assert(
      fc.property(fc.constantFrom('gpipe', '1f1b' as const), shapes, (name, shape) => {
        const ofStage = (schedule: Schedule, s: number) => schedule.rows.flat().filter((t) => t.stage === s);
        const alone = makeSchedule(name, { stages: shape.stages, microbatches: shape.microbatches });
        const { placement } = shape;
        // As blocks the stages of a device are one.
        fc.pre(placement === undefined || placement.some((d, s) => placement.indexOf(d) < s && placement[s - 1] !== d));
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
          expect(playClock(schedule).makespan).toBe(schedule.rows[0]!.length);
        },
      ),
    );
  });
});

describe('round trips', () => {
  it('CSV, with any backwards split', () => {
    fc.assert(
      fc.property(names, shapes, fc.infiniteStream(fc.boolean()), (name, shape, coins) => {
        const { overlaps: _, ...whole } = makeSchedule(name, shape);
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

  it('CSV, with overlap cells', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 14 }), (p, microbatches) => {
        const schedule = makeSchedule('dualpipe-v', { stages: 2 * p, microbatches });
        for (const columns of ['clock', 'packed'] as const) {
          const text = writeScheduleCsv(schedule, { columns });
          expect(readScheduleCsv(text, { name: 'dualpipe-v' })).toEqual(schedule);
          if (columns === 'clock')
            expect(
              new Set(
                text
                  .trimEnd()
                  .split('\n')
                  .map((l) => l.split(',').length),
              ).size,
            ).toBe(1);
        }
      }),
      { numRuns: 60 },
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
    expect(() => deviceInFlightBounds('gpip' as ScheduleName, { stages: 1, microbatches: 1 })).toThrow(UsageError);
  });
  it.each<[string, ScheduleShape]>([
    ['schedule-shape', { stages: 0, microbatches: 1 }],
    ['schedule-shape', { stages: 1, microbatches: 1.5 }],
    ['schedule-placement', { stages: 2, microbatches: 1, placement: [0] }],
    ['schedule-placement', { stages: 2, microbatches: 1, placement: [0, -1] }],
    ['schedule-placement', { stages: 2, microbatches: 1, placement: [0, 0.5] }],
    ['schedule-placement', { stages: 3, microbatches: 1, devices: 2 }],
  ])('%s: %o', (code, shape) => {
    expect(() => makeSchedule('gpipe', shape)).toThrow(expect.objectContaining({ code, remedy: expect.any(String) }));
  });
});
