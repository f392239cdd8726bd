import { FormatError, joinProblems } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { playClock } from './play.ts';
import { requireSchedule, type Schedule } from './schedule.ts';
import { type Task, type TaskKind, task, taskKey } from './task.ts';

/**
 * PyTorch's compute schedules as CSV: a row a device, a cell a clock, empty = idle.
 *
 *   2F0  7I0 (B)  7W0  7B3 (both)  (0F7;7B3)OVERLAP_F_B: two tasks that the device may work on at once
 *
 * PyTorch writes B for the activations' part as well: sBm is B alone where a sWm stands anywhere, else both.
 * We write I, W and B, so what we write has one reading. 7BW3, as messages name it, is read as both.
 */
const letters: { readonly [kind in TaskKind]: string } = { F: 'F', B: 'I', W: 'W', BW: 'B' };

const expected =
  'a task such as 2F0, 7I0 (B), 7W0 or 7B3 (both), (0F7;7B3)OVERLAP_F_B, or nothing (sends and receives follow from the tasks)';

export interface WriteCsvOptions {
  /**
   * `clock` (default): a column a clock, in which every task, or overlap cell, takes one; all rows equally long.
   * `packed`: a row is its cells without gaps, as PyTorch keeps schedules that it gives no clock.
   */
  readonly columns?: 'clock' | 'packed';
}

export function writeScheduleCsv(schedule: Schedule, options: WriteCsvOptions = {}): string {
  requireSchedule(schedule);
  requireKinds('writeScheduleCsv', { options: ['record', options] });
  const rows = schedule.rows.map((row, device) => cellsOf(row, schedule.overlaps?.[device]));
  const lines =
    options.columns === 'packed' ? rows.map((cells) => cells.map(({ text }) => text)) : onClock(schedule, rows);
  // Two columns at least: an idle device's line is then `,`, and blank lines can mean nothing.
  return `${lines.map((cells) => (cells.length < 2 ? [...cells, '', ''].slice(0, 2) : cells).join(',')).join('\n')}\n`;
}

/** A cell's text, and where its first task stands in the row. */
interface Cell {
  readonly text: string;
  readonly index: number;
}

function cellsOf(row: readonly Task[], overlaps: readonly number[] | undefined): Cell[] {
  const firsts = new Set(overlaps);
  const name = (t: Task): string => `${t.stage}${letters[t.kind]}${t.microbatch}`;
  const cells: Cell[] = [];
  for (let index = 0; index < row.length; index++) {
    const isCell = firsts.has(index) && index + 1 < row.length;
    cells.push({
      text: isCell ? `(${name(row[index]!)};${name(row[index + 1]!)})OVERLAP_F_B` : name(row[index]!),
      index,
    });
    if (isCell) index++;
  }
  return cells;
}

function onClock(schedule: Schedule, rows: readonly (readonly Cell[])[]): string[][] {
  // Both tasks of a cell end with its clock.
  const seconds = new Set(schedule.rows.flatMap((row, d) => (schedule.overlaps?.[d] ?? []).map((i) => row[i + 1]!)));
  const clock = playClock(schedule, { durations: (t) => (seconds.has(t) ? 0 : 1) });
  return rows.map((cells, device) => {
    const line = new Array<string>(clock.makespan).fill('');
    for (const { text, index } of cells) line[clock.rows[device]![index]!.start] = text;
    return line;
  });
}

interface CsvProblem {
  /** 1-based, as editors count. */
  readonly row?: number;
  readonly column?: number;
  readonly cell?: string;
  readonly expected: string;
}

/** Reads the order of tasks; whether they make a schedule is `validateSchedule`'s to say. */
export function readScheduleCsv(text: string, options: { name?: string } = {}): Schedule {
  requireKinds('readScheduleCsv', { text: ['text', text], options: ['record', options] });
  const problems: CsvProblem[] = [];
  const home = new Map<number, { device: number; row: number }>();
  const microbatches = new Set<number>();
  const rows: Read[][] = [];
  const overlaps: number[][] = [];
  text.split(/\r?\n/).forEach((line, lineIndex) => {
    if (line.trim() === '') return;
    const row: Read[] = [];
    const device = rows.push(row) - 1;
    overlaps.push([]);
    line.split(',').forEach((raw, column) => {
      const cell = raw.trim().replace(/^"(.*)"$/, '$1');
      const at = { row: lineIndex + 1, column: column + 1, cell };
      const tasks = parseCell(cell);
      if (tasks === undefined) problems.push({ ...at, expected });
      if (tasks?.length === 2) overlaps[device]!.push(row.length);
      for (const read of tasks ?? []) {
        const t = read.task;
        const owner = home.get(t.stage) ?? { device, row: at.row };
        home.set(t.stage, owner);
        microbatches.add(t.microbatch);
        if (owner.device !== device) {
          problems.push({ ...at, expected: `stage ${t.stage} only in row ${owner.row}, where it appears first` });
        }
        row.push(read);
      }
    });
  });

  const stages = 1 + [...home.keys()].reduce((a, b) => Math.max(a, b), -1);
  const count = 1 + [...microbatches].reduce((a, b) => Math.max(a, b), -1);
  // Numbers without gaps, before anything is allocated by them.
  if (home.size === 0 && problems.length === 0) problems.push({ expected: 'at least one task' });
  if (home.size < stages) problems.push({ expected: `stage ${firstGap(home)}: the stages go up to ${stages - 1}` });
  if (microbatches.size < count) {
    problems.push({ expected: `microbatch ${firstGap(microbatches)}: the microbatches go up to ${count - 1}` });
  }
  if (problems.length > 0) throw csvError(problems, options.name);

  const split = new Set(rows.flatMap((row) => row.filter((r) => r.task.kind === 'W').map((r) => taskKey(r.task))));
  return {
    name: options.name ?? 'file',
    stages,
    devices: rows.length,
    microbatches: count,
    placement: Array.from({ length: stages }, (_, s) => home.get(s)!.device),
    rows: rows.map((row) =>
      row.map(({ task: t, isOpen }) => (isOpen && split.has(taskKey({ ...t, kind: 'W' })) ? { ...t, kind: 'B' } : t)),
    ),
    ...(overlaps.some((cells) => cells.length > 0) ? { overlaps } : {}),
  };
}

/** A task as it stands in a cell. */
interface Read {
  readonly task: Task;
  /** Written B: `BW` as yet, and B alone where its W stands. */
  readonly isOpen: boolean;
}

/** The cell's tasks; undefined where it is none of the forms. */
function parseCell(cell: string): Read[] | undefined {
  if (cell === '') return [];
  const overlap = /^\(([^;]*);([^;]*)\)OVERLAP_F_B$/.exec(cell);
  const tasks = (overlap ? overlap.slice(1) : [cell]).map((text) => {
    const match = /^(\d{1,9})([FIW]|BW?)(\d{1,9})$/.exec(text.trim());
    if (match === null) return undefined;
    const [, stage, word, microbatch] = match;
    return { task: task(kindOf(word!), Number(stage), Number(microbatch)), isOpen: word === 'B' };
  });
  return tasks.includes(undefined) ? undefined : (tasks as Read[]);
}

const kindOf = (word: string): TaskKind =>
  word === 'BW' ? word : (Object.keys(letters) as TaskKind[]).find((kind) => letters[kind] === word)!;

function firstGap(numbers: { has(n: number): boolean }): number {
  let n = 0;
  while (numbers.has(n)) n++;
  return n;
}

function csvError(problems: readonly CsvProblem[], name: string | undefined): FormatError {
  const lines = problems
    .slice(0, 20)
    .map((p) =>
      p.row === undefined
        ? `expected ${p.expected}`
        : `row ${p.row}, column ${p.column}: "${p.cell}", expected ${p.expected}`,
    );
  if (problems.length > lines.length) lines.push(`and ${problems.length - lines.length} more`);
  return new FormatError(
    'schedule-csv',
    `${name === undefined ? '' : `${name} is `}not a schedule: ${joinProblems(lines)}`,
    {
      fields: { ...(name === undefined ? {} : { file: name }), ...problems[0], problems },
      remedy: 'Correct the cells named; rows are devices and columns are clocks.',
    },
  );
}
