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
  /** Of partitions equally good, that with the least sum of these over its cuts is taken; n + 1 entries. */
  readonly cutCost?: readonly number[];
}

export interface ChainCut {
  /** First unit of stages 1, 2, … in ascending order. */
  readonly cuts: readonly number[];
  /** Load of each stage. */
  readonly loads: readonly number[];
  /** The largest of them. No cut into so many stages or fewer has a smaller one. */
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
  let best: { stages: number; objective: number } | undefined;
  const consider = (count: number, objective: number) => {
    if (!best || objective < best.objective) best = { stages: count, objective };
  };
  if (chain.held && chain.inFlight) {
    for (let count = wanted; count >= least; count--) consider(count, leastLoads(chain, count, count)[count]!);
  } else {
    const byCount = leastLoads(chain, wanted, wanted);
    for (let count = wanted; count >= least; count--) consider(count, byCount[count]!);
  }
  const cuts = cheapestCuts(chain, best!.stages, best!.objective);
  const bounds = [0, ...cuts, n];
  const loads = bounds.slice(1).map((end, s) => {
    const stage = new StageLoad(chain, end);
    for (let i = end - 1; i >= bounds[s]!; i--) stage.prepend(i);
    return stage.of(bounds[s]!, s, best!.stages);
  });
  return { cuts, loads, objective: best!.objective };
}

/** A stage that ends in front of unit `end` and grows towards the front. */
class StageLoad {
  readonly #chain: Chain;
  readonly #end: number;
  readonly #fastest: number;
  #weight = 0;
  #held = 0;

  constructor(chain: Chain, end: number) {
    this.#chain = chain;
    this.#end = end;
    this.#fastest = Math.max(1, ...(chain.speeds ?? []));
  }

  prepend(i: number): void {
    this.#weight += this.#chain.weight[i]!;
    for (const value of this.#chain.held?.[i] ?? []) if (value.nextReader >= this.#end) this.#held += value.bytes;
  }

  /** Load with `start` as its first unit, as stage s of so many. */
  of(start: number, s: number, stages: number): number {
    const { crossing, inFlight, speeds, weight } = this.#chain;
    const left = start > 0 ? (crossing?.[start] ?? 0) : 0;
    const right = this.#end < weight.length ? (crossing?.[this.#end] ?? 0) : 0;
    return this.#weight / (speeds?.[s] ?? 1) + left + right + (this.#held > 0 ? (inFlight?.(s, stages) ?? 1) * this.#held : 0);
  }

  /** No stage that ends here and starts further in front, as any of the stages, weighs less. */
  get floor(): number {
    const right = this.#end < this.#chain.weight.length ? (this.#chain.crossing?.[this.#end] ?? 0) : 0;
    return this.#weight / this.#fastest + right;
  }
}

/** Least possible largest load by number of stages, 1 … most, where a stage counts as one of `stages`. */
function leastLoads(chain: Chain, most: number, stages: number): number[] {
  const n = chain.weight.length;
  // best[s][j]: units 0 … j − 1 in s stages
  const best = Array.from({ length: most + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  best[0]![0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j);
    let open = most; // for more stages than this, a stage grown further in front is never better
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      while (open > 0 && stage.floor >= best[open]![j]!) open--;
      if (open === 0) break;
      for (let s = 1; s <= open; s++) {
        const before = best[s - 1]![i]!;
        const now = best[s]![j]!;
        if (before >= now) continue;
        const load = stage.of(i, s - 1, stages);
        if (load < now) best[s]![j] = Math.max(before, load);
      }
    }
  }
  return best.map((row) => row[n]!);
}

/** Of the cuts into `stages` whose loads all keep to `limit`, that with the least sum of cut costs. */
function cheapestCuts(chain: Chain, stages: number, limit: number): number[] {
  const n = chain.weight.length;
  const cost = Array.from({ length: stages + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  const from = Array.from({ length: stages + 1 }, () => new Int32Array(n + 1).fill(-1));
  cost[0]![0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j);
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      for (let s = 1; s <= stages; s++) {
        const total = cost[s - 1]![i]! + (i > 0 ? (chain.cutCost?.[i] ?? 0) : 0);
        if (total >= cost[s]![j]! || stage.of(i, s - 1, stages) > limit) continue;
        cost[s]![j] = total;
        from[s]![j] = i;
      }
    }
  }
  const cuts: number[] = [];
  for (let s = stages, j = n; s > 1; s--) cuts.unshift((j = from[s]![j]!));
  return cuts;
}
