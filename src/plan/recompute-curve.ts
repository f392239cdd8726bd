/** Step time against memory: what each way of computing again costs on one and the same partition. */

import { requireKinds } from '../core/options.ts';
import { stageMap } from '../partition/stage-of.ts';
import { type RecomputeMode, sqrtRecompute, stageForwards } from '../recompute/index.ts';
import { checkRequestKeys } from './check-request.ts';
import { draftPlan, type Plan, PlanCache, type PlanRequest, shortages } from './plan.ts';

/** One way to run the step. */
export interface CurvePoint {
  /** `sqrt`: a checkpoint at every √n-th block of a stage (Chen et al., 2016), the baseline. */
  readonly mode: RecomputeMode | 'sqrt';
  /** Capacity of every device that it was made for; null: as much as needed. */
  readonly budgetBytes: number | null;
  /** Of the fullest device. */
  readonly peakBytes: number;
  readonly stepSeconds: number;
  /** Step time over that of keeping everything, minus one. */
  readonly overhead: number;
  /** FLOPs of a step that are computed again. */
  readonly flopsAgain: number;
}

const PAGE = 65536;
/** Less than any program needs. */
const NOTHING = PAGE;

/**
 * The rules, the baseline, and `optimal` at budgets between the least with which it runs and what keeping everything needs,
 * all on the partition that the request has without a limit of memory. The schedule is the request's.
 */
export function recomputeCurve(request: PlanRequest, points = 8): CurvePoint[] {
  checkRequestKeys(request, 'recomputeCurve');
  requireKinds('recomputeCurve', { points: ['count', points] });
  const cache = new PlanCache();
  const [mainName, main] = Object.entries(request.programs)[0]!;
  const devices = request.devices.map((d) => ({ ...d, memory: null }));
  const whole = draftPlan({ ...request, devices, recompute: 'none', programs: { [mainName]: main } }, cache);
  const asked: PlanRequest = {
    ...request,
    devices,
    programs: { [mainName]: main },
    partition: { ready: whole.partition },
    placement: whole.placement,
    stagesPerDevice: undefined,
  };
  const budgeted = (bytes: number): Plan =>
    draftPlan({ ...asked, devices: devices.map((d) => ({ ...d, memory: bytes })), recompute: 'optimal' }, cache);
  const pointOf = (plan: Plan, mode: CurvePoint['mode'], budgetBytes: number | null = null): CurvePoint => ({
    mode,
    budgetBytes,
    peakBytes: peakOf(plan),
    stepSeconds: plan.prediction.stepSeconds,
    overhead: plan.prediction.stepSeconds / whole.prediction.stepSeconds - 1,
    flopsAgain: flopsAgainOf(plan, mainName),
  });
  const ruled = (['stage', 'selective'] as const).map((mode) =>
    pointOf(draftPlan({ ...asked, recompute: mode }, cache), mode),
  );
  const graph = whole.graphs[mainName]!;
  const stageOf = stageMap(graph, whole.partition);
  const chen = new Map([...stageForwards(graph, stageOf)].map(([stage, forward]) => [stage, sqrtRecompute(forward)]));
  const [most, least] = [pageOf(peakOf(whole)), pageOf(peakOf(budgeted(NOTHING)))];
  const budgets = new Set(
    Array.from({ length: points }, (_, i) => pageOf(least + ((most - least) * i) / Math.max(1, points - 1))),
  );
  const optimal = [...budgets].flatMap((bytes) => {
    const plan = budgeted(bytes);
    return shortages(plan).length === 0 ? [pointOf(plan, 'optimal', bytes)] : [];
  });
  return [
    pointOf(whole, 'none'),
    ...ruled,
    pointOf(draftPlan({ ...asked, recompute: chen }, cache), 'sqrt'),
    ...optimal.sort((a, b) => b.budgetBytes! - a.budgetBytes!),
  ];
}

const pageOf = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;

const peakOf = (plan: Plan): number => Math.max(...plan.memory.map((m) => m.peakBytes));

/** FLOPs of a step of a program that are computed again. */
export function flopsAgainOf(plan: Plan, program: string): number {
  const graph = plan.graphs[program]!;
  let flops = 0;
  for (const { instructions } of plan.programs[program]!.devices) {
    for (const i of instructions) if (i.kind === 'compute' && graph.node(i.node).recomputes) flops += i.flops;
  }
  return flops;
}
