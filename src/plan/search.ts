/**
 * The search for a good plan: partition, placement, schedule and number of microbatches together, for the least predicted
 * step time within the devices' memories.
 *
 * Every combination is weighed on paper first (`estimate`: the schedule's clock over the costs of the stages, the bytes of
 * what is in flight); the most promising, and those that promise to need little memory, are compiled, laid out and
 * simulated like any plan. What is reported of a plan is always the latter.
 */
import { PartitaError, PlanError, UsageError } from '../core/errors.ts';
import { analyticCosts, type CostModel } from '../cost/model.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { normalizesByWholeBatch } from '../optim/batch-norm.ts';
import { partitionByBalance } from '../partition/balance.ts';
import { convexStages, type PlacedPartition } from '../partition/convex.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import { solvePlacement } from '../partition/methods.ts';
import type { Balance, Partition } from '../partition/partition.ts';
import { pauses } from '../partition/pause.ts';
import { stageMap } from '../partition/stage-of.ts';
import { type TrainingProblem, trainingProblem } from '../partition/training-problem.ts';
import { type RecomputeMode, withRecompute } from '../recompute/index.ts';
import {
  givesWeightGradient,
  makeSchedule,
  namedSchedules,
  type PlacementRule,
  placementBy,
  playClock,
  type Schedule,
  scheduleNames,
  validateSchedule,
  walkInFlight,
} from '../schedule/index.ts';
import { listSchedule } from './auto-schedule.ts';
import { capacityOf } from './capacity.ts';
import {
  draftPlan,
  graphsOf,
  type Plan,
  PlanCache,
  type PlanRequest,
  roughPlan,
  type ScheduleWord,
  shortages,
} from './plan.ts';
import { recomputeByRule } from './recompute.ts';
import { forwardsFirst } from './schedules.ts';
import { forwardEdges, linkSeconds, type StageCosts, stageCosts, taskSeconds, updateSeconds } from './stage-costs.ts';
import { placedStages, relativeSpeed } from './stages.ts';
import { stepBoundOf } from './step-bound.ts';

export interface SearchOptions {
  /** Numbers of microbatches to try. Default: powers of two up to 32 and the batch, and that of the request. */
  readonly microbatches?: readonly number[];
  /**
   * Default: all names, and then `auto` for the cuts of the best plans, which it is made for one by one. Where `auto` is
   * named here, it is made for every cut, which takes its time.
   */
  readonly schedules?: readonly ScheduleWord[];
  /** Numbers of stages a device to try where a schedule takes several. Default 1, 2 and 4. */
  readonly stagesPerDevice?: readonly number[];
  /** Ways to cut. Default: all of `partitionWays`; `given` alone where the request's own partition is to be kept. */
  readonly partitions?: readonly (PartitionWay | 'given')[];
  /** What stages may compute again. Default: as the request has it, or where a memory is limited `optimal`. */
  readonly recompute?: RecomputeMode;
  /** Whether fewer devices than there are may be used. Default true. */
  readonly fewerDevices?: boolean;
  /** Plans that are compiled and simulated. Default 40. */
  readonly evaluations?: number;
  /** No further plan is begun after this time. Default 60. */
  readonly timeLimitSeconds?: number;
  /** Ends the search: with the best plan so far, or where none fits yet with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every plan that was simulated. */
  readonly onEvaluated?: (candidate: EvaluatedCandidate, count: number) => void;
}

/**
 * How a candidate's partition was found. `chain-*`: contiguous in the graph's own order, exact for the balance named.
 * `contiguous`: convex stages in any order. `anywhere`: parts on any device, made into as many convex stages as that takes. The rest are the rules of others (docs/partition.md).
 */
export const partitionWays = [
  'chain-time',
  'chain-memory',
  'contiguous',
  'anywhere',
  'pipedream',
  'blocks',
  'parameters',
  'equal',
] as const;
export type PartitionWay = (typeof partitionWays)[number];

/** A combination, with what it promises. */
export interface Candidate {
  readonly microbatches: number;
  readonly partition: PartitionWay | 'given';
  readonly schedule: ScheduleWord;
  readonly recompute: RecomputeMode;
  readonly stages: number;
  readonly stagesPerDevice: number;
  /** Device of each stage. */
  readonly placement: readonly number[];
  /** On paper, seconds a step. */
  readonly estimatedSeconds: number;
  /** On paper, bytes of each device. */
  readonly estimatedBytes: readonly number[];
}

/** A combination that was compiled and simulated. */
export interface EvaluatedCandidate extends Candidate {
  readonly stepSeconds: number;
  readonly bubbleFraction: number;
  readonly peakBytes: readonly number[];
  readonly fits: boolean;
}

export interface SearchResult {
  /** The fastest plan that fits. */
  readonly plan: Plan;
  readonly best: EvaluatedCandidate;
  /** All that were simulated, the fastest first. */
  readonly evaluated: readonly EvaluatedCandidate[];
  /** Those that fit and that no other beats in both step time and largest peak, the fastest first. */
  readonly pareto: readonly EvaluatedCandidate[];
  /** No plan with any of the numbers of microbatches tried is faster under these costs. Seconds. */
  readonly lowerBound: number;
  readonly gap: number;
  /** Combinations weighed on paper. */
  readonly considered: number;
  /** The signal ended it before its time. */
  readonly interrupted: boolean;
  readonly seconds: number;
}

/** A partition with its home, before a schedule is chosen. */
interface Layout {
  readonly microbatches: number;
  readonly way: PartitionWay | 'given';
  readonly rule: PlacementRule;
  readonly stagesPerDevice: number;
  readonly partition: Partition;
  readonly placement: readonly number[];
}

interface Weighed extends Candidate {
  readonly layout: Layout;
}

/** Throws PlanError where nothing that was tried fits the devices, UsageError where there is nothing to try. */
export async function searchPlan(
  request: PlanRequest,
  options: SearchOptions = {},
  cache: PlanCache = new PlanCache(),
): Promise<SearchResult> {
  const begin = performance.now();
  const { evaluations = 40, timeLimitSeconds = 60, signal } = options;
  const pause = pauses();
  const deadline = begin + 1000 * timeLimitSeconds;
  const costs = request.costs ?? analyticCosts();
  const [mainName, main] = Object.entries(request.programs)[0]!;
  const recompute = options.recompute ?? recomputeAskedFor(request);
  const counts = searchedMicrobatches(request, options);
  const byWholeBatch = normalizesByWholeBatch(
    graphsOf({ ...request, microbatches: counts[0]! }, mainName, cache).largest,
  );
  const schedules = (options.schedules ?? scheduleNames).filter(
    (name) => !byWholeBatch || forwardsFirst.includes(name),
  );

  /** Half of the time goes into partitions at most. */
  const cutBy = begin + 500 * timeLimitSeconds;
  const weighed: Weighed[] = [];
  let lowerBound = Number.POSITIVE_INFINITY;
  for (const microbatches of counts) {
    const graph = graphsOf({ ...request, microbatches }, mainName, cache).largest;
    lowerBound = Math.min(lowerBound, stepBoundOf(graph, request, microbatches));
    for (const layout of await layoutsOf(request, graph, microbatches, costs, options, cutBy)) {
      await breathe(pause, signal);
      weighed.push(...weigh(layout, graph, request, costs, schedules, recompute));
    }
  }
  if (weighed.length === 0) {
    throw new UsageError('search-empty', 'there is no combination of partition, schedule and microbatches to try', {
      fields: { microbatches: counts, schedules },
      remedy: 'allow more schedules or numbers of microbatches',
    });
  }

  const evaluated: EvaluatedCandidate[] = [];
  const plans = new Map<EvaluatedCandidate, PlanRequest>();
  const evaluate = ({ layout, ...rest }: Weighed): void => {
    const candidate = rest;
    const asked: PlanRequest = {
      ...request,
      microbatches: candidate.microbatches,
      schedule: candidate.schedule,
      partition: { ready: layout.partition },
      placement: layout.placement,
      stagesPerDevice: undefined,
      recompute,
    };
    const plan = roughPlan({ ...asked, programs: { [mainName]: main } }, cache);
    const found: EvaluatedCandidate = {
      ...rest,
      recompute: plan.recompute.size > 0 ? recompute : 'none',
      stepSeconds: plan.prediction.stepSeconds,
      bubbleFraction: plan.prediction.bubbleFraction,
      peakBytes: plan.memory.map((m) => m.peakBytes),
      fits: shortages(plan).length === 0,
    };
    evaluated.push(found);
    plans.set(found, asked);
    options.onEvaluated?.(found, evaluated.length);
  };
  const isOver = (): boolean =>
    signal?.aborted === true ||
    evaluated.length >= evaluations ||
    (evaluated.length > 0 && performance.now() > deadline);
  const bySpeed = (a: EvaluatedCandidate, b: EvaluatedCandidate) =>
    a.stepSeconds - b.stepSeconds || largest(a) - largest(b);
  const byPlan = new Map<EvaluatedCandidate, Weighed>();
  const listed = options.schedules === undefined && !byWholeBatch ? Math.min(LISTED, Math.floor(evaluations / 4)) : 0;
  const promising = inOrderOfPromise(weighed);
  const evaluateUpTo = async (count: number): Promise<void> => {
    while (!isOver() && evaluated.length < count) {
      const { value: candidate, done } = promising.next();
      if (done) return;
      await pause();
      evaluate(candidate);
      byPlan.set(evaluated.at(-1)!, candidate);
    }
  };
  await evaluateUpTo(evaluations - listed);
  const best = new Map<Layout, Weighed>();
  for (const found of [...evaluated].sort(bySpeed)) {
    const candidate = byPlan.get(found)!;
    if (found.fits && found.microbatches > 1 && !best.has(candidate.layout)) best.set(candidate.layout, candidate);
  }
  for (const candidate of [...best.values()].slice(0, listed)) {
    await pause();
    if (!isOver()) evaluate({ ...candidate, schedule: 'auto' });
  }
  // What was kept for such schedules, where there were fewer cuts to make them for.
  await evaluateUpTo(evaluations);
  evaluated.sort(bySpeed);

  // The programs for a smaller last batch and for evaluation must fit too.
  for (const best of evaluated) {
    if (!best.fits) continue;
    await pause();
    const plan = draftPlan(plans.get(best)!, cache);
    if (shortages(plan).length > 0) continue;
    return {
      plan,
      best,
      evaluated,
      pareto: paretoFront(evaluated.filter((c) => c.fits)),
      lowerBound: Math.min(lowerBound, best.stepSeconds),
      gap: Math.max(0, 1 - lowerBound / best.stepSeconds),
      considered: weighed.length,
      interrupted: signal?.aborted ?? false,
      seconds: (performance.now() - begin) / 1000,
    };
  }
  signal?.throwIfAborted();
  throw nothingFits(request, evaluated);
}

/** Lets signals be heard, and obeys this one. */
async function breathe(pause: () => Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
  await pause();
  signal?.throwIfAborted();
}

/** Cuts of the best plans for which the schedule `auto` is made. */
const LISTED = 3;

const largest = ({ peakBytes }: EvaluatedCandidate): number => Math.max(...peakBytes);

/** Where all memories are as large as needed nothing is gained by computing again. */
function recomputeAskedFor({ recompute, devices }: PlanRequest): RecomputeMode {
  if (typeof recompute === 'string' && recompute !== 'none') return recompute;
  return devices.some((d) => capacityOf(d) !== null) ? 'optimal' : 'none';
}

/** Numbers of microbatches that a search tries. */
export function searchedMicrobatches(
  request: PlanRequest,
  { microbatches }: Pick<SearchOptions, 'microbatches'> = {},
): readonly number[] {
  if (microbatches) return microbatches;
  const { batch } = Object.values(request.programs)[0]!;
  const asked = request.microbatches;
  const counts = new Set([Math.min(asked, batch)]);
  for (let m = 1; m <= Math.min(batch, 32); m *= 2) counts.add(m);
  return [...counts].sort((a, b) => a - b);
}

/** Partitions for some or all of the devices, each once however many ways lead to it. */
async function layoutsOf(
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

const balances: Partial<Record<PartitionWay, Balance>> = { 'chain-time': 'time', 'chain-memory': 'memory' };
/** Ways that search, and could take any time: one stage a device is what they are for. */
const searching: ReadonlySet<PartitionWay> = new Set(['contiguous', 'anywhere']);

interface Cut {
  readonly way: PartitionWay;
  readonly graph: Graph;
  readonly problem: TrainingProblem;
  readonly placement: readonly number[];
  readonly request: PlanRequest;
  readonly microbatches: number;
  readonly costs: CostModel;
  /** Of `performance.now()`: a search that is not over then gives what it has. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** Seconds of one search at most, and at least, so that the last have a chance too. */
const MOST_SECONDS = 2;
const LEAST_SECONDS = 0.1;
/** Nearer to its bound no cut is worth seconds: the largest load is not yet the step. */
const GOOD_ENOUGH = 0.01;

/** undefined where the way finds no partition into so many stages. */
async function cut(options: Cut): Promise<PlacedPartition | undefined> {
  const { way, graph, problem, placement, request, microbatches, costs, deadline, signal } = options;
  const stages = placement.length;
  const balance = balances[way];
  if (balance) {
    const partition = partitionByBalance(graph, balance, {
      stages,
      exactly: true,
      microbatches,
      costs,
      devices: placement,
      speeds: placement.map((d) => relativeSpeed(request.devices[d])),
    });
    return partition.stages === stages ? { partition, placement } : undefined;
  }
  const left = (deadline - performance.now()) / 1000;
  try {
    const { deviceOf } = await solvePlacement(problem.problem, {
      method: searching.has(way) ? 'auto' : way,
      contiguous: way !== 'anywhere',
      timeLimitSeconds: Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, left)),
      gap: GOOD_ENOUGH,
      signal,
    });
    const assignment = problem.assignmentOf(deviceOf);
    if (way === 'anywhere') {
      const placed = convexStages(graph, (node) => placement[assignment[node.name]!]!);
      return { ...placed, partition: { ...placed.partition, method: way } };
    }
    // Every stage has something to do.
    return new Set(deviceOf).size === stages
      ? { partition: { stages, assignment, method: way }, placement }
      : undefined;
  } catch (error) {
    // Nothing that fits, by this way: others may find something.
    if (error instanceof PlanError) return undefined;
    throw error;
  }
}

/** What each schedule that suits a layout promises. */
function weigh(
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

/**
 * Where `optimal` has to make room on a device, its stages count as if they computed their whole forward again and held one
 * microbatch.
 */
function estimate(
  schedule: Schedule,
  figures: StageCosts,
  request: PlanRequest,
  costs: CostModel,
  recompute: RecomputeMode,
): Pick<Candidate, 'estimatedSeconds' | 'estimatedBytes'> {
  const bytes = estimateBytes(schedule, figures);
  const isOver = bytes.map((b, d) => b > (capacityOf(request.devices[d]!) ?? Number.POSITIVE_INFINITY));
  if (recompute !== 'optimal' || !isOver.includes(true)) {
    return { estimatedSeconds: estimateSeconds(schedule, figures, request, costs), estimatedBytes: bytes };
  }
  const durations = figures.durations.map((d, s) => (isOver[schedule.placement[s]!] ? { ...d, B: d.B + d.F } : d));
  const lean = new Array<number>(schedule.devices).fill(0);
  figures.fixedBytes.forEach((fixed, s) => {
    lean[schedule.placement[s]!]! += fixed + figures.heldBytes[s]!;
  });
  return {
    estimatedSeconds: estimateSeconds(schedule, { ...figures, durations }, request, costs),
    estimatedBytes: bytes.map((b, d) => (isOver[d] ? Math.min(b, lean[d]!) : b)),
  };
}

/** The clock of the schedule over the stages' times, and the updates behind it. Seconds a step. */
export function estimateSeconds(
  schedule: Schedule,
  figures: StageCosts,
  { devices }: Pick<PlanRequest, 'devices'>,
  costs: CostModel,
): number {
  const clock = playClock(schedule, {
    durations: taskSeconds(figures, schedule.placement, devices),
    dependencies: forwardEdges(figures),
    link: linkSeconds(figures, schedule.placement, costs),
  });
  return clock.makespan + updateSeconds(figures, schedule.placement, devices);
}

/**
 * The most bytes that each device has at once: what its stages keep, gradients from the first on, and what they hold for the
 * microbatches in flight.
 */
export function estimateBytes(schedule: Schedule, { fixedBytes, gradientBytes, heldBytes }: StageCosts): number[] {
  const bytes = new Array<number>(schedule.devices).fill(0);
  const inFlight = new Array<number>(schedule.stages).fill(0);
  const withoutGradients = new Set(inFlight.keys());
  schedule.placement.forEach((d, s) => {
    bytes[d]! += fixedBytes[s]! - gradientBytes[s]!;
  });
  const peaks = [...bytes];
  walkInFlight(schedule, (d, _index, task, held) => {
    const { stage: s } = task;
    bytes[d]! += (held - inFlight[s]!) * heldBytes[s]!;
    inFlight[s] = held;
    if (givesWeightGradient(task) && withoutGradients.delete(s)) bytes[d]! += gradientBytes[s]!;
    peaks[d] = Math.max(peaks[d]!, bytes[d]!);
  });
  for (const s of withoutGradients) peaks[schedule.placement[s]!]! += gradientBytes[s]!;
  return peaks;
}

/** The fastest on paper first, but every fourth is the next of those that nothing else on paper beats in time and memory. */
function* inOrderOfPromise(weighed: readonly Weighed[]): Generator<Weighed, undefined> {
  const fast = [...weighed].sort((a, b) => a.estimatedSeconds - b.estimatedSeconds);
  const front = new Set<Weighed>();
  let least = Number.POSITIVE_INFINITY;
  for (const c of fast) {
    const bytes = Math.max(...c.estimatedBytes);
    if (bytes < least) front.add(c);
    least = Math.min(least, bytes);
  }
  const lean = [...front].reverse();
  const done = new Set<Weighed>();
  for (let n = 0; done.size < weighed.length; n++) {
    const list = n % 4 === 3 && lean.some((c) => !done.has(c)) ? lean : fast;
    const next = list.find((c) => !done.has(c))!;
    done.add(next);
    yield next;
  }
}

/** Of candidates in ascending order of time. */
function paretoFront(candidates: readonly EvaluatedCandidate[]): EvaluatedCandidate[] {
  let least = Number.POSITIVE_INFINITY;
  return candidates.filter((c) => {
    const better = largest(c) < least;
    least = Math.min(least, largest(c));
    return better;
  });
}

function nothingFits({ devices }: PlanRequest, evaluated: readonly EvaluatedCandidate[]): PlanError {
  const smallest = evaluated.reduce((a, b) => (largest(b) < largest(a) ? b : a));
  const need = Math.ceil(largest(smallest) / 65536) * 65536;
  return new PlanError(
    'search-nothing-fits',
    `none of ${evaluated.length} plans fits the devices; the smallest needs ${need} bytes on its fullest device`,
    {
      fields: { capacities: devices.map((d) => d.memory), smallest: { ...smallest } },
      remedy: `--memory ${need / 1024}KiB`,
    },
  );
}
