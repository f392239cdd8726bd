import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  forwardOnly,
  makeSchedule,
  placementBy,
  placementOver,
  printGrid,
  type Schedule,
  task,
} from '../../src/schedule/index.ts';

/** The clock grid in a rule's comment is the golden: the file explains itself and cannot lie. */
function gridInComment(file: string): string {
  const source = readFileSync(new URL(`../../src/schedule/${file}`, import.meta.url), 'utf8');
  return source
    .split('\n')
    .flatMap((line) => /^ \* {5}(device .*)$/.exec(line)?.[1] ?? [])
    .join('\n');
}

describe('the grid in the comment', () => {
  it.each<[string, Schedule]>([
    ['gpipe.ts', makeSchedule('gpipe', { stages: 3, microbatches: 4 })],
    ['one-f-one-b.ts', makeSchedule('1f1b', { stages: 4, microbatches: 6 })],
    ['interleaved-1f1b.ts', makeSchedule('interleaved-1f1b', { stages: 4, microbatches: 4 })],
    ['looped-bfs.ts', makeSchedule('looped-bfs', { stages: 6, microbatches: 3 })],
    ['zb-h1.ts', makeSchedule('zb-h1', { stages: 3, microbatches: 5 })],
    ['zb-h2.ts', makeSchedule('zb-h2', { stages: 3, microbatches: 6 })],
    ['zb-v.ts', makeSchedule('zb-v', { stages: 4, microbatches: 4 })],
    ['dualpipe-v.ts', makeSchedule('dualpipe-v', { stages: 4, microbatches: 5 })],
    ['forward-only.ts', forwardOnly({ stages: 3, microbatches: 4 })],
    ['grid.ts', makeSchedule('1f1b', { stages: 2, microbatches: 2 })],
  ])('%s', (file, schedule) => {
    expect(gridInComment(file)).not.toBe('');
    expect(printGrid(schedule)).toBe(gridInComment(file));
  });

  it('1f1b runs the first nine clocks of the style guide on device 0', () => {
    expect(printGrid(makeSchedule('1f1b', { stages: 4, microbatches: 4 }))).toMatch(
      /^device 0 {2}F0 F1 F2 F3 .. .. .. B0 ../,
    );
  });
});

describe('the fewest microbatches that a rule is made for', () => {
  it('of zb-v are 2p − 1: none of its tasks is left out', () => {
    expect(printGrid(makeSchedule('zb-v', { stages: 4, microbatches: 3 }))).toBe(
      [
        'device 0  0F0 0F1 0F2 3F0 3B0 3W0 3F1 3B1 3W1 0B0 0W0 3F2 3B2 3W2 0B1 0W1 0B2 0W2 ..',
        'device 1  ..  1F0 2F0 1F1 2F1 2B0 2W0 1F2 1B0 1W0 2F2 2B1 2W1 1B1 2B2 1B2 1W1 2W2 1W2',
      ].join('\n'),
    );
  });

  it('of dualpipe-v are 2p', () => {
    expect(printGrid(makeSchedule('dualpipe-v', { stages: 4, microbatches: 4 }))).toBe(
      [
        'device 0  0F0 0F1 0F2 3F0 3B0 3W0 3F1 0F3+3B1 3F2+0B0 3B2 ..  3F3+0B1 3B3 0B2 0W2 0B3 0W3',
        'device 1  ..  1F0 2F0 1F1 2F1 1F2 2B0 2F2+1B0 1F3+2B1 2F3+1B1 2B2 1B2 ..  2B3 1B3 2W3 1W3',
      ].join('\n'),
    );
  });

  it.each([
    ['zb-v', 3],
    ['dualpipe-v', 4],
  ] as const)('with fewer, %s is the same without those that are not there', (name, fewest) => {
    const whole = makeSchedule(name, { stages: 4, microbatches: fewest });
    for (let microbatches = 1; microbatches < fewest; microbatches++) {
      const { rows } = makeSchedule(name, { stages: 4, microbatches });
      expect(rows).toEqual(whole.rows.map((row) => row.filter((t) => t.microbatch < microbatches)));
    }
  });

  it('an overlap cell whose partner is left out is none any more: device 0 has but one stage of three', () => {
    const { overlaps } = makeSchedule('dualpipe-v', { stages: 3, microbatches: 5 });
    expect(overlaps).toEqual([[], [6, 8, 10, 12, 14]]);
  });
});

describe('stages lie', () => {
  it('there and back, and there again', () => {
    expect(placementBy('v', 2, 3)).toEqual([0, 1, 1, 0, 0, 1]);
    expect(placementOver('v', 5, 2)).toEqual([0, 1, 1, 0, 0]);
  });

  it('in blocks as even as possible, the larger ones first, and never on more devices than there are stages', () => {
    expect(placementOver('straight', 5, 2)).toEqual([0, 0, 0, 1, 1]);
    expect((['straight', 'looped', 'v'] as const).map((rule) => placementOver(rule, 2, 4))).toEqual(
      new Array(3).fill([0, 1]),
    );
  });
});

describe('printGrid', () => {
  it('names stages where a device owns several, and interleaves them', () => {
    const schedule = makeSchedule('1f1b', { stages: 4, microbatches: 2, placement: [0, 1, 0, 1], devices: 3 });
    expect(printGrid(schedule)).toBe(
      [
        'device 0  0F0 0F1 2F0 2F1 ..  2B0 ..  2B1 0B0 0B1',
        'device 1  ..  1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1 ..',
        'device 2  ..  ..  ..  ..  ..  ..  ..  ..  ..  ..',
      ].join('\n'),
    );
  });

  it('runs a backward first where stages of a device are level', () => {
    const schedule = makeSchedule('1f1b', { stages: 4, microbatches: 3, placement: [0, 1, 1, 0] });
    expect(printGrid(schedule)).toBe(
      [
        'device 0  0F0 0F1 0F2 3F0 3B0 3F1 3B1 ..  0B0 3F2 3B2 0B1 ..  0B2',
        'device 1  ..  1F0 2F0 1F1 2F1 1F2 2B0 1B0 2F2 2B1 1B1 2B2 1B2 ..',
      ].join('\n'),
    );
  });

  it('is that of the blocks where a device owns neighbours and nothing else', () => {
    const schedule = makeSchedule('1f1b', { stages: 4, microbatches: 3, placement: [0, 0, 1, 1] });
    expect(printGrid(schedule)).toBe(
      [
        'device 0  0F0 1F0 0F1 1F1 ..  ..  1B0 0B0 0F2 1F2 1B1 0B1 ..  ..  1B2 0B2',
        'device 1  ..  ..  2F0 3F0 3B0 2B0 2F1 3F1 3B1 2B1 2F2 3F2 3B2 2B2 ..  ..',
      ].join('\n'),
    );
  });

  it('draws durations in proportion', () => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 2 });
    expect(printGrid(schedule, { durations: { F: 0.5, B: 0.5, W: 0.5 } })).toBe(
      ['device 0  F0 F1 .. .. .. B0--- B1---', 'device 1  .. F0 F1 B0--- B1--- .. ..'].join('\n'),
    );
  });

  it('marks a cell and keeps the columns', () => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 2 });
    expect(printGrid(schedule, { marks: [{ device: 1, index: 1 }] })).toBe(
      ['device 0  F0 F1 ..   .. B0 B1', 'device 1  .. F0 >F1< B0 B1 ..'].join('\n'),
    );
  });

  it('draws a split backward as two cells', () => {
    const row = [task('F', 0, 0), task('B', 0, 0), task('W', 0, 0)];
    const schedule = { name: 'x', stages: 1, devices: 1, microbatches: 1, placement: [0], rows: [row] };
    expect(printGrid(schedule)).toBe('device 0  F0 B0 W0');
  });

  it('joins the tasks of an overlap cell, also where one is marked', () => {
    const rows = [
      [task('F', 0, 0), task('F', 0, 1), task('BW', 0, 0), task('BW', 0, 1)],
      [task('F', 1, 0), task('BW', 1, 0), task('F', 1, 1), task('BW', 1, 1)],
    ];
    const two = { name: 'x', stages: 2, devices: 2, microbatches: 2, placement: [0, 1], rows, overlaps: [[1], []] };
    expect(printGrid(two)).toBe(['device 0  F0 .. .. F1+B0 .. B1', 'device 1  .. F0 B0 .. F1 B1 ..'].join('\n'));
    expect(printGrid(two, { marks: [{ device: 0, index: 2 }] })).toContain('F1+>B0<');
  });

  it('draws times that are no multiples of each other without losing a task', () => {
    const schedule = makeSchedule('1f1b', { stages: 3, microbatches: 5 });
    const grid = printGrid(schedule, { durations: { F: 1, B: 1.3, W: 0.4 }, link: 0.17, width: 'whole' });
    for (let m = 0; m < 5; m++) {
      expect(grid.match(new RegExp(`F${m}`, 'g'))).toHaveLength(3);
      expect(grid.match(new RegExp(`B${m}`, 'g'))).toHaveLength(3);
    }
  });

  it('draws a task that takes no time', () => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    expect(printGrid(schedule, { durations: { F: 2, B: 0, W: 0 } })).toBe('device 0  F0 B0');
  });

  it('stays small where one task is a million times another', () => {
    const schedule = makeSchedule('gpipe', { stages: 1, microbatches: 1 });
    const grid = printGrid(schedule, { durations: { F: 1, B: 1e-6, W: 0 } });
    expect(grid).toBe(`device 0  F0${'-'.repeat(7 * 3)} B0`);
  });

  it('leaves out the middle of a long grid, but no mark, and says so', () => {
    const schedule = makeSchedule('1f1b', { stages: 4, microbatches: 90 });
    const short = printGrid(schedule, { marks: [{ device: 1, index: 77 }] });
    const lines = short.split('\n');
    expect(lines.every((line) => line.length <= 120)).toBe(true);
    expect(lines[1]).toMatch(/^device 1 {2}\.\. +F0 .*… .*>B37<.* … .*B89 +\.\.$/);
    expect(lines.at(-1)).toMatch(/leaves out \d+ of 186 columns; width 'whole' prints them/);
    expect(printGrid(schedule, { elsewhere: 'the file has them' })).toContain('of 186 columns; the file has them)');
    const whole = printGrid(schedule, { width: 'whole' });
    expect(whole).not.toContain('…');
    expect(whole.split('\n')[0]!.split(/ +/)).toHaveLength(2 + 186);
  });

  it('takes a duplicate as no second arrival', () => {
    const rows = [[task('F', 0, 0), task('F', 0, 0)], [task('F', 1, 0)]];
    const schedule = { name: 'x', stages: 2, devices: 2, microbatches: 1, placement: [0, 1], rows };
    expect(printGrid(schedule)).toBe(['device 0  F0 F0', 'device 1  .. F0'].join('\n'));
  });

  it('shows what waits in vain behind a bar', () => {
    const good = makeSchedule('gpipe', { stages: 2, microbatches: 1 });
    const stuck = { ...good, rows: [[good.rows[0]![1]!, good.rows[0]![0]!], good.rows[1]!] };
    expect(printGrid(stuck)).toBe(['device 0  | B0 F0', 'device 1  | F0 B0'].join('\n'));
  });
});

it('prints the update as the last column of the devices that own a stage', () => {
  const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 2, devices: 3 });
  expect(printGrid(schedule, { updates: true }).split('\n')).toEqual([
    'device 0  F0 F1 .. .. B0 B1 U',
    'device 1  .. F0 F1 B0 B1 .. U',
    'device 2  .. .. .. .. .. .. ..',
  ]);
});
