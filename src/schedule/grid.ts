import { requireKinds } from '../core/options.ts';
import { type Clock, type ClockOptions, clockUntilStuck } from './clock.ts';
import type { Schedule } from './schedule.ts';
import type { Task } from './task.ts';

export interface GridOptions extends ClockOptions {
  /** Times already played; otherwise they are computed from the other options. */
  readonly clock?: Clock;
  /** Tasks to print as `>F3<`. */
  readonly marks?: readonly { readonly device: number; readonly index: number }[];
  /** Tasks that should be there and are not: printed at the end of their row as `>F3?<`. */
  readonly missing?: readonly { readonly device: number; readonly task: Task }[];
  /** Adds the step's last column, `U`: the update on every device that owns a stage, behind a barrier of all. */
  readonly updates?: boolean;
  /** Characters a line before the middle is left out (marked places stay). Default 120. */
  readonly width?: number | 'whole';
  /** Where the columns that are left out can be seen; default: by `width`. */
  readonly elsewhere?: string;
}

/** One device at one clock. `continues`: the task of the cell to the left still runs. */
interface Cell {
  readonly text: string;
  readonly continues?: boolean;
  /** Joined to the task of the cell to the left: the second of an overlap cell. */
  readonly joined?: boolean;
  readonly marked?: boolean;
}
const idle: Cell = { text: '..' };
const bar: Cell = { text: '|' };

/**
 * The schedule as a clock grid: a line a device, a column a clock, `..` idle.
 *
 *     device 0  F0 F1 .. B0 .. B1
 *     device 1  .. F0 B0 F1 B1 ..
 *
 * B is the whole backward (BW), or B alone where a W of the same microbatch stands in the row. Cells name the stage
 * (`2F0`) as soon as a stage's number differs from its device's. With durations, a task covers columns in proportion
 * (`B0---`). The two tasks of an overlap cell are joined: `0F7+7B3`. What could not run, because it waits in vain, stands
 * behind a `|`.
 */
export function printGrid(schedule: Schedule, options: GridOptions = {}): string {
  requireKinds('printGrid', { options: ['record', options] });
  const clock = options.clock ?? clockUntilStuck(schedule, options);
  const columns = cellColumns(schedule, clock, options);
  const names = schedule.rows.map((_, device) => `device ${device}`);
  const nameWidth = Math.max(0, ...names.map((n) => n.length));

  // Equal clocks are equally wide; only a mark widens its column, and the bar needs no room.
  const longest = (cells: readonly Cell[]): number => cells.reduce((n, c) => Math.max(n, c.text.length), 0);
  const common = longest(columns.flat().filter((c) => !c.marked));
  const widths = columns.map((cells) => (cells[0] === bar ? 1 : Math.max(common, longest(cells))));
  const shown = shownColumns(columns, widths, nameWidth, options.width ?? 120);
  const lines = names.map((name, device) => {
    let line = `${name.padEnd(nameWidth)} `;
    columns.forEach((cells, c) => {
      if (!shown[c]) {
        if (c === 0 || shown[c - 1]) line += ' …';
        return;
      }
      const cell = cells[device]!;
      const runsOn = columns[c + 1]?.[device]?.continues && shown[c + 1];
      line +=
        (cell.continues ? '-' : cell.joined ? '+' : ' ') +
        cell.text.padEnd(widths[c]!, cell.continues || runsOn ? '-' : ' ');
    });
    return line.trimEnd();
  });
  const { elsewhere = "width 'whole' prints them" } = options;
  const hidden = shown.filter((s) => !s).length;
  if (hidden > 0) lines.push(`(… leaves out ${hidden} of ${columns.length} columns; ${elsewhere})`);
  return lines.join('\n');
}

/** columns[clock][device] */
function cellColumns(schedule: Schedule, clock: Clock, options: GridOptions): Cell[][] {
  const namesStage = schedule.rows.some((row, device) => row.some((t) => t.stage !== device));
  const label = (t: Task): string => `${namesStage ? t.stage : ''}${t.kind === 'BW' ? 'B' : t.kind}${t.microbatch}`;
  const marks = new Set((options.marks ?? []).map((m) => `${m.device} ${m.index}`));
  const cells = schedule.overlaps?.map((indices) => new Set(indices));
  const cellOf = (t: Task, device: number, index: number): Cell => {
    const marked = marks.has(`${device} ${index}`);
    const joined = cells?.[device]?.has(index - 1) === true;
    return { text: marked ? `>${label(t)}<` : label(t), marked, joined };
  };

  // The shortest task is one column, but the longest at most eight; what is shorter is rounded up to one, never lost.
  const lengths = clock.rows.flatMap((row) => row.map((t) => t.end - t.start)).filter((length) => length > 0);
  const shortest = lengths.reduce((a, b) => Math.min(a, b), Infinity);
  const column = lengths.reduce((a, b) => Math.max(a, b / 8), shortest);
  const at = (time: number): number => Math.round(time / column);
  const ran = clock.rows.map((timed, device) => {
    const cells: Cell[] = [];
    timed.forEach(({ task, start, end }, index) => {
      while (cells.length < at(start)) cells.push(idle);
      cells.push(cellOf(task, device, index));
      while (cells.length < at(end)) cells.push({ text: '-', continues: true });
    });
    return cells;
  });
  const stuck = schedule.rows.map((row, device) => [
    ...row.slice(clock.rows[device]!.length).map((t, i) => cellOf(t, device, clock.rows[device]!.length + i)),
    ...(options.missing ?? [])
      .filter((m) => m.device === device)
      .map((m): Cell => ({ text: `>${label(m.task)}?<`, marked: true })),
  ]);

  const clocks = Math.max(0, ...ran.map((cells) => cells.length));
  const tail = Math.max(0, ...stuck.map((cells) => cells.length));
  const updates = schedule.rows.map((_, device) => (schedule.placement.includes(device) ? { text: 'U' } : idle));
  const columnOf = (rows: readonly Cell[][], c: number, blank: Cell): Cell[] => rows.map((cells) => cells[c] ?? blank);
  return [
    ...Array.from({ length: clocks }, (_, c) => columnOf(ran, c, idle)),
    ...(options.updates ? [updates] : []),
    ...(tail > 0 ? [schedule.rows.map(() => bar)] : []),
    ...Array.from({ length: tail }, (_, c) => columnOf(stuck, c, { text: '' })),
  ];
}

/** All columns where they fit; else the first, the last, and those around every mark. */
function shownColumns(
  columns: readonly Cell[][],
  widths: readonly number[],
  nameWidth: number,
  width: number | 'whole',
): boolean[] {
  const total = widths.reduce((sum, w) => sum + w + 1, nameWidth + 1);
  if (width === 'whole' || total <= width) return columns.map(() => true);
  const marked = columns.flatMap((cells, c) => (cells.some((cell) => cell.marked) ? [c] : []));
  const around = columns.map((_, c) => marked.some((m) => Math.abs(m - c) <= 2));
  const budget = Math.floor(
    (width - nameWidth - 1 - 2 * (marked.length + 1)) / (widths.reduce((a, b) => Math.max(a, b)) + 1),
  );
  const ends = Math.max(4, budget - around.filter(Boolean).length);
  const head = Math.ceil(ends / 2);
  return columns.map((_, c) => around[c]! || c < head || c >= columns.length - (ends - head));
}
