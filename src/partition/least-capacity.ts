import { searchable } from './ideal-method.ts';
import { searchIdeals } from './ideal-search.ts';
import { evaluatePlacement } from './placement-load.ts';
import type { PlacementProblem } from './problem.ts';

/**
 * What the capacities must be multiplied by for a contiguous placement to fit: the least such factor, or where the graph
 * has too many cuts one that suffices. Undefined: none was found in time, or no capacity would do.
 */
export function leastCapacityFactor(problem: PlacementProblem, deadline: number): number | undefined {
  const answer = searchIdeals({ ...searchable(problem, deadline), measure: 'fill', deadline });
  if (answer.kind !== 'found') return undefined;
  const { bytes } = evaluatePlacement(problem, answer.deviceOf);
  return Math.max(...bytes.map((b, d) => (b === 0 ? 0 : b / problem.devices[d]!.capacity)));
}
