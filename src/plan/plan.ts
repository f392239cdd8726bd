import { PlanError, UsageError } from '../core/errors.ts';
import { formatBytes } from '../core/format.ts';
import type { HostTensor } from '../core/types.ts';
import { analyticCosts, type CostModel } from '../cost/model.ts';
import type { Graph, Node } from '../graph/graph.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import { type DeviceMemoryPlan, planDeviceMemory } from '../memory/device-memory.ts';
import { type BatchNormMode, normalizesByWholeBatch } from '../optim/batch-norm.ts';
import type { ClipConfig } from '../optim/clip.ts';
import { buildModel, type Model } from '../optim/model.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { buildTrainingGraph, type L2Penalty } from '../optim/training-graph.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import type { PartitionSpec } from '../partition/index.ts';
import type { Partition } from '../partition/partition.ts';
import { stageMap } from '../partition/stage-of.ts';
import { buildProgram } from '../program/build.ts';
import type { StepProgram } from '../program/instruction.ts';
import { validateProgram } from '../program/validate.ts';
import { constantName } from '../program/values.ts';
import { type RecomputeChoice, type RecomputeMode, withRecompute } from '../recompute/index.ts';
import type { Durations, Schedule, ScheduleName, ScheduleShape, StageEdge } from '../schedule/index.ts';
import type { Cluster } from '../simulate/cluster.ts';
import { type Prediction, predict } from '../simulate/predict.ts';
import { compileWithin, placedForListing } from './auto-schedule.ts';
import { categoryName, sharesOf, wordsOfShares } from './binding.ts';
import { ADDRESSABLE_BYTES, capacityOf, limitOf } from './capacity.ts';
import { chunkSizes } from './chunks.ts';
import { refuseMixedSamples } from './mixed-samples.ts';
import { hasNullDevices, refuseMixedDevices } from './null-devices.ts';
import { checkChoice, fitRecompute, recomputeByRule } from './recompute.ts';
import { checkSchedule, type StageChain, scheduleAskedFor, scheduleFor } from './schedules.ts';
import { withLowerPeaks } from './short-lifetimes.ts';
import { stageCosts, taskSeconds } from './stage-costs.ts';
import type { Room } from './stages.ts';

export { capacityOf } from './capacity.ts';

export interface PlannedDevice {
  readonly backend: BackendName;
  /** Capacity in bytes; null: as much as needed. */
  readonly memory: number | null;
  /** Relative speed, 1 = this machine's core. */
  readonly speed: number;
  /** Only simulated: its memory may be larger than what a WebAssembly memory can address. */
  readonly simulated?: boolean;
}

/** What a program of a plan does with a batch. */
export interface ProgramSpec {
  readonly batch: number;
  /** `train` updates the parameters, `gradients` computes them, `forward` only runs the model. */
  readonly mode: 'train' | 'gradients' | 'forward';
  /** Results beyond the loss. */
  readonly outputs?: boolean;
  /** The gradient's squared norm, parameter by parameter; training reports `gradNorm` from it. */
  readonly gradientNorm?: boolean;
  /**
   * The squared norms that the gradient noise is estimated from, microbatch by microbatch; needs `gradientNorm`, and two
   * microbatches or `invariant`.
   */
  readonly gradientNoise?: boolean;
}

/** `auto` is made for the plan's own costs and memories by list scheduling. */
export type ScheduleWord = ScheduleName | 'auto';

/** A word, or a schedule from a file. */
export type ScheduleChoice = ScheduleWord | Schedule;

export interface PlanRequest {
  readonly model: Model;
  /** The first program decides partition and schedule. */
  readonly programs: Readonly<Record<string, ProgramSpec>>;
  readonly microbatches: number;
  readonly devices: readonly PlannedDevice[];
  /** Default `1f1b`; `gpipe` where the model normalises by the whole batch. */
  readonly schedule?: ScheduleChoice;
  readonly partition: PartitionSpec;
  /** Device of each stage; default: where the schedule wants them (`schedulePlacement`), or a file has them. */
  readonly placement?: readonly number[];
  /** Stages that each device owns where no placement says so. Default: as the schedule has them, most one. */
  readonly stagesPerDevice?: number;
  /** Schedules of programs that were decided before: those of a stored plan, but for the first program's. */
  readonly decided?: Readonly<Record<string, Schedule>>;
  /** Times of the schedule's stages on a device of speed 1, by which messages get their places. Default: by `costs`. */
  readonly stageSeconds?: readonly Durations[];
  /** What devices with the backend `blas` call for products (`findBlas`). */
  readonly blas?: BlasLibrary | undefined;
  readonly optimizer?: Optimizer;
  /** Of the programs that train; gradients that are asked for are not clipped. */
  readonly clip?: ClipConfig;
  readonly l2?: L2Penalty;
  /** What the backward pass computes again instead of having it kept: by a rule, or stage by stage; default `none`. Changes no bit. */
  readonly recompute?: RecomputeMode | RecomputeChoice;
  /** What batch normalisation takes its statistics of; default `micro`. */
  readonly batchNorm?: BatchNormMode;
  readonly inputGradients?: boolean;
  /**
   * The same bits for every number of microbatches: each sample is computed by itself, and sums over the batch are one
   * binary tree over the samples (`program/pairwise.ts`). Slower, and log₂ of the batch partial sums a gradient.
   */
  readonly invariant?: boolean;
  /** `plain`: without what shortens lifetimes (docs/memory-lifetimes.md), to compare with. Default `short`. */
  readonly lifetimes?: 'short' | 'plain';
  /** What computing and sending cost, for the partition and the prediction. Default: rooflines of a WebAssembly core. */
  readonly costs?: CostModel;
  /**
   * Where steps are predicted: these devices, one for each of `devices`, with what their links share. Default: `devices` with
   * `costs`, and links that share nothing. Partitions and schedules are made by `devices` and `costs` all the same.
   */
  readonly cluster?: Cluster;
}

export interface ScheduledRequest extends PlanRequest {
  readonly schedule: ScheduleChoice;
}

/** Partition, schedule, programs and memory of a training step, checked against each other and against the devices. */
export interface Plan {
  /** With the schedule that was chosen where none was asked for. */
  readonly request: ScheduledRequest;
  readonly partition: Partition;
  readonly placement: readonly number[];
  /** Devices that own no stage. */
  readonly surplus: readonly number[];
  readonly schedules: Readonly<Record<string, Schedule>>;
  readonly programs: Readonly<Record<string, StepProgram>>;
  /** One training graph a program, at its largest chunk, with what is computed again. */
  readonly graphs: Readonly<Record<string, Graph>>;
  /** What each stage of the schedule computes again. */
  readonly recompute: RecomputeChoice;
  readonly memory: readonly DeviceMemoryPlan[];
  readonly constants: ReadonlyMap<string, HostTensor>;
  readonly stageEdges: readonly StageEdge[];
  /** Of one microbatch on a device of speed 1: what the places for messages were made by. */
  readonly stageSeconds: readonly Durations[];
  readonly prediction: Prediction;
}

/** Makes a plan. Throws PlanError where a device's memory does not suffice, before anything has started. */
export function makePlan(request: PlanRequest): Plan {
  return refuseWhatDoesNotFit(draftPlan(request));
}

/** Callers in JavaScript may leave out what TypeScript asks for; a device without a number would fail far from here. */
function refuseUnknownDevice({ memory, speed }: PlannedDevice, device: number): void {
  const memoryKnown = memory === null || (Number.isFinite(memory) && memory >= 0);
  if (memoryKnown && Number.isFinite(speed) && speed > 0) return;
  throw new UsageError(
    'device-invalid',
    memoryKnown
      ? `devices.${device}.speed must be a number > 0, not ${speed}`
      : `devices.${device}.memory must be bytes, or null for as much as needed, not ${memory}`,
    { fields: { device, memory, speed }, remedy: "{ backend: 'wasm', memory: null, speed: 1 }" },
  );
}

function refuseMissingLibrary({ devices, blas }: PlanRequest): void {
  const device = devices.findIndex(({ backend }) => backend === 'blas');
  if (device < 0 || blas) return;
  throw new UsageError('blas-library', `device ${device} has the backend "blas", and the request names no library`, {
    fields: { device },
    remedy: "blas: findBlas('auto')",
  });
}

/** Training graphs by program and number of microbatches, for several plans of one request that differ in other things. */
export type GraphCache = Map<string, Build>;

/** The graphs of one of a request's programs. */
export function graphsOf(request: PlanRequest, name: string, cache: GraphCache): Build {
  const key = `${name}/${request.microbatches}`;
  let build = cache.get(key);
  if (!build) {
    const spec = request.programs[name]!;
    cache.set(key, (build = buildGraphs(request, spec, spec === Object.values(request.programs)[0])));
  }
  return build;
}

/** Cuts that are tried where the first, fastest one exceeds a device's memory. */
const CUTS = 4;

/** No third cut is tried once those tried have so many instructions: half a minute, but counted in work. */
const CUT_INSTRUCTIONS = 500_000;

/**
 * The plan without the check against capacities. An automatic partition is the fastest whose stages have room by what they
 * keep and hold in flight. What counts are the planned bytes, which are more: where they exceed a capacity, the room is
 * lowered by as much and the stages are cut again. Where nothing fits, it is the plan that lacks the fewest bytes.
 *
 * Stages that compute again hold less: they are cut as if one microbatch were in flight. With `optimal` they need not, so both
 * are tried, and the faster is taken.
 */
export function draftPlan(asked: PlanRequest, cache: GraphCache = new Map()): Plan {
  const capacities = asked.devices.map((d) => capacityOf(d) ?? Number.POSITIVE_INFINITY);
  const isLimited = capacities.some(Number.isFinite);
  if (asked.partition !== 'auto' || !isLimited) return compilePlan(asked, cache);
  const { recompute = 'none' } = asked;
  const seen: SeenPlans = new Map();
  const kept = recompute === 'none' || recompute === 'optimal' ? [cutWithin(asked, cache, seen, capacities)] : [];
  const lean = recompute === 'none' ? [] : [cutWithin(asked, cache, seen, capacities, 1)];
  return [...kept, ...lean].reduce((a, b) => {
    const [lackingA, lackingB] = [lackingBytes(a), lackingBytes(b)];
    return lackingB < lackingA || (lackingB === lackingA && b.prediction.stepSeconds < a.prediction.stepSeconds)
      ? b
      : a;
  });
}

const lackingBytes = (plan: Plan): number => shortages(plan).reduce((sum, s) => sum + s.needBytes - s.capacityBytes, 0);

/** Plans of one request by their partition. */
type SeenPlans = Map<string, Plan>;

function cutWithin(
  asked: PlanRequest,
  cache: GraphCache,
  seen: SeenPlans,
  capacities: readonly number[],
  inFlight?: number,
): Plan {
  let room: Room = { bytes: capacities, ...(inFlight ? { inFlight } : {}) };
  let best = compilePlan(asked, cache, room, seen);
  let plan = best;
  let tried = instructionsOf(plan);
  for (let cuts = 1; lackingBytes(best) > 0 && cuts < CUTS; cuts++) {
    if (cuts > 1 && tried > CUT_INSTRUCTIONS) break;
    const peakBytes = plan.memory.map((m) => m.peakBytes);
    room = { ...room, bytes: room.bytes.map((b, d) => b * Math.min(1, (0.99 * capacities[d]!) / peakBytes[d]! || 1)) };
    const before = seen.size;
    plan = compilePlan(asked, cache, room, seen);
    tried += instructionsOf(plan);
    if (lackingBytes(plan) < lackingBytes(best)) best = plan;
    if (seen.size === before) break;
  }
  return best;
}

function compilePlan(asked: PlanRequest, cache: GraphCache, room?: Room, seen: SeenPlans = new Map()): Plan {
  if (asked.devices.length === 0)
    throw new UsageError('no-devices', 'a plan needs at least one device', { remedy: '--devices 1' });
  asked.devices.forEach(refuseUnknownDevice);
  refuseMissingLibrary(asked);
  refuseMixedDevices(asked.devices);
  if (asked.cluster && asked.cluster.devices.length !== asked.devices.length) {
    throw new UsageError(
      'cluster-devices',
      `the cluster has ${asked.cluster.devices.length} devices, and the plan ${asked.devices.length}`,
      {
        fields: { cluster: asked.cluster.devices.length, devices: asked.devices.length },
        remedy: 'give the cluster one device for each of devices, in their order',
      },
    );
  }
  if (asked.clip && !asked.optimizer) {
    throw new UsageError(
      'clip-without-optimizer',
      'clip scales the gradients of an update, and there is no optimizer',
      {
        fields: { clip: asked.clip },
        remedy: "optimizer: makeOptimizer({ kind: 'sgd' })",
      },
    );
  }
  const costs = asked.costs ?? analyticCosts();
  const mainName = Object.keys(asked.programs)[0]!;
  const builds = Object.fromEntries(Object.keys(asked.programs).map((name) => [name, graphsOf(asked, name, cache)]));
  // A partition weighs a microbatch as it is, also where its samples are computed one by one.
  const mainGraph = builds[mainName]!.largest;
  const byWholeBatch = normalizesByWholeBatch(mainGraph);
  const request = { ...asked, schedule: scheduleAskedFor(asked, byWholeBatch) };

  const microbatches = builds[mainName]!.chunks.length;
  const { partition, placement } = placedForListing(mainGraph, request, { microbatches, costs, room });
  const key = `${placement.join()}/${Object.values(partition.assignment).join()}`;
  const known = seen.get(key);
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
  const compile = (choice: RecomputeChoice): CompiledGraphs => {
    const again = recomputeIn(builds, kept, request.programs, choice);
    const stages = choice.size === 0 ? kept : stagesIn(again);
    const main = choice.size === 0 ? mainGraph : again[mainName]!.largest;
    const stageOf = stageMap(main, partition);
    // Stages whose times are not what the places for messages were made by wait for each other.
    const stageSeconds =
      request.stageSeconds?.length === chain.stages
        ? request.stageSeconds
        : stageCosts(main, stageOf, { stages: chain.stages, own: chain.modelStages, costs }).durations;
    const durations = taskSeconds({ durations: stageSeconds }, chain.placement, request.devices);
    const compileWith = (list?: (shape: ScheduleShape) => Schedule): Compiled => {
      const schedules: Record<string, Schedule> = {};
      for (const [name, { chunks }] of Object.entries(again)) {
        const schedule = scheduleFor(request, name, chain, chunks.length, list);
        checkSchedule(schedule, request.programs[name]!, chain);
        schedules[name] = schedule;
      }
      const programsOf = (plainOn: ReadonlySet<number>): Compiled => {
        const programs: Record<string, StepProgram> = {};
        for (const [name, { chunks, graphs }] of Object.entries(again)) {
          const program = buildProgram({
            chunks,
            graphs,
            perSample: request.invariant ?? false,
            stageOf: stages[name]!,
            schedule: schedules[name]!,
            edges: chain.edges,
            durations,
            backends: request.devices.map((d) => d.backend),
            plainOn,
          });
          validateProgram(program);
          programs[name] = program;
        }
        return { schedules, programs, memory: request.devices.map((_, device) => planDeviceMemory(device, programs)) };
      };
      return request.lifetimes === 'plain' ? programsOf(new Set(request.devices.keys())) : withLowerPeaks(programsOf);
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
    limits: request.devices.map(limitOf),
  };
  const { recompute: mode = 'none' } = request;
  const byName = (): Schedule | undefined =>
    request.schedule === 'auto' ? undefined : scheduleFor(request, mainName, chain, microbatches, undefined);
  const choose = (): CompiledGraphs => {
    if (typeof mode === 'object') {
      checkChoice(mode, mainGraph, chain.stages);
      return compile(mode);
    }
    if (mode === 'optimal') return fitRecompute(within, compile, (plan) => plan.schedules[mainName]!);
    return compile(recomputeByRule(mode, within, byName()));
  };
  const { schedules, programs, memory, graphs, recompute, stageSeconds } = choose();
  const played = clusterOf(request);
  const constants = new Map<string, HostTensor>();
  for (const { graphs } of Object.values(builds)) {
    for (const graph of graphs.values()) {
      for (const t of graph.sources('constant'))
        constants.set(constantName(t), { type: t.type, data: t.node.source!.value! });
    }
  }
  const plan: Plan = {
    request,
    partition,
    placement,
    surplus: request.devices.map((_, d) => d).filter((d) => !placement.includes(d)),
    schedules,
    programs,
    graphs,
    recompute,
    memory,
    constants,
    stageEdges: chain.edges,
    stageSeconds,
    prediction: predict(programs[mainName]!, played.devices, played.costs, played.media),
  };
  seen.set(key, plan);
  return plan;
}

/** Where the steps of a request's plans are predicted. */
export const clusterOf = ({ devices, costs = analyticCosts(), cluster }: PlanRequest): Cluster =>
  cluster ?? { devices, costs };

/** What runs, and where it lies. */
export type Compiled = Pick<Plan, 'schedules' | 'programs' | 'memory'>;

interface CompiledGraphs extends Compiled, Pick<Plan, 'graphs' | 'recompute' | 'stageSeconds'> {}

/** The graphs with what is computed again. What only runs forward keeps nothing, and has nothing to compute again. */
function recomputeIn(
  builds: Readonly<Record<string, Build>>,
  stages: Readonly<Record<string, (node: Node) => number>>,
  programs: PlanRequest['programs'],
  choice: RecomputeChoice,
): Readonly<Record<string, Build>> {
  if (choice.size === 0) return builds;
  return Object.fromEntries(
    Object.entries(builds).map(([name, build]) => {
      if (programs[name]!.mode === 'forward') return [name, build];
      const graphs = new Map(
        [...build.graphs].map(([size, graph]) => [size, withRecompute(graph, stages[name]!, choice)]),
      );
      // Computed sample by sample, the largest chunk's graph only stands for it.
      const own = [...build.graphs].find(([, graph]) => graph === build.largest);
      const largest = own ? graphs.get(own[0])! : withRecompute(build.largest, stages[name]!, choice);
      return [name, { ...build, graphs, largest }];
    }),
  );
}

export interface Build {
  readonly chunks: readonly number[];
  /** What the program runs, by samples. */
  readonly graphs: ReadonlyMap<number, Graph>;
  /** The graph of the largest chunk. */
  readonly largest: Graph;
}

function buildGraphs(request: PlanRequest, spec: ProgramSpec, isMain: boolean): Build {
  // A smaller last batch may have fewer samples than the main program has microbatches.
  const chunks = chunkSizes(spec.batch, isMain ? request.microbatches : Math.min(request.microbatches, spec.batch));
  // Computed singly, the samples of one microbatch are parts to compare too.
  const hasParts = request.invariant ? spec.batch > 1 : chunks.length > 1;
  const graphOf = (size: number): Graph => {
    const model = buildModel(request.model, size, spec.mode === 'forward' ? 'evaluation' : 'training');
    if (chunks.length > 1) refuseWholeBatchGradients(model.graph, chunks.length);
    return buildTrainingGraph(model, {
      optimizer: spec.mode === 'train' ? request.optimizer : undefined,
      clip: request.clip,
      l2: request.l2,
      batchNorm: request.batchNorm,
      fetch: {
        outputs: spec.outputs ?? false,
        gradientSquares: spec.gradientNorm ?? false,
        microbatchSquares: (spec.gradientNoise ?? false) && hasParts,
        gradients: spec.mode === 'gradients',
        buffers: spec.mode === 'gradients',
        inputGradients: spec.mode === 'gradients' && (request.inputGradients ?? false),
      },
    });
  };
  if (request.invariant) {
    const single = graphOf(1);
    if (spec.batch > 1) refuseMixedSamples(single, graphOf(2));
    return { chunks, graphs: new Map([[1, single]]), largest: chunks[0] === 1 ? single : graphOf(chunks[0]!) };
  }
  const graphs = new Map([...new Set(chunks)].map((size) => [size, graphOf(size)]));
  return { chunks, graphs, largest: graphs.get(chunks[0]!)! };
}

function refuseWholeBatchGradients({ gradientsOfWholeBatch }: Graph, microbatches: number): void {
  const [first] = gradientsOfWholeBatch;
  if (first === undefined) return;
  throw new UsageError(
    'gradient-whole-batch',
    `the model takes a gradient by ${first}, which is the same for every microbatch: it is complete only behind the last of ${microbatches}`,
    { fields: { tensors: [...gradientsOfWholeBatch], microbatches }, remedy: '--microbatches 1' },
  );
}

/** Stage of any node of any of the graphs; only the main graph must be known to the partition node by node. */
function stagesOf(graphs: Iterable<Graph>, partition: Partition, main: Graph): (node: Node) => number {
  const mainStage = stageMap(main, partition);
  // Parameters and buffers live in one place for all programs, also where another graph's first reader stands elsewhere.
  const homes = new Map(main.nodes.filter((n) => n.source).map((n) => [n.name, mainStage(n)]));
  const maps = new Map([...graphs].map((g) => [g, stageMap(g, partition, { fill: g !== main })]));
  return (node) => {
    const home = node.source ? homes.get(node.name) : undefined;
    if (home !== undefined) return home;
    let map = maps.get(node.graph);
    if (!map) maps.set(node.graph, (map = stageMap(node.graph, partition, { fill: true })));
    return map(node);
  };
}

/** Pairs of stages between which forward values pass, or derivatives that are joined pass back. */
function edgesBetweenStages(graph: Graph, partition: Partition): StageEdge[] {
  const stageOf = stageMap(graph, partition);
  const seen = new Map<string, StageEdge>();
  for (const node of graph.nodes) {
    if (node.source || (node.pass > 0 && !node.joins) || node.region === 'step') continue;
    for (const t of node.inputs) {
      if (t.node.source) continue;
      // Derivatives pass the other way.
      const [from, to] = node.joins ? [stageOf(node), stageOf(t.node)] : [stageOf(t.node), stageOf(node)];
      if (from !== to) seen.set(`${from}>${to}`, [from, to]);
    }
  }
  return [...seen.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

export interface Shortage {
  readonly device: number;
  readonly needBytes: number;
  readonly capacityBytes: number;
}

/** Devices whose planned peak exceeds their capacity (capacities are whole pages of 64 KiB). */
export function shortages(plan: Plan): Shortage[] {
  return plan.memory.flatMap((m) => {
    const capacityBytes = limitOf(plan.request.devices[m.device]!);
    return m.peakBytes > capacityBytes ? [{ device: m.device, needBytes: m.peakBytes, capacityBytes }] : [];
  });
}

/** Devices that the message of a refusal tells of; its fields have all. */
const DEVICES_TOLD = 6;

/** The plan, where its devices have room for it; else throws PlanError with what binds and a remedy that was tried. */
export function refuseWhatDoesNotFit(plan: Plan): Plan {
  const short = shortages(plan);
  if (short.length === 0) return plan;
  const lines = short.slice(0, DEVICES_TOLD).map((s) => {
    const top = plan.memory[s.device]!.largest.map(
      (t) => `${t.name} ${formatBytes(t.bytes)} (${categoryName(t.category)})`,
    ).join(', ');
    const held = wordsOfShares(sharesOf(plan.memory[s.device]!));
    const { memory } = plan.request.devices[s.device]!;
    const inPages = memory !== null && memory < 65536 ? ` (${formatBytes(memory)} are no whole page of 64 KiB)` : '';
    return `device ${s.device} needs ${formatBytes(s.needBytes)} (${held}) and has ${formatBytes(s.capacityBytes)}${inPages}; largest: ${top}`;
  });
  const untold = short.length - lines.length;
  if (untold > 0) lines.push(`and ${untold} more ${untold === 1 ? 'device lacks' : 'devices lack'} bytes`);
  throw new PlanError('plan-does-not-fit', `the plan does not fit: ${lines.join('; ')}`, {
    fields: {
      devices: short.map((s) => {
        const { byCategory, largest } = plan.memory[s.device]!;
        return { ...s, byCategory, largest };
      }),
    },
    remedy: remedyFor(plan),
  });
}

/**
 * A refusal must come soon: no further plans are tried for a remedy once those tried have so many instructions. A second or
 * two, but counted in work, so that the same request has the same remedy on a busy machine.
 */
const REMEDY_INSTRUCTIONS = 25_000;

/** Of plans with more, none is tried: every remedy is several plans of their size. */
const MOST_REMEDIED = 200_000;

const instructionsOf = ({ programs }: Plan): number =>
  Object.values(programs).reduce((n, { devices }) => n + devices.reduce((m, d) => m + d.instructions.length, 0), 0);

/**
 * A change that was tried and fits: computing again, more devices of the same capacity, more microbatches, or the memory that is
 * needed.
 */
function remedyFor(refused: Plan): string {
  const { request, memory: planned } = refused;
  const cache: GraphCache = new Map();
  const least = instructionsOf(refused);
  let tried = 0;
  const fits = (change: Partial<PlanRequest>): boolean => {
    if (tried > REMEDY_INSTRUCTIONS || least > MOST_REMEDIED) return false;
    tried += least;
    try {
      // Whether it fits has nothing to do with where it is played.
      const plan = draftPlan({ ...request, cluster: undefined, ...change }, cache);
      tried += Math.max(0, instructionsOf(plan) - least);
      return shortages(plan).length === 0;
    } catch {
      return false;
    }
  };
  if (request.recompute !== 'optimal' && fits({ recompute: 'optimal' })) return '--recompute optimal';
  const mayMoveStages =
    request.placement === undefined && (typeof request.partition === 'string' || 'balance' in request.partition);
  // `--devices k` means wasm devices of speed 1, as `blas` has them: for others it would be another experiment.
  const own = request.blas ? 'blas' : 'wasm';
  const isSimulated = request.devices.some((d) => d.simulated);
  const areAlike = !isSimulated && request.devices.every(({ backend, speed }) => backend === own && speed === 1);
  if (mayMoveStages && areAlike && typeof request.schedule === 'string') {
    const smallest = request.devices.reduce((a, b) =>
      (b.memory ?? Number.POSITIVE_INFINITY) < (a.memory ?? Number.POSITIVE_INFINITY) ? b : a,
    );
    for (let k = request.devices.length + 1; k <= Math.max(4, 2 * request.devices.length); k++) {
      const devices = Array.from({ length: k }, () => smallest);
      const memory = memoryFlag(devices.map((d) => d.memory!));
      if (fits({ devices })) return `--devices ${k} ${memory}`;
      if (fits({ devices, partition: { balance: 'memory' } }))
        return `--devices ${k} ${memory} --partition.balance memory`;
    }
  }
  const batch = Object.values(request.programs)[0]!.batch;
  for (let m = request.microbatches * 2; m <= Math.min(batch, 64) && typeof request.schedule === 'string'; m *= 2) {
    if (fits({ microbatches: m })) return `--microbatches ${m}`;
  }
  const need = planned.map((m) => m.peakBytes);
  // Of a large plan that computes nothing again, what is likely to help is told untried.
  const { recompute = 'none' } = request;
  const untried = least > MOST_REMEDIED && recompute === 'none' ? '; or try --recompute stage' : '';
  if (isSimulated) {
    return `give the devices of the cluster ${formatBytes(Math.max(...need))}, or more of them${untried}`;
  }
  return need.some((bytes) => bytes > ADDRESSABLE_BYTES) && !hasNullDevices(request.devices)
    ? `a device addresses at most 4 GiB: use more devices, more microbatches or a smaller batch${untried}`
    : `${memoryFlag(need)}${untried}`;
}

/** Sizes rounded up to pages, as people write them: `--memory 896KiB,2MiB`; one for all where they are equal. */
function memoryFlag(bytes: readonly number[]): string {
  const all = bytes.map((b) => Math.ceil(b / 65536) * 64);
  const sizes = new Set(all).size === 1 ? all.slice(0, 1) : all;
  return `--memory ${sizes.map((kib) => (kib % 1024 === 0 ? `${kib / 1024}MiB` : `${kib}KiB`)).join(',')}`;
}
