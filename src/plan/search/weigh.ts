/** Combinations on paper: what each schedule that suits a layout promises. */
import { PartitaError } from '../../core/errors.ts';
import type { CostModel } from '../../cost/model.ts';
import type { Graph, Node } from '../../graph/graph.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../../partition/fold.ts';
import type { Partition } from '../../partition/partition.ts';
import { stageMap } from '../../partition/stage-of.ts';
import { type RecomputeMode, withRecompute } from '../../recompute/index.ts';
import { makeSchedule, namedSchedules, type Schedule, validateSchedule } from '../../schedule/index.ts';
import { listSchedule } from '../auto-schedule.ts';
import { capacityOf } from '../capacity.ts';
import type { PlanRequest, ScheduleWord } from '../plan.ts';
import { recomputeByRule } from '../recompute.ts';
import { forwardEdges, stageCosts } from '../stage-costs.ts';
import type { Candidate } from './candidate.ts';
import { estimate } from './estimate.ts';
import type { Layout } from './layouts.ts';

export interface Weighed extends Candidate {
  readonly layout: Layout;
}

/** What each schedule that suits a layout promises. */
export function weigh(
  layout: Layout,
  graph: Graph,
  request: PlanRequest,
  costs: CostModel,
  schedules: readonly ScheduleWord[],
  recompute: RecomputeMode,
): Weighed[] {
  const { microbatches, partition, stagesPerDevice, rule } = layout;
  const order = highestOrder(graph);
  const stages = foldedStages(partition.stages, order);
  const placement = foldedPlacement(layout.placement, order);
  const stageOf = stageMap(graph, partition);
  const sizes = { stages, own: partition.stages, costs };
  const figures = stageCosts(...graphWeighed(graph, stageOf, partition, recompute), sizes);
  const shape = { stages, microbatches, placement, devices: request.devices.length };
  const edges = forwardEdges(figures);
  const { devices } = request;
  // As if nothing else lay there: what is compiled is made within the memory that is left.
  const budget = devices.map((d) => capacityOf(d) ?? Number.POSITIVE_INFINITY);
  const suits = (name: ScheduleWord) => name === 'auto' || namedSchedules[name].placement === rule;
  // Stages that lie as the request has them have any schedule, but one each only what they need several for if all are such.
  const isAny = layout.way === 'given' && (stagesPerDevice > 1 || !schedules.some(suits));
  return schedules.flatMap((name): Weighed[] => {
    if (!isAny && !suits(name)) return [];
    let schedule: Schedule;
    try {
      schedule =
        name === 'auto'
          ? listSchedule(shape, budget, { figures, edges, devices, costs, effort: 20_000 }).schedule
          : makeSchedule(name, shape);
      validateSchedule(schedule, { dependencies: edges });
    } catch (error) {
      if (error instanceof PartitaError) return []; // a rule that does not serve this placement
      throw error;
    }
    return [
      {
        layout,
        microbatches,
        partition: layout.way,
        schedule: name,
        stages: partition.stages,
        stagesPerDevice,
        placement: layout.placement,
        recompute,
        ...estimate(schedule, figures, request, costs, recompute),
      },
    ];
  });
}

/** The graph with what a rule has computed again; `optimal` is estimated from what is kept. */
function graphWeighed(
  graph: Graph,
  stageOf: (node: Node) => number,
  partition: Partition,
  recompute: RecomputeMode,
): [Graph, (node: Node) => number] {
  if (recompute === 'none' || recompute === 'optimal') return [graph, stageOf];
  const again = withRecompute(graph, stageOf, recomputeByRule(recompute, { graph, stageOf }, undefined));
  return [again, stageMap(again, partition)];
}
