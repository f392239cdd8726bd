/** Time and memory of a schedule on paper: its clock over the costs of the stages, and the bytes of what is in flight. */
import type { CostModel } from '../../cost/model.ts';
import type { RecomputeMode } from '../../recompute/index.ts';
import { givesWeightGradient, playClock, type Schedule, walkInFlight } from '../../schedule/index.ts';
import { capacityOf } from '../capacity.ts';
import type { PlanRequest } from '../plan.ts';
import { forwardEdges, linkSeconds, type StageCosts, taskSeconds, updateSeconds } from '../stage-costs.ts';
import type { Candidate } from './candidate.ts';

/**
 * Where `optimal` has to make room on a device, its stages count as if they computed their whole forward again and held one
 * microbatch.
 */
export function estimate(
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
