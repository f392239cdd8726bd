import { requireSchedule, type Schedule } from './schedule.ts';
import type { Task, TaskKind } from './task.ts';

const kindNumbers: { readonly [kind in TaskKind]: number } = { F: 0, B: 1, W: 2, BW: 3 };

/**
 * The tasks of a schedule by number. A *place* counts through the rows, one device after another; a task that could
 * exist has the number ((stage·M) + microbatch)·4 + kind, and the index says at which place it stands first.
 */
export class TaskIndex {
  /** All tasks in the order of places. */
  readonly tasks: readonly Task[];
  /** Place of each row's first task; one more entry than there are rows. */
  readonly rowStarts: Int32Array;
  readonly #stages: number;
  readonly #microbatches: number;
  readonly #dense: Int32Array | undefined;
  readonly #sparse = new Map<number, number>();

  constructor(schedule: Schedule) {
    requireSchedule(schedule);
    const { stages, microbatches, rows } = schedule;
    this.tasks = rows.flat();
    this.rowStarts = new Int32Array(rows.length + 1);
    rows.forEach((row, device) => {
      this.rowStarts[device + 1] = this.rowStarts[device]! + row.length;
    });
    this.#stages = stages;
    this.#microbatches = microbatches;
    // A broken file may claim a billion microbatches and hold ten tasks: then a table by numbers would be mostly holes.
    const numbers = 4 * stages * microbatches;
    this.#dense = numbers <= 1024 + 16 * this.tasks.length ? new Int32Array(numbers).fill(-1) : undefined;
    for (let place = this.tasks.length - 1; place >= 0; place--) {
      const { kind, stage, microbatch } = this.tasks[place]!;
      if (!this.has(stage, microbatch) || kindNumbers[kind] === undefined) continue;
      const number = this.#number(kind, stage, microbatch);
      if (this.#dense) this.#dense[number] = place;
      else this.#sparse.set(number, place);
    }
  }

  /** First place of a task; −1 where it stands nowhere, or is of no stage or microbatch of the schedule. */
  placeOf(kind: TaskKind, stage: number, microbatch: number): number {
    if (!this.has(stage, microbatch)) return -1;
    const number = this.#number(kind, stage, microbatch);
    return this.#dense ? this.#dense[number]! : (this.#sparse.get(number) ?? -1);
  }

  /** Place of the stage's backward in the form that the schedule has it in: BW or B. */
  backwardPlaceOf(stage: number, microbatch: number): number {
    const both = this.placeOf('BW', stage, microbatch);
    return both >= 0 ? both : this.placeOf('B', stage, microbatch);
  }

  /** Device and place in its row of a place. */
  positionOf(place: number): { device: number; index: number } {
    let device = 0;
    while (this.rowStarts[device + 1]! <= place) device++;
    return { device, index: place - this.rowStarts[device]! };
  }

  has(stage: number, microbatch: number): boolean {
    return isIndex(stage, this.#stages) && isIndex(microbatch, this.#microbatches);
  }

  #number(kind: TaskKind, stage: number, microbatch: number): number {
    return (stage * this.#microbatches + microbatch) * 4 + kindNumbers[kind];
  }
}

export const isIndex = (n: number, count: number): boolean => Number.isInteger(n) && n >= 0 && n < count;
