/** A request compiled: stages, schedules, programs and their memory, whether they fit or not. */
import type { HostTensor } from '../core/types.ts';
import { analyticCosts } from '../cost/model.ts';
import { defaultFusion } from '../fusion/modes.ts';
import { type DeviceMemoryPlan, type KnownLayout, planDeviceMemory } from '../memory/device-memory.ts';
import { normalizesByWholeBatch } from '../optim/batch-norm.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import type { PartitionObjective } from '../partition/partition.ts';
import { stageMap } from '../partition/stage-of.ts';
import { buildProgram } from '../program/build.ts';
import type { Lifetimes } from '../program/context.ts';
import type { StepProgram } from '../program/instruction.ts';
import { validateProgram } from '../program/validate.ts';
import { constantName } from '../program/values.ts';
import type { RecomputeChoice } from '../recompute/index.ts';
import type { Schedule, ScheduleShape } from '../schedule/index.ts';
import { type Prediction, predict } from '../simulate/predict.ts';
import { compileWithin, placedForListing } from './auto-schedule.ts';
import type { PlanCache } from './cache.ts';
import { limitOf } from './capacity.ts';
import type { Compiled } from './compiled.ts';
import { type Build, edgesBetweenStages, fusedIn, graphsOf, recomputeIn, stagesOf } from './graphs.ts';
import type { Plan } from './plan.ts';
import { checkChoice, type FitGoal, fitRecompute, recomputeByRule } from './recompute.ts';
import { checkRequest, clusterOf, type PlanRequest } from './request.ts';
import { checkSchedule, type StageChain, scheduleAskedFor, scheduleFor } from './schedules.ts';
import { withLayoutsThatFit, withLowerPeaks } from './short-lifetimes.ts';
import { stageCosts, taskSeconds } from './stage-costs.ts';
import type { Room } from './stages.ts';

interface CompiledGraphs extends Compiled, Pick<Plan, 'graphs' | 'recompute' | 'stageSeconds'> {}

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

/** All of a plan that is found by trying; the rest follows. */
export interface Decisions {
  /** The request with partition, placement, schedules and what is computed again in place of what it asks for. */
  readonly request: PlanRequest;
  readonly objective: PartitionObjective | undefined;
  readonly lifetimes: readonly Lifetimes[];
  /** By device and program. */
  readonly layouts: readonly Readonly<Record<string, KnownLayout>>[];
}

export function compilePlan(asked: PlanRequest, options: CompileOptions): Plan {
  checkRequest(asked);
  const { cache, room, seen, goal = 'best', decided } = options;
  const costs = asked.costs ?? analyticCosts();
  const mainName = Object.keys(asked.programs)[0]!;
  const builds = Object.fromEntries(Object.keys(asked.programs).map((name) => [name, graphsOf(asked, name, cache)]));
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

  const stagesIn = (all: Readonly<Record<string, Build>>) =>
    Object.fromEntries(
      Object.entries(all).map(([name, { graphs }]) => [name, stagesOf(graphs.values(), partition, mainGraph)]),
    );
  const kept = stagesIn(builds);
  const limits = request.devices.map(limitOf);
  /** `quick`: peaks only say whether they are within the limits. Schedules that are made for the peaks need all of them. */
  const compile = (choice: RecomputeChoice, quick = false): CompiledGraphs => {
    const within = quick && request.schedule !== 'auto' ? limits : undefined;
    const again = recomputeIn(builds, kept, request.programs, choice);
    const stagesAgain = choice.size === 0 ? kept : stagesIn(again);
    const { builds: run, stages } =
      (request.fusion ?? defaultFusion) === 'on' ? fusedIn(again, stagesAgain) : { builds: again, stages: stagesAgain };
    const main = run[mainName]!.largest;
    const stageOf = stages[mainName]!;
    // Stages whose times are not what the places for messages were made by wait for each other.
    const stageSeconds =
      request.stageSeconds?.length === chain.stages
        ? request.stageSeconds
        : stageCosts(main, stageOf, { stages: chain.stages, own: chain.modelStages, costs }).durations;
    const durations = taskSeconds({ durations: stageSeconds }, chain.placement, request.devices);
    // Whether a device has room is not left to a quick layout, where what is alive has.
    const memoryOf = (device: number, programs: Readonly<Record<string, StepProgram>>): DeviceMemoryPlan => {
      if (decided) return planDeviceMemory(device, programs, {}, decided.layouts[device]);
      const found = planDeviceMemory(device, programs, { limit: within?.[device] });
      const isDoubtful = found.peakBytes > limits[device]! && found.maxLive <= limits[device]!;
      return isDoubtful ? planDeviceMemory(device, programs, { effort: 'thorough' }) : found;
    };
    const compileWith = (list?: (shape: ScheduleShape) => Schedule): Compiled => {
      const schedules: Record<string, Schedule> = {};
      for (const [name, { chunks }] of Object.entries(run)) {
        const schedule = scheduleFor(request, name, chain, chunks.length, list);
        checkSchedule(schedule, request.programs[name]!, chain);
        schedules[name] = schedule;
      }
      const programsOf = (lifetimes: readonly Lifetimes[]): Compiled => {
        const programs: Record<string, StepProgram> = {};
        for (const [name, { chunks, graphs }] of Object.entries(run)) {
          const program = buildProgram({
            chunks,
            graphs,
            perSample: request.invariant ?? false,
            stageOf: stages[name]!,
            schedule: schedules[name]!,
            edges: chain.edges,
            durations,
            backends: request.devices.map((d) => d.backend),
            lifetimes,
          });
          validateProgram(program);
          programs[name] = program;
        }
        return {
          schedules,
          programs,
          lifetimes,
          memory: request.devices.map((_, d) => memoryOf(d, programs)),
        };
      };
      if (decided) return programsOf(decided.lifetimes);
      const rough =
        request.lifetimes === 'plain'
          ? programsOf(request.devices.map(() => 'plain'))
          : withLowerPeaks(programsOf, request.devices.length, within);
      return within ? rough : withLayoutsThatFit(rough, limits);
    };
    const compiled =
      request.schedule === 'auto'
        ? compileWithin({ graph: main, stageOf, chain, devices: request.devices, costs }, compileWith)
        : compileWith();
    const graphs = Object.fromEntries(Object.entries(again).map(([name, b]) => [name, b.largest]));
    return { ...compiled, graphs, recompute: choice, stageSeconds };
  };

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
