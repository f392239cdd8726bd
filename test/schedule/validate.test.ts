import { describe, expect, it } from 'vitest';
import { PlanError } from '../../src/core/errors.ts';
import {
  forwardOnly,
  inFlightBounds,
  makeSchedule,
  playClock,
  type Schedule,
  type Task,
  task,
  type ValidateOptions,
  validateSchedule,
} from '../../src/schedule/index.ts';

const good = makeSchedule('1f1b', { stages: 3, microbatches: 4 });

/** The good schedule with its rows changed in place. */
function broken(change: (rows: Task[][]) => void): Schedule {
  const rows = good.rows.map((row) => [...row]);
  change(rows);
  return { ...good, rows };
}

function failure(schedule: Schedule, options?: ValidateOptions): PlanError {
  try {
    validateSchedule(schedule, options);
  } catch (error) {
    expect(error).toBeInstanceOf(PlanError);
    return error as PlanError;
  }
  throw new Error('the schedule passed');
}

/** A line a device, marked somewhere. */
function expectMarkedGrid(error: PlanError, mark: string, rows = 3): void {
  for (let device = 0; device < rows; device++) expect(error.message).toMatch(new RegExp(`^device ${device} {2}`, 'm'));
  expect(error.message).toContain(mark);
  expect(error.remedy).toBeTruthy();
}

const place = (schedule: Schedule, device: number, t: Task): number =>
  schedule.rows[device]!.findIndex((other) => JSON.stringify(other) === JSON.stringify(t));

describe('a sound schedule passes', () => {
  it('as made', () => {
    validateSchedule(good, { inFlightBound: inFlightBounds('1f1b', 3, 4), forwards: 'ordered' });
  });
  it('with skip connections and parallel branches', () => {
    const dependencies = [
      [0, 1],
      [0, 2],
    ] as const;
    validateSchedule(good, { dependencies });
  });
  it('forward only', () => {
    validateSchedule(forwardOnly({ stages: 3, microbatches: 4, placement: [1, 0, 1] }), { passes: 'forward' });
  });
});

describe('every defect has its code, its place and its grid', () => {
  it('duplicate task', () => {
    const error = failure(broken((rows) => rows[1]!.splice(3, 0, task('F', 1, 0))));
    expect(error.code).toBe('schedule-duplicate-task');
    expect(error.fields).toMatchObject({ device: 1, index: 3, task: '1F0', stage: 1, microbatch: 0 });
    expect(error.fields.first).toEqual({ device: 1, index: 0 });
    expectMarkedGrid(error, '>F0<');
  });

  it('missing task', () => {
    const error = failure(broken((rows) => rows[1]!.splice(place(good, 1, task('F', 1, 2)), 1)));
    expect(error.code).toBe('schedule-missing-task');
    expect(error.fields).toMatchObject({ device: 1, task: '1F2', stage: 1, microbatch: 2 });
    expect(error.fields).not.toHaveProperty('index');
    expectMarkedGrid(error, '>F2?<');
  });

  it('missing backward, and missing half of one', () => {
    const at = place(good, 2, task('BW', 2, 1));
    expect(failure(broken((rows) => rows[2]!.splice(at, 1))).fields.task).toBe('2BW1');
    const half = failure(broken((rows) => rows[2]!.splice(at, 1, task('B', 2, 1))));
    expect(half.code).toBe('schedule-missing-task');
    expect(half.fields.task).toBe('2W1');
    expectMarkedGrid(half, '>W1?<');
    expect(failure(forwardOnly({ stages: 1, microbatches: 1 })).fields.task).toBe('0BW0');
  });

  it('foreign stage', () => {
    const error = failure(
      broken((rows) => {
        rows[0]!.splice(1, 0, task('F', 2, 3));
        rows[2]!.splice(place(good, 2, task('F', 2, 3)), 1);
      }),
    );
    expect(error.code).toBe('schedule-foreign-stage');
    expect(error.fields).toMatchObject({ device: 0, index: 1, task: '2F3', expectedDevice: 2 });
    expectMarkedGrid(error, '>2F3<');
  });

  it.each([...[task('F', 0, 4), task('F', 3, 0), task('F', -1, 0), task('F', 0, 0.5)], task('BW', 0, 4)])(
    'out of range: %o',
    (t) => {
      const error = failure(broken((rows) => rows[0]!.splice(2, 0, t)));
      expect(error.code).toBe('schedule-out-of-range');
      expect(error.fields).toMatchObject({ device: 0, index: 2, stage: t.stage, microbatch: t.microbatch });
      expectMarkedGrid(error, `${t.kind === 'F' ? 'F' : 'B'}${t.microbatch}<`);
      expect(error.message).not.toContain('|'); // nothing waits for it, nor it for anything
    },
  );

  it('unknown kind', () => {
    const update = { kind: 'U', stage: 0, microbatch: 0 } as unknown as Task;
    const error = failure(broken((rows) => rows[0]!.push(update)));
    expect(error.code).toBe('schedule-unknown-kind');
    expect(error.fields).toMatchObject({ device: 0, index: 8, task: '0U0' });
    expectMarkedGrid(error, '>0U0<');
  });

  it('whole and split backward of one microbatch', () => {
    const error = failure(broken((rows) => rows[2]!.push(task('W', 2, 1))));
    expect(error.code).toBe('schedule-mixed-backward');
    expect(error.fields).toMatchObject({
      device: 2,
      index: place(good, 2, task('BW', 2, 1)),
      task: '2BW1',
      parts: ['2W1'],
    });
    expectMarkedGrid(error, '>B1<');
    const other = failure(broken((rows) => rows[2]!.push(task('B', 2, 1))));
    expect(other).toMatchObject({ code: 'schedule-mixed-backward', fields: { task: '2BW1', parts: ['2B1'] } });
  });

  it('backward in a forward-only schedule', () => {
    const error = failure(good, { passes: 'forward' });
    expect(error.code).toBe('schedule-unexpected-task');
    expect(error.fields).toMatchObject({ device: 0, index: 3, task: '0BW0' });
    expectMarkedGrid(error, '>B0<');
  });

  it('W before its B', () => {
    const at = place(good, 1, task('BW', 1, 1));
    const error = failure(broken((rows) => rows[1]!.splice(at, 1, task('W', 1, 1), task('B', 1, 1))));
    expect(error.code).toBe('schedule-weight-before-backward');
    expect(error.fields).toMatchObject({ device: 1, index: at, task: '1W1' });
    expectMarkedGrid(error, '>W1<');
  });

  it('weight gradients out of microbatch order', () => {
    // The last stage depends on nobody's backward: this one could run, and would give other bits.
    const two = makeSchedule('gpipe', { stages: 1, microbatches: 2 });
    const error = failure({ ...two, rows: [[0, 1, 3, 2].map((i) => two.rows[0]![i]!)] });
    expect(error.code).toBe('schedule-gradient-order');
    expect(error.fields).toMatchObject({ device: 0, index: 3, task: '0BW0' });
    expectMarkedGrid(error, '>B0<', 1);
  });

  it('split W out of order beside whole backwards', () => {
    const error = failure(
      broken((rows) => {
        rows[2]!.splice(place(good, 2, task('BW', 2, 1)), 1, task('B', 2, 1));
        rows[2]!.push(task('W', 2, 1));
      }),
    );
    expect(error.code).toBe('schedule-gradient-order');
    expect(error.fields).toMatchObject({ device: 2, index: 8, task: '2W1' });
    expectMarkedGrid(error, '>W1<');
  });

  it('forwards out of order, where running statistics ask for it', () => {
    const two = makeSchedule('gpipe', { stages: 1, microbatches: 2 });
    const swapped = { ...two, rows: [[1, 0, 2, 3].map((i) => two.rows[0]![i]!)] };
    validateSchedule(swapped);
    const error = failure(swapped, { forwards: 'ordered' });
    expect(error.code).toBe('schedule-forward-order');
    expect(error.fields).toMatchObject({ device: 0, index: 1, task: '0F0' });
    expectMarkedGrid(error, '>F0<', 1);
  });

  it('more in flight than the bound', () => {
    const gpipe = makeSchedule('gpipe', { stages: 3, microbatches: 4 });
    const error = failure(gpipe, { inFlightBound: inFlightBounds('1f1b', 3, 4) });
    expect(error.code).toBe('schedule-in-flight');
    expect(error.fields).toMatchObject({ device: 0, index: 3, task: '0F3', inFlight: 4, bound: 3 });
    expect(error.fields.problems).toHaveLength(1 + 2 + 3);
    expectMarkedGrid(error, '>F3<');
  });

  it('more in flight on a device than its bound', () => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 2, placement: [0, 0] });
    validateSchedule(schedule, { deviceInFlightBound: [4] });
    const error = failure(schedule, { deviceInFlightBound: [3] });
    expect(error.code).toBe('schedule-in-flight');
    expect(error.fields).toMatchObject({ device: 0, index: 3, inFlight: 4, bound: 3 });
    expect(error.message).toContain('microbatches in flight on device 0, the bound is 3');
    expectMarkedGrid(error, '>1F1<', 1);
  });

  describe('overlap cells', () => {
    const rows = [
      [task('F', 0, 0), task('F', 0, 1), task('BW', 0, 0), task('BW', 0, 1)],
      [task('F', 1, 0), task('BW', 1, 0), task('F', 1, 1), task('BW', 1, 1)],
    ];
    const two = (overlaps: number[][]): Schedule => {
      return { name: 'two', stages: 2, devices: 2, microbatches: 2, placement: [0, 1], rows, overlaps };
    };
    it('of a forward and a backward of another microbatch pass, in either order', () => {
      validateSchedule(two([[1], []]));
      validateSchedule(two([[], [1]]));
    });
    it.each<[string, number[][], string]>([
      ['(0F0;0F1) is not one forward and one backward', [[0], []], '>F0<'],
      ['(1BW0;1F1) shares a task with the one before', [[], [0, 1]], '>B0<'],
      ['(1F0;1BW0) holds a forward and its own backward', [[], [0]], '>F0<'],
      ['at place 3, where there are not two tasks', [[3], []], '>B1<'],
      ['at place 0.5, where there are not two tasks', [[0.5], []], 'device 0  F0'],
    ])('%s', (message, overlaps, mark) => {
      const error = failure(two(overlaps));
      expect(error.fields.problems).toContainEqual(expect.objectContaining({ code: 'schedule-overlap' }));
      expect(error.message).toContain(message);
      expectMarkedGrid(error, mark, 2);
    });
    it('need one list a row', () => {
      expect(failure(two([[1]])).message).toContain('overlap cells of 1 rows where there are 2');
    });
    it('with a W are refused: there is nothing to overlap', () => {
      const split = [task('F', 0, 0), task('F', 0, 1), task('B', 0, 0), task('W', 0, 0), task('BW', 0, 1)];
      const one = { name: 'x', stages: 1, devices: 1, microbatches: 2, placement: [0], rows: [split] };
      validateSchedule({ ...one, overlaps: [[1]] });
      expect(failure({ ...one, overlaps: [[3]] }).code).toBe('schedule-overlap');
    });
    it('that wait for each other are a cycle', () => {
      // Device 0 would begin 0F1 only with 0BW0, for which 1BW0 is needed; device 1 runs 1F1, which needs 0F1, before.
      const crossed = [rows[0]!, [task('F', 1, 0), task('F', 1, 1), task('BW', 1, 0), task('BW', 1, 1)]];
      validateSchedule({ ...two([[], []]), rows: crossed });
      const error = failure({ ...two([[1], []]), rows: crossed });
      expect(error.code).toBe('schedule-dependency-cycle');
      expect(error.fields.cycle).toMatchObject([
        { device: 0, index: 2, task: '0BW0', waitsFor: '1BW0' },
        { device: 1, index: 1, task: '1F1', waitsFor: '0F1' },
      ]);
      expectMarkedGrid(error, '+>B0<', 2);
    });
  });

  it('a cycle of waits between devices', () => {
    // Device 0 wants B0 before F1, device 1 wants F1 before B0.
    const rows = [
      [task('F', 0, 0), task('BW', 0, 0), task('F', 0, 1), task('BW', 0, 1)],
      [task('F', 1, 0), task('F', 1, 1), task('BW', 1, 0), task('BW', 1, 1)],
    ];
    const schedule = { name: 'crossed', stages: 2, devices: 2, microbatches: 2, placement: [0, 1], rows };
    const error = failure(schedule);
    expect(error.code).toBe('schedule-dependency-cycle');
    expect(error.fields).toMatchObject({ device: 0, index: 1, task: '0BW0' });
    expect(error.fields.cycle).toEqual([
      { device: 0, index: 1, task: '0BW0', waitsFor: '1BW0' },
      { device: 1, index: 1, task: '1F1', waitsFor: '0F1' },
    ]);
    expect(error.message).toContain('device 0, place 1: 0BW0 waits for 1BW0 on device 1, place 2');
    expect(error.message).toContain('device 1, place 1: 1F1 waits for 0F1 on device 0, place 2');
    expectMarkedGrid(error, '| >B0< F1', 2);
    expect(() => playClock(schedule)).toThrow(PlanError);
  });

  it('names only the cycle where other devices wait for it', () => {
    const rows = [
      [task('F', 0, 0), task('F', 0, 1), task('BW', 0, 0), task('BW', 0, 1)],
      [task('F', 1, 0), task('BW', 1, 0), task('F', 1, 1), task('BW', 1, 1)],
      [task('F', 2, 0), task('F', 2, 1), task('BW', 2, 0), task('BW', 2, 1)],
    ];
    const error = failure({ name: 'x', stages: 3, devices: 3, microbatches: 2, placement: [0, 1, 2], rows });
    expect(error.fields.cycle).toMatchObject([
      { device: 1, task: '1BW0' },
      { device: 2, task: '2F1' },
    ]);
    expectMarkedGrid(error, '>B0<');
    expectMarkedGrid(error, '>F1<');
  });

  it('a wait for a task later in the same row', () => {
    const error = failure(
      broken((rows) => rows[0]!.unshift(rows[0]!.pop()!)),
      {},
    );
    expect(error.code).toBe('schedule-gradient-order');
    const one = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    const self = failure({ ...one, rows: [[...one.rows[0]!].reverse()] });
    expect(self.code).toBe('schedule-dependency-cycle');
    expect(self.message).toContain('0BW0 waits for 0F0 which stands later in the same row (place 1)');
    expectMarkedGrid(self, '>B0< F0', 1);
  });

  it('a cycle by a dependency that is not of the chain', () => {
    const error = failure(good, {
      dependencies: [
        [0, 1],
        [1, 2],
        [2, 0],
      ],
    });
    expect(error.code).toBe('schedule-dependency-cycle');
    expect(error.fields.cycle).toHaveLength(3);
  });

  it.each<[string, Partial<Schedule>, ValidateOptions]>([
    ['2 rows for 3 devices', { rows: good.rows.slice(0, 2) }, {}],
    ['a placement of 2 stages where there are 3', { placement: [0, 1] }, {}],
    ['a placement of 4 stages where there are 3', { placement: [0, 1, 2, 0] }, {}],
    ['dependency 1 → 1 does not join two of the 3 stages', {}, { dependencies: [[1, 1]] }],
    ['stage 2 is placed on device 3 of 3', { placement: [0, 1, 3] }, {}],
    ['dependency 0 → 7 does not join', {}, { dependencies: [[0, 7]] }],
    ['1 in-flight bounds for 3 stages', {}, { inFlightBound: [1] }],
    ['4 in-flight bounds for 3 stages', {}, { inFlightBound: [9, 9, 9, 9] }],
    ['1 in-flight bounds for 3 devices', {}, { deviceInFlightBound: [1] }],
    ['4 in-flight bounds for 3 devices', {}, { deviceInFlightBound: [9, 9, 9, 9] }],
  ])('placement: %s', (message, change, options) => {
    const error = failure({ ...good, ...change }, options);
    expect(error.code).toBe('schedule-placement');
    expect(error.message).toContain(message);
    expect(error.message).toContain('device 0  0F0 0F1');
  });

  it('all of a round at once, in the fields too', () => {
    const error = failure(
      broken((rows) => {
        rows[0]!.push(task('F', 0, 0));
        rows[2]!.pop();
      }),
    );
    expect(error.fields.problems).toMatchObject([
      { code: 'schedule-duplicate-task', device: 0, task: '0F0' },
      { code: 'schedule-missing-task', device: 2, task: '2BW3' },
    ]);
    expectMarkedGrid(error, '>F0<');
    expectMarkedGrid(error, '>B3?<');
  });

  it('an absurd size is refused without listing it', () => {
    const error = failure({ ...good, microbatches: 1e9 });
    expect(error.code).toBe('schedule-missing-task');
    expect(error.message).toContain('and more');
  });
});
