import { PlanError } from '../core/errors.ts';
import { type Clock, type ClockOptions, clockUntilStuck, type Times, timesUntilStuck, type Waiting } from './clock.ts';
import { printGrid } from './grid.ts';
import type { Schedule } from './schedule.ts';
import { sameTask, taskKey } from './task.ts';
import type { TaskIndex } from './task-index.ts';

/** Every task's start and end when all run as soon as possible; a schedule that cannot finish is an error. */
export function playClock(schedule: Schedule, options: ClockOptions = {}): Clock {
  const clock = clockUntilStuck(schedule, options);
  if (clock.waiting.length > 0) throw deadlockError(schedule, clock);
  return clock;
}

/** The same by numbers, for schedules of millions of tasks. */
export function playTimes(schedule: Schedule, options: ClockOptions = {}, index?: TaskIndex): Times {
  const times = timesUntilStuck(schedule, options, index);
  if (times.waiting.length > 0) throw deadlockError(schedule, clockUntilStuck(schedule, options));
  return times;
}

/** One link of a chain of waits. */
interface Wait extends Waiting {
  /** Where the awaited task stands; undefined where no row has it. */
  readonly at: { readonly device: number; readonly index: number } | undefined;
}

/**
 * Follows "waits for a task that stands behind that device's next task, which waits for …" until a device comes
 * twice (a cycle) or a task is nowhere (the chain up to it).
 */
export function findCycle(schedule: Schedule, clock: Clock): Wait[] {
  const chain: Wait[] = [];
  let next: Waiting | undefined = clock.waiting[0];
  while (next !== undefined) {
    const { device, waitsFor } = next;
    const seen = chain.findIndex((w) => w.device === device);
    if (seen >= 0) return chain.slice(seen);
    const at = locate(schedule, waitsFor);
    chain.push({ ...next, at });
    next = at && clock.waiting.find((w) => w.device === at.device);
  }
  return chain;
}

function locate(schedule: Schedule, wanted: Waiting['waitsFor']): Wait['at'] {
  for (const [device, row] of schedule.rows.entries()) {
    const index = row.findIndex((t) => sameTask(t, wanted));
    if (index >= 0) return { device, index };
  }
  return undefined;
}

export function deadlockError(schedule: Schedule, clock: Clock): PlanError {
  const cycle = findCycle(schedule, clock);
  const lines = cycle.map((wait) => {
    const where =
      wait.at === undefined
        ? 'which no device runs'
        : wait.at.device === wait.device
          ? `which stands later in the same row (place ${wait.at.index})`
          : `on device ${wait.at.device}, place ${wait.at.index}`;
    return `  device ${wait.device}, place ${wait.index}: ${taskKey(wait.task)} waits for ${taskKey(wait.waitsFor)} ${where}`;
  });
  const grid = printGrid(schedule, { clock, marks: cycle });
  const first = cycle[0]!;
  const absent = cycle.find((wait) => wait.at === undefined);
  const why = absent === undefined ? 'its devices wait for each other' : `nothing runs ${taskKey(absent.waitsFor)}`;
  return new PlanError(
    absent === undefined ? 'schedule-dependency-cycle' : 'schedule-missing-task',
    `schedule "${schedule.name}" cannot finish: ${why}\n${lines.join('\n')}\n${grid}`,
    {
      fields: {
        device: first.device,
        index: first.index,
        task: taskKey(first.task),
        cycle: cycle.map((w) => ({
          device: w.device,
          index: w.index,
          task: taskKey(w.task),
          waitsFor: taskKey(w.waitsFor),
        })),
      },
      remedy:
        absent === undefined
          ? `Move ${taskKey(first.task)} behind the tasks it needs in the row of device ${first.device}, or use a named schedule.`
          : `Add ${taskKey(absent.waitsFor)} to the row of device ${schedule.placement[absent.waitsFor.stage]}.`,
    },
  );
}
