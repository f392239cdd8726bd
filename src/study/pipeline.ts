/** What the studies of partitions, schedules and scaling have in common: layouts of one training, predicted and measured. */
import { availableParallelism } from 'node:os';
import { PlanError, UsageError } from '../core/errors.ts';
import { elementCount } from '../core/types.ts';
import { someGraph } from '../optim/model.ts';
import { hasNullDevices } from '../plan/null-devices.ts';
import { draftPlan, type Plan, type PlanCache, type PlanRequest, type Shortage, shortages } from '../plan/plan.ts';
import { type PreparedExperiment, prepareExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import type { TimedSteps } from './layout.ts';
import type { Machine } from './machine.ts';
import { spreadOf } from './statistics.ts';
import { type Combination, expandSweep, experimentWith, invalidCombinations, labelOf } from './sweep.ts';

/** A sentence of a study's summary. */
export interface Claim {
  readonly about: 'short' | 'answer' | 'caveat';
  /** What a reader would ask. */
  readonly question: string;
  readonly text: string;
}

/** What every one of these studies says of itself. */
export interface StudyFrame<Name extends string, Settings, Tables> {
  readonly version: 1;
  readonly command: 'study';
  readonly study: Name;
  readonly model: string;
  /** `digits`; null where the experiment has no data, so that nothing was timed. */
  readonly data: string | null;
  /** Scalars of the model's parameters. */
  readonly parameters: number;
  /** Samples of a step. */
  readonly batch: number;
  readonly settings: Settings;
  readonly machine: Machine;
  readonly summary: readonly Claim[];
  /** What was not done, and why. */
  readonly skipped: readonly Skipped[];
  readonly tables: Tables;
  readonly seconds: number;
}

export interface Skipped {
  readonly what: string;
  readonly why: string;
}

/** How layouts are timed; every one of these studies can be asked for it. */
export interface TimingChoice {
  /** Sessions of each layout, and steps that count in each. */
  readonly repeats: number;
  readonly timedSteps: number;
}

export const defaultTiming = (quick: boolean): TimingChoice => ({
  repeats: quick ? 1 : 3,
  timedSteps: quick ? 5 : 10,
});

/** Devices that can be timed here: one thread each, a core each. */
export const coresHere = (): number => availableParallelism();

/** One of a sweep's experiments with its plan. */
export interface PlannedCombination {
  readonly combination: Combination;
  readonly prepared: PreparedExperiment;
  readonly request: PlanRequest;
  readonly plan: Plan;
  readonly shortages: readonly Shortage[];
}

/**
 * The experiments of a sweep, with models and data at hand. One UsageError names all that are none. `batch`: samples of a
 * step where there are no data.
 */
export function prepareSweep(
  base: Experiment,
  sweep: Readonly<Record<string, readonly unknown[]>>,
  where: string,
  batch?: number,
): { combination: Combination; prepared: PreparedExperiment }[] {
  const problems: { label: string; message: string; remedy?: string }[] = [];
  const found = expandSweep(base, sweep, where).flatMap((combination) => {
    const label = combination.label || where;
    try {
      const prepared = prepareExperiment(combination.experiment, { where: label, needsData: false, batch });
      return [{ combination, prepared }];
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      problems.push({ label, message: error.message, ...(error.remedy ? { remedy: error.remedy } : {}) });
    }
    return [];
  });
  if (problems.length > 0) throw invalidCombinations(problems, where);
  return found;
}

/** Values of a swept key that this experiment takes; for lists that a study chooses itself. */
export const validValues = <V>(base: Experiment, key: string, values: readonly V[]): V[] =>
  values.filter((value) => {
    try {
      experimentWith(base, { [key]: value });
      return true;
    } catch (error) {
      if (error instanceof UsageError) return false;
      throw error;
    }
  });

/** The plan, whether it fits or not; a text where there is none. */
export function planOrReason(
  request: PlanRequest,
  cache?: PlanCache,
): { plan: Plan; shortages: readonly Shortage[] } | { why: string } {
  try {
    const plan = draftPlan(request, cache);
    return { plan, shortages: shortages(plan) };
  } catch (error) {
    if (error instanceof PlanError || error instanceof UsageError) return { why: error.message.split('\n')[0]! };
    throw error;
  }
}

/** The swept values but for those that have a column of their own. */
export function seriesOf(values: Readonly<Record<string, unknown>>, own: readonly string[]): string {
  return labelOf(Object.fromEntries(Object.entries(values).filter(([key]) => !own.includes(key))));
}

const fullestBytes = ({ memory }: Plan): number => Math.max(...memory.map((m) => m.peakBytes));

export const scheduleName = ({ schedules }: Plan): string => Object.values(schedules)[0]!.name;

/** Why a layout is not timed here; undefined where it is. */
export function untimed(
  { source }: PreparedExperiment,
  { devices }: PlanRequest,
  tooLarge: boolean,
): string | undefined {
  if (hasNullDevices(devices)) return 'null devices compute nothing';
  if (!source) return 'the experiment has no data';
  if (devices.length > coresHere()) return `this machine has ${coresHere()} cores`;
  return tooLarge ? 'a device has too little memory' : undefined;
}

export function noteOnce(skipped: Skipped[], note: Skipped): void {
  if (!skipped.some(({ what, why }) => what === note.what && why === note.why)) skipped.push(note);
}

/** A step as it was predicted and, where it ran, measured. */
export interface StepFigures {
  readonly fits: boolean;
  readonly predictedSeconds: number;
  readonly predictedBubble: number;
  /** Medians and quartiles of all timed steps; null where nothing was timed. */
  readonly stepSeconds: number | null;
  readonly stepSecondsLow: number | null;
  readonly stepSecondsHigh: number | null;
  readonly bubble: number | null;
  readonly predictedOverMeasured: number | null;
  /** Of the fullest device. */
  readonly peakBytesPlanned: number;
  readonly peakBytesMeasured: number | null;
}

export const stepColumns = [
  'fits',
  'predictedSeconds',
  'predictedBubble',
  'stepSeconds',
  'stepSecondsLow',
  'stepSecondsHigh',
  'bubble',
  'predictedOverMeasured',
  'peakBytesPlanned',
  'peakBytesMeasured',
] as const satisfies readonly (keyof StepFigures)[];

export function stepFigures(plan: Plan, short: readonly Shortage[], timed: TimedSteps | undefined): StepFigures {
  const seconds = timed && spreadOf(timed.seconds);
  return {
    fits: short.length === 0,
    predictedSeconds: plan.prediction.stepSeconds,
    predictedBubble: plan.prediction.bubbleFraction,
    stepSeconds: seconds?.median ?? null,
    stepSecondsLow: seconds?.low ?? null,
    stepSecondsHigh: seconds?.high ?? null,
    bubble: timed ? spreadOf(timed.bubbles).median : null,
    predictedOverMeasured: seconds ? plan.prediction.stepSeconds / seconds.median : null,
    peakBytesPlanned: fullestBytes(plan),
    peakBytesMeasured: timed ? Math.max(...timed.measuredPeaks) : null,
  };
}

/** Names, sizes and data of the experiment, for the frame. */
export function frameOf(prepared: PreparedExperiment): {
  model: string;
  data: string | null;
  parameters: number;
  batch: number;
} {
  const graph = someGraph(prepared.model);
  return {
    model: prepared.model.name,
    data: prepared.source ? prepared.source.name : null,
    parameters: graph.parameters.reduce((sum, p) => sum + elementCount(p.shape), 0),
    batch: prepared.batch,
  };
}

/** Claims that hold of anything timed. */
export function timingCaveats(
  { repeats, timedSteps }: TimingChoice,
  machine: Machine,
  timed: boolean,
  quick: boolean,
  costs: string,
): string[] {
  const notes = [
    `Predicted times are the simulator's with ${costs === 'analytic' ? 'rooflines of a typical core, which nothing here has measured: compare them with each other' : `costs from ${costs}`}.`,
  ];
  if (timed) {
    notes.push(
      `Measured times are medians of ${repeats * timedSteps} steps (${repeats} session${repeats === 1 ? '' : 's'} of ${timedSteps} each) on this machine; they hold for no other.`,
    );
    if (machine.loadBefore > 0.3 * machine.cores) {
      notes.push(
        `The machine was busy with other work when the study began (load ${machine.loadBefore.toFixed(1)} on ${machine.cores} cores): measured times are too high and too wide.`,
      );
    }
  }
  if (quick) notes.push('This was a quick run: fewer layouts and steps.');
  return notes;
}
