import { PlanError } from '../core/errors.ts';
import { searchIdeals, stateCount } from './ideal-search.ts';
import { findIdeals, type Ideals, topological } from './ideals.ts';
import { evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';
import { workBound, workUnits } from './work-bound.ts';

/** Words that the search keeps for ideals times states; more ideals than this allows are not tried. */
const mostEntries = 4e7;
const mostIdeals = 1e6;

/** The best contiguous placement, proved: dynamic programming over all ideals, below the best of a few chains. */
export const idealsMethod: PlacementMethod = {
  name: 'ideals',
  doc: 'the best contiguous placement, proved; for graphs with up to a million cuts',
  finds: 'contiguous',
  solve: async (problem, options) => {
    const answer = solveByIdeals(problem, options);
    if (answer !== 'too many') return answer;
    throw new PlanError('too-many-ideals', 'the graph has too many cuts for an exact search of contiguous placements', {
      fields: { parts: problem.parts.length, most: idealLimit(problem) },
      remedy: '--method auto',
    });
  },
};

/** `too many`: another method must do. Undefined: there is no contiguous placement, or none was found in time. */
export function solveByIdeals(
  problem: PlacementProblem,
  options: MethodOptions,
): MethodAnswer | undefined | 'too many' {
  const { contiguous, deadline } = options;
  const ideals = findIdeals(problem.parts.length, problem.edges, idealLimit(problem), deadline);
  if (!ideals) return 'too many';
  const least = workBound(problem);
  const start = startFor(problem, options);
  const best = (deviceOf: readonly number[], isProved: boolean): MethodAnswer => ({
    deviceOf,
    lowerBound: contiguous && isProved ? evaluatePlacement(problem, deviceOf).objective : least,
  });
  if (start && start.objective <= least * (1 + 1e-9)) return best(start.deviceOf, true);
  const answer = searchIdeals({ problem, ideals, limit: start?.objective, deadline });
  if (answer.kind === 'found') return best(answer.deviceOf, true);
  return start && best(start.deviceOf, answer.kind === 'none');
}

const idealLimit = (problem: PlacementProblem): number =>
  Math.min(mostIdeals, Math.floor(mostEntries / stateCount(problem)));

interface Start {
  readonly deviceOf: readonly number[];
  readonly objective: number;
}

/** The best of what was given and of the cuts of a few orders. */
function startFor(problem: PlacementProblem, { start, deadline }: MethodOptions): Start | undefined {
  let best = start && legal(problem, start);
  for (const reversed of [false, true]) {
    best = legal(problem, searchChain(problem, { reversed, limit: best?.objective, deadline })) ?? best;
  }
  return best;
}

/** A placement as a start, where it is a legal contiguous one. */
function legal(problem: PlacementProblem, deviceOf: readonly number[] | undefined): Start | undefined {
  if (!deviceOf) return undefined;
  const { objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous: true });
  return violations.length === 0 ? { deviceOf, objective } : undefined;
}

/**
 * The best cut of one topological order, depth first from the front or from the back, where it is below the limit. Equal
 * shares of the work come first: their load bounds how long a stage need be.
 */
function searchChain(
  problem: PlacementProblem,
  options: { readonly reversed?: boolean; readonly limit?: number; readonly deadline?: number } = {},
): readonly number[] | undefined {
  const { reversed = false, ...within } = options;
  return cutOrder(problem, chainOrder(problem, reversed), within);
}

/** The same of any topological order. */
export function cutOrder(
  problem: PlacementProblem,
  order: readonly number[],
  { limit = Number.POSITIVE_INFINITY, deadline }: { readonly limit?: number; readonly deadline?: number } = {},
): readonly number[] | undefined {
  const shares = legal(problem, equalShares(problem, order));
  const below = shares && shares.objective < limit ? shares : undefined;
  const ideals = chainIdeals(order);
  // Of devices of very many kinds, all orders are too many: they stay as they are given.
  const tooMany = stateCount(problem) * ideals.count > mostEntries;
  const given = tooMany ? { ...problem, deviceOrder: 'given' as const } : problem;
  const answer = searchIdeals({ problem: given, ideals, limit: below?.objective ?? limit, deadline });
  return answer.kind === 'found' ? answer.deviceOf : below?.deviceOf;
}

/** Equal shares of the work along one order, at once whatever the size of the graph; undefined where they do not fit. */
export const sharesOfWork = (problem: PlacementProblem): readonly number[] | undefined =>
  legal(problem, equalShares(problem, chainOrder(problem, false)))?.deviceOf;

/** Parts in order, each device as much of the work as it has of the speed. */
function equalShares(problem: PlacementProblem, order: readonly number[]): number[] {
  const { units, rates } = workUnits(problem);
  const whole = order.reduce((sum, part) => sum + units[part]!, 0);
  const speed = rates.reduce((sum, rate) => sum + rate, 0);
  const deviceOf = new Array<number>(order.length).fill(0);
  let device = 0;
  let share = rates[0]! / speed;
  let done = 0;
  for (const part of order) {
    // A part belongs where its middle lies.
    while (device < rates.length - 1 && done + units[part]! / 2 > share * whole) share += rates[++device]! / speed;
    deviceOf[part] = device;
    done += units[part]!;
  }
  return deviceOf;
}

/** Depth first, from the front or from the back. */
export function chainOrder({ parts, edges }: PlacementProblem, reversed: boolean): number[] {
  const { order } = topological(parts.length, reversed ? edges.map(([a, b]) => [b, a] as const) : edges);
  return reversed ? order.reverse() : order;
}

/** The prefixes of one order. */
function chainIdeals(order: readonly number[]): Ideals {
  const n = order.length;
  const rank = new Int32Array(n);
  order.forEach((part, r) => {
    rank[part] = r;
  });
  return {
    count: n + 1,
    // The last has no step.
    first: Int32Array.from({ length: n + 2 }, (_, i) => Math.min(i, n)),
    added: Int32Array.from(order),
    target: Int32Array.from(order, (_, i) => i + 1),
    rank,
    members: (ideal) => order.slice(0, ideal),
    between: (before, ideal) => order.slice(before, ideal),
  };
}

/** All ideals, or where there are too many those of one order; and of devices of too many kinds the order that is given. */
export function searchable(
  problem: PlacementProblem,
  deadline?: number,
): { readonly problem: PlacementProblem; readonly ideals: Ideals; readonly isWhole: boolean } {
  const states = stateCount(problem);
  const all = findIdeals(problem.parts.length, problem.edges, Math.min(1e5, mostEntries / states), deadline);
  if (all) return { problem, ideals: all, isWhole: true };
  const ideals = chainIdeals(chainOrder(problem, false));
  const tooMany = states * ideals.count > mostEntries;
  return { problem: tooMany ? { ...problem, deviceOrder: 'given' } : problem, ideals, isWhole: false };
}
