import type { Schedule } from '../schedule.ts';
import { type Task, type TaskKind, task } from '../task.ts';
import { B, BW, F, type Instance, kindNames, W } from './instance.ts';

/**
 * The tasks of each device in order, a number each: kind · stages + stage. The microbatch is the count: every stage runs
 * each kind in microbatch order, so no move of a task can break that order. Where all microbatches take equally long it
 * costs nothing: if the k-th start of a task is never before the k-th end of what it needs under some labels, it is not
 * under sorted ones.
 */
export type Rows = Int32Array[];

export function rowsOf({ rows }: Schedule, { stages }: Instance): Rows {
  const kind: Record<TaskKind, number> = { F, B, W, BW };
  return rows.map((row) => Int32Array.from(row, (t) => kind[t.kind] * stages + t.stage));
}

export function tasksOf(rows: Rows, { stages }: Instance): Task[][] {
  const counts = new Map<number, number>();
  return rows.map((row) =>
    Array.from(row, (symbol) => {
      const [kind, stage] = [Math.floor(symbol / stages), symbol % stages];
      // BW stands in for B and W in both their counts.
      const counted = kind === BW ? B * stages + stage : symbol;
      const m = counts.get(counted) ?? 0;
      counts.set(counted, m + 1);
      if (kind === BW) counts.set(W * stages + stage, m + 1);
      return task(kindNames[kind]!, stage, m);
    }),
  );
}

/** A hair above the budget is within it: sums of fractions of a unit round. */
export const within = (held: number, budget: number): boolean => held <= budget * (1 + 1e-12);

/** A device's own rules: B behind F, W behind B, and never more held than its budget. */
export class RowCheck {
  readonly #instance: Instance;
  readonly #f: Int32Array;
  readonly #b: Int32Array;
  readonly #w: Int32Array;
  /** The most that the row held; of interest where `check` said yes. */
  peak = 0;

  constructor(instance: Instance) {
    this.#instance = instance;
    [this.#f, this.#b, this.#w] = [0, 1, 2].map(() => new Int32Array(instance.stages)) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
  }

  check(row: Int32Array, device: number): boolean {
    const { stages, stagesOf, hold, keep, budget } = this.#instance;
    const [f, b, w] = [this.#f, this.#b, this.#w];
    const own = stagesOf[device]!;
    for (const s of own) f[s] = b[s] = w[s] = 0;
    this.peak = 0;
    for (let i = 0; i < row.length; i++) {
      const kind = (row[i]! / stages) | 0;
      const s = row[i]! % stages;
      let less = 0;
      if (kind === F) f[s]!++;
      else if (kind === B) {
        if (b[s]! >= f[s]!) return false;
        // What a B frees, it frees at its end; what it adds is there from its start.
        b[s]!++;
      } else if (kind === W) {
        if (w[s]! >= b[s]!) return false;
        less = keep[s]!;
        w[s]!++;
      } else {
        if (b[s]! >= f[s]! || w[s] !== b[s]) return false;
        less = hold[s]!;
        b[s]!++;
        w[s]!++;
      }
      if (less === 0) {
        let held = 0;
        for (const x of own) held += (f[x]! - b[x]!) * hold[x]! + (b[x]! - w[x]!) * keep[x]!;
        if (!within(held, budget[device]!)) return false;
        if (held > this.peak) this.peak = held;
      }
    }
    return true;
  }
}

/**
 * Plays rows as soon as possible, as `playClock` does, into arrays that are kept between runs. Positions count through
 * the rows: device d's begin at `offset[d]`.
 */
export class Player {
  readonly offset: Int32Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  /** Position of the task that the start waited for last: the one before on the device, another's, or −1 for none. */
  readonly cause: Int32Array;
  /** Positions in an order of the run. */
  readonly played: Int32Array;
  count = 0;
  makespan = 0;
  /** The largest over devices of (last end − own first start). */
  span = 0;
  readonly #instance: Instance;
  readonly #next: Int32Array;
  readonly #counts: Int32Array;
  readonly #symbol: Int32Array;
  readonly #microbatch: Int32Array;
  /** Position of a slot's F and of its B or BW; −1 before it ran. */
  readonly #position: Int32Array;
  /** Devices that wait for a slot's F or B, as linked lists. */
  readonly #waiter: Int32Array;
  readonly #nextWaiter: Int32Array;

  constructor(instance: Instance) {
    const { slots, devices, stages } = instance;
    this.#instance = instance;
    this.offset = new Int32Array(devices + 1);
    this.start = new Float64Array(3 * slots);
    this.end = new Float64Array(3 * slots);
    this.cause = new Int32Array(3 * slots);
    this.played = new Int32Array(3 * slots);
    this.#symbol = new Int32Array(3 * slots);
    this.#microbatch = new Int32Array(3 * slots);
    this.#next = new Int32Array(devices);
    this.#counts = new Int32Array(3 * stages);
    this.#position = new Int32Array(2 * slots);
    this.#waiter = new Int32Array(2 * slots);
    this.#nextWaiter = new Int32Array(devices);
  }

  /** False where the rows cannot finish. */
  play(rows: Rows): boolean {
    const { stages, microbatches: M, slots, devices, before, after, time } = this.#instance;
    const { offset, start, end, cause, played } = this;
    const [position, counts, waiter, next] = [this.#position, this.#counts, this.#waiter, this.#next];
    position.fill(-1);
    counts.fill(0);
    waiter.fill(-1);
    const ready: number[] = [];
    for (let d = 0; d < devices; d++) {
      next[d] = offset[d]!;
      offset[d + 1] = offset[d]! + rows[d]!.length;
      ready.push(d);
    }
    this.count = 0;
    while (ready.length > 0) {
      const d = ready.pop()!;
      const row = rows[d]!;
      while (next[d]! < offset[d + 1]!) {
        const p = next[d]!;
        const symbol = row[p - offset[d]!]!;
        const kind = (symbol / stages) | 0;
        const s = symbol % stages;
        const counter = (kind === BW ? B : kind) * stages + s;
        const m = counts[counter]!;
        let at = 0;
        let why = -1;
        if (p > offset[d]!) {
          at = end[p - 1]!;
          why = p - 1;
        }
        // Own F, or own B, stands before in the row and is no later than the device is free.
        let missing = -1;
        const needs = kind === F ? before[s]! : kind === W ? none : after[s]!;
        const of = kind === F ? 0 : slots;
        if (kind !== F && position[(kind === W ? slots : 0) + s * M + m] === -1) return false;
        for (let i = 0; i < needs.length; i++) {
          const need = needs[i]!;
          const key = of + need.stage * M + m;
          const where = position[key]!;
          if (where < 0) {
            missing = key;
            break;
          }
          const arrival = end[where]! + need.arrives;
          if (arrival > at) {
            at = arrival;
            why = where;
          }
        }
        if (missing >= 0) {
          this.#nextWaiter[d] = waiter[missing]!;
          waiter[missing] = d;
          break;
        }
        start[p] = at;
        end[p] = at + time[kind * slots + s * M + m]!;
        cause[p] = why;
        this.#symbol[p] = symbol;
        this.#microbatch[p] = m;
        played[this.count++] = p;
        next[d]!++;
        counts[counter]!++;
        if (kind === BW) counts[W * stages + s]!++;
        if (kind === W) continue;
        const key = (kind === F ? 0 : slots) + s * M + m;
        position[key] = p;
        for (let waiting = waiter[key]!; waiting >= 0; waiting = this.#nextWaiter[waiting]!) ready.push(waiting);
      }
    }
    if (this.count < offset[devices]!) return false;
    this.makespan = 0;
    this.span = 0;
    for (let d = 0; d < devices; d++) {
      if (offset[d] === offset[d + 1]) continue;
      const last = end[offset[d + 1]! - 1]!;
      this.makespan = Math.max(this.makespan, last);
      this.span = Math.max(this.span, last - start[offset[d]!]!);
    }
    return true;
  }

  /**
   * Of the run that was played: the longest way from the end of each task to the end of the step, through the rows too,
   * by kind · slots + slot. `fromOwnStart` counts the step's end for each device from its own first start.
   */
  tails(fromOwnStart: boolean): Float64Array {
    const { stages, microbatches: M, slots, devices, before, after, time } = this.#instance;
    const tail = new Float64Array(this.count).fill(-Infinity);
    for (let d = 0; d < devices; d++) {
      const last = this.offset[d + 1]! - 1;
      if (last >= this.offset[d]!) tail[last] = fromOwnStart ? -this.start[this.offset[d]!]! : 0;
    }
    const rank = new Float64Array(4 * slots).fill(-Infinity);
    const isFirst = new Uint8Array(this.count);
    for (let d = 0; d < devices; d++) if (this.offset[d]! < this.count) isFirst[this.offset[d]!] = 1;
    for (let i = this.count - 1; i >= 0; i--) {
      const p = this.played[i]!;
      const kind = (this.#symbol[p]! / stages) | 0;
      const s = this.#symbol[p]! % stages;
      const m = this.#microbatch[p]!;
      const total = tail[p]! + time[kind * slots + s * M + m]!;
      rank[kind * slots + s * M + m] = tail[p]!;
      if (!isFirst[p]) tail[p - 1] = Math.max(tail[p - 1]!, total);
      if (kind === W) continue;
      const needs = kind === F ? before[s]! : after[s]!;
      const of = kind === F ? 0 : slots;
      for (const { stage, arrives } of needs) {
        const where = this.#position[of + stage * M + m]!;
        tail[where] = Math.max(tail[where]!, total + arrives);
      }
    }
    return rank;
  }
}

const none: readonly never[] = [];
