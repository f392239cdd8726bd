/**
 * The study of schedules: one model on its devices under every schedule and number of microbatches M: idle time against the
 * closed forms, step time, and the memory of what is in flight.
 */
import { UsageError } from '../../core/errors.ts';
import { analyticCosts } from '../../cost/model.ts';
import { normalizesByWholeBatch } from '../../optim/batch-norm.ts';
import { stageMap } from '../../partition/stage-of.ts';
import { capacityOf, type Plan, PlanCache } from '../../plan/plan.ts';
import { forwardEdges, linkSeconds, type StageCosts, stageCosts } from '../../plan/stage-costs.ts';
import { relativeSpeed } from '../../plan/stages.ts';
import {
  bubbleFraction,
  type Clock,
  type ClockOptions,
  type Durations,
  deviceInFlightBounds,
  isScheduleName,
  peakInFlightOfDevices,
  playClock,
  printGrid,
  type Schedule,
  scheduleNames,
  type TaskKind,
} from '../../schedule/index.ts';
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
  validValues,
} from '../pipeline.ts';
import { breathing, collecting, requireStudy, type StudyRecorder } from '../recorder.ts';
import { idealBubble } from '../schedule-forms.ts';
import { invalidCombinations, splitSweep } from '../sweep.ts';
import { timeInTurns } from '../turns.ts';
import { summarizeSchedules } from './summary.ts';
import { type ScheduleDeviceRow, type ScheduleKey, type ScheduleTables, scheduleColumns } from './tables.ts';

export const scheduleParts = ['prediction', 'timing'] as const;
export type SchedulePart = (typeof scheduleParts)[number];

export interface ScheduleStudyOptions extends TimingChoice {
  readonly parts: readonly SchedulePart[];
  readonly quick: boolean;
}

export interface ScheduleSettings extends TimingChoice {
  readonly devices: number;
  readonly schedules: readonly string[];
  readonly microbatches: readonly number[];
  readonly series: readonly string[];
  readonly parts: readonly SchedulePart[];
  readonly costs: string;
  readonly quick: boolean;
}

/** A schedule as text, a column a clock. */
export interface GridText extends ScheduleKey {
  readonly lines: readonly string[];
}

export interface ScheduleStudy extends StudyFrame<'schedule', ScheduleSettings, ScheduleTables> {
  readonly grids: readonly GridText[];
}

interface ScheduleRun extends PlannedCombination {
  readonly key: ScheduleKey;
}

export interface ScheduleDesign {
  readonly runs: readonly ScheduleRun[];
  readonly skipped: readonly Skipped[];
}

const ownKeys = ['schedule', 'microbatches', 'stagesPerDevice'];

/**
 * Plans every layout; refuses what was asked for by name and cannot be, and leaves out what the study chose itself. Rejects with
 * the signal's reason once that is aborted.
 */
export async function designScheduleStudy(
  experiment: Experiment,
  { quick }: ScheduleStudyOptions,
  where: string,
  signal?: AbortSignal,
): Promise<ScheduleDesign> {
  const { sweep, base } = splitSweep(experiment, where);
  const fromFile = typeof base.schedule === 'object' && sweep.schedule === undefined;
  const chosen: Record<string, readonly unknown[]> = {
    ...(fromFile || sweep.schedule ? {} : { schedule: validValues(base, 'schedule', scheduleNames) }),
    ...(fromFile || sweep.microbatches ? {} : { microbatches: countsFor(base, where, quick) }),
    ...(base.devices === 1 && sweep.devices === undefined ? { devices: [quick ? 2 : 4] } : {}),
  };
  const skipped: Skipped[] = [];
  const problems: { label: string; message: string; remedy?: string }[] = [];
  const runs: ScheduleRun[] = [];
  const breathe = breathing(signal);
  for (const { combination, prepared } of prepareSweep(base, { ...sweep, ...chosen }, where)) {
    await breathe();
    const request = stepRequestOf(prepared);
    const { label, values } = combination;
    const planned = planOrReason(request, new PlanCache());
    if ('why' in planned) {
      // A schedule that the user named must be possible; of our own list, some may not go with the model.
      if (chosen.schedule) skipped.push({ what: label, why: planned.why });
      else problems.push({ label, message: `${label}: ${planned.why}` });
      continue;
    }
    const { plan } = planned;
    const used = new Set(plan.placement).size;
    const key: ScheduleKey = {
      series: seriesOf(values, [...ownKeys, ...('devices' in chosen ? ['devices'] : [])]),
      schedule: scheduleName(plan),
      stagesPerDevice: plan.partition.stages / used,
      microbatches: plan.request.microbatches,
    };
    runs.push({ combination, prepared, request, key, ...planned });
  }
  if (problems.length > 0) throw invalidCombinations(problems, where);
  if (runs.length === 0) {
    throw new UsageError('study-empty', `no schedule can be planned: ${skipped[0]?.what}: ${skipped[0]?.why}`, {
      fields: { skipped },
      remedy: '--sweep.schedule gpipe,1f1b',
    });
  }
  return { runs, skipped };
}

function countsFor(base: Experiment, where: string, quick: boolean): number[] {
  const [{ prepared }] = prepareSweep({ ...base, microbatches: 1 }, {}, where) as [
    ReturnType<typeof prepareSweep>[number],
  ];
  return (quick ? [1, 4, 16] : [1, 2, 4, 8, 16, 32]).filter((m) => m <= prepared.batch);
}

export async function runScheduleStudy(
  design: ScheduleDesign,
  options: ScheduleStudyOptions,
  given: Partial<StudyRecorder<ScheduleTables, SchedulePart>> = {},
): Promise<ScheduleStudy> {
  requireStudy('runScheduleStudy', design, options, { design: ['runs'], options: ['parts'] });
  const { runs, skipped: notPlanned } = design;
  const began = performance.now();
  const loadBefore = loadNow();
  const { recorder, tables } = collecting<ScheduleTables, SchedulePart>(
    Object.keys(scheduleColumns) as (keyof ScheduleTables)[],
    given,
  );
  const skipped = [...notPlanned];
  const timed = options.parts.includes('timing') ? await timeRuns(runs, options, recorder, skipped) : new Map();
  const pareto = paretoRuns(runs);
  const grids: GridText[] = [];
  const pictured = picturesOf(runs);
  const breathe = breathing(recorder.signal);
  for (const [i, run] of runs.entries()) {
    await breathe();
    recorder.progress('prediction', i, runs.length, run.combination.label);
    const steps: TimedSteps | undefined = timed.get(run);
    const { plan, key } = run;
    const schedule = Object.values(plan.schedules)[0]!;
    const figures = figuresOfStages(plan);
    const inFlight = peakInFlightOfDevices(schedule);
    recorder.add('schedules', {
      ...key,
      devices: plan.request.devices.length,
      stages: plan.partition.stages,
      bubbleClosedForm: closedFormOf(plan, schedule, figures),
      bubbleEqualStages: bubbleFraction(playClock(schedule, equalStages(figures))),
      bubbleOwnStages: bubbleFraction(playClock(schedule, ownStages(plan, figures))),
      peakInFlight: Math.max(...inFlight),
      inFlightBound: boundOf(schedule),
      ...stepFigures(plan, run.shortages, steps),
      pareto: pareto.has(run),
    });
    for (const row of deviceRows(run, inFlight, steps)) recorder.add('devices', row);
    if (!pictured.has(run)) continue;
    const clock = playClock(schedule, ownStages(plan, figures));
    addTimeline(key, clock, (row) => recorder.add('timelines', row));
    grids.push({ ...key, lines: printGrid(schedule, { dependencies: plan.stageEdges, width: 'whole' }).split('\n') });
  }
  const [{ prepared, plan }] = runs as [ScheduleRun];
  const study: Omit<ScheduleStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'schedule',
    ...frameOf(prepared),
    settings: {
      devices: plan.request.devices.length,
      schedules: [...new Set(runs.map(({ key }) => key.schedule))],
      microbatches: [...new Set(runs.map(({ key }) => key.microbatches))].sort((a, b) => a - b),
      series: [...new Set(runs.map(({ key }) => key.series))],
      parts: options.parts,
      repeats: options.repeats,
      timedSteps: options.timedSteps,
      costs: (plan.request.costs ?? analyticCosts()).source,
      quick: options.quick,
    },
    machine: machineNow(loadBefore),
    skipped,
    tables,
    grids,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarizeSchedules(study) };
}

async function timeRuns(
  runs: readonly ScheduleRun[],
  { repeats, timedSteps }: TimingChoice,
  recorder: StudyRecorder<ScheduleTables, SchedulePart>,
  skipped: Skipped[],
): Promise<Map<ScheduleRun, TimedSteps>> {
  const runnable = runs.filter((run) => {
    const why = untimed(run.prepared, run.request, run.shortages.length > 0);
    if (why) noteOnce(skipped, { what: `timing ${run.request.devices.length} devices`, why });
    return why === undefined;
  });
  return await timeInTurns(
    runnable,
    {
      repeats,
      timedSteps,
      task: (run) => ({ timing: run.prepared.experiment, schedule: Object.values(run.plan.schedules)[0]! }),
      text: ({ combination }) => combination.label,
      onSession: ({ key }, repeat, session) => recorder.add('runs', { ...key, repeat, ...session }),
    },
    recorder,
  );
}

function figuresOfStages({ request, graphs, partition }: Plan): StageCosts {
  const graph = Object.values(graphs)[0]!;
  const costs = request.costs ?? analyticCosts();
  // The folded chain of models with gradients of themselves has more stages than the partition.
  const stages = 1 + graph.nodes.reduce((most, n) => Math.max(most, stageMap(graph, partition)(n)), 0);
  return stageCosts(graph, stageMap(graph, partition), { stages, own: partition.stages, costs });
}

const seconds = ({ F, B, W }: Durations, kind: TaskKind): number =>
  kind === 'F' ? F : kind === 'B' ? B : kind === 'W' ? W : B + W;

function ownStages(plan: Plan, figures: StageCosts): ClockOptions {
  const { request, placement } = plan;
  const schedule = Object.values(plan.schedules)[0]!;
  return {
    durations: ({ kind, stage }) =>
      seconds(figures.durations[stage]!, kind) / relativeSpeed(request.devices[schedule.placement[stage]!]),
    dependencies: forwardEdges(figures),
    link: linkSeconds(
      figures,
      schedule.placement.length > 0 ? schedule.placement : placement,
      request.costs ?? analyticCosts(),
    ),
  };
}

/** A chain whose stages all take the mean times. */
const equalStages = (figures: StageCosts): ClockOptions => ({ durations: meanOf(figures) });

function meanOf({ durations }: StageCosts): Durations {
  const mean = (kind: 'F' | 'B' | 'W') => durations.reduce((sum, d) => sum + d[kind], 0) / durations.length;
  return { F: mean('F'), B: mean('B'), W: mean('W') };
}

/** Null where the pipeline is none of those that it is known for, barriers within it included. */
function closedFormOf({ graphs, surplus, request }: Plan, schedule: Schedule, figures: StageCosts): number | null {
  if (normalizesByWholeBatch(Object.values(graphs)[0]!) || surplus.length > 0) return null;
  return idealBubble(schedule, request.devices.length, meanOf(figures));
}

const boundOf = (schedule: Schedule): number | null =>
  isScheduleName(schedule.name) ? Math.max(...deviceInFlightBounds(schedule.name, schedule)) : null;

/** Runs that fit and that no other of their series beats in both predicted step time and largest peak. */
function paretoRuns(runs: readonly ScheduleRun[]): Set<ScheduleRun> {
  const peak = ({ plan }: ScheduleRun) => Math.max(...plan.memory.map((m) => m.peakBytes));
  const step = ({ plan }: ScheduleRun) => plan.prediction.stepSeconds;
  const fitting = runs.filter((r) => r.shortages.length === 0);
  const beaten = (a: ScheduleRun) =>
    fitting.some(
      (b) =>
        b.key.series === a.key.series &&
        step(b) <= step(a) &&
        peak(b) <= peak(a) &&
        (step(b) < step(a) || peak(b) < peak(a)),
    );
  return new Set(fitting.filter((run) => !beaten(run)));
}

/** Of each schedule of the first series one run, with as many microbatches as a picture can show. */
function picturesOf(runs: readonly ScheduleRun[]): Set<ScheduleRun> {
  const pictured = new Map<string, ScheduleRun>();
  for (const run of runs) {
    const { series, schedule, stagesPerDevice, microbatches } = run.key;
    if (series !== runs[0]!.key.series) continue;
    const id = `${schedule} ${stagesPerDevice}`;
    const before = pictured.get(id)?.key.microbatches;
    const better =
      before === undefined ||
      (microbatches <= mostInPicture ? before > mostInPicture || microbatches > before : microbatches < before);
    if (better) pictured.set(id, run);
  }
  return new Set(pictured.values());
}

const mostInPicture = 8;

function addTimeline(key: ScheduleKey, { rows }: Clock, add: (row: ScheduleTables['timelines'][number]) => void): void {
  rows.forEach((row, device) => {
    for (const { task, start, end } of row) {
      const { kind, stage, microbatch } = task;
      add({ ...key, device, kind, stage, microbatch, startSeconds: start, endSeconds: end });
    }
  });
}

function deviceRows(
  { plan, key }: ScheduleRun,
  inFlight: readonly number[],
  timed: TimedSteps | undefined,
): ScheduleDeviceRow[] {
  return plan.memory.map(({ device, peakBytes, byCategory }) => ({
    ...key,
    device,
    busySecondsPredicted: plan.prediction.busySeconds[device]!,
    peakInFlight: inFlight[device] ?? 0,
    peakBytesPlanned: peakBytes,
    peakBytesMeasured: timed?.measuredPeaks[device] ?? null,
    capacityBytes: capacityOf(plan.request.devices[device]!),
    ...byCategory,
  }));
}
