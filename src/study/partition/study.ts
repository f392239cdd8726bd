/**
 * The study of partitions: one model, cut in every way there is for some numbers of devices. Every cut is measured by the
 * same loads and played by the same simulator, and timed where this machine has a core for each device.
 */
import { UsageError } from '../../core/errors.ts';
import { analyticCosts } from '../../cost/model.ts';
import { stageMap } from '../../partition/stage-of.ts';
import { capacityOf, graphsOf, PlanCache, type PlanRequest } from '../../plan/plan.ts';
import { stageCosts } from '../../plan/stage-costs.ts';
import { stepBoundOf } from '../../plan/step-bound.ts';
import type { PreparedExperiment } from '../../train/experiment/prepare.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import { stepRequestOf, type TimedSteps } from '../layout.ts';
import { loadNow, machineNow } from '../machine.ts';
import {
  frameOf,
  noteOnce,
  type PlannedCombination,
  planOrReason,
  prepareSweep,
  type Skipped,
  type StudyFrame,
  scheduleName,
  seriesOf,
  stepFigures,
  type TimingChoice,
  untimed,
} from '../pipeline.ts';
import { collecting, type StudyRecorder } from '../recorder.ts';
import { splitSweep } from '../sweep.ts';
import { timeInTurns } from '../turns.ts';
import { type CutContext, cutBy, cutMethods, leastLoad, loadsOf, ownMethod, problemOf } from './methods.ts';
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
  readonly combinations: readonly {
    readonly series: string;
    readonly prepared: PreparedExperiment;
    readonly request: PlanRequest;
  }[];
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

interface CutRun extends Omit<PlannedCombination, 'combination'> {
  readonly series: string;
  readonly method: string;
  readonly context: CutContext;
  readonly loads: readonly number[];
  readonly largest: number;
  readonly methodSeconds: number;
  readonly stepBound: number;
}

export async function runPartitionStudy(
  { combinations, methods }: PartitionDesign,
  options: PartitionStudyOptions,
  given: Partial<StudyRecorder<PartitionTables, PartitionPart>> = {},
): Promise<PartitionStudy> {
  const began = performance.now();
  const loadBefore = loadNow();
  const { recorder, tables } = collecting<PartitionTables, PartitionPart>(
    Object.keys(partitionColumns) as (keyof PartitionTables)[],
    given,
  );
  const skipped: Skipped[] = [];
  const runs: CutRun[] = [];
  /** Best proven bound of the largest load, by combination. */
  const bounds = new Map<PreparedExperiment, number>();
  let done = 0;
  for (const { series, prepared, request } of combinations) {
    const cache = new PlanCache();
    const [name] = Object.keys(request.programs);
    const costs = request.costs ?? analyticCosts();
    const { largest: graph, chunks, graphs } = graphsOf(request, name!, cache);
    // The experiment's own plan says where its schedule has the stages; other cuts take the same places.
    const own = planOrReason(request, cache);
    if ('why' in own) {
      skipped.push({ what: `${request.devices.length} devices${series ? ` (${series})` : ''}`, why: own.why });
      continue;
    }
    const { placement } = own.plan;
    const context: CutContext = {
      request,
      graph,
      microbatches: chunks.length,
      costs,
      placement,
      own: own.plan.partition,
      timeLimitSeconds: options.timeLimitSeconds,
    };
    const problem = problemOf(context);
    let bound = leastLoad(problem);
    const stepBound = stepBoundOf(graph, request, chunks, graphs);
    for (const method of methods) {
      recorder.signal?.throwIfAborted();
      const what = `${method} on ${request.devices.length} devices${series ? ` (${series})` : ''}`;
      recorder.progress('prediction', done++, combinations.length * methods.length, what);
      const cut = await cutBy(method, context, problem);
      if ('why' in cut) {
        skipped.push({ what, why: cut.why });
        continue;
      }
      if (cut.lowerBound !== null) bound = Math.max(bound, cut.lowerBound);
      const cutRequest: PlanRequest = {
        ...request,
        partition: { ready: cut.partition },
        placement,
        stagesPerDevice: undefined,
      };
      const planned = planOrReason(cutRequest, cache);
      if ('why' in planned) {
        skipped.push({ what, why: planned.why });
        continue;
      }
      runs.push({
        series,
        method,
        prepared,
        request: cutRequest,
        context,
        ...loadsOf(problem, cut.partition),
        methodSeconds: cut.seconds,
        stepBound,
        ...planned,
      });
    }
    bounds.set(prepared, bound);
  }
  if (runs.length === 0) {
    throw new UsageError('study-empty', `no way to cut gives a plan: ${skipped[0]?.what}: ${skipped[0]?.why}`, {
      fields: { skipped },
      remedy: '--sweep.devices 2, or other --methods',
    });
  }

  const timed = options.parts.includes('timing') ? await timeCuts(runs, options, recorder, skipped) : new Map();
  for (const run of runs) {
    const steps: TimedSteps | undefined = timed.get(layoutKey(run));
    const bound = Math.min(bounds.get(run.prepared)!, run.largest);
    const { plan, context } = run;
    recorder.add('partitions', {
      series: run.series,
      devices: plan.request.devices.length,
      method: run.method,
      microbatches: context.microbatches,
      schedule: scheduleName(plan),
      loadSeconds: run.largest,
      loadBoundSeconds: bound,
      gap: run.largest > 0 ? (run.largest - bound) / run.largest : 0,
      imbalance: imbalanceOf(run.loads),
      transferBytes: transferBytes(run),
      stepBoundSeconds: Math.min(run.stepBound, plan.prediction.stepSeconds),
      ...stepFigures(plan, run.shortages, steps),
      methodSeconds: run.methodSeconds,
    });
    for (const row of deviceRows(run, steps)) recorder.add('devices', row);
  }
  const { prepared, context } = runs[0]!;
  const study: Omit<PartitionStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'partition',
    ...frameOf(prepared),
    settings: {
      deviceCounts: [...new Set(runs.map((r) => r.request.devices.length))],
      methods,
      series: [...new Set(runs.map((r) => r.series))],
      parts: options.parts,
      repeats: options.repeats,
      timedSteps: options.timedSteps,
      timeLimitSeconds: options.timeLimitSeconds,
      costs: context.costs.source,
      quick: options.quick,
    },
    machine: machineNow(loadBefore),
    skipped,
    tables,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarizePartitions(study) };
}

const imbalanceOf = (loads: readonly number[]): number => {
  const mean = loads.reduce((a, b) => a + b, 0) / loads.length;
  return mean > 0 ? Math.max(...loads) / mean : 1;
};

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

/** All that passes between devices in a step. */
function transferBytes({ plan, context }: CutRun): number {
  const { partition, placement } = plan;
  const { graph, costs, microbatches } = context;
  const { traffic } = stageCosts(graph, stageMap(graph, partition), { stages: partition.stages, costs });
  let bytes = 0;
  for (const [pair, moved] of traffic) {
    const [from, to] = pair.split('>').map(Number) as [number, number];
    if (placement[from] !== placement[to]) bytes += microbatches * moved.bytes;
  }
  return bytes;
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
