import { PlanError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { requiredPlaces, requirementsOf, type StageEdge } from './dependencies.ts';
import type { Schedule } from './schedule.ts';
import { type Task, type TaskKind, taskKey } from './task.ts';
import { TaskIndex } from './task-index.ts';

/** Times of one microbatch on one stage, in any unit; BW takes B + W where it is not given. */
export interface Durations {
  readonly F: number;
  readonly B: number;
  readonly W: number;
  readonly BW?: number;
}

export interface ClockOptions {
  /** Default: every task takes one clock, BW too (torchgpipe's clock). A function where stages differ. */
  readonly durations?: Durations | ((t: Task) => number);
  /** Default: the chain 0→1→2→… */
  readonly dependencies?: readonly StageEdge[];
  /** Time from the end of a task to its use in another stage; it blocks neither side. Default 0. */
  readonly link?: number | ((fromStage: number, toStage: number) => number);
}

export interface TimedTask {
  readonly task: Task;
  readonly start: number;
  readonly end: number;
}

/** A device that could not go on: its next task, and one that it waits for in vain. */
export interface Waiting {
  readonly device: number;
  readonly index: number;
  readonly task: Task;
  readonly waitsFor: Task;
}

export interface Clock {
  /** Per device, in row order; shorter than the schedule's row where the device got stuck. */
  readonly rows: readonly (readonly TimedTask[])[];
  readonly makespan: number;
  /** Empty if and only if every task ran. */
  readonly waiting: readonly Waiting[];
}

/** A clock by numbers: task i of device d stands at place `rowStarts[d] + i`. */
export interface Times {
  readonly rowStarts: Int32Array;
  /** By place; what never ran has NaN. */
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  /** Tasks that ran, per device. */
  readonly ran: Int32Array;
  readonly makespan: number;
  readonly waiting: readonly Waiting[];
}

/**
 * Plays the rows as soon as possible: a task starts when its device is free and all it requires has arrived.
 * The two tasks of an overlap cell start when both may, and run one after the other: a single core has nothing to overlap.
 * Stops, and says who waits for what, where nothing can go on; `playClock` is the same but throws there.
 */
export function clockUntilStuck(schedule: Schedule, options: ClockOptions = {}): Clock {
  const { rowStarts, starts, ends, ran, makespan, waiting } = timesUntilStuck(schedule, options);
  const rows = schedule.rows.map((row, device) =>
    row.slice(0, ran[device]!).map((task, i): TimedTask => {
      const place = rowStarts[device]! + i;
      return { task, start: starts[place]!, end: ends[place]! };
    }),
  );
  return { rows, makespan, waiting };
}

/**
 * The same without an object a task. Every device runs until it meets a task that is not done, and is woken by it:
 * each task is looked at once, and once more for each wait.
 */
export function timesUntilStuck(
  schedule: Schedule,
  options: ClockOptions = {},
  index = new TaskIndex(schedule),
): Times {
  requireKinds('the clock of a schedule', { options: ['record', options] });
  const { tasks, rowStarts } = index;
  const required = requiredPlaces(index, schedule.stages, options.dependencies);
  const duration = durationOf(options.durations);
  const delay = delayOf(options.link);
  const inCell = firstsOfCells(schedule, index);

  const devices = schedule.rows.length;
  const starts = new Float64Array(tasks.length).fill(Number.NaN);
  const ends = new Float64Array(tasks.length).fill(Number.NaN);
  const next = rowStarts.slice(0, devices);
  // Devices that wait for a task, as lists: a device waits for one task at a time.
  const firstWaiter = new Int32Array(tasks.length).fill(-1);
  const nextWaiter = new Int32Array(devices).fill(-1);
  const awake = Array.from({ length: devices }, (_, d) => devices - 1 - d);
  const places: number[] = [];
  let makespan = 0;

  for (let device = awake.pop(); device !== undefined; device = awake.pop()) {
    const end = rowStarts[device + 1]!;
    let free = next[device]! > rowStarts[device]! ? ends[next[device]! - 1]! : 0;
    while (next[device]! < end) {
      const place = next[device]!;
      const count = inCell?.[place] === 1 ? 2 : 1;
      let start = free;
      let missing: number | undefined;
      for (let i = 0; i < count && missing === undefined; i++) {
        const t = tasks[place + i]!;
        const n = required(t, places);
        for (let k = 0; k < n; k++) {
          const source = places[k]!;
          if (source < 0 || Number.isNaN(ends[source]!)) {
            missing = source;
            break;
          }
          const arrival = ends[source]! + delay(tasks[source]!.stage, t.stage);
          if (arrival > start) start = arrival;
        }
      }
      if (missing !== undefined) {
        if (missing >= 0) {
          nextWaiter[device] = firstWaiter[missing]!;
          firstWaiter[missing] = device;
        }
        break;
      }
      free = start;
      for (let i = place; i < place + count; i++) {
        const length = duration(tasks[i]!);
        if (!(length >= 0 && free + length < Infinity)) throw durationError(tasks[i]!, length);
        starts[i] = free;
        free += length;
        ends[i] = free;
        for (let waiter = firstWaiter[i]!; waiter >= 0; waiter = nextWaiter[waiter]!) awake.push(waiter);
      }
      if (free > makespan) makespan = free;
      next[device] = place + count;
    }
  }
  const ran = next.map((place, device) => place - rowStarts[device]!);
  return { rowStarts, starts, ends, ran, makespan, waiting: waitsOf(schedule, options, index, ran, ends) };
}

/** For every device that did not end: its next task (the one of a cell that is held up), and the first it misses. */
function waitsOf(
  schedule: Schedule,
  options: ClockOptions,
  index: TaskIndex,
  ran: Int32Array,
  ends: Float64Array,
): Waiting[] {
  if (schedule.rows.every((row, device) => ran[device] === row.length)) return [];
  const requires = requirementsOf(schedule, options.dependencies);
  const isMissing = ({ kind, stage, microbatch }: Task): boolean => {
    const place = index.placeOf(kind, stage, microbatch);
    return place < 0 || Number.isNaN(ends[place]!);
  };
  return schedule.rows.flatMap((row, device): Waiting[] => {
    for (let i = ran[device]!; i < row.length; i++) {
      const waitsFor = requires(row[i]!).find(isMissing);
      if (waitsFor !== undefined) return [{ device, index: i, task: row[i]!, waitsFor }];
    }
    return [];
  });
}

/** 1 at the place of every cell's first task. */
function firstsOfCells({ overlaps }: Schedule, { rowStarts, tasks }: TaskIndex): Uint8Array | undefined {
  if (overlaps === undefined) return undefined;
  const firsts = new Uint8Array(tasks.length);
  overlaps.forEach((indices, device) => {
    for (const i of indices) {
      const place = rowStarts[device]! + i;
      if (i >= 0 && place + 1 < rowStarts[device + 1]!) firsts[place] = 1;
    }
  });
  return firsts;
}

function durationError(t: Task, got: number): PlanError {
  return new PlanError('schedule-duration', `${taskKey(t)} takes ${got}; a duration is a finite number from 0`, {
    fields: { task: taskKey(t), stage: t.stage, microbatch: t.microbatch },
    remedy: 'Correct the times of F, B and W.',
  });
}

function durationOf(durations: ClockOptions['durations']): (t: Task) => number {
  if (durations === undefined) return () => 1;
  if (typeof durations === 'function') return durations;
  requireKinds('durations', { durations: ['record', durations] });
  const table: Record<TaskKind, number> = { BW: durations.B + durations.W, ...durations };
  return (t) => table[t.kind];
}

function delayOf(link: ClockOptions['link'] = 0): (from: number, to: number) => number {
  const checked = (delay: number, between: string): number => {
    if (delay >= 0 && delay < Infinity) return delay;
    throw new PlanError('schedule-link', `the link ${between}takes ${delay}; a time is a finite number from 0`, {
      fields: { delay },
      remedy: 'Correct the times of the links.',
    });
  };
  if (typeof link === 'function') {
    return (from, to) => (from === to ? 0 : checked(link(from, to), `from stage ${from} to stage ${to} `));
  }
  const delay = checked(link, '');
  return (from, to) => (from === to ? 0 : delay);
}
