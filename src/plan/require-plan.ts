import { requireArgument } from '../core/options.ts';
import type { Plan } from './plan.ts';

/** Throws UsageError for what is no plan where the function `what` takes one. */
export function requirePlan(what: string, plan: unknown): asserts plan is Plan {
  const { request, programs, graphs, memory } = (plan ?? {}) as { readonly [K in keyof Plan]?: unknown };
  const isPlan = [request, programs, graphs].every((part) => typeof part === 'object' && part !== null);
  requireArgument(what, isPlan && Array.isArray(memory), 'a plan', plan, `${what}(makePlan(request))`);
}
