/**
 * The study of partitions: one model, cut in every way there is for some numbers of devices. Every cut is measured by the
 * same loads and played by the same simulator, and timed where this machine has a core for each device.
 */
import { UsageError } from '../../core/errors.ts';
import { capacityOf } from '../../plan/plan.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import { stepRequestOf, type TimedSteps } from '../layout.ts';
import { loadNow, machineNow } from '../machine.ts';
import {
  frameOf,
  noteOnce,
  prepareSweep,
  type Skipped,
  type StudyFrame,
  scheduleName,
  seriesOf,
  stepFigures,
  type TimingChoice,
  untimed,
} from '../pipeline.ts';
import { breathing, collecting, requireStudy, type StudyRecorder } from '../recorder.ts';
import { splitSweep } from '../sweep.ts';
import { timeInTurns } from '../turns.ts';
import { type CutCombination, type CutRun, cutEveryWay, imbalanceOf, transferBytes } from './cuts.ts';
import { cutMethods, ownMethod } from './methods.ts';
import { summarizePartitions } from './summary.ts';
import { type PartitionDeviceRow, type PartitionTables, partitionColumns } from './tables.ts';

export const partitionParts = ['prediction', 'timing'] as const;
export type PartitionPart = (typeof partitionParts)[number];

export interface PartitionStudyOptions extends TimingChoice {
  readonly parts: readonly PartitionPart[];
  /** Ways to cut; default all. */
  readonly methods: readonly string[] | undefined;
  /** Of each method on each number of devices. */
  readonly timeLimitSeconds: number;
  readonly quick: boolean;
}

export interface PartitionSettings extends TimingChoice {
  readonly deviceCounts: readonly number[];
  readonly methods: readonly string[];
  readonly series: readonly string[];
  readonly parts: readonly PartitionPart[];
  readonly timeLimitSeconds: number;
  /** Where the predicted times come from. */
  readonly costs: string;
  readonly quick: boolean;
}

export type PartitionStudy = StudyFrame<'partition', PartitionSettings, PartitionTables>;

export interface PartitionDesign {
  readonly combinations: readonly CutCombination[];
  readonly methods: readonly string[];
}

/** Refuses what cannot be studied before anything runs. */
export function designPartitionStudy(
  experiment: Experiment,
  { methods, quick }: PartitionStudyOptions,
  where: string,
): PartitionDesign {
  const { sweep, base } = splitSweep(experiment, where);
  if (sweep.partition || Object.keys(sweep).some((key) => key.startsWith('partition.'))) {
    throw new UsageError('sweep-key', `${where}: sweep.partition: this study cuts in every way by itself`, {
      fields: { key: 'sweep.partition' },
      remedy: `--methods ${cutMethods.slice(0, 2).join(',')}, or "partition" for one of your own beside them`,
    });
  }
  const { devices, ...others } = sweep;
  const counts =
    devices ?? (typeof base.devices === 'number' && base.devices === 1 ? (quick ? [2, 4] : [2, 4, 8]) : undefined);
  const combinations = prepareSweep(base, { ...others, ...(counts ? { devices: counts } : {}) }, where).map(
    ({ combination, prepared }) => ({
      series: seriesOf(combination.values, ['devices']),
      prepared,
      request: stepRequestOf(prepared),
    }),
  );
  const own = base.partition === 'auto' ? [] : [ownMethod];
  return { combinations, methods: [...own, ...(methods ?? cutMethods)] };
}

export async function runPartitionStudy(
  design: PartitionDesign,
  options: PartitionStudyOptions,
  given: Partial<StudyRecorder<PartitionTables, PartitionPart>> = {},
): Promise<PartitionStudy> {
  requireStudy('runPartitionStudy', design, options, { design: ['combinations', 'methods'], options: ['parts'] });
  const began = performance.now();
  const loadBefore = loadNow();
  const { recorder, tables } = collecting<PartitionTables, PartitionPart>(
    Object.keys(partitionColumns) as (keyof PartitionTables)[],
    given,
  );
  const skipped: Skipped[] = [];
  const runs = await cutAll(design, options, recorder, skipped);
  const timed = options.parts.includes('timing') ? await timeCuts(runs, options, recorder, skipped) : new Map();
  for (const run of runs) {
    const steps: TimedSteps | undefined = timed.get(layoutKey(run));
    recorder.add('partitions', partitionRow(run, steps));
    for (const row of deviceRows(run, steps)) recorder.add('devices', row);
  }
  const study: Omit<PartitionStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'partition',
    ...frameOf(runs[0]!.prepared),
    settings: settingsOf(runs, design, options),
    machine: machineNow(loadBefore),
    skipped,
    tables,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarizePartitions(study) };
}

/** Every combination cut in every way. Throws UsageError where none of them gives a plan. */
async function cutAll(
  { combinations, methods }: PartitionDesign,
  { timeLimitSeconds }: PartitionStudyOptions,
  recorder: StudyRecorder<PartitionTables, PartitionPart>,
  skipped: Skipped[],
): Promise<CutRun[]> {
  const { signal } = recorder;
  const breathe = breathing(signal);
  const runs: CutRun[] = [];
  for (const [i, combination] of combinations.entries()) {
    let done = i * methods.length;
    const before = async (what: string) => {
      await breathe();
      recorder.progress('prediction', done++, combinations.length * methods.length, what);
    };
    const skip = (entry: Skipped) => skipped.push(entry);
    runs.push(...(await cutEveryWay(combination, { methods, timeLimitSeconds, signal, before, skip })));
  }
  if (runs.length > 0) return runs;
  throw new UsageError('study-empty', `no way to cut gives a plan: ${skipped[0]?.what}: ${skipped[0]?.why}`, {
    fields: { skipped },
    remedy: '--sweep.devices 2, or other --methods',
  });
}

function settingsOf(
  runs: readonly CutRun[],
  { methods }: PartitionDesign,
  { parts, repeats, timedSteps, timeLimitSeconds, quick }: PartitionStudyOptions,
): PartitionSettings {
  return {
    deviceCounts: [...new Set(runs.map((r) => r.request.devices.length))],
    methods,
    series: [...new Set(runs.map((r) => r.series))],
    parts,
    repeats,
    timedSteps,
    timeLimitSeconds,
    costs: runs[0]!.context.costs.source,
    quick,
  };
}

/** Methods that find the same stages are timed once. */
const layoutKey = ({ prepared, plan }: CutRun): string =>
  JSON.stringify([prepared.experiment, plan.partition.assignment, plan.placement]);

async function timeCuts(
  runs: readonly CutRun[],
  { repeats, timedSteps }: TimingChoice,
  recorder: StudyRecorder<PartitionTables, PartitionPart>,
  skipped: Skipped[],
): Promise<Map<string, TimedSteps>> {
  const unique = [...new Map(runs.map((run) => [layoutKey(run), run])).values()];
  const runnable = unique.filter((run) => {
    const why = untimed(run.prepared, run.request, run.shortages.length > 0);
    if (why) noteOnce(skipped, { what: `timing ${run.request.devices.length} devices`, why });
    return why === undefined;
  });
  const timed = await timeInTurns(
    runnable,
    {
      repeats,
      timedSteps,
      task: (run) => ({ timing: run.prepared.experiment, assignment: run.plan.partition.assignment }),
      text: ({ method, request }) => `${method} on ${request.devices.length} devices`,
      onSession: ({ series, method, request }, repeat, session) =>
        recorder.add('runs', { series, devices: request.devices.length, method, repeat, ...session }),
    },
    recorder,
  );
  return new Map([...timed].map(([run, steps]) => [layoutKey(run), steps]));
}

function partitionRow(run: CutRun, timed: TimedSteps | undefined): PartitionTables['partitions'][number] {
  const { plan, largest, loadBound } = run;
  return {
    series: run.series,
    devices: plan.request.devices.length,
    method: run.method,
    microbatches: run.context.microbatches,
    schedule: scheduleName(plan),
    loadSeconds: largest,
    loadBoundSeconds: loadBound,
    gap: largest > 0 ? (largest - loadBound) / largest : 0,
    imbalance: imbalanceOf(run),
    transferBytes: transferBytes(run),
    stepBoundSeconds: Math.min(run.stepBound, plan.prediction.stepSeconds),
    ...stepFigures(plan, run.shortages, timed),
    methodSeconds: run.methodSeconds,
  };
}

function deviceRows(run: CutRun, timed: TimedSteps | undefined): PartitionDeviceRow[] {
  const { plan, series, method, loads } = run;
  return plan.memory.map(({ device, peakBytes, byCategory }) => ({
    series,
    devices: plan.request.devices.length,
    method,
    device,
    loadSeconds: plan.placement.reduce((sum, d, s) => (d === device ? sum + loads[s]! : sum), 0),
    busySecondsPredicted: plan.prediction.busySeconds[device]!,
    peakBytesPlanned: peakBytes,
    peakBytesMeasured: timed?.measuredPeaks[device] ?? null,
    capacityBytes: capacityOf(plan.request.devices[device]!),
    ...byCategory,
  }));
}
