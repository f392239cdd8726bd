/**
 * Cuts a chain of units into contiguous stages so that the most loaded stage is as light as possible: exact, by dynamic
 * programming over (stages so far, units so far), O(n²k).
 *
 *     best[s][j] = min over i of max(best[s − 1][i], load of a stage i … j − 1)
 *
 * The load of a stage i … j − 1 is
 *
 *     Σ weight[i … j − 1] / speed  +  crossing[i] + crossing[j]  +  inFlight · Σ held values that the stage reads, each once
 */
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

/**
 * The best cut into at most `most` stages (never more than units), or into exactly `exactly`. Fewer stages than allowed
 * are used only where that is strictly better, which it can be: a cut loads both its neighbours, and the microbatches in
 * flight may grow with the stages.
 */
export function cutChain(chain: Chain, stages: { readonly most: number } | { readonly exactly: number }): ChainCut {
  const n = chain.weight.length;
  if (n === 0) return { cuts: [], loads: [], objective: 0 };
  const wanted = Math.max(1, Math.min(n, 'most' in stages ? stages.most : stages.exactly));
  const least = 'most' in stages ? 1 : wanted;
  let best = { stages: wanted, objective: Number.POSITIVE_INFINITY };
  const consider = (count: number, objective: number) => {
    if (objective < best.objective) best = { stages: count, objective };
  };
  if ((chain.held && chain.inFlight) || chain.room) {
    // The load of a stage depends on how many there are: one programme for each number.
    for (let count = wanted; count >= least; count--) {
      if (tooLow(chain, count) >= best.objective) continue;
      const limit = Math.min(best.objective, goodLoad(chain, count));
      consider(count, leastLoads(chain, count, limit)[count]!);
    }
  } else {
    const loads = leastLoads(chain, wanted, goodLoad(chain, wanted));
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
    if (this.#own + this.#stages.fewestFlying * this.#flying > this.#stages.largest) return Number.POSITIVE_INFINITY;
    return this.#weight / this.#stages.fastest + this.#right + this.#stages.fewest * this.#held;
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
}

export function stageFactors(chain: Chain, stages: number): StageFactors {
  const speeds = Array.from({ length: stages }, (_, s) => chain.speeds?.[s] ?? 1);
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
  };
}

/** Least possible largest load by number of stages, 1 … `most`; Infinity where it is above `limit`. */
function leastLoads(chain: Chain, most: number, limit: number): Float64Array {
  const n = chain.weight.length;
  const factors = stageFactors(chain, most);
  // best[s][j]: units 0 … j − 1 in s stages
  const best = Array.from({ length: most + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  best[0]![0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j, factors);
    let open = most; // for more stages than this, a stage grown further in front is never better
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      const { floor } = stage;
      while (open > 0 && floor >= best[open]![j]!) open--;
      if (open === 0 || floor > limit) break;
      for (let s = 1; s <= open; s++) {
        const before = best[s - 1]![i]!;
        const now = best[s]![j]!;
        if (before >= now) continue;
        const load = stage.of(i, s - 1);
        if (load < now && load <= limit) best[s]![j] = Math.max(before, load);
      }
    }
  }
  return Float64Array.from(best, (row) => row[n]!);
}

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
  const cost = Array.from({ length: stages + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  const from = Array.from({ length: stages + 1 }, () => new Int32Array(n + 1).fill(-1));
  cost[0]![0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j, factors);
    // Where cuts cost nothing, the first cut found for each number of stages is as good as any.
    let open = chain.cutCost ? Number.POSITIVE_INFINITY : Math.min(stages, j);
    for (let i = j - 1; i >= 0 && open > 0; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      const cut = i > 0 ? (chain.cutCost?.[i] ?? 0) : 0;
      for (let s = 1; s <= stages; s++) {
        const total = cost[s - 1]![i]! + cut;
        if (total >= cost[s]![j]! || stage.of(i, s - 1) > limit) continue;
        cost[s]![j] = total;
        from[s]![j] = i;
        open--;
      }
    }
  }
  const cuts: number[] = [];
  for (let s = stages, j = n; s > 1; s--) cuts.unshift((j = from[s]![j]!));
  return cuts;
}
