import { biconnectedComponents } from '../biconnected.ts';
import { Groups } from '../groups.ts';
import { chainOrder, cutOrder, searchable } from '../ideal-method.ts';
import { searchIdeals } from '../ideal-search.ts';
import type { Ideals } from '../ideals.ts';
import { fuse, unfuse } from '../inseparable.ts';
import { evaluatePlacement } from '../placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from '../placement-method.ts';
import type { PlacementProblem } from '../problem.ts';
import { workBound } from '../work-bound.ts';
import { stageDevices } from './along-order.ts';

/**
 * PipeDream's optimizer (SOSP 2019, section 3.1) for a straight pipeline, no stage replicated. It is made for chains.
 *
 * Where work and transfers overlap (`max`, as it states loads itself), it goes over the cuts of the graph: the least largest
 * of the stages' work and the transfers over each cut. A cut costs all values that pass it, also those that only pass through
 * a stage.
 *
 * Where they add up (`sum`), it is the baseline of Tarnawski et al. (NeurIPS 2020, section 6): branches are contracted, what
 * is left stands in depth-first order, and that order is cut at its best by the true loads.
 *
 * Capacities count for nothing.
 */
export const pipedream: PlacementMethod = {
  name: 'pipedream',
  doc: "PipeDream's optimizer without replication: its own cost, or of operator graphs branches contracted to a chain",
  finds: 'contiguous',
  baseline: true,
  solve: async (problem, options) =>
    problem.load === 'sum' ? contracted(problem, options) : overCuts(problem, options),
};

function contracted(problem: PlacementProblem, { deadline }: MethodOptions): MethodAnswer | undefined {
  const stages = stageDevices(problem);
  const chain = fuse(problem, branches(problem), true);
  const staged = onStages(chain.problem, stages);
  let best: readonly number[] | undefined;
  let limit = Number.POSITIVE_INFINITY;
  for (const order of depthFirst(chain.problem)) {
    const deviceOf = cutOrder(staged, order, { limit, deadline });
    if (!deviceOf) continue;
    best = deviceOf;
    limit = evaluatePlacement(staged, deviceOf).objective;
  }
  if (!best) return undefined;
  const placed = best.map((s) => stages[s]!);
  return { deviceOf: unfuse(chain, placed), lowerBound: workBound(problem) };
}

/** Depth-first orders: which of two arms of a fork comes first is nowhere said, and makes a difference. */
function depthFirst(problem: PlacementProblem): number[][] {
  const last = problem.parts.length - 1;
  const edges = problem.edges.toReversed().map(([a, b]) => [last - a, last - b] as const);
  return [chainOrder(problem, false), chainOrder({ ...problem, edges }, false).map((p) => last - p)];
}

/**
 * Branches run beside each other between a fork and where they meet again: their edges are one biconnected component of the
 * undirected graph. All parts that such a component's edges lead away from become one; where they meet stays by itself.
 * Edges from mere inputs close no circle.
 */
export function branches(problem: Pick<PlacementProblem, 'parts' | 'edges'>): Groups {
  const { parts } = problem;
  const input = inputs(problem);
  const edges = problem.edges.filter(([from]) => !input[from]);
  const groups = new Groups(parts.length);
  for (const component of biconnectedComponents(parts.length, edges)) {
    const [first] = edges[component[0]!]!;
    for (const edge of component) {
      const [from] = edges[edge]!;
      if (groups.find(first) !== groups.find(from)) groups.join(first, from);
    }
  }
  return groups;
}

/** What PipeDream has removed as inputs: parts that nothing precedes and that take neither time nor memory. */
function inputs({ parts, edges }: Pick<PlacementProblem, 'parts' | 'edges'>): boolean[] {
  const preceded = new Set(edges.map(([, to]) => to));
  return parts.map(({ work, cpuWork = work, bytes }, p) => work + cpuWork + bytes === 0 && !preceded.has(p));
}

/** The problem on the stages' devices only, in their order, without capacities. */
const onStages = (problem: PlacementProblem, stages: readonly number[]): PlacementProblem => ({
  ...problem,
  devices: stages.map((d) => ({ ...problem.devices[d]!, capacity: Number.POSITIVE_INFINITY })),
  deviceOrder: 'given',
});

function overCuts(problem: PlacementProblem, { deadline }: MethodOptions): MethodAnswer | undefined {
  const stages = stageDevices(problem);
  const { ideals } = searchable(problem, deadline);
  const cutCost = cutCosts(problem, ideals);
  const answer = searchIdeals({ problem: { ...onStages(problem, stages), values: [] }, ideals, cutCost, deadline });
  if (answer.kind !== 'found') return undefined;
  return { deviceOf: answer.deviceOf.map((s) => stages[s]!), lowerBound: workBound(problem) };
}

/**
 * Cost of the values that cross the end of each ideal, in either direction. Each ideal is met once, on the step that first
 * leads to it; a walk over these steps changes the cost by the values of one part.
 */
export function cutCosts({ parts, values }: PlacementProblem, ideals: Ideals): Float64Array {
  const { count, first, added, target } = ideals;
  const cost = new Float64Array(count);
  const met = new Uint8Array(count);
  const touching: number[][] = parts.map(() => []);
  values.forEach(({ producer, consumers }, v) => {
    touching[producer]!.push(v);
    for (const c of consumers) touching[c]!.push(v);
  });
  const inside = new Int32Array(values.length);
  const crosses = (v: number): boolean => inside[v]! > 0 && inside[v]! <= values[v]!.consumers.length;
  let sum = 0;
  const change = (part: number, by: 1 | -1): void => {
    for (const v of touching[part]!) {
      const before = crosses(v);
      inside[v]! += by;
      if (before !== crosses(v)) sum += before ? -values[v]!.cost : values[v]!.cost;
    }
  };
  const path: { readonly ideal: number; step: number }[] = [{ ideal: 0, step: first[0]! }];
  met[0] = 1;
  for (let top = path.at(-1); top; top = path.at(-1)) {
    if (top.step === first[top.ideal + 1]!) {
      path.pop();
      const above = path.at(-1);
      if (above) change(added[above.step - 1]!, -1);
      continue;
    }
    const step = top.step++;
    const to = target[step]!;
    if (met[to] === 1) continue;
    met[to] = 1;
    change(added[step]!, 1);
    cost[to] = Math.max(0, sum);
    path.push({ ideal: to, step: first[to]! });
  }
  return cost;
}
