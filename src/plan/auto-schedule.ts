/** The schedule `auto` of a plan: list scheduling over the costs of its own stages, within its own devices' memories. */
import { PlanError } from '../core/errors.ts';
import type { CostModel } from '../cost/model.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import type { PlacedPartition } from '../partition/index.ts';
import { stageMap } from '../partition/stage-of.ts';
import { autoSchedule } from '../schedule/auto.ts';
import type { Schedule, ScheduleShape, StageEdge } from '../schedule/index.ts';
import { limitOf } from './capacity.ts';
import type { Compiled } from './compiled.ts';
import type { PlannedDevice, ScheduledRequest } from './request.ts';
import type { StageChain } from './schedules.ts';
import { forwardEdges, linkSeconds, type StageCosts, stageCosts, taskSeconds, updateSeconds } from './stage-costs.ts';
import { listedPlacements, placedStages, type Room } from './stages.ts';

export interface ListingOptions {
  readonly figures: StageCosts;
  readonly edges: readonly StageEdge[];
  readonly devices: readonly PlannedDevice[];
  readonly costs: CostModel;
  /** Tasks that the scheduler may place. Default `EFFORT`. */
  readonly effort?: number;
}

/** Tasks that the scheduler may place for one program: a second at most. The result depends on nothing but its input. */
const EFFORT = 375_000;

/** A schedule under budgets for what is in flight, with what it holds of them, both in bytes a device. */
export interface Listed {
  readonly schedule: Schedule;
  readonly makespan: number;
  readonly held: readonly number[];
}

/** Budgets below the least with which there is a schedule are raised to it. */
export function listSchedule(shape: ScheduleShape, budget: readonly number[], options: ListingOptions): Listed {
  const { figures, edges, devices, costs, effort = EFFORT } = options;
  const list = (bytes: readonly number[]): Listed =>
    autoSchedule(shape, {
      durations: taskSeconds(figures, shape.placement!, devices),
      dependencies: edges,
      link: linkSeconds(figures, shape.placement!, costs),
      memory: { perMicrobatch: figures.heldBytes, budget: bytes },
      effort,
    });
  try {
    return list(budget);
  } catch (error) {
    const least =
      error instanceof PlanError ? (error.fields.smallestBudget as readonly number[] | undefined) : undefined;
    if (least === undefined) throw error;
    return list(budget.map((bytes, d) => Math.max(bytes, least[d]!)));
  }
}

/** The stages of a plan whose partition is settled. */
export interface ListedStages {
  readonly graph: Graph;
  readonly stageOf: (node: Node) => number;
  readonly chain: StageChain;
  readonly devices: readonly PlannedDevice[];
  readonly costs: CostModel;
}

/** Effort for a placement that is only weighed. */
const WEIGHING = 23_000;

/**
 * Cuts and places the stages: where `auto` may choose between placements, each is cut for, listed, and the one taken whose
 * schedule is the shortest by its own clock, updates included, of those within the memories if there are such.
 */
export function placedForListing(
  graph: Graph,
  request: ScheduledRequest,
  options: { readonly microbatches: number; readonly costs: CostModel; readonly room?: Room | undefined },
): PlacedPartition {
  const rules = listedPlacements(graph, request);
  if (!rules) return placedStages(graph, request, options);
  const { devices } = request;
  const { microbatches, costs } = options;
  const order = highestOrder(graph);
  let best: { readonly placed: PlacedPartition; readonly seconds: number; readonly missing: number } | undefined;
  for (const rule of rules) {
    const placed = placedStages(graph, request, { ...options, rule });
    const own = placed.partition.stages;
    const [stages, placement] = [foldedStages(own, order), foldedPlacement(placed.placement, order)];
    const figures = stageCosts(graph, stageMap(graph, placed.partition), { stages, own, costs });
    const budget = devices.map((d, i) => {
      const fixed = figures.fixedBytes.reduce((sum, bytes, s) => (placement[s] === i ? sum + bytes : sum), 0);
      return Math.max(0, limitOf(d) - fixed);
    });
    const shape = { stages, microbatches, placement, devices: devices.length };
    const listing = { figures, edges: forwardEdges(figures), devices, costs, effort: WEIGHING };
    const { makespan, held } = listSchedule(shape, budget, listing);
    const seconds = makespan + updateSeconds(figures, placement, devices);
    const missing = held.reduce((sum, bytes, d) => sum + Math.max(0, bytes - budget[d]!), 0);
    if (!best || missing < best.missing || (missing === best.missing && seconds < best.seconds))
      best = { placed, seconds, missing };
  }
  return best!.placed;
}

/** Attempts at a schedule that fits; each takes a compilation. */
const ROUNDS = 6;

/**
 * Compiles a plan's programs with schedules for which the devices' memories suffice. What a microbatch in flight holds is
 * an estimate, so what counts are the planned bytes of the compiled programs. Where they exceed a capacity, the budget for
 * what is in flight there is lowered by as much, until the plan fits or no device holds less for it. Returns the best,
 * whether it fits or not.
 */
export function compileWithin(
  { graph, stageOf, chain, devices, costs }: ListedStages,
  compile: (list: (shape: ScheduleShape) => Schedule) => Compiled,
): Compiled {
  const figures = stageCosts(graph, stageOf, { stages: chain.stages, own: chain.modelStages, costs });
  const listing = { figures, edges: chain.edges, devices, costs };
  const capacities = devices.map(limitOf);
  const fixed = capacities.map(() => 0);
  chain.placement.forEach((d, s) => {
    fixed[d]! += figures.fixedBytes[s]!;
  });
  let budget = capacities.map((bytes, d) => Math.max(0, bytes - fixed[d]!));
  let best: { readonly compiled: Compiled; readonly missing: number } | undefined;
  let before: readonly number[] = capacities.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; ; round++) {
    let held = capacities.map(() => 0);
    const compiled = compile((shape) => {
      const listed = listSchedule(shape, budget, listing);
      held = held.map((bytes, d) => Math.max(bytes, listed.held[d]!));
      return listed.schedule;
    });
    const over = compiled.memory.map((m, d) => Math.max(0, m.peakBytes - capacities[d]!));
    const missing = over.reduce((sum, bytes) => sum + bytes, 0);
    if (!best || missing < best.missing) best = { compiled, missing };
    const isStuck = over.every((bytes, d) => bytes === 0 || held[d]! >= before[d]!);
    if (missing === 0 || isStuck || round === ROUNDS) return best.compiled;
    before = held;
    budget = budget.map((bytes, d) => (over[d]! > 0 ? Math.max(0, Math.min(bytes, held[d]!) - over[d]!) : bytes));
  }
}
