/**
 * Cuts a chain of units into contiguous stages so that the most loaded stage is as light as possible: exact, by dynamic
 * programming over (stages so far, units so far), O(n²k) at most: only where so many units and no more can lie in so many
 * stages, of chains of many stages a few places each.
 *
 *     best[s][j] = min over i of max(best[s − 1][i], load of a stage i … j − 1)
 *
 * The load of a stage i … j − 1 is
 *
 *     Σ weight[i … j − 1] / speed  +  crossing[i] + crossing[j]  +  inFlight · Σ held values that the stage reads, each once
 */
import { isOfKind } from '../core/kinds.ts';
import { requireKinds } from '../core/options.ts';

export interface Chain {
  /** Additive load of each unit. */
  readonly weight: readonly number[];
  /** What the weights of stage s are divided by. Default 1. */
  readonly speeds?: readonly number[];
  /** Load that a cut in front of unit i puts on both its neighbours; n + 1 entries, the outermost two unused. */
  readonly crossing?: readonly number[];
  /** Values that a unit holds for each microbatch in flight; counted once a stage. */
  readonly held?: readonly (readonly { readonly bytes: number; readonly nextReader: number }[])[];
  /** Microbatches in flight on one of so many stages. Default 1. */
  readonly inFlight?: (stage: number, stages: number) => number;
  /** What a stage may hold beside its load. One that holds more has an infinite load. */
  readonly room?: Room;
  /** Of partitions equally good, that with the least sum of these over its cuts is taken; n + 1 entries. */
  readonly cutCost?: readonly number[];
}

/** Bytes against capacities: Σ bytes of the units + inFlight · Σ held values, each once ≤ capacity. */
export interface Room {
  readonly bytes: readonly number[];
  readonly held: readonly (readonly { readonly bytes: number; readonly nextReader: number }[])[];
  readonly inFlight: (stage: number, stages: number) => number;
  /** Of each stage; Infinity where there is no limit. */
  readonly capacity: readonly number[];
}

export interface ChainCut {
  /** First unit of stages 1, 2, … in ascending order. */
  readonly cuts: readonly number[];
  /** Load of each stage. */
  readonly loads: readonly number[];
  /** The largest of them. No cut into so many stages or fewer has a smaller one. Infinity: none has room. */
  readonly objective: number;
}

/** Throws UsageError for a chain without weights, or numbers of stages that are none. */
function requireChain(chain: Chain, stages: Stages): void {
  const isList = Array.isArray(chain?.weight);
  requireKinds('cutChain', { chain: ['record', chain], 'chain.weight': [isList ? 'list' : 'numbers', chain?.weight] });
  const wrong = chain.weight.findIndex((weight) => !isOfKind('number', weight));
  if (wrong >= 0) requireKinds('cutChain', { [`chain.weight[${wrong}]`]: ['number', chain.weight[wrong]] });
  requireKinds('cutChain', { stages: ['record', stages], 'most or exactly': ['number', wantedOf(stages)] });
}

interface Stages {
  readonly most?: number;
  readonly exactly?: number;
}
const wantedOf = (stages: Stages): number | undefined => stages?.most ?? stages?.exactly;

/**
 * The best cut into at most `most` stages (never more than units), or into exactly `exactly`. Fewer stages than allowed
 * are used only where that is strictly better, which it can be: a cut loads both its neighbours, and the microbatches in
 * flight may grow with the stages.
 */
export function cutChain(chain: Chain, stages: { readonly most: number } | { readonly exactly: number }): ChainCut {
  requireChain(chain, stages);
  const n = chain.weight.length;
  if (n === 0) return { cuts: [], loads: [], objective: 0 };
  const wanted = Math.max(1, Math.min(n, wantedOf(stages)!));
  const least = (stages as Stages).most === undefined ? wanted : 1;
  let best = { stages: wanted, objective: Number.POSITIVE_INFINITY };
  const consider = (count: number, objective: number) => {
    if (objective < best.objective) best = { stages: count, objective };
  };
  if ((chain.held && chain.inFlight) || chain.room) {
    // The load of a stage depends on how many there are: one programme for each number.
    for (let count = wanted; count >= least; count--) {
      if (tooLow(chain, count) >= best.objective) continue;
      const limit = Math.min(best.objective, goodLoad(chain, count));
      consider(count, leastLoads(chain, count, limit, 'exactly')[count]!);
    }
  } else {
    const loads = leastLoads(chain, wanted, goodLoad(chain, wanted), least === wanted ? 'exactly' : 'atMost');
    for (let count = wanted; count >= least; count--) consider(count, loads[count]!);
  }
  const cuts = cheapestCuts(chain, best.stages, best.objective);
  const factors = stageFactors(chain, best.stages);
  const bounds = [0, ...cuts, n];
  const loads = bounds.slice(1).map((end, s) => {
    const stage = new StageLoad(chain, end, factors);
    for (let i = end - 1; i >= bounds[s]!; i--) stage.prepend(i);
    return stage.of(bounds[s]!, s);
  });
  return { cuts, loads, objective: best.objective };
}

/** A stage that ends in front of unit `end` and grows towards the front. */
export class StageLoad {
  readonly #chain: Chain;
  readonly #right: number;
  readonly #end: number;
  readonly #stages: StageFactors;
  #weight = 0;
  #held = 0;
  /** Bytes of the units, and of what they hold for a microbatch. */
  #own = 0;
  #flying = 0;

  constructor(chain: Chain, end: number, stages: StageFactors) {
    this.#chain = chain;
    this.#end = end;
    this.#stages = stages;
    this.#right = end < chain.weight.length ? (chain.crossing?.[end] ?? 0) : 0;
  }

  prepend(i: number): void {
    this.#weight += this.#chain.weight[i]!;
    for (const value of this.#chain.held?.[i] ?? []) if (value.nextReader >= this.#end) this.#held += value.bytes;
    const { room } = this.#chain;
    if (!room) return;
    this.#own += room.bytes[i]!;
    for (const value of room.held[i]!) if (value.nextReader >= this.#end) this.#flying += value.bytes;
  }

  /** Load as stage s, with `start` as its first unit. */
  of(start: number, s: number): number {
    if (this.bytes(s) > this.#stages.capacity[s]!) return Number.POSITIVE_INFINITY;
    const left = start > 0 ? (this.#chain.crossing?.[start] ?? 0) : 0;
    return this.own(s) + left + this.#right;
  }

  /** Its load as stage s without its cuts'. */
  own(s: number): number {
    return this.#weight / this.#stages.speeds[s]! + this.#stages.inFlight[s]! * this.#held;
  }

  /** Bytes of `Chain.room` as stage s. */
  bytes(s: number): number {
    return this.#own + this.#stages.flying[s]! * this.#flying;
  }

  /** No stage that ends here and starts here or further in front has a smaller load, whichever stage it is. */
  get floor(): number {
    const { fastest, fewest, fewestFlying, largest, leastCrossing, before } = this.#stages;
    if (this.#own + fewestFlying * this.#flying > largest) return Number.POSITIVE_INFINITY;
    const held = fewest * this.#held;
    // Either there is a cut in front of it too, or it is the first and has all units up to here.
    const withCut = Math.min(this.#weight / fastest + leastCrossing, before[this.#end]! / fastest);
    // The first sum in the order of `of`, so that it rounds to no more than the load.
    return Math.max(this.#weight / fastest + held + this.#right, (withCut + held + this.#right) * (1 - ROUNDING));
  }
}

/** What loads depend on besides the units, by stage. */
export interface StageFactors {
  readonly speeds: readonly number[];
  readonly inFlight: readonly number[];
  readonly fastest: number;
  readonly fewest: number;
  /** Of `Chain.room`. */
  readonly flying: readonly number[];
  readonly capacity: readonly number[];
  readonly fewestFlying: number;
  readonly largest: number;
  /** Load of any cut on either side of it. */
  readonly leastCrossing: number;
  /** Weight of the units in front of each. */
  readonly before: Float64Array;
}

/** More than sums of the same numbers in another order differ by, as a part of them. */
const ROUNDING = 1e-9;

export function stageFactors(chain: Chain, stages: number): StageFactors {
  const speeds = Array.from({ length: stages }, (_, s) => chain.speeds?.[s] ?? 1);
  const before = new Float64Array(chain.weight.length + 1);
  chain.weight.forEach((weight, i) => {
    before[i + 1] = before[i]! + weight;
  });
  const inFlight = speeds.map((_, s) => chain.inFlight?.(s, stages) ?? 1);
  const flying = speeds.map((_, s) => chain.room?.inFlight(s, stages) ?? 0);
  const capacity = speeds.map((_, s) => chain.room?.capacity[s] ?? Number.POSITIVE_INFINITY);
  return {
    speeds,
    inFlight,
    fastest: Math.max(...speeds),
    fewest: Math.min(...inFlight),
    flying,
    capacity,
    fewestFlying: Math.min(...flying),
    largest: Math.max(...capacity),
    leastCrossing: chain.crossing?.slice(1, -1).reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) ?? 0,
    before,
  };
}

/**
 * How many units the first s stages can have, from `first[s]` to `last[s]`, where no stage is empty and none has more weight than
 * a load of `limit`: for fewer the stages behind could not take the rest, for more those in front could not have taken them. Of
 * chains of thousands of stages this is a narrow band of all places. `exactly`: into no fewer stages.
 */
function places(
  chain: Chain,
  factors: StageFactors,
  limit: number,
  exactly: boolean,
): { first: Int32Array; last: Int32Array } {
  const { weight } = chain;
  const { speeds, leastCrossing } = factors;
  const n = weight.length;
  const stages = speeds.length;
  const most = limit * (1 + ROUNDING);
  /** What the units of stage s may weigh: it has a cut in front, and where there are `exactly` so many one behind. */
  const room = speeds.map((speed, s) => {
    const cuts = (s > 0 ? 1 : 0) + (exactly && s < stages - 1 ? 1 : 0);
    return (cuts > 0 && limit < Number.POSITIVE_INFINITY ? most - cuts * leastCrossing : most) * speed;
  });
  const first = Int32Array.from({ length: stages + 1 }, (_, s) => s);
  const last = new Int32Array(stages + 1);
  let end = 0;
  for (let s = 1; s <= stages; s++) {
    for (let sum = 0; end < n && (sum += weight[end]!) <= room[s - 1]!; ) end++;
    last[s] = exactly ? Math.min(end, n - (stages - s)) : end;
  }
  let start = n;
  for (let s = stages; exactly && s >= 0; s--) {
    first[s] = Math.max(s, start);
    if (s > 0) for (let sum = 0; start > 0 && (sum += weight[start - 1]!) <= room[s - 1]!; ) start--;
  }
  return { first, last };
}

/** Least possible largest load by number of stages, 1 … `most`; Infinity where it is above `limit`; `exactly`: of `most` alone. */
function leastLoads(chain: Chain, most: number, limit: number, kind: 'exactly' | 'atMost'): Float64Array {
  const n = chain.weight.length;
  const factors = stageFactors(chain, most);
  const { first, last } = places(chain, factors, limit, kind === 'exactly');
  // best[s][j − first[s]]: units 0 … j − 1 in s stages
  const best = rows(first, last, (length) => new Float64Array(length).fill(Number.POSITIVE_INFINITY));
  if (first[0] === 0) best[0]![0] = 0;
  let [from, to] = [1, 1]; // of which stages j may be the end
  for (let j = 1; j <= n; j++) {
    while (from <= most && last[from]! < j) from++;
    while (to < most && first[to + 1]! <= j) to++;
    const stage = new StageLoad(chain, j, factors);
    let open = to; // for more stages than this, a stage grown further in front is never better
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      const { floor } = stage;
      while (open >= from && floor >= best[open]![j - first[open]!]!) open--;
      if (open < from || floor > limit) break;
      for (let s = from; s <= open; s++) {
        const before = best[s - 1]![i - first[s - 1]!];
        const at = j - first[s]!;
        const now = best[s]![at]!;
        if (before === undefined || before >= now) continue;
        const load = stage.of(i, s - 1);
        if (load < now && load <= limit) best[s]![at] = Math.max(before, load);
      }
    }
  }
  return Float64Array.from(best, (row, s) => row[n - first[s]!] ?? Number.POSITIVE_INFINITY);
}

const rows = <T>(first: Int32Array, last: Int32Array, row: (length: number) => T): T[] =>
  Array.from(first, (begin, s) => row(Math.max(0, last[s]! - begin + 1)));

/** No cut into `stages` has a largest load of this or less: cuts cost nothing here, and stages may be empty. */
const tooLow = ({ crossing: _, ...chain }: Chain, stages: number): number =>
  halve((l) => fill(chain, stages, l, 0)).tooLow;

/** The largest load of a good cut into exactly `stages`. */
const goodLoad = (chain: Chain, stages: number): number => halve((limit) => fill(chain, stages, limit, 1)).good;

/** Halves a limit towards the least that `reach` keeps to; `reach` gives what a limit comes to. */
function halve(reach: (limit: number) => number): { good: number; tooLow: number } {
  let good = reach(Number.POSITIVE_INFINITY);
  let tooLow = 0;
  for (let round = 0; round < 40 && tooLow < good; round++) {
    const middle = (tooLow + good) / 2;
    const found = reach(middle);
    if (found <= middle) good = found;
    else tooLow = middle;
  }
  return { good, tooLow };
}

/**
 * Fills stages from the last on, each with as many units as keep its load to the limit and leave `reserve` for every
 * stage in front. The largest load, or Infinity where units remain. With no crossings and no reserve a stage's load only
 * grows with its units, so the limit fails only where every cut fails.
 */
function fill(chain: Chain, stages: number, limit: number, reserve: 0 | 1): number {
  const factors = stageFactors(chain, stages);
  let end = chain.weight.length;
  let largest = 0;
  for (let s = stages - 1; s >= 0; s--) {
    const stage = new StageLoad(chain, end, factors);
    let taken = { start: end, load: 0 };
    for (let i = end - 1; i >= reserve * s; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      const load = stage.of(i, s);
      if (load <= limit) taken = { start: i, load };
    }
    if (reserve && taken.start === end) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, taken.load);
    end = taken.start;
  }
  return end === 0 ? largest : Number.POSITIVE_INFINITY;
}

/** Of the cuts into `stages` whose loads all keep to `limit`, that with the least sum of cut costs. */
function cheapestCuts(chain: Chain, stages: number, limit: number): number[] {
  const n = chain.weight.length;
  const factors = stageFactors(chain, stages);
  const { first, last } = places(chain, factors, limit, true);
  const cost = rows(first, last, (length) => new Float64Array(length).fill(Number.POSITIVE_INFINITY));
  const origin = rows(first, last, (length) => new Int32Array(length).fill(-1));
  cost[0]![0] = 0;
  let [from, to] = [1, 1]; // of which stages j may be the end
  for (let j = 1; j <= n; j++) {
    while (from <= stages && last[from]! < j) from++;
    while (to < stages && first[to + 1]! <= j) to++;
    const stage = new StageLoad(chain, j, factors);
    // Where cuts cost nothing, the first cut found for each number of stages is as good as any.
    let open = chain.cutCost ? Number.POSITIVE_INFINITY : Math.max(0, to - from + 1);
    for (let i = j - 1; i >= 0 && open > 0; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      const cut = i > 0 ? (chain.cutCost?.[i] ?? 0) : 0;
      for (let s = from; s <= to; s++) {
        const before = cost[s - 1]![i - first[s - 1]!];
        if (before === undefined) continue;
        const total = before + cut;
        const at = j - first[s]!;
        if (total >= cost[s]![at]! || stage.of(i, s - 1) > limit) continue;
        cost[s]![at] = total;
        origin[s]![at] = i;
        open--;
      }
    }
  }
  const cuts: number[] = [];
  for (let s = stages, j = n; s > 1; s--) cuts.unshift((j = origin[s]![j - first[s]!]!));
  return cuts;
}
