/** One layout of one training: what it is planned to need, and what its steps take. */
import { PlanError } from '../core/errors.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import { draftPlan, type Plan, type PlanRequest, type Shortage, shortages } from '../plan/plan.ts';
import { bubbleOf } from '../train/bubble.ts';
import { type PreparedExperiment, planRequestOf } from '../train/experiment/prepare.ts';
import { Session } from '../train/session.ts';

/** A plan for full batches alone: the step that a study times and measures, without an epoch's smaller last one. */
export function stepRequestOf(prepared: PreparedExperiment): PlanRequest {
  const request = planRequestOf(prepared, 'train');
  const [name, spec] = Object.entries(request.programs)[0]!;
  return { ...request, programs: { [name]: spec } };
}

/** The plan, whether it fits or not, and what is missing where it does not. */
export interface PlannedLayout {
  readonly plan: Plan;
  readonly shortages: readonly Shortage[];
}

export function planLayout(prepared: PreparedExperiment): PlannedLayout {
  const plan = draftPlan(stepRequestOf(prepared));
  return { plan, shortages: shortages(plan) };
}

export interface TimedSteps {
  /** Wall time of each timed step, and the share of the devices' time they waited. */
  readonly seconds: readonly number[];
  readonly bubbles: readonly number[];
  readonly measuredPeaks: readonly number[];
  readonly plannedPeaks: readonly number[];
}

export interface TimingOptions {
  /** Steps before the first that counts: code is compiled, memory touched. */
  readonly warmUp: number;
  readonly steps: number;
  readonly signal?: AbortSignal;
}

/** Runs some steps on devices of their own, one thread each. Never to be run beside anything else that computes. */
export async function timeLayout(
  { experiment, source, learningRate }: PreparedExperiment,
  plan: Plan,
  { warmUp, steps, signal }: TimingOptions,
): Promise<TimedSteps> {
  const [program] = Object.keys(plan.programs);
  refuseNullDevices(plan.request.devices, 'steps cannot be timed');
  if (!source || !program)
    throw new PlanError('study-no-data', 'a timing needs data and a program', { remedy: '--data.kind digits' });
  // An epoch's last batch may be smaller: a session has no program for it here.
  const full = source.stepsPerEpoch > 1 ? source.stepsPerEpoch - 1 : 1;
  const seconds: number[] = [];
  const bubbles: number[] = [];
  await using session = await Session.open(plan, { seed: experiment.seed, audit: false, signal });
  for (let step = 0; step < warmUp + steps; step++) {
    const at = source.steps === Number.POSITIVE_INFINITY ? step % full : step % source.steps;
    const { tensors } = source.batchAt(at);
    const run = await session.run(program, tensors, { step, lr: rateOf(learningRate, step), signal });
    if (step < warmUp) continue;
    seconds.push(run.seconds);
    bubbles.push(
      bubbleOf(
        run.reports.map((r) => r.busySeconds),
        run.seconds,
      ),
    );
  }
  return { seconds, bubbles, measuredPeaks: await session.measuredPeaks(), plannedPeaks: session.plannedPeaks() };
}

/** A schedule of rates may end before the timed steps do, and the time of a step does not depend on it. */
function rateOf(rate: (step: number) => number, step: number): number {
  try {
    return rate(step);
  } catch {
    return rate(0);
  }
}
