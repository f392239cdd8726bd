import { resolve } from 'node:path';
import { PartitaError, UsageError } from '../core/errors.ts';
import { formatSeconds } from '../core/format.ts';
import type { HostTensor } from '../core/types.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { readText } from '../formats/read-file.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import { hasNullDevices } from '../plan/null-devices.ts';
import { makePlan, type Plan, refuseWhatDoesNotFit } from '../plan/plan.ts';
import { checkSamePlan, type PlanFile, readPlanFile, withDecisions, writePlanFile } from '../plan/plan-file.ts';
import type { PlanRequest } from '../plan/request.ts';
import { withMeasuredLinks } from '../profile/costs.ts';
import { figuresOf, meanOfSteps } from '../report/figures.ts';
import { printFigures, printPlan } from '../report/plan.ts';
import { DeviceThreads, refuseTooManyThreads } from '../runtime/device-threads.ts';
import { type BestEvaluation, isBetter } from '../train/checkpoint/checkpoint.ts';
import { newestStep, readCheckpoint, type StoredCheckpoint } from '../train/checkpoint/folder.ts';
import { takeUp } from '../train/checkpoint/resume.ts';
import {
  type PreparedExperiment,
  planRequestOf,
  prepareExperiment,
  readParameters,
} from '../train/experiment/prepare.ts';
import type { LearningRate } from '../train/learning-rate.ts';
import type { NoiseRecord } from '../train/noise-tracker.ts';
import { Session } from '../train/session.ts';
import { type StepRecord, type TrainOptions, train } from '../train/trainer.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, pathOf, textOf } from './invocation.ts';
import { cacheOf, endedAtOnce, plansOf } from './measuring.ts';
import { evaluationText, makeProgress } from './progress.ts';
import { RunFolder, refuseHeldRun } from './run-folder.ts';
import { batchOfNullTraining, playTraining } from './train-null.ts';

export async function run(invocation: Invocation): Promise<number> {
  await using threads = new DeviceThreads();
  const runDir = pathOf(invocation, 'runDir', 'a folder');
  if (runDir !== undefined) refuseHeldRun(runDir);
  const planned = await planTraining(invocation, (devices, simd) => threads.start(devices, simd));
  const { prepared, plan, parameters, checkpoint } = planned;
  if (hasNullDevices(plan.request.devices)) return await playTraining(invocation, prepared, plan);
  const silent = invocation.quiet || invocation.json;
  if (!silent)
    process.stdout.write(
      `${printPlan(plan, { width: process.stdout.columns || undefined, elsewhere: '"partita plan --json" has them' })}\n\n`,
    );

  const { seed } = prepared.experiment;
  const options = trainOptions(prepared, checkpoint, invocation.signal);
  // Before the run's folder is touched: a refused checkpoint leaves everything as it was.
  const begun = checkpoint || options.checkpoint ? await takeUp({ ...options, plan, seed }) : undefined;
  const resumed = begun?.resumed;
  if (resumed && !silent) process.stdout.write(`Resumed behind step ${resumed.step} from ${resumed.folder}\n`);
  using folder = new RunFolder(runDir, plan.request.model.name);
  await beginFolder(folder, planned, resumed);
  const began = performance.now();
  const audit = invocation.own.audit === true ? true : undefined;
  await using session = await Session.open(plan, { seed, parameters, threads, audit, signal: invocation.signal });
  const course = await follow(session, folder, { invocation, planned, options, resumed });
  tellLostLoss(course.records);

  const final = await session.parameters();
  const buffers = await session.buffers();
  const figures = await figuresOfCourse(session, course);
  const out = textOf(invocation, 'out') ?? null;
  const seconds = (performance.now() - began) / 1000;
  const result = { ...resultOf(planned, course), ...figures, seconds, runDir: folder.path, out };
  await folder.write('params.safetensors', writeSafetensors(new Map([...final, ...buffers])));
  await folder.write('result.json', `${JSON.stringify(result, null, 2)}\n`);
  if (out !== null) await writeFileAtomic(out, resultFile(plan, course.records, final, buffers));

  if (invocation.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else if (!silent) {
    const ending = endingText(course, prepared.steps, seconds);
    process.stdout.write(`\n${printFigures(figures)}\n\n${ending}\nWritten to ${folder.path}\n`);
  }
  return 0;
}

/** What is known before the first step, and what a resumed training brings of the steps behind it. */
async function beginFolder(
  folder: RunFolder,
  { prepared: { experiment }, plan }: PlannedTraining,
  resumed: StoredCheckpoint | undefined,
): Promise<void> {
  await folder.clear();
  await folder.write('experiment.json', `${JSON.stringify(experiment, null, 2)}\n`);
  await folder.write('plan.json', writePlanFile(plan, experiment));
  for (const record of resumed?.records ?? []) folder.log(record);
  if (resumed?.best) await folder.write('best.safetensors', writeSafetensors(resumed.best.parameters));
}

/** The steps of a training, those before it was resumed included. */
interface Course {
  readonly records: readonly StepRecord[];
  /** Those that ran now. */
  readonly own: readonly StepRecord[];
  readonly best: BestEvaluation | undefined;
  readonly resumed: StoredCheckpoint | undefined;
}

interface Following {
  readonly invocation: Invocation;
  readonly planned: PlannedTraining;
  readonly options: Omit<TrainOptions, 'session'>;
  readonly resumed: StoredCheckpoint | undefined;
}

/** Trains to the end, tells of every step, and keeps the best parameters on the way. */
async function follow(
  session: Session,
  folder: RunFolder,
  { invocation, planned: { plan, prepared }, options, resumed }: Following,
): Promise<Course> {
  const own: StepRecord[] = [];
  let best: BestEvaluation | undefined = resumed?.best;
  const peakBytes = Math.max(...plan.memory.map((m) => m.peakBytes));
  const progress = makeProgress(prepared.steps, peakBytes, invocation.quiet, resumed?.step);
  try {
    for await (const record of train({ ...options, session })) {
      own.push(record);
      folder.log(record);
      progress.step(record);
      const { evaluation } = record;
      if (!evaluation || !isBetter(evaluation, best)) continue;
      const parameters = new Map([...(await session.parameters()), ...(await session.buffers())]);
      best = { step: record.step, evaluation, parameters };
      await folder.write('best.safetensors', writeSafetensors(parameters));
    }
  } catch (error) {
    if (!invocation.json) tellHowToResume(options.checkpoint?.dir);
    throw error;
  } finally {
    progress.stop();
  }
  return { records: [...(resumed?.records ?? []), ...own], own, best, resumed };
}

function tellLostLoss(records: readonly StepRecord[]): void {
  const lost = records.find((r) => !Number.isFinite(r.loss));
  if (!lost) return;
  process.stderr.write(
    `note: the loss is ${lost.loss} from step ${lost.step + 1} on (null in JSON); try a smaller --optimizer.lr\n`,
  );
}

/** A training that was resumed behind its last step has run nothing. */
async function figuresOfCourse(session: Session, { own }: Course) {
  const measured = own.length > 0 ? { ...meanOfSteps(own), peaks: await session.measuredPeaks() } : undefined;
  return figuresOf(session.plan, measured);
}

/** The fields of the result that are the training's alone. */
function resultOf({ prepared, plan, cached }: PlannedTraining, { records, best, resumed }: Course) {
  const { experiment, steps } = prepared;
  const { request } = plan;
  const last = records.at(-1)!;
  return {
    version: 1,
    command: 'train',
    model: request.model.name,
    steps,
    epochs: last.epoch + 1,
    microbatches: request.microbatches,
    simd: request.simd ?? 'strict',
    schedule: plan.schedules[Object.keys(plan.programs)[0]!]!.name,
    cached,
    firstLoss: records[0]!.loss,
    loss: last.loss,
    evaluation: last.evaluation ?? null,
    best: best ? { step: best.step, ...best.evaluation } : null,
    resumed: resumed ? { step: resumed.step, folder: resumed.folder } : null,
    checkpoints: experiment.checkpoint?.dir ?? null,
    noise: records.findLast((r) => r.noise)?.noise ?? null,
    blas: request.blas ?? null,
  };
}

function endingText({ records, own, best, resumed }: Course, steps: number, seconds: number): string {
  const last = records.at(-1)!;
  const better =
    best && best.step !== last.step
      ? ` (best: ${best.evaluation.loss.toPrecision(4)} behind step ${best.step + 1})`
      : '';
  const evaluation = last.evaluation ? `; ${evaluationText(last.evaluation)}${better}` : '';
  const ran = `${resumed ? `${own.length} of ${steps}` : steps} step${steps === 1 ? '' : 's'}`;
  const losses = `loss ${records[0]!.loss.toPrecision(4)} to ${last.loss.toPrecision(4)}`;
  return `${ran} in ${formatSeconds(seconds)}: ${losses}${evaluation}`;
}

/** What `train` is asked for, but for the session. */
function trainOptions(
  { experiment, source, steps, learningRate, momentum, evaluation }: PreparedExperiment,
  resume: StoredCheckpoint | undefined,
  signal: AbortSignal,
): Omit<TrainOptions, 'session'> & { learningRate: LearningRate } {
  const { resume: _, ...stored } = experiment;
  const checkpoint = experiment.checkpoint && { ...experiment.checkpoint, experiment: stored };
  const noise = typeof experiment.noise === 'object' ? experiment.noise : undefined;
  return { data: source!, steps, learningRate, momentum, noise, evaluation, checkpoint, resume, signal };
}

/** First values from --params; a checkpoint has its own. */
function firstValues(invocation: Invocation, { experiment, model }: PreparedExperiment) {
  const params = pathOf(invocation, 'params');
  if (params === undefined) return undefined;
  if (experiment.resume !== undefined) {
    throw new UsageError('params-and-resume', '--params gives first values, and a resumed training has its own', {
      fields: { params, resume: experiment.resume },
      remedy: 'leave one of --params and --resume out',
    });
  }
  return readParameters(params, model);
}

/** Behind a failure, where there is something to go on from. */
function tellHowToResume(dir: string | undefined): void {
  const step = dir === undefined ? undefined : newestStep(dir);
  if (step !== undefined) {
    process.stderr.write(`note: ${step} steps are kept; to go on: partita train --resume ${dir}\n`);
  }
}

/**
 * The experiment that a checkpoint brings; undefined where a program wrote it without one. Where --devices asks for others,
 * a partition, a schedule and links that were written for the old ones do not carry over.
 */
function experimentFor({ keys }: Invocation, { experiment }: StoredCheckpoint): unknown {
  if (typeof experiment !== 'object' || experiment === null) return undefined;
  const given = (key: string) => keys.some(([path]) => path.split('.')[0] === key);
  if (!given('devices')) return experiment;
  const { partition, schedule, links, ...rest } = experiment as Record<string, unknown>;
  return {
    ...rest,
    ...(typeof schedule === 'string' ? { schedule } : {}),
    ...(Array.isArray(links) ? {} : { links }),
  };
}

export interface PlannedTraining {
  readonly prepared: PreparedExperiment;
  readonly plan: Plan;
  /** It was made in an earlier run, and kept. */
  readonly cached: boolean;
  /** First values from --params. */
  readonly parameters: ReadonlyMap<string, HostTensor> | undefined;
  /** The one to go on from. */
  readonly checkpoint: StoredCheckpoint | undefined;
}

/** Plans a training: as the experiment says, or as a stored plan does. Null devices need no threads: `beforePlan` hears of others. */
export async function planTraining(
  invocation: Invocation,
  beforePlan?: (devices: number, simd: SimdVariant) => void,
): Promise<PlannedTraining> {
  const planPath = pathOf(invocation, 'plan');
  const stored = planPath === undefined ? undefined : readPlanFile(readText(planPath), planPath);
  if (stored) refuseOtherLayout(invocation);
  const checkpoint = stored || invocation.file !== undefined ? undefined : checkpointOf(invocation);
  const brought = stored
    ? { experiment: stored.experiment ?? undefined, from: planPath! }
    : checkpoint && { experiment: experimentFor(invocation, checkpoint), from: checkpoint.folder };
  const { experiment, where } = loadExperiment(invocation, brought);
  const resume = checkpoint ?? (experiment.resume === undefined ? undefined : readCheckpoint(experiment.resume));
  if (stored) {
    const flags = 'the command line';
    const isFlag = invocation.keys.some(([path]) => path.split('.')[0] === 'model');
    refuseOtherModel(experiment, stored, planPath!, isFlag ? flags : (invocation.file ?? flags));
  }
  const { devices } = experiment;
  const specs = stored?.devices ?? (typeof devices === 'number' ? [] : devices);
  const batch = batchOfNullTraining(invocation, experiment, specs);
  const needsData = !hasNullDevices(specs);
  const prepared = prepareExperiment(withMicrobatches(experiment, stored), { where, needsData, batch });
  const request = planRequestOf(prepared, 'train');
  if (needsData) refuseTooManyThreads(request.devices.length);
  if (needsData) beforePlan?.(request.devices.length, experiment.simd);
  // Before the plan, which may take long.
  const parameters = needsData ? firstValues(invocation, prepared) : undefined;
  if (!stored) {
    const asked = withMeasuredLinks(request, cacheOf(invocation, experiment));
    const { plan, cached } = await plansOf(invocation).draft(asked);
    return { prepared, plan: refuseWhatDoesNotFit(plan), cached, parameters, checkpoint: resume };
  }
  const plan = await endedAtOnce(invocation, () => madeAgain(request, stored, planPath!));
  return { prepared, plan, cached: false, parameters, checkpoint: resume };
}

/** The plan of a file. What it is refused with names the file: nothing of it was asked for on the command line. */
function madeAgain(request: PlanRequest, stored: PlanFile, planPath: string): Plan {
  const decided = withDecisions(request, stored);
  let plan: Plan;
  try {
    plan = makePlan(decided);
  } catch (cause) {
    if (!(cause instanceof PartitaError)) throw cause;
    throw new (cause.constructor as typeof PartitaError)(cause.code, `${planPath}: ${cause.message}`, {
      fields: { ...cause.fields, file: planPath },
      remedy: cause.remedy,
      cause,
    });
  }
  checkSamePlan(plan, stored, planPath);
  return plan;
}

/** The checkpoint that --resume names: without an experiment file it brings its own. */
function checkpointOf({ keys }: Invocation): StoredCheckpoint | undefined {
  const folder = keys.find(([path]) => path === 'resume')?.[1];
  return folder === undefined ? undefined : readCheckpoint(resolve(folder));
}

/** A plan's stages are layers of its own model; `where` has the other: a file, or the flags beside the plan. */
function refuseOtherModel(
  experiment: PreparedExperiment['experiment'],
  stored: PlanFile,
  plan: string,
  where: string,
): void {
  // A plan that a program wrote may have no experiment: then its stages tell.
  const own = (stored.experiment?.model as { kind?: unknown } | null | undefined)?.kind;
  const given = (experiment.model as { kind?: unknown }).kind;
  if (typeof own !== 'string' || own === given) return;
  throw new UsageError('plan-other-model', `${plan} is a plan for the model ${own}, and ${where} has ${given}`, {
    fields: { plan, planModel: own, model: given },
    remedy: `partita train --plan ${plan}`,
  });
}

const withMicrobatches = (experiment: PreparedExperiment['experiment'], stored: PlanFile | undefined) =>
  stored
    ? {
        ...experiment,
        microbatches: stored.microbatches,
        schedule: undefined,
        stagesPerDevice: undefined,
        partition: 'auto' as const,
      }
    : experiment;

const layoutKeys = [
  'devices',
  'links',
  'microbatches',
  'schedule',
  'stagesPerDevice',
  'partition',
  'recompute',
  'fusion',
  'batchNorm',
  'simd',
  'blas',
];

function refuseOtherLayout({ keys, memory, backend }: Invocation): void {
  const given = keys.map(([path]) => path).filter((path) => layoutKeys.includes(path.split('.')[0]!));
  if (memory !== undefined) given.push('memory');
  if (backend !== undefined) given.push('backend');
  if (given.length === 0) return;
  throw new UsageError(
    'plan-and-layout',
    `--plan says how to run; ${given.map((k) => `--${k}`).join(', ')} cannot change it`,
    {
      fields: { flags: given },
      remedy: 'leave them out, or make another plan with "partita plan --plan-out"',
    },
  );
}

/** Nothing of layout or time: the same experiment gives the same bytes. */
function resultFile(
  plan: Plan,
  records: readonly StepRecord[],
  final: ReadonlyMap<string, HostTensor>,
  buffers: ReadonlyMap<string, HostTensor>,
): Uint8Array {
  const series = (of: (record: StepRecord) => number): HostTensor => ({
    type: { dtype: 'f32', shape: [records.length] },
    data: Float32Array.from(records, of),
  });
  const graph = Object.values(plan.graphs)[0]!;
  const trained = graph.parameters.filter((p) => !p.node.source!.frozen);
  return writeSafetensors([
    ['loss', series((r) => r.loss)],
    ['grad_norm', series((r) => r.gradNorm ?? Number.NaN)],
    ['lr', series((r) => r.lr)],
    ...noiseSeries(records, series),
    ...trained.map((p) => [`final/${p.name}`, final.get(p.name)!] as const),
    ...[...buffers].map(([name, value]) => [`buffer/${name}`, value] as const),
  ]);
}

/** NaN at a step of one microbatch (a small last batch). */
function noiseSeries(
  records: readonly StepRecord[],
  series: (of: (record: StepRecord) => number) => HostTensor,
): (readonly [string, HostTensor])[] {
  if (!records.some((r) => r.noise)) return [];
  const of = (key: keyof NoiseRecord) => series((r) => r.noise?.[key] ?? Number.NaN);
  return [
    ['noise/g2', of('g2')],
    ['noise/s', of('s')],
    ['noise/b_simple', of('bSimple')],
  ];
}
