/** A request compiled: stages, schedules, programs and their memory, whether they fit or not. */
import type { HostTensor } from '../core/types.ts';
import { analyticCosts } from '../cost/model.ts';
import { normalizesByWholeBatch } from '../optim/batch-norm.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import { stageMap } from '../partition/stage-of.ts';
import { constantName } from '../program/values.ts';
import type { RecomputeChoice } from '../recompute/index.ts';
import type { Schedule } from '../schedule/index.ts';
import { type Prediction, predict } from '../simulate/predict.ts';
import { placedForListing } from './auto-schedule.ts';
import type { PlanCache } from './cache.ts';
import { limitOf } from './capacity.ts';
import { checkRequest } from './check-request.ts';
import { type CompiledGraphs, compileChoice, type Frame, type StagesByProgram } from './compile-choice.ts';
import type { Compiled, Decisions } from './compiled.ts';
import { type Build, edgesBetweenStages, graphsOf, stagesOf, tooManyInstructions } from './graphs.ts';
import type { Plan } from './plan.ts';
import { checkChoice, type FitGoal, fitRecompute, recomputeByRule } from './recompute.ts';
import { clusterOf, type PlanRequest } from './request.ts';
import { type StageChain, scheduleAskedFor, scheduleFor } from './schedules.ts';
import type { Room } from './stages.ts';

/** Plans of one request by their partition. */
export type SeenPlans = Map<string, Plan>;

export interface CompileOptions {
  readonly cache: PlanCache;
  /** What an automatic partition may take. Default: as much as needed. */
  readonly room?: Room;
  readonly seen?: SeenPlans;
  /** Default `best`. */
  readonly goal?: FitGoal;
  /** Decided before: nothing is searched for. */
  readonly decided?: Decisions;
}

export function compilePlan(asked: PlanRequest, options: CompileOptions): Plan {
  checkRequest(asked);
  const { cache, room, seen, goal = 'best', decided } = options;
  const costs = asked.costs ?? analyticCosts();
  const mainName = Object.keys(asked.programs)[0]!;
  const builds = Object.fromEntries(Object.keys(asked.programs).map((name) => [name, graphsOf(asked, name, cache)]));
  for (const build of Object.values(builds)) {
    const refusal = tooManyInstructions(build);
    if (refusal) throw refusal;
  }
  // A partition weighs a microbatch as it is, also where its samples are computed one by one.
  const mainGraph = builds[mainName]!.largest;
  const byWholeBatch = normalizesByWholeBatch(mainGraph);
  const request = {
    ...(decided?.request ?? asked),
    schedule: scheduleAskedFor(decided?.request ?? asked, byWholeBatch),
  };

  const microbatches = builds[mainName]!.chunks.length;
  const { partition: found, placement } = placedForListing(mainGraph, request, { microbatches, costs, room });
  const partition = decided?.objective ? { ...found, objective: decided.objective } : found;
  const key = `${placement.join()}/${Object.values(partition.assignment).join()}`;
  const known = seen?.get(key);
  if (known) return known;
  const order = highestOrder(mainGraph);
  const chain: StageChain = {
    stages: foldedStages(partition.stages, order),
    modelStages: partition.stages,
    placement: foldedPlacement(placement, order),
    edges: edgesBetweenStages(mainGraph, partition),
    ordered: mainGraph.nodes.some((n) => n.op?.accumulates && n.pass === 0),
    byWholeBatch,
  };

  const stagesIn = (all: Readonly<Record<string, Build>>): StagesByProgram =>
    Object.fromEntries(
      Object.entries(all).map(([name, { graphs }]) => [name, stagesOf(graphs.values(), partition, mainGraph)]),
    );
  const limits = request.devices.map(limitOf);
  const stages = stagesIn(builds);
  const frame: Frame = { request, builds, stages, stagesIn, mainName, chain, costs, limits, decided };
  const compile = (choice: RecomputeChoice, quick = false) => compileChoice(frame, choice, quick);

  const within = {
    graph: mainGraph,
    stageOf: stageMap(mainGraph, partition),
    placement: chain.placement,
    limits,
    options: cache.recompute,
  };
  const { recompute: mode = 'none' } = request;
  const played = clusterOf(request);
  const predictionOf = ({ programs }: Compiled): Prediction =>
    predict(programs[mainName]!, played.devices, played.costs, played.media);
  const byName = (): Schedule | undefined =>
    request.schedule === 'auto' ? undefined : scheduleFor(request, mainName, chain, microbatches, undefined);
  const choose = (): CompiledGraphs => {
    if (typeof mode === 'object') {
      checkChoice(mode, mainGraph, chain.stages);
      return compile(mode);
    }
    if (mode === 'optimal') {
      return fitRecompute(within, compile, {
        scheduleOf: (plan) => plan.schedules[mainName]!,
        secondsOf: (plan) => predictionOf(plan).stepSeconds,
        goal,
      });
    }
    return compile(recomputeByRule(mode, within, byName()));
  };
  const compiled = choose();
  const plan: Plan = {
    ...compiled,
    request: decided ? { ...asked, schedule: scheduleAskedFor(asked, byWholeBatch) } : request,
    partition,
    placement,
    surplus: request.devices.map((_, d) => d).filter((d) => !placement.includes(d)),
    constants: constantsOf(builds),
    stageEdges: chain.edges,
    prediction: predictionOf(compiled),
  };
  seen?.set(key, plan);
  return plan;
}

function constantsOf(builds: Readonly<Record<string, Build>>): Map<string, HostTensor> {
  const constants = new Map<string, HostTensor>();
  for (const { graphs } of Object.values(builds)) {
    for (const graph of graphs.values()) {
      for (const t of graph.sources('constant'))
        constants.set(constantName(t), { type: t.type, data: t.node.source!.value! });
    }
  }
  return constants;
}
