import { Annealing } from './annealing.ts';
import { type FlatProblem, fastRandom, flatten } from './flat.ts';
import { Groups } from './groups.ts';
import { type Fused, fuse } from './inseparable.ts';
import { loadMeter } from './load-meter.ts';
import { contiguousBound, searchOrders } from './orders.ts';
import { pauses } from './pause.ts';
import { partBound } from './placement-bound.ts';
import { deviceRanks, evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';
import { topologicalOrder } from './topological-orders.ts';
import { workBound } from './work-bound.ts';

export interface MoveSearch {
  readonly problem: PlacementProblem;
  readonly contiguous: boolean;
  readonly seed: number;
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
  /** Nothing below this exists: where it is reached the search ends. */
  readonly bound: number;
  /** Device of each part; contiguous if that is asked for. May break capacities. */
  readonly start: ArrayLike<number>;
  /** Cycles without progress after which the search ends. */
  readonly patience: number;
}

export interface MoveAnswer {
  readonly deviceOf: number[];
  readonly objective: number;
}

/**
 * Refines a placement by annealed moves and swaps, coarse to fine (the multilevel scheme of Hendrickson and Leland, 1995).
 * A cycle joins parts that costly values connect into a random number of groups, anneals those, and then the parts
 * themselves from a lower temperature. Half of the cycles begin anywhere; the others keep to the best placement, whose
 * devices their groups do not straddle. Contiguous placements are not coarsened: groups could close circles of stages.
 *
 * Undefined: no legal placement was met.
 */
async function searchMoves(search: MoveSearch): Promise<MoveAnswer | undefined> {
  const { problem, contiguous, bound, deadline, patience } = search;
  const flat = flatten(problem);
  const { parts, devices } = flat;
  const random = fastRandom(search.seed);
  const pause = pauses(search.signal);
  const start = Int32Array.from(search.start);
  const rank = contiguous ? deviceRanks(problem, Array.from(start)) : undefined;
  const load = loadMeter(flat)(start);
  const reference = load < Number.POSITIVE_INFINITY ? Math.max(load, bound, Number.MIN_VALUE) : bound;
  let best: MoveAnswer | undefined;
  /** Anneals from `from`, hot to cold; the best it met, in terms of `of`. */
  const anneal = async (of: FlatProblem, from: ArrayLike<number>, hot: number, effort: number) => {
    const state = new Annealing(of, from, { random, rank, reference: best?.objective ?? reference });
    const rounds = 30;
    const moves = Math.ceil((effort * of.parts) / rounds);
    for (let round = 0; round < rounds && performance.now() < deadline; round++) {
      // In slices, so that the deadline holds on large graphs as well.
      for (let left = moves; left > 0 && performance.now() < deadline; left -= 20_000) {
        state.run(Math.min(left, 20_000), hot * (cold / hot) ** (round / (rounds - 1)));
        await pause();
      }
    }
    return state.best;
  };
  const keep = ({ deviceOf, objective }: { readonly deviceOf: Int32Array; readonly objective: number }): boolean => {
    if (!(objective < (best?.objective ?? Infinity) * (1 - 1e-9))) return false;
    best = { deviceOf: Array.from(deviceOf), objective };
    return true;
  };
  const done = (): boolean =>
    (best !== undefined && best.objective <= bound * (1 + 1e-9)) || performance.now() > deadline;
  keep(await anneal(flat, start, cool, 100));
  for (let idle = 0; idle < patience && !done(); idle++) {
    if (contiguous) {
      if (keep(await anneal(flat, best?.deviceOf ?? start, random() < 0.5 ? warm : cool, 600))) idle = -1;
      continue;
    }
    const anew = random() < 0.5 || !best;
    const fewest = Math.min(parts, 2 * devices);
    const count = Math.round(fewest * (parts / fewest) ** (0.8 * random()));
    const groups = coarsen(problem, flat, {
      count,
      random,
      heaviest: (best?.objective ?? reference) * (0.3 + 0.7 * random()),
      noise: 3 * random(),
      ...(anew ? {} : { within: best!.deviceOf }),
    });
    const coarse = flatten(groups.problem);
    const from = new Int32Array(coarse.parts);
    if (anew) for (let g = 0; g < from.length; g++) from[g] = Math.floor(random() * devices);
    else for (let p = 0; p < parts; p++) from[groups.partOf[p]!] = best!.deviceOf[p]!;
    const rough = await anneal(coarse, from, anew ? hottest : warm, 600);
    const placed = rough.objective < Infinity ? rough.deviceOf : from;
    if (
      keep(
        await anneal(
          flat,
          groups.partOf.map((g) => placed[g]!),
          anew ? warm : cool,
          600,
        ),
      )
    )
      idle = -1;
  }
  return best;
}

/** Temperatures, in energies of a device loaded to the best objective. */
const hottest = 1;
const warm = 0.3;
const cool = 0.03;
const cold = 0.001;

interface Coarseness {
  /** Groups to stop at. */
  readonly count: number;
  readonly random: () => number;
  /** Work that a group may have. */
  readonly heaviest: number;
  /** Costs count as up to e^(noise/2) times as much or as little. */
  readonly noise: number;
  /** Only parts on one device join. */
  readonly within?: readonly number[];
}

function coarsen(problem: PlacementProblem, flat: FlatProblem, options: Coarseness): Fused {
  const { count, random, heaviest, noise, within } = options;
  const { parts, ends, cost, units } = flat;
  const groups = new Groups(parts);
  const work = units.slice();
  const key = Float64Array.from(cost, (c) => c * Math.exp(noise * (random() - 0.5)));
  const costly = Array.from(cost, (_, v) => v).sort((a, b) => key[b]! - key[a]!);
  let left = parts;
  for (const v of costly) {
    const producer = ends.items[ends.start[v]!]!;
    for (let e = ends.start[v]! + 1; e < ends.start[v + 1]! && left > count; e++) {
      const consumer = ends.items[e]!;
      const [a, b] = [groups.find(producer), groups.find(consumer)];
      if (a === b || work[a]! + work[b]! > heaviest) continue;
      if (within && within[producer] !== within[consumer]) continue;
      groups.join(a, b);
      work[a]! += work[b]!;
      left--;
    }
  }
  return fuse(problem, groups, false);
}

export const movesMethod: PlacementMethod = {
  name: 'moves',
  doc: 'simulated annealing by moves and swaps of parts; contiguous or not',
  finds: 'any',
  solve: searchMovesFrom,
};

/** From the start in the options, or from the best cut of a few orders. */
export async function searchMovesFrom(
  problem: PlacementProblem,
  options: MethodOptions,
): Promise<MethodAnswer | undefined> {
  const { contiguous, seed, deadline, signal } = options;
  const flat = flatten(problem);
  const begun = performance.now();
  const least = Math.max(workBound(problem), partBound(flat, begun + (deadline - begun) / 8));
  const start = await startOfMoves(problem, flat, least, options);
  const found = await searchMoves({ problem, contiguous, seed, deadline, signal, bound: least, start, patience: 60 });
  if (!found) return undefined;
  const lowerBound = contiguous ? contiguousBound(problem, flat, found.objective, deadline) : least;
  return { deviceOf: found.deviceOf, lowerBound };
}

/** What was given, or the best cut of a few orders, or where no cut fits the devices, slices of about equal work. */
async function startOfMoves(
  problem: PlacementProblem,
  flat: FlatProblem,
  bound: number,
  { contiguous, seed, deadline, start, signal }: MethodOptions,
): Promise<ArrayLike<number>> {
  if (start && evaluatePlacement(problem, start, { contiguous }).violations.length === 0) return start;
  const cut = await searchOrders({ problem, flat, seed, deadline, signal, bound, refine: false });
  return cut ? cut.deviceOf : slices(flat);
}

function slices(flat: FlatProblem): Int32Array {
  const { parts, devices, units, rates } = flat;
  const total = units.reduce((a, b) => a + b, 0);
  const rate = rates.reduce((a, b) => a + b, 0);
  const deviceOf = new Int32Array(parts);
  let [done, allowed, d] = [0, (total * rates[0]!) / rate, 0];
  for (const p of topologicalOrder(flat, (q) => q)) {
    while (d < devices - 1 && done + units[p]! / 2 > allowed) allowed += (total * rates[++d]!) / rate;
    deviceOf[p] = d;
    done += units[p]!;
  }
  return deviceOf;
}
