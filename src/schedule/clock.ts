import { PlanError } from '../core/errors.ts';
import { requirementsOf, type StageEdge } from './dependencies.ts';
import type { Schedule } from './schedule.ts';
import { type Task, type TaskKind, taskKey } from './task.ts';

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

/**
 * Plays the rows as soon as possible: a task starts when its device is free and all it requires has arrived.
 * Stops, and says who waits for what, where nothing can go on; `playClock` is the same but throws there.
 */
export function clockUntilStuck(schedule: Schedule, options: ClockOptions = {}): Clock {
  const requires = requirementsOf(schedule, options.dependencies);
  const duration = durationOf(options.durations);
  const link = options.link ?? 0;
  const delay = (from: number, to: number): number =>
    from === to ? 0 : typeof link === 'number' ? link : link(from, to);

  const rows: TimedTask[][] = schedule.rows.map(() => []);
  const ends = new Map<string, number>();
  let waiting: Waiting[] = [];
  let makespan = 0;
  for (let progress = true; progress; ) {
    progress = false;
    waiting = [];
    schedule.rows.forEach((row, device) => {
      const done = rows[device]!;
      while (done.length < row.length) {
        const next = row[done.length]!;
        let start = done.at(-1)?.end ?? 0;
        let missing: Task | undefined;
        for (const required of requires(next)) {
          const end = ends.get(taskKey(required));
          if (end === undefined) missing ??= required;
          else start = Math.max(start, end + delay(required.stage, next.stage));
        }
        if (missing !== undefined) {
          waiting.push({ device, index: done.length, task: next, waitsFor: missing });
          break;
        }
        const end = start + duration(next);
        if (!(end >= start && end < Infinity)) throw durationError(next, end - start);
        done.push({ task: next, start, end });
        // The first run counts: a duplicate is the validator's to report, not a second arrival.
        if (!ends.has(taskKey(next))) ends.set(taskKey(next), end);
        makespan = Math.max(makespan, end);
        progress = true;
      }
    });
  }
  return { rows, makespan, waiting };
}

function durationError(t: Task, got: number): PlanError {
  return new PlanError('schedule-duration', `${taskKey(t)} takes ${got}; a duration is a finite number from 0`, {
    fields: { task: taskKey(t), stage: t.stage, microbatch: t.microbatch },
    remedy: 'Correct the times of F, B and W, and of the links.',
  });
}

function durationOf(durations: ClockOptions['durations']): (t: Task) => number {
  if (durations === undefined) return () => 1;
  if (typeof durations === 'function') return durations;
  const table: Record<TaskKind, number> = { BW: durations.B + durations.W, ...durations };
  return (t) => table[t.kind];
}
