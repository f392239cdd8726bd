import type { Graph } from '../graph/graph.ts';
import { type BalanceOptions, partitionByBalance } from './balance.ts';
import { partitionByCuts, partitionByStages } from './by-hand.ts';
import type { Balance, Partition } from './partition.ts';

export { type BalanceOptions, partitionByBalance } from './balance.ts';
export { partitionByCuts, partitionByDevices, partitionByStages } from './by-hand.ts';
export { type Chain, type ChainCut, cutChain } from './chain.ts';
export { convexStages, type PlacedPartition } from './convex.ts';
export type { Balance, Partition, PartitionObjective } from './partition.ts';
export { forwardNodes, leaders, stageMap } from './stage-of.ts';
export { type Boundary, type ChainUnits, chainUnits, type SavedValue, type Traffic, type Unit } from './units.ts';

/** What an experiment's `partition` asks for. */
export type PartitionSpec =
  | 'auto'
  | { readonly balance: Balance }
  | { readonly cuts: readonly string[] }
  | { readonly stages: Readonly<Record<string, number>> }
  /** Devices by name pattern; stages and placement follow from them: `partitionByDevices`. */
  | { readonly devices: Readonly<Record<string, number>> };

/** A partition without its placement. */
export type StageSpec = Exclude<PartitionSpec, { readonly devices: unknown }>;

/** Cuts a training graph into stages. `auto` balances time. Options concern the automatic partitions only. */
export function makePartition(graph: Graph, spec: StageSpec, options: BalanceOptions): Partition {
  if (spec === 'auto') return partitionByBalance(graph, 'time', options);
  if ('balance' in spec) return partitionByBalance(graph, spec.balance, options);
  if ('cuts' in spec) return partitionByCuts(graph, spec.cuts);
  return partitionByStages(graph, spec.stages);
}
