/** One experiment cut in every way: the plan of each, its loads, and the best bound that any of the methods proves. */
import { analyticCosts } from '../../cost/model.ts';
import { stageMap } from '../../partition/stage-of.ts';
import { graphsOf, PlanCache, type PlanRequest } from '../../plan/plan.ts';
import { stageCosts } from '../../plan/stage-costs.ts';
import { stepBoundOf } from '../../plan/step-bound.ts';
import type { PreparedExperiment } from '../../train/experiment/prepare.ts';
import { type PlannedCombination, planOrReason, type Skipped } from '../pipeline.ts';
import { type CutContext, cutBy, leastLoad, loadsOf, problemOf } from './methods.ts';

export interface CutCombination {
  readonly series: string;
  readonly prepared: PreparedExperiment;
  readonly request: PlanRequest;
}

/** A combination cut by one of the methods. */
export interface CutRun extends Omit<PlannedCombination, 'combination'> {
  readonly series: string;
  readonly method: string;
  readonly context: CutContext;
  /** Seconds of a microbatch on each stage's device. */
  readonly loads: readonly number[];
  readonly largest: number;
  /** No way to cut is known to have a smaller largest load. */
  readonly loadBound: number;
  readonly methodSeconds: number;
  readonly stepBound: number;
}

export interface CuttingOptions {
  readonly methods: readonly string[];
  /** Of each method. */
  readonly timeLimitSeconds: number;
  readonly signal: AbortSignal | undefined;
  /** Awaited before each method. */
  readonly before: (what: string) => Promise<void>;
  readonly skip: (skipped: Skipped) => void;
}

/** Cuts by each of the methods and plans what they find; what gives no plan is skipped with its reason. */
export async function cutEveryWay(
  { series, prepared, request }: CutCombination,
  { methods, timeLimitSeconds, signal, before, skip }: CuttingOptions,
): Promise<CutRun[]> {
  const cache = new PlanCache();
  const [name] = Object.keys(request.programs);
  const { largest: graph, chunks, graphs } = graphsOf(request, name!, cache);
  const layout = `${request.devices.length} devices${series ? ` (${series})` : ''}`;
  // The experiment's own plan says where its schedule has the stages; other cuts take the same places.
  const own = planOrReason(request, cache);
  if ('why' in own) {
    skip({ what: layout, why: own.why });
    return [];
  }
  const { placement } = own.plan;
  const context: CutContext = {
    request,
    graph,
    microbatches: chunks.length,
    costs: request.costs ?? analyticCosts(),
    placement,
    own: own.plan.partition,
    timeLimitSeconds,
    signal,
  };
  const problem = problemOf(context);
  const stepBound = stepBoundOf(graph, request, chunks, graphs);
  const runs: Omit<CutRun, 'loadBound'>[] = [];
  let bound = leastLoad(problem);
  for (const method of methods) {
    const what = `${method} on ${layout}`;
    await before(what);
    const cut = await cutBy(method, context, problem);
    if ('why' in cut) {
      skip({ what, why: cut.why });
      continue;
    }
    if (cut.lowerBound !== null) bound = Math.max(bound, cut.lowerBound);
    const ready: PlanRequest = {
      ...request,
      partition: { ready: cut.partition },
      placement,
      stagesPerDevice: undefined,
    };
    const planned = planOrReason(ready, cache);
    if ('why' in planned) {
      skip({ what, why: planned.why });
      continue;
    }
    const loads = loadsOf(problem, cut.partition);
    const found = { ...loads, methodSeconds: cut.seconds, stepBound, ...planned };
    runs.push({ series, method, prepared, request: ready, context, ...found });
  }
  return runs.map((run) => ({ ...run, loadBound: Math.min(bound, run.largest) }));
}

/** All that passes between devices in a step. */
export function transferBytes({ plan, context }: CutRun): number {
  const { partition, placement } = plan;
  const { graph, costs, microbatches } = context;
  const { traffic } = stageCosts(graph, stageMap(graph, partition), { stages: partition.stages, costs });
  let bytes = 0;
  for (const [pair, moved] of traffic) {
    const [from, to] = pair.split('>').map(Number) as [number, number];
    if (placement[from] !== placement[to]) bytes += microbatches * moved.bytes;
  }
  return bytes;
}

export function imbalanceOf({ loads }: CutRun): number {
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length;
  return mean > 0 ? Math.max(...loads) / mean : 1;
}
