import { UsageError } from '../core/errors.ts';
import { analyticCosts } from '../cost/model.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { capacityOf, type Plan, refuseWhatDoesNotFit } from '../plan/plan.ts';
import { writePlanFile } from '../plan/plan-file.ts';
import { recomputeCurve } from '../plan/recompute-curve.ts';
import { steadyStepOf } from '../plan/steady-step.ts';
import { summarizePlan } from '../plan/summary.ts';
import { figuresOf } from '../report/figures.ts';
import { jsonOfLeastMemory, printLeastMemory } from '../report/least-memory.ts';
import { gapOf, printPlan } from '../report/plan.ts';
import { printRecomputeCurve } from '../report/recompute-curve.ts';
import { jsonOfSearch, printSearch } from '../report/search.ts';
import { printGrid } from '../schedule/grid.ts';
import { requestAsked } from './cluster.ts';
import { type Invocation, pathOf, textOf } from './invocation.ts';
import { leastMemoryOf } from './least-memory.ts';
import { plansOf, refuseSwallowedExperiment } from './measuring.ts';
import { refuseSearchFlags, searchOf } from './plan-search.ts';

export async function run(invocation: Invocation): Promise<number> {
  refuseSwallowedExperiment(invocation);
  refuseSearchFlags(invocation);
  const out = textOf(invocation, 'planOut');
  if (out !== undefined && pathOf(invocation, 'cluster') !== undefined) {
    throw new UsageError('command-line', '--plan-out stores plans that can run here, and those of a --cluster cannot', {
      fields: { flag: 'plan-out' },
      remedy: 'leave out --plan-out, and keep what --json prints; or leave out --cluster',
    });
  }
  const show = !invocation.quiet && !invocation.json;
  const asked = await requestAsked(invocation);
  const { request, experiment } = asked;
  const print = (plan: Plan) => {
    if (show)
      process.stdout.write(
        `${printPlan(plan, { width: process.stdout.columns || undefined, elsewhere: '--json has them' })}\n`,
      );
  };
  if (out !== undefined && invocation.own.leastMemory === true) {
    throw new UsageError('command-line', '--plan-out stores one plan, and --least-memory makes many', {
      fields: { flag: 'plan-out' },
      remedy: 'leave out --plan-out; then make the plan of the capacity found, with the flags printed and --plan-out',
    });
  }
  const least = invocation.own.leastMemory === true ? await leastMemoryOf(request, invocation) : undefined;
  const searched = invocation.own.search === true ? await searchOf(asked, invocation) : undefined;
  if (searched?.cached && !invocation.quiet)
    process.stderr.write('partita: found by an earlier search with the same limits; --no-cache searches again\n');
  const found = searched?.found;
  if (least) {
    const only = least.length === 1 ? least[0]!.found : undefined;
    if (only && show) print(only.plan);
    if (show) process.stdout.write(`${only ? '\n' : ''}${printLeastMemory(least)}\n`);
    if (invocation.json) {
      const shown = only ? jsonOf(only.plan) : { version: 1, command: 'plan', model: request.model.name };
      process.stdout.write(`${JSON.stringify({ ...shown, leastMemory: jsonOfLeastMemory(least) })}\n`);
    }
    return 0;
  }
  const { plan, cached } = searched
    ? { plan: searched.found.plan, ...searched }
    : await plansOf(invocation).draft(request);
  print(plan);
  if (found && show) process.stdout.write(`\n${printSearch(found)}\n`);
  // The curve knows no capacities, and tells most where a plan exceeds them: it is shown before that is refused.
  const curve = invocation.own.recomputeCurve === true ? recomputeCurve(plan.request) : undefined;
  const capacities = plan.request.devices.flatMap((d) => capacityOf(d) ?? []);
  if (curve && show) process.stdout.write(`\n${printRecomputeCurve(curve, capacities)}\n`);
  refuseWhatDoesNotFit(plan);
  if (out !== undefined) await writeFileAtomic(out, writePlanFile(plan, experiment));
  if (invocation.json)
    process.stdout.write(
      `${JSON.stringify({ ...jsonOf(plan), cached, ...(found ? { search: jsonOfSearch(found) } : {}), ...(curve ? { recomputeCurve: curve } : {}) })}\n`,
    );
  return 0;
}

function jsonOf(plan: Plan) {
  const summary = summarizePlan(plan);
  const [main] = Object.keys(plan.programs);
  const { objective, method, assignment, stages } = plan.partition;
  const figures = figuresOf(plan);
  return {
    version: 1,
    command: 'plan',
    model: summary.model,
    programs: summary.programs,
    microbatches: plan.request.microbatches,
    schedule: summary.schedule,
    simd: summary.simd,
    fusion: summary.fusion,
    batchNorm: plan.request.batchNorm ?? 'micro',
    barriers: summary.barriers,
    grid: printGrid(plan.schedules[main!]!, {
      dependencies: plan.stageEdges,
      updates: plan.request.programs[main!]!.mode === 'train',
      width: 'whole',
    }).split('\n'),
    partition: {
      method,
      stages,
      assignment,
      placement: plan.placement,
      objective: objective?.value ?? null,
      lowerBound: objective?.lowerBound ?? null,
      gap: objective ? gapOf(objective) : null,
      unit: objective?.unit ?? null,
    },
    stages: summary.stages,
    recompute: summary.recompute,
    surplus: summary.surplus,
    binding: summary.binding,
    stepSecondsLowerBound: summary.stepSecondsLowerBound,
    steadyStepSeconds: steadyStepOf(plan)?.stepSeconds ?? null,
    blas: plan.request.blas ?? null,
    costs: (plan.request.costs ?? analyticCosts()).source,
    ...figures,
    devices: figures.devices.map((d, i) => {
      const { naiveSumBytes, maxLiveBytes, layoutWasteBytes, layoutRatio, peakAt, peakProgram, largest } =
        summary.devices[i]!;
      const { holders, otherHolders, order } = summary.devices[i]!;
      const place = { peakAt, peakProgram, largest, holders, otherHolders };
      return { ...d, naiveSumBytes, maxLiveBytes, layoutWasteBytes, layoutRatio, order, ...place };
    }),
  };
}
