import { FormatError, joinProblems } from '../core/errors.ts';
import { playClock } from './play.ts';
import type { Schedule } from './schedule.ts';
import { type Task, type TaskKind, task, taskKey } from './task.ts';

/**
 * PyTorch's compute schedules as CSV: a row a device, a cell a clock, empty = idle.
 *
 *   2F0  7I0 (B)  7W0  7B3 (both)  (0F7;7B3)OVERLAP_F_B, which is read as its tasks in the order given
 *
 * PyTorch writes B for the activations' part as well: sBm is B alone where a sWm stands anywhere, else both.
 * We write I, W and B, so what we write has one reading.
 */
const letters: { readonly [kind in TaskKind]: string } = { F: 'F', B: 'I', W: 'W', BW: 'B' };

const expected =
  'a task such as 2F0, 7I0 (B), 7W0 or 7B3 (both), (0F7;7B3)OVERLAP_F_B, or nothing (sends and receives follow from the tasks)';

/** One clock of the unit grid a column, all rows equally long. */
export function writeScheduleCsv(schedule: Schedule): string {
  const clock = playClock(schedule);
  // Two columns at least: an idle device's line is then `,`, and blank lines can mean nothing.
  const width = Math.max(2, clock.makespan);
  const lines = clock.rows.map((row) => {
    const cells = new Array<string>(width).fill('');
    for (const { task: t, start } of row) cells[start] = `${t.stage}${letters[t.kind]}${t.microbatch}`;
    return cells.join(',');
  });
  return `${lines.join('\n')}\n`;
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
  const problems: CsvProblem[] = [];
  const home = new Map<number, { device: number; row: number }>();
  const microbatches = new Set<number>();
  const rows: Task[][] = [];
  text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .forEach((line, lineIndex) => {
      if (line.trim() === '') return;
      const row: Task[] = [];
      const device = rows.push(row) - 1;
      line.split(',').forEach((raw, column) => {
        const cell = raw.trim().replace(/^"(.*)"$/, '$1');
        const at = { row: lineIndex + 1, column: column + 1, cell };
        const tasks = parseCell(cell);
        if (tasks === undefined) problems.push({ ...at, expected });
        for (const t of tasks ?? []) {
          const owner = home.get(t.stage) ?? { device, row: at.row };
          home.set(t.stage, owner);
          microbatches.add(t.microbatch);
          if (owner.device !== device) {
            problems.push({ ...at, expected: `stage ${t.stage} only in row ${owner.row}, where it appears first` });
          }
          row.push(t);
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
  if (problems.length > 0) throw csvError(problems);

  const split = new Set(rows.flatMap((row) => row.filter((t) => t.kind === 'W').map(taskKey)));
  return {
    name: options.name ?? 'file',
    stages,
    devices: rows.length,
    microbatches: count,
    placement: Array.from({ length: stages }, (_, s) => home.get(s)!.device),
    rows: rows.map((row) =>
      row.map((t) => (t.kind === 'BW' && split.has(taskKey({ ...t, kind: 'W' })) ? { ...t, kind: 'B' } : t)),
    ),
  };
}

/** The cell's tasks, `BW` for every B as yet; undefined where it is none of the forms. */
function parseCell(cell: string): Task[] | undefined {
  if (cell === '') return [];
  const overlap = /^\((.*)\)OVERLAP_F_B$/.exec(cell);
  const tasks = (overlap ? overlap[1]!.split(';') : [cell]).map((text) => {
    const match = /^(\d{1,9})([FIWB])(\d{1,9})$/.exec(text.trim());
    return match === null ? undefined : task(kindOf(match[2]!), Number(match[1]), Number(match[3]));
  });
  return tasks.includes(undefined) ? undefined : (tasks as Task[]);
}

const kindOf = (letter: string): TaskKind =>
  (Object.keys(letters) as TaskKind[]).find((kind) => letters[kind] === letter)!;

function firstGap(numbers: { has(n: number): boolean }): number {
  let n = 0;
  while (numbers.has(n)) n++;
  return n;
}

function csvError(problems: readonly CsvProblem[]): FormatError {
  const lines = problems
    .slice(0, 20)
    .map((p) =>
      p.row === undefined
        ? `expected ${p.expected}`
        : `row ${p.row}, column ${p.column}: "${p.cell}", expected ${p.expected}`,
    );
  if (problems.length > lines.length) lines.push(`and ${problems.length - lines.length} more`);
  return new FormatError('schedule-csv', `not a schedule: ${joinProblems(lines)}`, {
    fields: { ...problems[0], problems },
    remedy: 'Correct the cells named; rows are devices and columns are clocks.',
  });
}
