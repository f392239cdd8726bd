import { requireArgument, requireKinds } from '../core/options.ts';
import { transferSeconds } from '../cost/analytic.ts';
import { analyticCosts, type CostModel, slowestLink } from '../cost/model.ts';
import type { Graph } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { type Chain, type ChainCut, cutChain, type Room } from './chain.ts';
import type { Balance, Partition } from './partition.ts';
import { cutSharedChain, type SharedChainCut } from './shared-chain.ts';
import { type Boundary, type ChainUnits, chainUnits } from './units.ts';

export interface BalanceOptions {
  /** The most stages. Fewer are returned where the graph has fewer nodes or where fewer are strictly better. */
  readonly stages: number;
  /** Use exactly `stages` (or as many as there are nodes) even where fewer were better. Default false. */
  readonly exactly?: boolean;
  /** Microbatches a step; what happens once a step is shared by them. Default 1. */
  readonly microbatches?: number;
  /** Default: rooflines. */
  readonly costs?: CostModel;
  /**
   * Device of each stage; transfers count at the slowest link among them. Default 0 … stages − 1. Where stages share a
   * device, the partition has exactly `stages` (if there are as many nodes), and loads are those of devices.
   */
  readonly devices?: readonly number[];
  /** Speed of the device of each stage, as a factor on that of a wasm core; for `time`. Default 1. */
  readonly speeds?: readonly number[];
  /**
   * Bytes of the device of each stage, for `time`: for parameters, gradients, optimizer state and activations in flight of all
   * its stages. Where no partition keeps to them, they do not count.
   */
  readonly capacities?: readonly number[];
  /**
   * Microbatches whose activations a stage holds at once, for `memory` and `capacities`. Default 1F1B's: min(M, stages −
   * stage).
   */
  readonly inFlight?: (stage: number, stages: number) => number;
}

/**
 * Contiguous stages of the graph's topological order with the least possible largest load (exact).
 *
 * - `time`: seconds a microbatch: forward, backward, the share of the update, and the transfers over both boundaries.
 * - `memory`: bytes of parameters, gradients, optimizer state and the activations of all microbatches in flight.
 * - `parameters`: bytes of parameters; shared ones count where they are used first.
 *
 * Of equally good partitions, the one that sends the fewest bytes. Where stages share a device, it is the largest load of a
 * device that is least, the sum over its stages, and of equally good partitions that with the least largest stage; it is
 * proved where the search comes to its end (`shared-chain.ts`). No stage is empty.
 */
export function partitionByBalance(graph: Graph, balance: Balance, options: BalanceOptions): Partition {
  requireGraph('partitionByBalance', graph);
  const isKnown = balance === 'time' || balance === 'memory' || balance === 'parameters';
  requireArgument('partitionByBalance', isKnown, "'time', 'memory' or 'parameters'", balance, "'time'");
  requireKinds('partitionByBalance', { options: ['record', options] });
  const started = performance.now();
  const chainOf = { time: timeChain, memory: memoryChain, parameters: parameterChain }[balance];
  const description = chainUnits(graph, options.costs);
  const M = options.microbatches ?? 1;
  const chain = { ...chainOf(description, options), cutCost: description.boundaries.map((b) => cutBytes(b, M)) };
  const { stages, exactly } = options;
  const count = exactly ? { exactly: stages } : { most: stages };
  const deviceOf = options.devices?.slice(0, chain.weight.length) ?? [];
  const isShared = new Set(deviceOf).size < deviceOf.length;
  // Filling and draining, in seconds a microbatch.
  const stageShare = balance === 'time' ? (new Set(deviceOf).size - 1) / M : 0;
  const cutWithin = (within: Chain): ChainCut & Partial<SharedChainCut> =>
    isShared ? cutSharedChain(within, deviceOf, { stageShare }) : cutChain(within, count);
  const room = options.capacities && balance === 'time' ? roomFor(description, options, options.capacities) : undefined;
  const fitting = room && cutWithin({ ...chain, room });
  const cut = fitting && Number.isFinite(fitting.objective) ? fitting : cutWithin(chain);
  const { cuts, loads, objective } = cut;
  let stage = 0;
  const assignment = Object.fromEntries(
    description.units.flatMap((unit, i) => {
      if (i === cuts[stage]) stage++;
      return unit.nodes.map((name) => [name, stage]);
    }),
  );
  return {
    stages: Math.max(1, loads.length),
    assignment,
    method: `chain-${balance}`,
    objective: {
      kind: balance,
      unit: balance === 'time' ? 'seconds' : 'bytes',
      value: objective,
      lowerBound: cut.lowerBound ?? objective,
      loads,
      ...(cut.deviceLoads ? { deviceLoads: cut.deviceLoads } : {}),
      seconds: (performance.now() - started) / 1000,
    },
  };
}

const cutBytes = (b: Boundary, M: number): number => b.forward.bytes + b.backward.bytes + b.step.bytes / M;

function timeChain({ units, boundaries }: ChainUnits, options: BalanceOptions): Chain {
  const M = options.microbatches ?? 1;
  const devices = options.devices ?? Array.from({ length: options.stages }, (_, d) => d);
  const link = slowestLink(options.costs ?? analyticCosts(), devices);
  const seconds = ({ bytes, messages }: Boundary['forward']) => transferSeconds(bytes, messages, link);
  return {
    ...(options.speeds ? { speeds: options.speeds } : {}),
    weight: units.map((u) => u.forwardSeconds + u.backwardSeconds + u.stepSeconds / M),
    crossing: boundaries.map((b) => seconds(b.forward) + seconds(b.backward) + seconds(b.step) / M),
  };
}

function roomFor({ units }: ChainUnits, options: BalanceOptions, capacity: readonly number[]): Room {
  const { weight, held, inFlight } = memoryChain({ units, boundaries: [] }, options);
  return { bytes: weight, held: held!, inFlight: inFlight!, capacity };
}

function memoryChain({ units }: ChainUnits, options: BalanceOptions): Chain {
  const M = options.microbatches ?? 1;
  return {
    weight: units.map((u) => u.parameterBytes + u.gradientBytes + u.stateBytes),
    held: units.map((u) => u.saved),
    inFlight: options.inFlight ?? ((stage, stages) => Math.min(M, stages - stage)),
  };
}

const parameterChain = ({ units }: ChainUnits): Chain => ({ weight: units.map((u) => u.parameterBytes) });
