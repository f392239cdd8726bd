import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.ts';
import {
  forwardOnly,
  makeSchedule,
  peakInFlight,
  readScheduleCsv,
  type Schedule,
  taskKey,
  validateSchedule,
  writeScheduleCsv,
} from '../../src/schedule/index.ts';

const golden = (file: string): string => readFileSync(new URL(`./data/${file}`, import.meta.url), 'utf8');
const keys = (schedule: Schedule, device: number): string => schedule.rows[device]!.map(taskKey).join(' ');

function failure(text: string): FormatError {
  try {
    readScheduleCsv(text);
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return error as FormatError;
  }
  throw new Error('the file was accepted');
}

describe("PyTorch's golden schedules", () => {
  it('zb1p, 2 ranks, 2 stages each: every backward split', () => {
    const schedule = readScheduleCsv(golden('zb1p_2rank_2stagep_compute.csv'), { name: 'zb1p' });
    validateSchedule(schedule, { forwards: 'ordered' });
    expect(schedule).toMatchObject({ name: 'zb1p', stages: 4, devices: 2, microbatches: 8, placement: [0, 1, 0, 1] });
    expect(schedule.rows.flat()).toHaveLength(4 * 8 * 3);
    expect(keys(schedule, 0)).toMatch(/^0F0 0F1 2F0 2F1 2B0 2W0 0F2 2B1 2W1 0F3 0B0 0W0 /);
  });

  it('dualpipev, 4 ranks: overlapped cells, and both forms of the backward in one stage', () => {
    const schedule = readScheduleCsv(golden('dualpipev_4rank_10mb.csv'));
    validateSchedule(schedule, { forwards: 'ordered' });
    expect(schedule).toMatchObject({ stages: 8, devices: 4, microbatches: 10, placement: [0, 1, 2, 3, 3, 2, 1, 0] });
    expect(keys(schedule, 0)).toContain('7F0 7B0 7W0 7F1');
    expect(keys(schedule, 0)).toContain('7F3 0F7 7BW3 7F4 0BW0 0F8 7BW4');
    expect(peakInFlight(schedule)).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  });

  it('zb1p is our zb-h1 with two looped stages a device', () => {
    const read = readScheduleCsv(golden('zb1p_2rank_2stagep_compute.csv'), { name: 'zb-h1' });
    expect(makeSchedule('zb-h1', { stages: 4, microbatches: 8, placement: [0, 1, 0, 1] })).toEqual(read);
  });

  it('dualpipev is our dualpipe-v, cell by cell, and is written as it was', () => {
    const text = golden('dualpipev_4rank_10mb.csv');
    const read = readScheduleCsv(text, { name: 'dualpipe-v' });
    const ours = makeSchedule('dualpipe-v', { stages: 8, microbatches: 10 });
    expect(ours).toEqual(read);
    expect(read.overlaps!.flat()).toHaveLength((text.match(/OVERLAP/g) ?? []).length);
    expect(writeScheduleCsv(ours, { columns: 'packed' })).toBe(text);
  });

  it.each(['zb1p_2rank_2stagep_compute.csv', 'dualpipev_4rank_10mb.csv'])('%s survives our writing', (file) => {
    const schedule = readScheduleCsv(golden(file));
    const text = writeScheduleCsv(schedule);
    expect(readScheduleCsv(text)).toEqual(schedule);
    expect(writeScheduleCsv(readScheduleCsv(text))).toBe(text);
  });
});

describe('writing', () => {
  it('is the clock grid with I, W and B', () => {
    expect(writeScheduleCsv(makeSchedule('1f1b', { stages: 2, microbatches: 2 }))).toBe(
      '0F0,0F1,,0B0,,0B1\n,1F0,1B0,1F1,1B1,\n',
    );
  });
  it('gives an overlap cell one clock, and leaves no clock out otherwise', () => {
    const text = '0F0,,(0F1;0B0)OVERLAP_F_B,,0B1\n,1F0,1B0,1F1,1B1\n';
    const schedule = readScheduleCsv(text);
    expect(schedule.overlaps).toEqual([[1], []]);
    const written = writeScheduleCsv(schedule);
    expect(written).toBe('0F0,,,(0F1;0B0)OVERLAP_F_B,,,0B1\n,1F0,1B0,,1F1,1B1,\n');
    expect(readScheduleCsv(written)).toEqual(schedule);
    expect(writeScheduleCsv(schedule, { columns: 'packed' })).toBe('0F0,(0F1;0B0)OVERLAP_F_B,0B1\n1F0,1B0,1F1,1B1\n');
  });
  it('keeps idle devices', () => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1, placement: [1], devices: 3 });
    expect(writeScheduleCsv(schedule)).toBe(',\n0F0,0B0\n,\n');
    expect(readScheduleCsv(writeScheduleCsv(schedule), { name: 'gpipe' })).toEqual(schedule);
    const short = forwardOnly({ stages: 1, microbatches: 1, devices: 2 });
    expect(writeScheduleCsv(short)).toBe('0F0,\n,\n');
    expect(readScheduleCsv(writeScheduleCsv(short), { name: short.name })).toEqual(short);
    expect(writeScheduleCsv(short, { columns: 'packed' })).toBe('0F0,\n,\n');
  });
  it('gives a cell that nothing waits for one clock too', () => {
    const text = '0F0,(0F1;0B0)OVERLAP_F_B,0B1\n';
    expect(writeScheduleCsv(readScheduleCsv(text))).toBe(text);
  });
});

describe('reading', () => {
  it('takes B alone only where the W of the same microbatch stands', () => {
    const schedule = readScheduleCsv('0F0,0F1,0B0,0B1,0W1');
    expect(keys(schedule, 0)).toBe('0F0 0F1 0BW0 0B1 0W1');
  });
  it('takes the names of tasks in messages: what a remedy says can be pasted', () => {
    const text = '0F0,0F1,0B0\n1F0,1B0,1F1,1I1,1W1\n';
    let remedy = '';
    try {
      validateSchedule(readScheduleCsv(text));
    } catch (error) {
      remedy = (error as { remedy: string }).remedy;
    }
    const [, missing] = /^Add (\S+) to the row of device 0/.exec(remedy)!;
    expect(missing).toBe('0BW1');
    validateSchedule(readScheduleCsv(text.replace('0B0', `0B0,${missing}`)));
    // Unlike B, BW is whole whatever else stands there.
    const both = readScheduleCsv('0F0,0BW0,0W0');
    expect(keys(both, 0)).toBe('0F0 0BW0 0W0');
    expect(() => validateSchedule(both)).toThrow('0BW0 does the whole backward');
  });
  it("forgives a spreadsheet's byte order mark, line ends, quotes, spaces and blank lines", () => {
    const schedule = readScheduleCsv('\uFEFF"0F0", 0B0 ,\r\n\r\n,\r\n  \r\n');
    expect(schedule).toMatchObject({ devices: 2, stages: 1 });
    expect(keys(schedule, 0)).toBe('0F0 0BW0');
    const spaced = readScheduleCsv('0F0,( 0F1 ; 0B0 )OVERLAP_F_B,0B1');
    expect(spaced.overlaps).toEqual([[1]]);
  });
  it('takes no numbers that nothing could be made of', () => {
    const { problems } = failure('0F1234567890,12345678901F0').fields as { problems: { cell: string }[] };
    expect(problems.map(({ cell }) => cell)).toEqual(['0F1234567890', '12345678901F0']);
  });
  it('names row, column, cell and what was expected, for all problems at once', () => {
    const error = failure('0F0,0X1,0B0\n,1F0,0SEND_F0,0F1\n(1F1;1Q0)OVERLAP_F_B\n(1F1;1B0;1F2)OVERLAP_F_B\n');
    expect(error.code).toBe('schedule-csv');
    expect(error.fields.problems).toMatchObject([
      { row: 1, column: 2, cell: '0X1' },
      { row: 2, column: 3, cell: '0SEND_F0' },
      { row: 2, column: 4, cell: '0F1', expected: 'stage 0 only in row 1, where it appears first' },
      { row: 3, column: 1, cell: '(1F1;1Q0)OVERLAP_F_B' },
      { row: 4, column: 1, cell: '(1F1;1B0;1F2)OVERLAP_F_B' },
    ]);
    expect(error.message).toContain('row 1, column 2: "0X1", expected a task such as 2F0');
    expect(error.fields).toMatchObject({ row: 1, column: 2, cell: '0X1' });
  });
  it('names the file, where it is from one', () => {
    const refused = expect.objectContaining({
      message: expect.stringMatching(/^s\.csv is not a schedule: /),
      fields: expect.objectContaining({ file: 's.csv', row: 1, column: 1 }),
    });
    expect(() => readScheduleCsv('x', { name: 's.csv' })).toThrow(refused);
    expect(failure('x').fields).not.toHaveProperty('file');
  });
  it('lists twenty problems and counts the rest', () => {
    const error = failure(Array.from({ length: 23 }, () => 'x').join(','));
    expect(error.fields.problems).toHaveLength(23);
    expect(error.message).toContain('column 20: "x"');
    expect(error.message).not.toContain('column 21');
    expect(error.message).toMatch(/and 3 more$/);
  });
  it.each([
    ['', 'at least one task'],
    ['0F0,0B0\n2F0,2B0', 'stage 1: the stages go up to 2'],
    ['0F0,0B0,0F2,0B2', 'microbatch 1: the microbatches go up to 2'],
    ['0F999999999', 'microbatch 0: the microbatches go up to 999999999'],
  ])('refuses %o', (text, expected) => {
    expect(failure(text).message).toContain(`expected ${expected}`);
  });
});
