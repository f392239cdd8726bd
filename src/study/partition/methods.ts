/** The ways to cut a training graph that a study compares. */
import { PlanError } from '../../core/errors.ts';
import type { CostModel } from '../../cost/model.ts';
import type { Graph } from '../../graph/graph.ts';
import { singleDevice } from '../../partition/baselines/single-device.ts';
import { makePartition, partitionByLayers } from '../../partition/index.ts';
import { placementMethods, solvePlacement } from '../../partition/methods.ts';
import type { Balance, Partition } from '../../partition/partition.ts';
import { evaluatePlacement } from '../../partition/placement-load.ts';
import { type TrainingProblem, trainingProblem } from '../../partition/training-problem.ts';
import { workBound } from '../../partition/work-bound.ts';
import type { PlanRequest } from '../../plan/plan.ts';
import { relativeSpeed } from '../../plan/stages.ts';

/** Contiguous in the graph's own order, exact for what they balance. */
const balances: Readonly<Record<string, Balance>> = {
  'chain-time': 'time',
  'chain-memory': 'memory',
  'chain-parameters': 'parameters',
};

/** The experiment's own partition, where it is not `auto`. */
export const ownMethod = 'experiment';

/** What a person would do: equal numbers of the model's layers. */
const byLayers = 'layers';

/** Chains first, then every method that spreads a placement problem over devices, by the names they are listed under. */
export const cutMethods: readonly string[] = [
  ...Object.keys(balances),
  byLayers,
  ...placementMethods.filter((m) => m !== singleDevice).map((m) => m.name),
];

export interface CutContext {
  readonly request: PlanRequest;
  readonly graph: Graph;
  readonly microbatches: number;
  readonly costs: CostModel;
  /** Device of each stage. */
  readonly placement: readonly number[];
  /** The experiment's own partition. */
  readonly own: Partition;
  readonly timeLimitSeconds: number;
  /** Ends the method with its reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

export interface Cut {
  readonly partition: Partition;
  /** Seconds that the method took. */
  readonly seconds: number;
  /** Of the largest load among convex stages, where the method proves one. */
  readonly lowerBound: number | null;
}

/** The problem that all methods are measured by, whatever they balance: seconds of a microbatch on each stage's device. */
export function problemOf({ request, graph, microbatches, costs, placement }: CutContext): TrainingProblem {
  return trainingProblem(graph, {
    costs,
    microbatches,
    devices: placement.map((d, s) => ({
      speed: relativeSpeed(request.devices[d]!),
      memory: request.devices[d]!.memory,
      inFlight: Math.min(microbatches, placement.length - s),
    })),
  });
}

/** A reason where the method finds no such partition. */
export async function cutBy(
  method: string,
  context: CutContext,
  problem: TrainingProblem,
): Promise<Cut | { why: string }> {
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const { request, graph, microbatches, costs, placement, own, timeLimitSeconds, signal } = context;
  const stages = placement.length;
  try {
    if (method === ownMethod) return { partition: own, seconds: 0, lowerBound: null };
    if (method === byLayers) {
      const partition = partitionByLayers(graph, stages);
      if (!partition) return { why: `the model has fewer layers than ${stages} stages` };
      return { partition, seconds: elapsed(), lowerBound: null };
    }
    if (Object.hasOwn(balances, method)) {
      const partition = makePartition(
        graph,
        { balance: balances[method]! },
        {
          stages,
          exactly: true,
          microbatches,
          costs,
          devices: placement,
          speeds: placement.map((d) => relativeSpeed(request.devices[d]!)),
        },
      );
      if (partition.stages !== stages) return { why: `gives ${partition.stages} stages and not ${stages}` };
      return { partition, seconds: elapsed(), lowerBound: null };
    }
    const { deviceOf, lowerBound } = await solvePlacement(problem.problem, {
      method,
      contiguous: true,
      timeLimitSeconds,
      ...(signal ? { signal } : {}),
    });
    const used = new Set(deviceOf).size;
    if (used < stages) return { why: `leaves ${stages - used} of ${stages} devices empty` };
    return {
      partition: { stages, assignment: problem.assignmentOf(deviceOf), method },
      seconds: elapsed(),
      lowerBound,
    };
  } catch (error) {
    if (error instanceof PlanError) return { why: error.message.split('\n')[0]! };
    throw error;
  }
}

/** Seconds of a microbatch on each stage's device, transfers included, by the common measure; and the largest. */
export function loadsOf(
  { problem }: TrainingProblem,
  { assignment }: Partition,
): { loads: readonly number[]; largest: number } {
  const { loads, objective } = evaluatePlacement(
    problem,
    problem.parts.map((part) => assignment[part.name]!),
  );
  return { loads, largest: objective };
}

export const leastLoad = ({ problem }: TrainingProblem): number => workBound(problem);
