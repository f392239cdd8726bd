import { UsageError } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import { requireKinds, shown } from '../core/options.ts';
import type { Task } from './task.ts';

/** The order of one step's tasks on every device. JSON as it stands; `csv.ts` is its other text form. */
export interface Schedule {
  readonly name: string;
  readonly stages: number;
  readonly devices: number;
  readonly microbatches: number;
  /** Device of stage s. */
  readonly placement: readonly number[];
  /** Per device, in the order of execution. */
  readonly rows: readonly (readonly Task[])[];
  /**
   * Overlap cells, per device: every i for which tasks i and i + 1 of its row, a forward and a backward that do not need
   * each other, are one cell that the device may work on at once. Absent: there are none.
   */
  readonly overlaps?: readonly (readonly number[])[];
}

/** What a rule is asked for. */
export interface ScheduleShape {
  readonly stages: number;
  readonly microbatches: number;
  /** Device of each stage. Default: that of the schedule's own placement rule. */
  readonly placement?: readonly number[];
  /**
   * Where it is more than the placement uses, the surplus devices have empty rows. Without a placement, looped and
   * V-shaped schedules lay their stages over this many; default as many as give each its usual number of stages.
   */
  readonly devices?: number;
}

/** Throws UsageError for what is no schedule: rows of tasks, and what they are for. What the tasks are, its validator says. */
export function requireSchedule(schedule: unknown): asserts schedule is Schedule {
  const { rows, placement, ...sizes } = (schedule ?? {}) as { readonly [K in keyof Schedule]?: unknown };
  const isTask = (t: unknown): boolean => typeof t === 'object' && t !== null;
  const isRow = (row: unknown): boolean => Array.isArray(row) && row.every(isTask);
  const isSized = (['stages', 'devices', 'microbatches'] as const).every((key) => isOfKind('index', sizes[key]));
  if (Array.isArray(rows) && rows.every(isRow) && Array.isArray(placement) && isSized) return;
  throw new UsageError(
    'no-schedule',
    `a schedule has stages, devices, microbatches, placement and rows, got ${shown(schedule)}`,
    {
      remedy: "makeSchedule('1f1b', { stages: 4, microbatches: 8 })",
    },
  );
}

/** Throws UsageError for what is no shape of a schedule. */
export function requireShape(what: string, shape: unknown): asserts shape is ScheduleShape {
  requireKinds(what, { shape: ['object', shape] });
  const { placement, devices } = shape as ScheduleShape;
  if (placement !== undefined) requireKinds(what, { placement: ['numbers', placement] });
  if (devices !== undefined) requireKinds(what, { devices: ['count', devices] });
}
