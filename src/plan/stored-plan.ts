/**
 * A plan as what was found for it: the decisions of its file, and behind them lifetimes and offsets. For a request of the
 * same content (`content.ts`) the same plan is made of it again, in every field, in the time that its graphs and programs
 * take to build.
 */
import { type KnownLayout, knownLayouts } from '../memory/device-memory.ts';
import type { PartitionObjective } from '../partition/partition.ts';
import type { Lifetimes } from '../program/context.ts';
import { PlanCache } from './cache.ts';
import { compilePlan } from './compile.ts';
import type { Plan } from './plan.ts';
import { checkSamePlan, type PlanFile, planFileOf, withDecisions } from './plan-file.ts';
import type { PlanRequest } from './request.ts';

/** JSON. */
export interface StoredPlan {
  /** As `writePlanFile` writes it, without an experiment. */
  readonly file: PlanFile;
  readonly objective?: PartitionObjective | undefined;
  readonly lifetimes: readonly Lifetimes[];
  /** By device and program. */
  readonly layouts: readonly Readonly<Record<string, KnownLayout>>[];
}

export const storedPlanOf = (plan: Plan): StoredPlan => ({
  file: planFileOf(plan, null),
  objective: plan.partition.objective,
  lifetimes: plan.lifetimes,
  layouts: plan.memory.map((m) => knownLayouts(m, plan.programs)),
});

/** Throws, PlanError or what its parts are refused with, where it is no plan of this request. */
export function planOfStored(request: PlanRequest, stored: StoredPlan, cache: PlanCache = new PlanCache()): Plan {
  const { file, objective, lifetimes, layouts } = stored;
  // A plan's file knows devices as far as they run here.
  const decided = { ...withDecisions(request, file), devices: request.devices };
  const plan = compilePlan(request, { cache, decided: { request: decided, objective, lifetimes, layouts } });
  checkSamePlan(plan, file, 'the stored plan');
  return plan;
}
