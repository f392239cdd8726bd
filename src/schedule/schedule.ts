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
}

/** What a rule is asked for. Without a placement, stage s is alone on device s. */
export interface ScheduleShape {
  readonly stages: number;
  readonly microbatches: number;
  readonly placement?: readonly number[];
  /** Where it is more than the placement uses, the surplus devices have empty rows. */
  readonly devices?: number;
}
