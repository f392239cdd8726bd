import type { Bounds } from './bound.ts';
import { B, BW, F, type Instance, W } from './instance.ts';
import { type Rows, within } from './rows.ts';

/** A beginning of a schedule. Its past is a chain of tasks; its future depends on counts and times alone. */
interface State {
  readonly from: State | undefined;
  readonly symbol: number;
  readonly counts: Uint8Array; // F, B and W of each stage
  readonly ends: Float64Array; // of F, then B, by slot
  readonly free: Float64Array; // by device
  /** Start of the last task: those that follow start no earlier. */
  readonly now: number;
}

/** Above these a state is too large, or the states are too many, for the search to be worth its memory. */
const mostTasks = 72;
const mostStates = 60_000;
/** A stage of a state takes about as long as this many tasks placed by a list. */
const stateWork = 10;

interface Exact {
  /** Shorter than the known ones; undefined where there are none. */
  readonly rows: Rows | undefined;
}

/**
 * Looks at every order of few tasks: states by number of tasks placed, in the order of their starts, and of the states
 * with equal counts only those that no other is at least as early as in everything that matters later (Held and Karp's
 * dynamic programme with Pareto fronts). What cannot end before `known` by the bounds is left out. Undefined where that is
 * too much; else what it says is proved, for the makespan.
 */
export function exactSchedule(instance: Instance, bounds: Bounds, known: number, effort: number): Exact | undefined {
  const { microbatches: M, slots, split } = instance;
  if ((split ? 3 : 2) * slots > mostTasks || M > 255) return undefined;
  const search = new ExactSearch(instance, bounds, known);
  if (!search.run(effort)) return undefined;
  return { rows: search.best && rowsTo(search.best, instance) };
}

class ExactSearch {
  /** The end of the shortest whole schedule that was found. */
  best: State | undefined;
  readonly #instance: Instance;
  /** Least times of tasks, and of the ways behind them to the end of the step. */
  readonly #least: Float64Array;
  readonly #tails: Float64Array;
  /** Stages whose backward may be worth doing whole. */
  readonly #wholes: readonly boolean[];
  /** What ends no earlier is of no use. */
  #limit: number;

  constructor(instance: Instance, bounds: Bounds, known: number) {
    const { stages, split, hold, keep } = instance;
    this.#instance = instance;
    this.#tails = bounds.ranks();
    this.#least = bounds.leastTimes();
    this.#wholes = Array.from(
      { length: stages },
      (_, s) => !split || keep[s]! > hold[s]! || wholeIsShorter(instance, s),
    );
    this.#limit = known * (1 - 1e-9);
  }

  /** Goes through all states, one more task at a time; false where they are too many. */
  run(effort: number): boolean {
    const { stages, slots, devices } = this.#instance;
    let layer: State[] = [
      {
        from: undefined,
        symbol: -1,
        counts: new Uint8Array(3 * stages),
        ends: new Float64Array(2 * slots),
        free: new Float64Array(devices),
        now: 0,
      },
    ];
    // A BW is two counts, so layers go by counts: a state may skip one.
    let skipping: State[] = [];
    let spent = 0;
    while (layer.length > 0 || skipping.length > 0) {
      const fronts = new Fronts();
      const later: State[] = [];
      for (const state of skipping) this.#add(state, fronts);
      for (const state of layer) {
        for (let s = 0; s < stages; s++) this.#placeNext(state, s, fronts, later);
        spent += stages * stateWork;
        if (fronts.size + later.length > mostStates || spent > effort) return false;
      }
      layer = fronts.states();
      skipping = later;
    }
    return true;
  }

  /** The state with each of a stage's next tasks placed: among the fronts, or `later` where that is a whole backward. */
  #placeNext(state: State, s: number, fronts: Fronts, later: State[]): void {
    const { stages, microbatches: M, split } = this.#instance;
    const [f, b, w] = [state.counts[s]!, state.counts[stages + s]!, state.counts[2 * stages + s]!];
    if (f < M) this.#keep(this.#step(state, F, s), fronts);
    if (b < f && split) this.#keep(this.#step(state, B, s), fronts);
    if (w < b) this.#keep(this.#step(state, W, s), fronts);
    const both = b < f && w === b && this.#wholes[s] ? this.#step(state, BW, s) : undefined;
    if (both === undefined) return;
    if (this.#isWhole(both)) this.#finish(both);
    else later.push(both);
  }

  #keep(state: State | undefined, fronts: Fronts): void {
    if (state === undefined) return;
    if (this.#isWhole(state)) this.#finish(state);
    else this.#add(state, fronts);
  }

  #add(state: State, fronts: Fronts): void {
    if (!this.#isHopeless(state)) fronts.add(state, this.#profileOf(state));
  }

  #isWhole({ counts }: State): boolean {
    const M = this.#instance.microbatches;
    for (let i = 0; i < counts.length; i++) if (counts[i] !== M) return false;
    return true;
  }

  /**
   * A whole schedule. Its last task ends below the limit, but a shorter one may have been found since its others were
   * placed.
   */
  #finish(state: State): void {
    const makespan = Math.max(...state.free);
    if (!(makespan < this.#limit)) return;
    this.best = state;
    this.#limit = makespan * (1 - 1e-9);
  }

  /** The state with a stage's next task of a kind; undefined where the memory or the limit forbids it. */
  #step(state: State, kind: number, s: number): State | undefined {
    const { stages, microbatches: M, slots, placement, hold, keep, time } = this.#instance;
    const m = state.counts[(kind === BW ? B : kind) * stages + s]!;
    const start = this.#arrival(state, kind, s, m);
    const end = start + time[kind * slots + s * M + m]!;
    // Behind a BW there is no W any more, so its tail is that of the W.
    if (!(end + this.#tails[(kind === BW ? W : kind) * slots + s * M + m]! < this.#limit)) return undefined;
    const d = placement[s]!;
    if (kind === F && !this.#fits(state, d, hold[s]!)) return undefined;
    if (kind === B && !this.#fits(state, d, keep[s]! - hold[s]!)) return undefined;
    const counts = state.counts.slice();
    counts[(kind === BW ? B : kind) * stages + s]!++;
    if (kind === BW) counts[2 * stages + s]!++;
    const free = state.free.slice();
    free[d] = end;
    const ends = state.ends.slice();
    if (kind === F) ends[s * M + m] = end;
    else if (kind !== W) ends[slots + s * M + m] = end;
    return { from: state, symbol: kind * stages + s, counts, ends, free, now: start };
  }

  /** When a task may start; Infinity where that is not known yet. */
  #arrival(state: State, kind: number, s: number, m: number): number {
    const { stages, microbatches: M, slots, placement, before, after } = this.#instance;
    let at = Math.max(state.now, state.free[placement[s]!]!);
    if (kind === W) return at;
    const count = kind === F ? 0 : stages;
    const of = kind === F ? 0 : slots;
    for (const { stage, arrives } of kind === F ? before[s]! : after[s]!) {
      if (state.counts[count + stage]! <= m) return Infinity;
      at = Math.max(at, state.ends[of + stage * M + m]! + arrives);
    }
    return at;
  }

  #fits({ counts }: State, d: number, more: number): boolean {
    const { stages, stagesOf, hold, keep, budget } = this.#instance;
    let held = more;
    for (const x of stagesOf[d]!) {
      const [f, b, w] = [counts[x]!, counts[stages + x]!, counts[2 * stages + x]!];
      held += (f - b) * hold[x]! + (b - w) * keep[x]!;
    }
    return within(held, budget[d]!);
  }

  /** No way to end below the limit: what a device has left, or a stage's next task. */
  #isHopeless(state: State): boolean {
    const { stages, microbatches: M, slots, devices, stagesOf } = this.#instance;
    const least = this.#least;
    for (let d = 0; d < devices; d++) {
      let left = 0;
      for (const s of stagesOf[d]!) {
        for (let k = 0; k < 3; k++) {
          for (let m = state.counts[k * stages + s]!; m < M; m++) left += least[k * slots + s * M + m]!;
        }
      }
      const from = left > 0 ? Math.max(state.now, state.free[d]!) : state.free[d]!;
      if (!(from + left < this.#limit)) return true;
    }
    return false;
  }

  /** Times that the future depends on; none before the device that is to use them is free. */
  #profileOf(state: State): Float64Array {
    const { stages, microbatches: M, slots, devices, placement, stagesOf, before, after } = this.#instance;
    // The last end of devices that have nothing left; when each of the others is free.
    const values: number[] = [0];
    for (let d = 0; d < devices; d++) {
      const isBusy = stagesOf[d]!.some((s) => state.counts[2 * stages + s]! < M);
      if (!isBusy) values[0] = Math.max(values[0]!, state.free[d]!);
      values.push(isBusy ? Math.max(state.now, state.free[d]!) : 0);
    }
    for (let s = 0; s < stages; s++) {
      for (const [of, list, count] of [[0, after[s]!, 0] as const, [slots, before[s]!, stages] as const]) {
        for (const { stage, leaves } of list) {
          for (let m = state.counts[count + stage]!; m < state.counts[count + s]!; m++) {
            values.push(Math.max(values[1 + placement[stage]!]!, state.ends[of + s * M + m]! + leaves));
          }
        }
      }
    }
    return Float64Array.from(values);
  }
}

/** Of the states with equal counts those that no other is at least as early as in everything. */
class Fronts {
  size = 0;
  readonly #fronts = new Map<string, { readonly state: State; readonly profile: Float64Array }[]>();

  add(state: State, profile: Float64Array): void {
    const key = String.fromCharCode(...state.counts);
    const front = this.#fronts.get(key);
    if (front === undefined) this.#fronts.set(key, [{ state, profile }]);
    else if (front.some((other) => atMost(other.profile, profile))) return;
    else {
      const kept = front.filter((other) => !atMost(profile, other.profile));
      this.size -= front.length - kept.length;
      kept.push({ state, profile });
      this.#fronts.set(key, kept);
    }
    this.size++;
  }

  states(): State[] {
    return [...this.#fronts.values()].flatMap((front) => front.map((entry) => entry.state));
  }
}

const wholeIsShorter = ({ microbatches: M, slots, time }: Instance, s: number): boolean =>
  Array.from({ length: M }, (_, m) => s * M + m).some(
    (i) => time[BW * slots + i]! < time[B * slots + i]! + time[W * slots + i]!,
  );

const atMost = (a: Float64Array, b: Float64Array): boolean => {
  for (let i = 0; i < a.length; i++) if (a[i]! > b[i]!) return false;
  return true;
};

function rowsTo(state: State, { devices, stages, placement }: Instance): Rows {
  const rows: number[][] = Array.from({ length: devices }, () => []);
  for (let at: State | undefined = state; at.from !== undefined; at = at.from) {
    rows[placement[at.symbol % stages]!]!.unshift(at.symbol);
  }
  return rows.map((row) => Int32Array.from(row));
}
