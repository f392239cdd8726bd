import { isRecord } from '../core/kinds.ts';
import { requireArgument } from '../core/options.ts';
import type { Graph } from '../graph/graph.ts';
import { type BalanceOptions, partitionByBalance } from './balance.ts';
import { checkReady, partitionByCuts, partitionByStages } from './by-hand.ts';
import type { Balance, Partition } from './partition.ts';

export { type BalanceOptions, partitionByBalance } from './balance.ts';
export { type BalancerRatios, balancerRatios } from './baselines/balancers.ts';
export { partitionByCuts, partitionByDevices, partitionByStages } from './by-hand.ts';
export { partitionByLayers } from './by-layers.ts';
export { type Chain, type ChainCut, cutChain } from './chain.ts';
export { convexStages, type PlacedPartition } from './convex.ts';
export type { ForeignGraph, ForeignRequest } from './foreign-graph.ts';
export { defaultTimeLimit, placementMethods, type SolveOptions, solvePlacement, tryPlacement } from './methods.ts';
export type { Balance, Partition, PartitionObjective } from './partition.ts';
export { type Evaluation, evaluatePlacement, PlacementState, type Violation } from './placement-load.ts';
export type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
export {
  gapOfPlacement,
  type Part,
  type Placement,
  type PlacementDevice,
  type PlacementOptions,
  type PlacementProblem,
  type Value,
} from './problem.ts';
export { type ProfileRequest, readLayerProfile } from './read-layer-profile.ts';
export { readOperatorGraph } from './read-operator-graph.ts';
export { forwardNodes, leaders, stageMap } from './stage-of.ts';
export {
  type TrainingDevice,
  type TrainingProblem,
  type TrainingProblemOptions,
  trainingProblem,
} from './training-problem.ts';
export { type Boundary, type ChainUnits, chainUnits, type SavedValue, type Traffic, type Unit } from './units.ts';

/** What an experiment's `partition` asks for. */
export type PartitionSpec =
  | 'auto'
  | { readonly balance: Balance }
  | { readonly cuts: readonly string[] }
  | { readonly stages: Readonly<Record<string, number>> }
  /** Devices by name pattern; stages and placement follow from them: `partitionByDevices`. */
  | { readonly devices: Readonly<Record<string, number>> }
  /** Made already: by a planner, or read from a plan's file. */
  | { readonly ready: Partition };

/** A partition without its placement. */
export type StageSpec = Exclude<PartitionSpec, { readonly devices: unknown }>;

/** Cuts a training graph into stages. `auto` balances time. Options concern the automatic partitions only. */
export function makePartition(graph: Graph, spec: StageSpec, options: BalanceOptions): Partition {
  const isSpec =
    spec === 'auto' || (isRecord(spec) && ['balance', 'cuts', 'ready', 'stages'].some((key) => key in spec));
  requireArgument('makePartition', isSpec, "'auto', or balance, cuts, stages or ready", spec, "{ cuts: ['layer.1'] }");
  if (spec === 'auto') return partitionByBalance(graph, 'time', options);
  if ('balance' in spec) return partitionByBalance(graph, spec.balance, options);
  if ('cuts' in spec) return partitionByCuts(graph, spec.cuts);
  if ('ready' in spec) return checkReady(graph, spec.ready);
  return partitionByStages(graph, spec.stages);
}
