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
