/** Partitions with their homes, before a schedule is chosen: every way to cut, for all or some of the devices. */
import type { CostModel } from '../../cost/model.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Partition } from '../../partition/partition.ts';
import { pauses } from '../../partition/pause.ts';
import { trainingProblem } from '../../partition/training-problem.ts';
import { type PlacementRule, placementBy } from '../../schedule/index.ts';
import type { PlanRequest } from '../plan.ts';
import { placedStages, relativeSpeed } from '../stages.ts';
import { type PartitionWay, partitionWays, type SearchOptions } from './candidate.ts';
import { cut, searching } from './cut.ts';

/** A partition with its home, before a schedule is chosen. */
export interface Layout {
  readonly microbatches: number;
  readonly way: PartitionWay | 'given';
  readonly rule: PlacementRule;
  readonly stagesPerDevice: number;
  readonly partition: Partition;
  readonly placement: readonly number[];
}

/** Partitions for some or all of the devices, each once however many ways lead to it. */
export async function layoutsOf(
  request: PlanRequest,
  graph: Graph,
  microbatches: number,
  costs: CostModel,
  options: SearchOptions,
  deadline: number,
): Promise<Layout[]> {
  const { stagesPerDevice = [1, 2, 4], partitions = partitionWays } = options;
  if (partitions.includes('given')) return [givenLayout(request, graph, microbatches, costs)];
  // In blocks neighbouring stages are one to a schedule: worth trying only where there must be several.
  const rules: PlacementRule[] = stagesPerDevice.includes(1) ? ['looped', 'v'] : ['looped', 'v', 'straight'];
  const pause = pauses();
  const layouts: Layout[] = [];
  const seen = new Set<string>();
  for (const devices of deviceSets(request, options.fewerDevices ?? true)) {
    // A single device gains nothing by several stages.
    for (const v of devices.length === 1 ? [Math.min(...stagesPerDevice)] : stagesPerDevice) {
      for (const rule of v === 1 ? (['straight'] as const) : rules) {
        const placement = placementBy(rule, devices.length, v).map((d) => devices[d]!);
        const problem = trainingProblem(graph, {
          costs,
          microbatches,
          devices: placement.map((d, s) => ({
            speed: relativeSpeed(request.devices[d]),
            memory: request.devices[d]!.memory,
            inFlight: Math.min(microbatches, placement.length - s),
          })),
        });
        if (problem.problem.parts.length < placement.length) continue;
        for (const way of partitions as readonly PartitionWay[]) {
          await breathe(pause, options.signal);
          const { signal } = options;
          const cuts = { way, graph, problem, placement, request, microbatches, costs, deadline, signal };
          const placed = v > 1 && searching.has(way) ? undefined : await cut(cuts);
          if (!placed) continue;
          const key = `${rule}/${placed.placement.join()}/${Object.values(placed.partition.assignment).join()}`;
          if (seen.has(key)) continue;
          seen.add(key);
          layouts.push({ microbatches, way, rule, stagesPerDevice: v, ...placed });
        }
      }
    }
  }
  return layouts;
}

/** The partition that the request asks for. */
function givenLayout(request: PlanRequest, graph: Graph, microbatches: number, costs: CostModel): Layout {
  const scheduled = { ...request, schedule: request.schedule ?? '1f1b' };
  const { partition, placement } = placedStages(graph, scheduled, { microbatches, costs });
  const stagesPerDevice = Math.ceil(placement.length / new Set(placement).size);
  return { microbatches, way: 'given', rule: 'straight', stagesPerDevice, partition, placement };
}

/** All devices, and fewer: the fastest of them, in the order they are given. */
function deviceSets({ devices }: PlanRequest, fewer: boolean): number[][] {
  const bySpeed = devices
    .map((_, d) => d)
    .sort((a, b) => relativeSpeed(devices[b]) - relativeSpeed(devices[a]) || a - b);
  const counts = new Set([devices.length]);
  for (let k = 1; fewer && k < devices.length; k += devices.length <= 8 ? 1 : k) counts.add(k);
  return [...counts].sort((a, b) => b - a).map((k) => bySpeed.slice(0, k).sort((a, b) => a - b));
}

/** Lets signals be heard, and obeys this one. */
export async function breathe(pause: () => Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
  await pause();
  signal?.throwIfAborted();
}
