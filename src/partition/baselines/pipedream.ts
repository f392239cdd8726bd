import { searchable } from '../ideal-method.ts';
import { searchIdeals } from '../ideal-search.ts';
import type { Ideals } from '../ideals.ts';
import type { PlacementMethod } from '../placement-method.ts';
import type { PlacementProblem } from '../problem.ts';
import { workBound } from '../work-bound.ts';
import { stageDevices } from './along-order.ts';

/**
 * PipeDream's optimizer (SOSP 2019, section 3.1) for a straight pipeline, no stage replicated: over the cuts of the graph,
 * the least largest of the stages' work and the transfers over each cut. A cut costs all values that pass it, also those
 * that only pass through a stage; capacities count for nothing.
 */
export const pipedream: PlacementMethod = {
  name: 'pipedream',
  doc: "PipeDream's optimizer without replication, under its own cost",
  finds: 'contiguous',
  baseline: true,
  solve: async (problem, { deadline }) => {
    const stages = stageDevices(problem);
    const { ideals } = searchable(problem);
    const own: PlacementProblem = {
      ...problem,
      values: [],
      devices: stages.map((d) => ({ ...problem.devices[d]!, capacity: Number.POSITIVE_INFINITY })),
      deviceOrder: 'given',
    };
    const answer = searchIdeals({ problem: own, ideals, cutCost: cutCosts(problem, ideals), deadline });
    if (answer.kind !== 'found') return undefined;
    return { deviceOf: answer.deviceOf.map((s) => stages[s]!), lowerBound: workBound(problem) };
  },
};

/** Cost of the values that cross the end of each ideal, in either direction. */
function cutCosts({ parts, values }: PlacementProblem, ideals: Ideals): Float64Array {
  const inside = new Uint8Array(parts.length);
  return Float64Array.from({ length: ideals.count }, (_, ideal) => {
    inside.fill(0);
    for (const part of ideals.members(ideal)) inside[part] = 1;
    let cost = 0;
    for (const value of values) {
      if (value.consumers.some((c) => inside[c] !== inside[value.producer])) cost += value.cost;
    }
    return cost;
  });
}
