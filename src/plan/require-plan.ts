import { isOfKind } from '../core/kinds.ts';
import { requireArgument } from '../core/options.ts';
import type { Plan } from './plan.ts';

/** Throws UsageError for what is no plan where the function `what` takes one. */
export function requirePlan(what: string, plan: unknown): asserts plan is Plan {
  const { request, partition, schedules, programs, graphs, prediction, recompute, ...lists } = (plan ?? {}) as {
    readonly [K in keyof Plan]?: unknown;
  };
  const areRecords = [request, partition, schedules, programs, graphs, prediction].every((p) => isOfKind('object', p));
  const areLists = [lists.memory, lists.placement, lists.surplus, lists.stageEdges, lists.stageSeconds].every(
    Array.isArray,
  );
  const isPlan = areRecords && areLists && isOfKind('map', recompute);
  requireArgument(what, isPlan, 'a plan', plan, `${what}(makePlan(request))`);
}
