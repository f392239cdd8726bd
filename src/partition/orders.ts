import { Annealing } from './annealing.ts';
import { type FlatProblem, fastRandom, flatten } from './flat.ts';
import { sharesOfWork } from './ideal-method.ts';
import { loadMeter } from './load-meter.ts';
import { OrderCut } from './order-cut.ts';
import { OrderWindow } from './order-window.ts';
import { pauses } from './pause.ts';
import { boundaryBound, partBound } from './placement-bound.ts';
import { deviceRanks, evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';
import { firstOrders, topologicalOrder } from './topological-orders.ts';
import { workBound } from './work-bound.ts';

/** A cut of an order: its largest load, and the device of each part. */
interface Cut {
  readonly objective: number;
  readonly deviceOf: Int32Array;
}

/**
 * The best cut of an order below `below`, exact up to rounding; undefined where there is none. At the deadline the best so
 * far; where nothing was to be beaten and nothing is found yet, at least any cut that fits.
 */
export function bestCut(
  flat: FlatProblem,
  cut: OrderCut,
  bound: number,
  below: number,
  deadline: number,
  measure: (deviceOf: Int32Array) => number,
): Cut | undefined {
  let best: Cut | undefined;
  let good = below;
  const fits = (limit: number, until = deadline): boolean => {
    const { reached, nextLimit } = cut.attempt(limit, until);
    if (reached < flat.parts) {
      low = Math.max(low, nextLimit);
      return false;
    }
    const deviceOf = cut.deviceOf();
    const objective = measure(deviceOf);
    good = Math.min(limit, objective);
    best = { objective, deviceOf };
    return true;
  };
  let low = bound;
  if (below < Number.POSITIVE_INFINITY && !fits(below * (1 - 1e-9))) return undefined;
  // From the bound upwards: where a limit is far too large, segments are long and an attempt is slow.
  if (!best)
    for (let excess = Math.max(bound, Number.MIN_VALUE) / 64; low + excess < good; excess *= 2) {
      if (fits(low + excess) || performance.now() > deadline) break;
    }
  if (!best && !(low < good)) return undefined;
  if (!best && good === Number.POSITIVE_INFINITY && !fits(good, Number.POSITIVE_INFINITY)) return undefined;
  for (let round = 0; low < good && performance.now() < deadline; round++) {
    const middle = low + (good - low) / 2;
    // Near the end the next limit that can make a difference decides at once.
    const limit = round > 30 || !(middle > low && middle < good) ? low : middle;
    if (limit === low && fits(limit)) break;
    if (limit !== low) fits(limit);
  }
  return best;
}

/** A search's answer in terms of the flat problem. */
export interface OrderAnswer extends Cut {
  readonly order: Int32Array;
}

export interface OrderSearch {
  readonly problem: PlacementProblem;
  readonly flat: FlatProblem;
  readonly seed: number;
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
  /** Nothing below this exists: where it is reached the search ends. */
  readonly bound: number;
  /** A legal contiguous placement to begin with. */
  readonly start?: readonly number[];
  /** False: a few orders only, no search. Default true. */
  readonly refine?: boolean;
}

/** Attempts without progress after which a target is given up: fewer on large graphs, where each takes longer. */
const patienceFor = (parts: number): number => Math.max(300, Math.min(2000, Math.ceil(2e6 / parts)));

/**
 * Searches topological orders for the one whose best cut is best.
 *
 * First a few orders of different kinds are cut exactly. Then two searches take turns, each on what the other found:
 *
 * - parts move between the stages of the best cut (`Annealing`), and the order that the stages then have is cut anew;
 * - the best order changes window by window: part of it is sorted anew, or one part with what must precede (or follow) it
 *   moves to the window's front (or back). What tells two orders apart that both miss a target load is how far their cuts
 *   reach within it, and half of the windows lie where that is. An order that meets the target is cut exactly.
 */
export async function searchOrders(search: OrderSearch): Promise<OrderAnswer | undefined> {
  const { problem, flat, seed, deadline, bound, refine = true, signal } = search;
  // Equal shares of the work are an answer at once, whatever becomes of the rest.
  const start = search.start ?? sharesOfWork(problem);
  const { parts, devices } = flat;
  const table = new OrderCut(flat);
  const measure = loadMeter(flat);
  const pause = pauses(signal);
  let best: OrderAnswer | undefined;
  const consider = (order: Int32Array): boolean => {
    const cut = bestCut(flat, table.use(order), bound, best?.objective ?? Infinity, deadline, measure);
    if (cut) best = { ...cut, order };
    return cut !== undefined;
  };
  const done = (): boolean => best !== undefined && best.objective <= bound * (1 + 1e-9);
  if (start) {
    const deviceOf = Int32Array.from(start);
    const order = orderOfStages(flat, start, deviceRanks(problem, start));
    best = { objective: measure(deviceOf), deviceOf, order };
    consider(order);
  }
  for (const make of firstOrders(flat)) {
    if (best && (done() || performance.now() > deadline)) return best;
    consider(make());
    await pause();
  }
  if (!best || done() || !refine || devices < 2 || parts < 3) return best;

  const random = fastRandom(seed);
  let step = 0.01; // how far below the best the target lies
  for (let hot = 0.3; step > 1e-7 && performance.now() < deadline; ) {
    const before: number = best.objective;
    for (let better = true; better && performance.now() < deadline; ) {
      const rank = stageRanks(flat, best);
      const options = { random, rank, hot, reference: best.objective, deadline, signal };
      better = consider(orderOfStages(flat, await annealStages(flat, best.deviceOf, options), rank));
      if (done()) return best;
    }
    const target = Math.max(bound, best.objective * (1 - step));
    const met = await searchTarget(flat, table, best.order, { random, target, deadline, signal });
    if (met) consider(met);
    if (done()) return best;
    const gained = 1 - best.objective / before;
    if (gained > 0) step = Math.max(step, Math.min(0.02, 2 * gained));
    else step /= 8;
    hot = hot === 0.3 ? 0.05 : 0.3;
  }
  return best;
}

/** Moves of parts between stages that keep all edges leading forwards: see `Annealing`. */
async function annealStages(
  flat: FlatProblem,
  start: Int32Array,
  options: {
    readonly random: () => number;
    readonly rank: readonly number[];
    readonly hot: number;
    readonly reference: number;
    readonly deadline: number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Int32Array> {
  const { hot, deadline } = options;
  const state = new Annealing(flat, start, options);
  const pause = pauses(options.signal);
  const rounds = 30;
  const moves = Math.ceil((400 * flat.parts) / rounds);
  for (let round = 0; round < rounds && performance.now() < deadline; round++) {
    for (let left = moves; left > 0 && performance.now() < deadline; left -= 20_000) {
      state.run(Math.min(left, 20_000), hot * (0.001 / hot) ** (round / (rounds - 1)));
      await pause();
    }
  }
  return state.best.objective < Number.POSITIVE_INFINITY ? state.best.deviceOf : start;
}

/**
 * Changes an order window by window until its cuts reach the end within the target; undefined where patience ends first.
 */
async function searchTarget(
  flat: FlatProblem,
  table: OrderCut,
  start: Int32Array,
  options: {
    readonly random: () => number;
    readonly target: number;
    readonly deadline: number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Int32Array | undefined> {
  const { random, target, deadline } = options;
  const { parts, devices } = flat;
  const pause = pauses(options.signal);
  const window = new OrderWindow(flat, random);
  const segment = parts / Math.min(devices, parts);
  const patience = patienceFor(parts);
  let order = start;
  let { reached } = table.use(order).attempt(target, deadline);
  for (let idle = 0; idle < patience && performance.now() < deadline; idle++) {
    if (reached === parts) return order;
    await pause();
    const length = Math.ceil(Math.exp(Math.log(3) + random() * Math.log(Math.max(1, segment))));
    const centre = random() < 0.5 ? reached + (random() - 0.5) * segment : random() * parts;
    const from = Math.max(0, Math.min(parts - 2, Math.round(centre - length / 2)));
    const to = Math.min(parts, from + Math.max(2, length));
    const next = window.rearrange(order, from, to);
    const tried = table.use(next).attempt(target, deadline);
    if (tried.reached < reached) continue;
    if (tried.reached > reached) idle = 0;
    order = next;
    reached = tried.reached;
  }
  return reached === parts ? order : undefined;
}

/** Place of each device among the stages of a cut. */
function stageRanks(flat: FlatProblem, { order, deviceOf }: OrderAnswer): number[] {
  const devices = Array.from({ length: flat.devices }, (_, d) => d);
  if (!flat.anyOrder) return devices;
  const met = new Set([...Array.from(order, (p) => deviceOf[p]!), ...devices]);
  const rank = new Array<number>(flat.devices);
  Array.from(met).forEach((d, place) => {
    rank[d] = place;
  });
  return rank;
}

/** Parts stage by stage, in each the smallest number first. */
const orderOfStages = (flat: FlatProblem, deviceOf: ArrayLike<number>, rank: readonly number[]): Int32Array =>
  topologicalOrder(flat, (p) => rank[deviceOf[p]!]! * flat.parts + p);

/** Lower bound for contiguous placements: what costs little, and the boundaries' cuts below a load that is reached. */
export function contiguousBound(
  problem: PlacementProblem,
  flat: FlatProblem,
  reached: number,
  deadline: number,
): number {
  const least = Math.max(workBound(problem), partBound(flat, deadline));
  return least >= reached ? reached : Math.min(reached, boundaryBound(flat, least, reached, deadline));
}

export const ordersMethod: PlacementMethod = {
  name: 'orders',
  doc: 'exact cuts of many searched topological orders; for graphs of any size',
  finds: 'contiguous',
  solve: solveByOrders,
};

export async function solveByOrders(
  problem: PlacementProblem,
  { contiguous, seed, deadline, start, signal }: MethodOptions,
): Promise<MethodAnswer | undefined> {
  const flat = flatten(problem);
  const begun = performance.now();
  const bound = Math.max(workBound(problem), partBound(flat, begun + (deadline - begun) / 8));
  // A start that is not contiguous has no order.
  const legal = start && evaluatePlacement(problem, start, { contiguous: true }).violations.length === 0;
  const found = await searchOrders({
    problem,
    flat,
    seed,
    deadline: deadline - (deadline - begun) / 8,
    signal,
    bound,
    ...(legal ? { start } : {}),
  });
  if (!found) return undefined;
  const lowerBound = contiguous
    ? Math.max(bound, Math.min(found.objective, boundaryBound(flat, bound, found.objective, deadline)))
    : bound;
  return { deviceOf: Array.from(found.deviceOf), lowerBound };
}
