import { joinProblems, PlanError } from '../core/errors.ts';
import type { StageEdge } from './dependencies.ts';
import { printGrid } from './grid.ts';
import type { Schedule } from './schedule.ts';
import { type Task, taskKey } from './task.ts';

export type ScheduleProblemCode =
  | 'schedule-placement'
  | 'schedule-unknown-kind'
  | 'schedule-out-of-range'
  | 'schedule-foreign-stage'
  | 'schedule-duplicate-task'
  | 'schedule-mixed-backward'
  | 'schedule-unexpected-task'
  | 'schedule-missing-task'
  | 'schedule-overlap'
  | 'schedule-weight-before-backward'
  | 'schedule-gradient-order'
  | 'schedule-forward-order'
  | 'schedule-in-flight'
  | 'schedule-dependency-cycle';

/** One defect of a schedule and its place. */
export interface Problem {
  readonly code: ScheduleProblemCode;
  readonly what: string;
  /** −1 where it is of no one device. */
  readonly device: number;
  /** Place in the device's row; undefined where the task is not there. */
  readonly index?: number;
  readonly task?: Task;
  readonly remedy: string;
  readonly fields?: Record<string, unknown>;
}

/** Further problems are not listed. */
export const listedProblems = 12;

/** The error with the clock grid, as far as it can be played, and the places marked. */
export function gridError(
  schedule: Schedule,
  problems: readonly Problem[],
  dependencies: readonly StageEdge[] | undefined,
): PlanError {
  const few = problems.slice(0, listedProblems);
  const marks = few.flatMap(({ device, index }) => (index === undefined ? [] : [{ device, index }]));
  const missing = few.flatMap(({ device, index, task }) => (index === undefined && task ? [{ device, task }] : []));
  return problemError(schedule, problems, printGrid(schedule, { dependencies, marks, missing }));
}

/** The same where the schedule is too broken to play: its rows as they stand. */
export function rowsError(schedule: Schedule, problems: readonly Problem[]): PlanError {
  const marked = (device: number, index: number): boolean =>
    problems.some((p) => p.device === device && p.index === index);
  const lines = schedule.rows.map((row, device) => {
    const cells = row.map((t, index) => (marked(device, index) ? `>${taskKey(t)}<` : taskKey(t)));
    return `device ${device}  ${cells.join(' ')}`;
  });
  return problemError(schedule, problems, lines.join('\n'));
}

function problemError(schedule: Schedule, problems: readonly Problem[], drawing: string): PlanError {
  const first = problems[0]!;
  const few = problems.slice(0, listedProblems);
  const lines = few.map((p) => {
    const place = p.index === undefined ? '' : `, place ${p.index}`;
    return p.device < 0 ? p.what : `device ${p.device}${place}: ${p.what}`;
  });
  if (problems.length > few.length) lines.push('and more');
  return new PlanError(first.code, `schedule "${schedule.name}": ${joinProblems(lines)}\n${drawing}`, {
    fields: { ...facts(first), problems: few.map((p) => ({ code: p.code, what: p.what, ...facts(p) })) },
    remedy: first.remedy,
  });
}

const facts = (p: Problem): Record<string, unknown> => ({
  ...(p.device < 0 ? {} : { device: p.device }),
  ...(p.index === undefined ? {} : { index: p.index }),
  ...(p.task === undefined ? {} : { task: taskKey(p.task), stage: p.task.stage, microbatch: p.task.microbatch }),
  ...p.fields,
});
