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
  const { stages, microbatches: M, slots, devices, placement, stagesOf, before, after, time } = instance;
  const { hold, keep, budget, split } = instance;
  const total = (split ? 3 : 2) * slots;
  if (total > mostTasks || M > 255) return undefined;
  const tails = bounds.ranks();
  const least = bounds.leastTimes();
  const wholes = Array.from({ length: stages }, (_, s) => !split || keep[s]! > hold[s]! || wholeIsShorter(instance, s));

  let best: State | undefined;
  let limit = known * (1 - 1e-9);
  let spent = 0;

  const arrivals = (state: State, kind: number, s: number, m: number): number => {
    let at = Math.max(state.now, state.free[placement[s]!]!);
    if (kind === W) return at;
    const count = kind === F ? 0 : stages;
    const of = kind === F ? 0 : slots;
    for (const { stage, arrives } of kind === F ? before[s]! : after[s]!) {
      if (state.counts[count + stage]! <= m) return Infinity;
      at = Math.max(at, state.ends[of + stage * M + m]! + arrives);
    }
    return at;
  };
  const fits = (state: State, d: number, more: number): boolean => {
    let held = more;
    for (const x of stagesOf[d]!) {
      const [f, b, w] = [state.counts[x]!, state.counts[stages + x]!, state.counts[2 * stages + x]!];
      held += (f - b) * hold[x]! + (b - w) * keep[x]!;
    }
    return within(held, budget[d]!);
  };
  const step = (state: State, kind: number, s: number): State | undefined => {
    const m = state.counts[(kind === BW ? B : kind) * stages + s]!;
    const start = arrivals(state, kind, s, m);
    const end = start + time[kind * slots + s * M + m]!;
    // Behind a BW there is no W any more, so its tail is that of the W.
    if (!(end + tails[(kind === BW ? W : kind) * slots + s * M + m]! < limit)) return undefined;
    const d = placement[s]!;
    if (kind === F && !fits(state, d, hold[s]!)) return undefined;
    if (kind === B && !fits(state, d, keep[s]! - hold[s]!)) return undefined;
    const counts = state.counts.slice();
    counts[(kind === BW ? B : kind) * stages + s]!++;
    if (kind === BW) counts[2 * stages + s]!++;
    const free = state.free.slice();
    free[d] = end;
    const ends = state.ends.slice();
    if (kind === F) ends[s * M + m] = end;
    else if (kind !== W) ends[slots + s * M + m] = end;
    return { from: state, symbol: kind * stages + s, counts, ends, free, now: start };
  };
  /** No way to end below the limit: what a device has left, or a stage's next task. */
  const hopeless = (state: State): boolean => {
    for (let d = 0; d < devices; d++) {
      let left = 0;
      for (const s of stagesOf[d]!) {
        for (let k = 0; k < 3; k++) {
          for (let m = state.counts[k * stages + s]!; m < M; m++) left += least[k * slots + s * M + m]!;
        }
      }
      const from = left > 0 ? Math.max(state.now, state.free[d]!) : state.free[d]!;
      if (!(from + left < limit)) return true;
    }
    return false;
  };
  /** Times that the future depends on; none before the device that is to use them is free. */
  const profile = (state: State): Float64Array => {
    const values: number[] = [];
    let over = 0;
    const free = Array.from(state.free, (x, d) => {
      const busy = stagesOf[d]!.some((s) => state.counts[2 * stages + s]! < M);
      if (!busy) over = Math.max(over, x);
      return busy ? Math.max(state.now, x) : 0;
    });
    values.push(over, ...free);
    for (let s = 0; s < stages; s++) {
      for (const [of, list, count] of [[0, after[s]!, 0] as const, [slots, before[s]!, stages] as const]) {
        for (const { stage, leaves } of list) {
          for (let m = state.counts[count + stage]!; m < state.counts[count + s]!; m++) {
            values.push(Math.max(free[placement[stage]!]!, state.ends[of + s * M + m]! + leaves));
          }
        }
      }
    }
    return Float64Array.from(values);
  };

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
  const done = (state: State): boolean => state.counts.every((count) => count === M);
  /**
   * A whole schedule. Its last task ends below the limit, but a shorter one may have been found since its others were
   * placed.
   */
  const finish = (state: State): void => {
    const makespan = Math.max(...state.free);
    if (!(makespan < limit)) return;
    best = state;
    limit = makespan * (1 - 1e-9);
  };
  while (layer.length > 0 || skipping.length > 0) {
    const fronts = new Map<string, { state: State; profile: Float64Array }[]>();
    let states = 0;
    const add = (state: State): void => {
      if (hopeless(state)) return;
      const key = String.fromCharCode(...state.counts);
      const mine = profile(state);
      const front = fronts.get(key);
      if (front === undefined) fronts.set(key, [{ state, profile: mine }]);
      else if (front.some((other) => atMost(other.profile, mine))) return;
      else {
        const kept = front.filter((other) => !atMost(mine, other.profile));
        states -= front.length - kept.length;
        kept.push({ state, profile: mine });
        fronts.set(key, kept);
      }
      states++;
    };
    const later: State[] = [];
    for (const state of skipping) add(state);
    for (const state of layer) {
      for (let s = 0; s < stages; s++) {
        const [f, b, w] = [state.counts[s]!, state.counts[stages + s]!, state.counts[2 * stages + s]!];
        const nexts: (State | undefined)[] = [
          f < M ? step(state, F, s) : undefined,
          b < f && split ? step(state, B, s) : undefined,
          w < b ? step(state, W, s) : undefined,
        ];
        spent += stateWork;
        for (const next of nexts) {
          if (next === undefined) continue;
          if (done(next)) finish(next);
          else add(next);
        }
        const both = b < f && w === b && wholes[s] ? step(state, BW, s) : undefined;
        if (both === undefined) continue;
        if (done(both)) finish(both);
        else later.push(both);
      }
      if (states + later.length > mostStates || spent > effort) return undefined;
    }
    layer = [...fronts.values()].flatMap((front) => front.map((entry) => entry.state));
    skipping = later;
  }
  return { rows: best && rowsTo(best, instance) };
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
