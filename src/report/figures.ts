import { requireKinds } from '../core/options.ts';
import type { Plan } from '../plan/plan.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { summarizePlan } from '../plan/summary.ts';
import { bubbleOf } from '../train/bubble.ts';

/** What ran, averaged over steps. */
export interface Measured {
  readonly peaks: readonly number[];
  /** Of one step. */
  readonly busySeconds: readonly number[];
  readonly stepSeconds: number;
}

/**
 * The fields that `plan`, `grad` and `train` share in their JSON. Without a measurement, times are the plan's; so they are where
 * only `peaks` are measured, on null devices.
 */
export function figuresOf(plan: Plan, measured?: Measured, peaks = measured?.peaks) {
  requirePlan('figuresOf', plan);
  const summary = summarizePlan(plan);
  const stepSeconds = measured?.stepSeconds ?? summary.stepSecondsPredicted;
  return {
    basis: measured ? 'measured' : 'predicted',
    devices: summary.devices.map((d, i) => {
      const busySeconds = measured?.busySeconds[i] ?? d.busySecondsPredicted;
      return {
        device: d.device,
        backend: d.backend,
        stages: d.stages,
        peakBytesPlanned: d.peakBytesPlanned,
        peakBytesMeasured: peaks?.[i] ?? null,
        byCategory: d.byCategory,
        capacityBytes: d.capacityBytes,
        busySeconds,
        bubbleFraction: bubbleOf([busySeconds], stepSeconds),
      };
    }),
    bubbleFraction: measured ? bubbleOf(measured.busySeconds, stepSeconds) : summary.bubbleFractionPredicted,
    stepSeconds,
  };
}

/** Means over steps; the first, in which code is compiled and memory touched, counts only where it is the only one. */
export function meanOfSteps(
  steps: readonly { readonly seconds: number; readonly busySeconds: readonly number[] }[],
): Omit<Measured, 'peaks'> {
  requireKinds('meanOfSteps', { steps: ['list', steps] });
  const counted = steps.length > 1 ? steps.slice(1) : steps;
  const mean = (of: (step: (typeof steps)[number]) => number) =>
    counted.reduce((sum, step) => sum + of(step), 0) / Math.max(1, counted.length);
  return {
    stepSeconds: mean((s) => s.seconds),
    busySeconds: (counted[0]?.busySeconds ?? []).map((_, d) => mean((s) => s.busySeconds[d]!)),
  };
}
