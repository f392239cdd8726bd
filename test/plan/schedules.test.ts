import { describe, expect, it } from 'vitest';
import { type StageChain, scheduleAskedFor, scheduleFor } from '../../src/plan/schedules.ts';
import { makeSchedule, type Schedule } from '../../src/schedule/index.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('a program’s schedule', () => {
  const chain: StageChain = {
    stages: 2,
    modelStages: 2,
    placement: [0, 1],
    edges: [[0, 1]],
    ordered: false,
    byWholeBatch: false,
  };
  const shape = { stages: 2, microbatches: 4, placement: [0, 1], devices: 2 };
  const file: Schedule = { ...makeSchedule('gpipe', shape), name: 'from a file' };
  const { request } = planOf(threeLayers, { devices: 2 });
  const train = request.programs.train!;
  const asked = { ...request, schedule: file, programs: { train, last: { ...train, batch: 3 } } };
  const of = (program: string, microbatches: number, over: Partial<StageChain> = {}, own = asked) =>
    scheduleFor(own, program, { ...chain, ...over }, microbatches, undefined);
  const mismatch = expect.objectContaining({ code: 'schedule-mismatch' });

  it('from a file is for its stages, placement and microbatches', () => {
    expect(of('train', 4)).toMatchObject({ name: 'from a file', rows: file.rows });
    expect(() => of('train', 3)).toThrow(mismatch);
    expect(() => of('train', 4, { stages: 3, modelStages: 3, placement: [0, 1, 0] })).toThrow(mismatch);
    for (const program of ['train', 'last']) expect(() => of(program, 4, { placement: [1, 0] })).toThrow(mismatch);
  });

  it('of a smaller last batch is one of as many microbatches, all forwards first where they wait for each other', () => {
    expect(of('last', 3)).toMatchObject({ name: '1f1b', microbatches: 3 });
    expect(of('last', 3, { byWholeBatch: true })).toMatchObject({ name: 'gpipe', microbatches: 3 });
  });

  it('that was decided before counts for as many microbatches as it has', () => {
    const decided = { last: { ...file, name: 'decided' } };
    const stored = { ...asked, decided };
    expect(of('last', 4, {}, stored)).toBe(decided.last);
    expect(of('last', 3, {}, stored)).toMatchObject({ name: '1f1b', microbatches: 3 });
  });

  it('leaves surplus devices without tasks', () => {
    const three = { ...asked, devices: [...asked.devices, asked.devices[0]!] };
    const overlapping = { ...three, schedule: { ...file, overlaps: [[], []] } };
    expect(of('train', 4, {}, three)).toEqual({ ...file, devices: 3, rows: [...file.rows, []] });
    expect(of('train', 4, {}, overlapping)).toMatchObject({ overlaps: [[], [], []] });
  });

  it('is 1f1b where nothing is asked for, gpipe where microbatches wait for each other, and a file’s in any case', () => {
    const { schedule: _, ...none } = asked;
    expect([false, true].map((wait) => scheduleAskedFor(none, wait))).toEqual(['1f1b', 'gpipe']);
    expect([false, true].map((wait) => scheduleAskedFor(asked, wait))).toEqual([file, file]);
    expect(() => scheduleAskedFor({ ...none, schedule: '1f1b' }, true)).toThrow(
      expect.objectContaining({ code: 'batch-norm-schedule' }),
    );
  });
});
