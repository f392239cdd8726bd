/** One way to cut a graph into stages that lie on given devices. */
import { PlanError } from '../../core/errors.ts';
import type { CostModel } from '../../cost/model.ts';
import type { Graph } from '../../graph/graph.ts';
import { partitionByBalance } from '../../partition/balance.ts';
import { convexStages, type PlacedPartition } from '../../partition/convex.ts';
import { solvePlacement } from '../../partition/methods.ts';
import type { Balance } from '../../partition/partition.ts';
import type { TrainingProblem } from '../../partition/training-problem.ts';
import type { PlanRequest } from '../plan.ts';
import { relativeSpeed } from '../stages.ts';
import type { PartitionWay } from './candidate.ts';

const balances: Partial<Record<PartitionWay, Balance>> = { 'chain-time': 'time', 'chain-memory': 'memory' };
/** Ways that search, and could take any time: one stage a device is what they are for. */
export const searching: ReadonlySet<PartitionWay> = new Set(['contiguous', 'anywhere']);

interface Cut {
  readonly way: PartitionWay;
  readonly graph: Graph;
  readonly problem: TrainingProblem;
  readonly placement: readonly number[];
  readonly request: PlanRequest;
  readonly microbatches: number;
  readonly costs: CostModel;
  /** Of `performance.now()`: a search that is not over then gives what it has. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** Seconds of one search at most, and at least, so that the last have a chance too. */
const MOST_SECONDS = 2;
const LEAST_SECONDS = 0.1;
/** Nearer to its bound no cut is worth seconds: the largest load is not yet the step. */
const GOOD_ENOUGH = 0.01;

/** undefined where the way finds no partition into so many stages. */
export async function cut(options: Cut): Promise<PlacedPartition | undefined> {
  const { way, graph, problem, placement, request, microbatches, costs, deadline, signal } = options;
  const stages = placement.length;
  const balance = balances[way];
  if (balance) {
    const partition = partitionByBalance(graph, balance, {
      stages,
      exactly: true,
      microbatches,
      costs,
      devices: placement,
      speeds: placement.map((d) => relativeSpeed(request.devices[d])),
    });
    return partition.stages === stages ? { partition, placement } : undefined;
  }
  const left = (deadline - performance.now()) / 1000;
  try {
    const { deviceOf } = await solvePlacement(problem.problem, {
      method: searching.has(way) ? 'auto' : way,
      contiguous: way !== 'anywhere',
      timeLimitSeconds: Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, left)),
      gap: GOOD_ENOUGH,
      signal,
    });
    const assignment = problem.assignmentOf(deviceOf);
    if (way === 'anywhere') {
      const placed = convexStages(graph, (node) => placement[assignment[node.name]!]!);
      return { ...placed, partition: { ...placed.partition, method: way } };
    }
    // Every stage has something to do.
    return new Set(deviceOf).size === stages
      ? { partition: { stages, assignment, method: way }, placement }
      : undefined;
  } catch (error) {
    // Nothing that fits, by this way: others may find something.
    if (error instanceof PlanError) return undefined;
    throw error;
  }
}
