/**
 * The study of scaling: from one device to a thousand, on paper. Strong: the experiment's model on ever more devices. Weak: a
 * model that grows with them. Every step is played by the simulator with one action a task; where this machine has a core
 * for each device, the strong pipelines of the experiment's own M run too.
 */
import { UsageError } from '../../core/errors.ts';
import { analyticCosts } from '../../cost/model.ts';
import { graphsOf, PlanCache } from '../../plan/plan.ts';
import { isScheduleName, type ScheduleName, scheduleNames } from '../../schedule/index.ts';
import type { PreparedExperiment } from '../../train/experiment/prepare.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import { stepRequestOf, type TimedSteps } from '../layout.ts';
import { loadNow, machineNow } from '../machine.ts';
import {
  coresHere,
  frameOf,
  noteOnce,
  planOrReason,
  prepareSweep,
  type Skipped,
  type StudyFrame,
  seriesOf,
  type TimingChoice,
  untimed,
  validValues,
} from '../pipeline.ts';
import { breathing, collecting, requireStudy, type StudyRecorder } from '../recorder.ts';
import { spreadOf } from '../statistics.ts';
import { experimentWith, splitSweep } from '../sweep.ts';
import { type Timeable, timeInTurns } from '../turns.ts';
import { cutModel, mostStages, type Pipeline, playPipeline, repeatModel, usualStages } from './pipelines.ts';
import { summarizeScaling } from './summary.ts';
import { type ScalingRow, type ScalingTables, scalingColumns } from './tables.ts';

export const scalingParts = ['strong', 'weak', 'links', 'timing'] as const;
export type ScalingPart = (typeof scalingParts)[number];

export interface ScalingStudyOptions extends TimingChoice {
  readonly parts: readonly ScalingPart[];
  readonly quick: boolean;
}

export interface ScalingSettings extends TimingChoice {
  readonly deviceCounts: readonly number[];
  readonly schedules: readonly ScheduleName[];
  readonly microbatches: readonly number[];
  readonly bandwidths: readonly number[];
  readonly series: readonly string[];
  readonly parts: readonly ScalingPart[];
  /** Samples of a microbatch: the same however many there are. */
  readonly microbatchSamples: number;
  /** Stages that the model can be cut into at most. */
  readonly mostStages: number;
  readonly link: { readonly bytesPerSecond: number; readonly secondsLatency: number };
  readonly costs: string;
  readonly quick: boolean;
}

export type ScalingStudy = StudyFrame<'scaling', ScalingSettings, ScalingTables>;

export interface ScalingDesign {
  readonly where: string;
  readonly variants: readonly { readonly series: string; readonly prepared: PreparedExperiment }[];
  readonly deviceCounts: readonly number[];
  readonly schedules: readonly ScheduleName[];
  readonly microbatches: readonly number[];
  readonly bandwidths: readonly number[];
}

/** Keys that the study itself walks through; all others make series. */
const ownKeys = ['devices', 'schedule', 'microbatches', 'links.bandwidth'];

/** Tasks of one pipeline beyond which a study does not go: some ten seconds of simulation. */
const mostTasks = 4 * 2 ** 20;

export function designScalingStudy(
  experiment: Experiment,
  { quick }: ScalingStudyOptions,
  where: string,
): ScalingDesign {
  const { sweep, base } = splitSweep(experiment, where);
  const others = Object.fromEntries(Object.entries(sweep).filter(([key]) => !ownKeys.includes(key)));
  refuseOther(sweep, base, where);
  const variants = prepareSweep({ ...base, devices: 1 }, others, where).map(({ combination, prepared }) => ({
    series: seriesOf(combination.values, []),
    prepared,
  }));
  const schedules = (sweep.schedule as ScheduleName[] | undefined) ?? ownSchedules(base);
  const powers = Array.from({ length: 11 }, (_, i) => 2 ** i);
  const deviceCounts = ascending(
    (sweep.devices as number[] | undefined) ??
      (quick ? powers.filter((d, i) => i % 2 === 0 || d <= coresHere()) : powers),
  );
  const chosen = quick ? [16, 128] : [16, 128, 1024];
  const microbatches = ascending(
    (sweep.microbatches as number[] | undefined) ?? [...new Set([base.microbatches, ...chosen])],
  );
  const link = linkOf(variants[0]!.prepared);
  const bandwidths = ascending(
    (sweep['links.bandwidth'] as number[] | undefined) ??
      (quick ? [0.01, 0.1, 1, 10] : [0.001, 0.01, 0.1, 0.3, 1, 3, 10]).map((factor) => factor * link.bytesPerSecond),
  );
  return { where, variants, deviceCounts, schedules, microbatches, bandwidths };
}

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** The experiment's schedule beside those that tell most: of the names that there are. */
function ownSchedules(base: Experiment): ScheduleName[] {
  const own = typeof base.schedule === 'string' ? [base.schedule] : [];
  const telling = ['gpipe', '1f1b', 'interleaved-1f1b', 'zb-h1', 'zb-v'];
  return scheduleNames.filter((name) => own.includes(name) || telling.includes(name));
}

function refuseOther(
  sweep: Readonly<Record<string, readonly unknown[]>>,
  { schedule }: Experiment,
  where: string,
): void {
  const problem =
    sweep.devices?.find((d) => typeof d !== 'number') !== undefined
      ? { key: 'sweep.devices', what: 'devices are counted here, equal and on paper', remedy: '--sweep.devices 1,8,64' }
      : sweep.schedule?.find((s) => typeof s !== 'string' || !isScheduleName(s)) !== undefined ||
          (sweep.schedule === undefined && typeof schedule === 'object')
        ? {
            key: sweep.schedule ? 'sweep.schedule' : 'schedule',
            what: 'a schedule for any number of devices has a name',
            remedy: `--sweep.schedule ${scheduleNames.slice(0, 2).join(',')}`,
          }
        : sweep.links || sweep['links.latency']
          ? {
              key: sweep.links ? 'sweep.links' : 'sweep.links.latency',
              what: 'of links, this study sweeps the bandwidth',
              remedy: '--sweep.links.bandwidth 1e8,1e9',
            }
          : undefined;
  if (!problem) return;
  throw new UsageError('sweep-key', `${where}: ${problem.key}: ${problem.what}`, {
    fields: { key: problem.key },
    remedy: problem.remedy,
  });
}

const costsOf = (prepared: PreparedExperiment) => stepRequestOf(prepared).costs ?? analyticCosts();
const linkOf = (prepared: PreparedExperiment) => costsOf(prepared).link(0, 1);

export async function runScalingStudy(
  design: ScalingDesign,
  options: ScalingStudyOptions,
  given: Partial<StudyRecorder<ScalingTables, ScalingPart>> = {},
): Promise<ScalingStudy> {
  requireStudy('runScalingStudy', design, options, { design: ['variants'], options: ['parts'] });
  const began = performance.now();
  const loadBefore = loadNow();
  const { recorder, tables } = collecting<ScalingTables, ScalingPart>(
    Object.keys(scalingColumns) as (keyof ScalingTables)[],
    given,
  );
  const skipped: Skipped[] = [];
  const breathe = breathing(recorder.signal);
  const has = (part: ScalingPart) => options.parts.includes(part);
  const measured = has('timing') && has('strong') ? await timeStrong(design, options, recorder, skipped) : [];
  for (const variant of design.variants) {
    if (has('strong')) await strongOrWeak('strong', variant, design, recorder, breathe, skipped, measured);
    if (has('weak')) await strongOrWeak('weak', variant, design, recorder, breathe, skipped, measured);
    if (has('links')) await playLinks(variant, design, recorder, breathe, skipped);
  }
  const { prepared } = design.variants[0]!;
  const graph = graphOf(prepared);
  const study: Omit<ScalingStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'scaling',
    ...frameOf(prepared),
    settings: {
      deviceCounts: design.deviceCounts,
      schedules: design.schedules,
      microbatches: design.microbatches,
      bandwidths: design.bandwidths,
      series: design.variants.map((v) => v.series),
      parts: options.parts,
      repeats: options.repeats,
      timedSteps: options.timedSteps,
      microbatchSamples: samplesOf(prepared),
      mostStages: mostStages(graph, costsOf(prepared)),
      link: linkOf(prepared),
      costs: costsOf(prepared).source,
      quick: options.quick,
    },
    machine: machineNow(loadBefore),
    skipped,
    tables,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarizeScaling(study) };
}

/** The training graph of one microbatch. */
function graphOf(prepared: PreparedExperiment) {
  const request = stepRequestOf(prepared);
  return graphsOf(request, Object.keys(request.programs)[0]!, new PlanCache()).largest;
}

const samplesOf = ({ batch, experiment }: PreparedExperiment): number => Math.ceil(batch / experiment.microbatches);

interface Variant {
  readonly series: string;
  readonly prepared: PreparedExperiment;
}

async function strongOrWeak(
  mode: ScalingRow['mode'],
  { series, prepared }: Variant,
  { deviceCounts, schedules, microbatches }: ScalingDesign,
  recorder: StudyRecorder<ScalingTables, ScalingPart>,
  breathe: () => Promise<void>,
  skipped: Skipped[],
  measured: readonly MeasuredStep[],
): Promise<void> {
  const graph = graphOf(prepared);
  const costs = costsOf(prepared);
  const link = costs.link(0, 1);
  const samples = samplesOf(prepared);
  const limit = mostStages(graph, costs);
  const total = schedules.length * microbatches.length * deviceCounts.length;
  let done = 0;
  for (const schedule of schedules) {
    const stagesPerDevice = usualStages(schedule);
    for (const M of microbatches) {
      let alone: number | undefined;
      for (const devices of deviceCounts) {
        await breathe();
        recorder.progress(mode, done++, total, `${schedule}, M ${M}, ${devices} devices`);
        const stages = devices * stagesPerDevice;
        if (mode === 'strong' && stages > limit) {
          noteOnce(skipped, {
            what: `strong scaling beyond ${Math.floor(limit / stagesPerDevice)} devices with ${stagesPerDevice} ${stagesPerDevice === 1 ? 'stage' : 'stages'} each`,
            why: `the model has ${limit} parts to cut between`,
          });
          break;
        }
        if (tooMany(stages, M, schedule, mode, devices, skipped)) break;
        const pipeline: Pipeline = {
          schedule,
          devices,
          stagesPerDevice,
          microbatches: M,
          figures:
            mode === 'strong'
              ? cutModel(graph, costs, stages, M)
              : repeatModel(graph, costs, devices, stagesPerDevice, M),
          link,
          costs,
        };
        const { simulation, bubbleClosedForm } = playPipeline(pipeline);
        const { stepSeconds, bubbleFraction } = simulation;
        alone ??= devices === 1 ? stepSeconds : oneDevice(pipeline, graph, mode);
        const steps = mode === 'strong' ? timedOf(measured, { series, schedule, microbatches: M, devices }) : undefined;
        const spread = steps && spreadOf(steps.seconds);
        recorder.add('scaling', {
          series,
          mode,
          schedule,
          microbatches: M,
          devices,
          stages,
          stepSeconds,
          efficiency: alone / (mode === 'strong' ? devices * stepSeconds : stepSeconds),
          samplesPerSecond: (M * samples) / stepSeconds,
          bubble: bubbleFraction,
          bubbleClosedForm,
          sendShare: simulation.devices.reduce((sum, d) => sum + d.sendSeconds, 0) / (devices * stepSeconds),
          measuredSeconds: spread?.median ?? null,
          measuredSecondsLow: spread?.low ?? null,
          measuredSecondsHigh: spread?.high ?? null,
          measuredBubble: steps ? spreadOf(steps.bubbles).median : null,
        });
      }
    }
  }
}

function tooMany(
  stages: number,
  M: number,
  schedule: string,
  mode: string,
  devices: number,
  skipped: Skipped[],
): boolean {
  if (3 * stages * M <= mostTasks) return false;
  noteOnce(skipped, {
    what: `${mode} scaling with ${schedule} and M = ${M} from ${devices} devices on`,
    why: `more than ${mostTasks} tasks`,
  });
  return true;
}

/** A step of the same M on a single device. */
function oneDevice(pipeline: Pipeline, graph: ReturnType<typeof graphOf>, mode: ScalingRow['mode']): number {
  const { costs, microbatches } = pipeline;
  const figures =
    mode === 'strong' ? cutModel(graph, costs, 1, microbatches) : repeatModel(graph, costs, 1, 1, microbatches);
  return playPipeline({ ...pipeline, schedule: '1f1b', devices: 1, stagesPerDevice: 1, figures }).simulation
    .stepSeconds;
}

/** What other links make of the weak pipelines, at up to three numbers of devices and the M in the middle. */
async function playLinks(
  { series, prepared }: Variant,
  { deviceCounts, schedules, microbatches, bandwidths }: ScalingDesign,
  recorder: StudyRecorder<ScalingTables, ScalingPart>,
  breathe: () => Promise<void>,
  skipped: Skipped[],
): Promise<void> {
  const graph = graphOf(prepared);
  const costs = costsOf(prepared);
  const many = deviceCounts.filter((d) => d > 1 && d <= 64);
  const counts = [...new Set([many[0], many[many.length >> 1], many.at(-1)])].flatMap((d) => d ?? []);
  if (counts.length === 0) {
    noteOnce(skipped, { what: 'links', why: 'no number of devices from 2 to 64 is studied' });
    return;
  }
  const M = microbatches[microbatches.length >> 1]!;
  let done = 0;
  for (const schedule of schedules) {
    const stagesPerDevice = usualStages(schedule);
    for (const devices of counts) {
      await breathe();
      const figures = repeatModel(graph, costs, devices, stagesPerDevice, M);
      const play = (bytesPerSecond: number, secondsLatency = costs.link(0, 1).secondsLatency): number =>
        playPipeline({
          schedule,
          devices,
          stagesPerDevice,
          microbatches: M,
          figures,
          link: { bytesPerSecond, secondsLatency },
          costs,
        }).simulation.stepSeconds;
      const free = play(Number.POSITIVE_INFINITY, 0);
      for (const bytesPerSecond of bandwidths) {
        await breathe();
        recorder.progress(
          'links',
          done++,
          schedules.length * counts.length * bandwidths.length,
          `${schedule}, ${devices} devices`,
        );
        const stepSeconds = play(bytesPerSecond);
        recorder.add('links', {
          series,
          schedule,
          microbatches: M,
          devices,
          bytesPerSecond,
          stepSeconds,
          slowdown: stepSeconds / free,
        });
      }
    }
  }
}

interface MeasuredKey {
  readonly series: string;
  readonly schedule: string;
  readonly microbatches: number;
  readonly devices: number;
}

interface MeasuredStep extends MeasuredKey {
  readonly steps: TimedSteps;
}

const timedOf = (measured: readonly MeasuredStep[], key: MeasuredKey): TimedSteps | undefined =>
  measured.find(
    (m) =>
      m.series === key.series &&
      m.schedule === key.schedule &&
      m.microbatches === key.microbatches &&
      m.devices === key.devices,
  )?.steps;

/** Runs the experiment itself, with its own M, on as many devices as there are cores for. */
async function timeStrong(
  { variants, deviceCounts, schedules, microbatches }: ScalingDesign,
  { repeats, timedSteps }: TimingChoice,
  recorder: StudyRecorder<ScalingTables, ScalingPart>,
  skipped: Skipped[],
): Promise<MeasuredStep[]> {
  const runs: (Timeable & { readonly key: MeasuredKey })[] = [];
  const cores = coresHere();
  noteOnce(skipped, { what: `timing beyond ${cores} devices`, why: `this machine has ${cores} cores` });
  for (const { series, prepared } of variants) {
    const { experiment } = prepared;
    if (!microbatches.includes(experiment.microbatches)) continue;
    for (const schedule of validValues(experiment, 'schedule', schedules)) {
      for (const devices of deviceCounts.filter((d) => d <= cores)) {
        const own = experimentWith(experiment, { schedule, devices });
        const ready: PreparedExperiment = { ...prepared, experiment: own };
        const request = stepRequestOf(ready);
        const planned = planOrReason(request);
        const why = 'why' in planned ? planned.why : untimed(ready, request, planned.shortages.length > 0);
        if ('why' in planned || why !== undefined) {
          noteOnce(skipped, { what: `timing ${schedule} on ${devices} devices`, why: why! });
          continue;
        }
        runs.push({
          prepared: ready,
          plan: planned.plan,
          key: { series, schedule, microbatches: experiment.microbatches, devices },
        });
      }
    }
  }
  const timed = await timeInTurns(
    runs,
    {
      repeats,
      timedSteps,
      task: ({ prepared, key }) => ({ timing: prepared.experiment, key }),
      text: ({ key }) => `${key.schedule} on ${key.devices} devices`,
    },
    recorder,
  );
  return [...timed].map(([{ key }, steps]) => ({ ...key, steps }));
}
