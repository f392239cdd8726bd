import { PlanError } from '../core/errors.ts';
import { type IdealAnswer, searchIdeals } from './ideal-search.ts';
import { findIdeals, type Ideals, topological } from './ideals.ts';
import { evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';
import { workBound } from './work-bound.ts';

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
  const least = workBound(problem);
  const start = startFor(problem, options);
  const best = (deviceOf: readonly number[], isProved: boolean): MethodAnswer => ({
    deviceOf,
    lowerBound: contiguous && isProved ? evaluatePlacement(problem, deviceOf).objective : least,
  });
  if (start && start.objective <= least * (1 + 1e-9)) return { deviceOf: start.deviceOf, lowerBound: start.objective };
  const ideals = findIdeals(problem.parts.length, problem.edges, idealLimit(problem));
  if (!ideals) return 'too many';
  const answer = searchIdeals({ problem, ideals, limit: start?.objective, deadline });
  if (answer.kind === 'found') return best(answer.deviceOf, true);
  return start && best(start.deviceOf, answer.kind === 'none');
}

const idealLimit = ({ devices }: PlacementProblem): number =>
  Math.min(mostIdeals, Math.floor(mostEntries / (devices.length + 1)));

/** The better of what was given and the best cuts of a few orders. */
function startFor(problem: PlacementProblem, { start, contiguous, deadline }: MethodOptions) {
  const given = start && evaluatePlacement(problem, start, { contiguous: true });
  let best = given && given.violations.length === 0 ? { deviceOf: start, objective: given.objective } : undefined;
  for (const reversed of [false, true]) {
    const answer = searchChain(problem, { reversed, limit: best?.objective, deadline });
    if (answer.kind === 'found') best = { deviceOf: answer.deviceOf, objective: answer.objective };
  }
  if (!best) return undefined;
  const { objective } = evaluatePlacement(problem, best.deviceOf, { contiguous });
  return { deviceOf: best.deviceOf, objective };
}

/** The best cut of one topological order: depth first from the front, or from the back. */
export function searchChain(
  problem: PlacementProblem,
  {
    reversed = false,
    limit,
    deadline,
  }: { readonly reversed?: boolean; readonly limit?: number; readonly deadline?: number },
): IdealAnswer {
  return searchIdeals({ problem, ideals: chainIdeals(problem, reversed), limit, deadline });
}

function chainIdeals({ parts, edges }: PlacementProblem, reversed = false): Ideals {
  const { order } = topological(parts.length, reversed ? edges.map(([a, b]) => [b, a] as const) : edges);
  if (reversed) order.reverse();
  return findIdeals(
    parts.length,
    order.slice(1).map((part, i) => [order[i]!, part] as const),
    order.length + 1,
  )!;
}

/** All ideals, or where there are too many those of one order. */
export const idealsOrChain = (problem: PlacementProblem): Ideals =>
  findIdeals(problem.parts.length, problem.edges, 1e5) ?? chainIdeals(problem);
