import { lateFeedsOf } from '../program/ahead.ts';
import type { Prediction } from '../simulate/predict.ts';
import type { SimulateOptions } from '../simulate/simulate.ts';
import { steadyStep } from '../simulate/steady.ts';
import { clusterOf, type Plan } from './plan.ts';
import { requirePlan } from './require-plan.ts';

/**
 * What a training by the plan takes a step once it is under way, barrier to barrier (`steadyStep`), beside the single step of
 * `plan.prediction`. null where its main program trains nothing, or may not begin ahead.
 */
export function steadyStepOf(plan: Plan, options?: Pick<SimulateOptions, 'speeds' | 'begin'>): Prediction | null {
  requirePlan('steadyStepOf', plan);
  const [main] = Object.keys(plan.programs);
  if (plan.request.programs[main!]!.mode !== 'train') return null;
  return steadyStep(plan.programs[main!]!, lateFeedsOf(plan.graphs[main!]!), clusterOf(plan.request), options);
}
