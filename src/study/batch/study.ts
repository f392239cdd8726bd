/**
 * The batch study: one large batch or microbatches? For one training it sweeps the batch size and the count of microbatches
 * M, and measures what each costs in memory and time and what it does to the learning.
 *
 *     const design = designBatchStudy(experiment, options, 'experiment.json');   // refuses before anything runs
 *     const study = await runBatchStudy(design, options);                        // plain JSON
 *     const html = await batchStudyPage(study);                                  // src/report/batch-study
 */
import { PartitaError } from '../../core/errors.ts';
import { elementCount } from '../../core/types.ts';
import { someGraph } from '../../optim/model.ts';
import { capacityOf } from '../../plan/plan.ts';
import { prepareExperiment } from '../../train/experiment/prepare.ts';
import { largestBatch } from '../capacity.ts';
import { makeExecutor } from '../executor.ts';
import { compareGradients } from '../gradient-difference.ts';
import { stepRequestOf } from '../layout.ts';
import { logarithmicSteps } from '../learning.ts';
import { loadNow, type Machine, machineNow } from '../machine.ts';
import { breathing, collecting, requireStudy } from '../recorder.ts';
import type { Target } from '../steps-to-target.ts';
import { type BatchStudyDesign, type Layout, trainingOf } from './design.ts';
import type { BatchStudyOptions, StudyPart } from './options.ts';
import type { Recorder } from './recorder.ts';
import { type Claim, summarize } from './summary.ts';
import { type BatchTables, type CapacityRow, type TableName, tableColumns } from './tables.ts';
import { memoryRows, type PlannedRun, planLayouts, timeLayouts, timingRows } from './timing.ts';
import {
  type NamedTradeOff,
  runTask,
  type SecondsOf,
  stepsOf,
  type TrainingRunner,
  targetOf,
  targetRows,
  tradeOffs,
  trainAll,
  trainCut,
} from './training.ts';

/** The whole study as JSON. */
export interface BatchStudy {
  readonly version: 1;
  readonly command: 'study';
  readonly study: 'batch';
  readonly model: string;
  readonly data: string;
  /** Samples to train on. */
  readonly dataSize: number;
  /** Scalars of the model's parameters. */
  readonly parameters: number;
  readonly settings: {
    readonly batchSizes: readonly number[];
    readonly microbatches: readonly number[];
    readonly series: readonly string[];
    readonly variants: readonly string[];
    readonly baseBatch: number;
    readonly baseRate: number;
    readonly optimizer: string;
    readonly devices: number;
    readonly length: string;
    readonly rules: readonly string[];
    readonly parts: readonly StudyPart[];
    readonly seeds: number;
    readonly repeats: number;
    readonly timedSteps: number;
    /** Bytes of each device in the search for the largest batch, and where they come from. */
    readonly capacities: readonly number[];
    readonly capacityFrom: 'given' | 'devices' | 'chosen';
    readonly quick: boolean;
  };
  readonly machine: Machine;
  readonly summary: readonly Claim[];
  readonly target: Target | null;
  readonly tradeOffs: readonly NamedTradeOff[];
  /** Batch sizes whose tuned rate lies at the end of what was tried. */
  readonly edgeRates: readonly number[];
  /** Whether layers of the first variant normalise over the microbatch, so that M is part of the model. */
  readonly batchStatistics: boolean;
  /** Parts that could not be done for this model, and why. */
  readonly skipped: readonly { readonly part: StudyPart; readonly why: string }[];
  readonly tables: BatchTables;
  readonly seconds: number;
}

export async function runBatchStudy(
  design: BatchStudyDesign,
  options: BatchStudyOptions,
  given: Partial<Recorder> = {},
): Promise<BatchStudy> {
  requireStudy('runBatchStudy', design, options, { design: ['batchSizes', 'microbatches'], options: ['parts'] });
  const began = performance.now();
  const loadBefore = loadNow();
  const has = (part: StudyPart) => options.parts.includes(part);
  const { recorder, tables: rows } = collecting<BatchTables, StudyPart>(
    Object.keys(tableColumns) as TableName[],
    given,
  );
  const skipped: { part: StudyPart; why: string }[] = [];

  const planned = await planLayouts(design, recorder.signal);
  const { timed, references } = has('timing')
    ? await timeLayouts(design, planned, options, recorder)
    : { timed: new Map(), references: new Map() };
  for (const row of timingRows(planned, timed, references)) recorder.add('timing', row);
  if (has('memory') || has('timing')) {
    for (const run of planned) {
      for (const row of memoryRows(run, timed.get(run)?.measuredPeaks)) recorder.add('memory', row);
    }
  }
  const { capacities, from: capacityFrom } = capacitiesOf(design, options, planned);
  if (has('capacity')) await searchCapacities(design, capacities, recorder);
  if (has('gradients')) await compareAll(design, recorder);

  await using executor = makeExecutor(options.parallel, recorder.signal);
  const runner: TrainingRunner = { design, options, recorder, executor };
  const secondsOf: SecondsOf = (variant, batch) => {
    const series = design.layouts.find((l) => l.variant === variant)?.series;
    return rows.timing.find((r) => r.series === series && r.batch === batch && r.sweetSpot)?.stepSeconds ?? null;
  };
  let target: Target | undefined;
  let edgeRates: number[] = [];
  if (has('learning')) {
    const groups = await trainAll(runner, secondsOf);
    target = targetOf(groups, options.target);
    for (const row of targetRows(groups, target, secondsOf)) recorder.add('targets', row);
    for (const row of await trainCut(runner)) recorder.add('cutTraining', row);
    edgeRates = groups.filter((g) => g.atEdge).map((g) => g.batch);
  }
  if (has('noise')) await followNoise(runner, skipped);

  const { model, experiment } = design.layouts[0]!.prepared;
  const graph = someGraph(model);
  const study: Omit<BatchStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'batch',
    model: model.name,
    data: design.dataName,
    dataSize: design.dataSize,
    parameters: graph.parameters.reduce((sum, p) => sum + elementCount(p.shape), 0),
    settings: { ...settingsOf(design, options, planned), capacities, capacityFrom, quick: options.quick },
    machine: machineNow(loadBefore),
    target: target ?? null,
    tradeOffs: tradeOffs(
      rows.targets,
      design.variants.map((v) => v.name),
    ),
    edgeRates: [...new Set(edgeRates)],
    batchStatistics: experiment.batchNorm !== 'exact' && graph.nodes.some((n) => n.op?.name === 'batchNorm'),
    skipped,
    tables: rows,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarize(study) };
}

/** What was asked for, and what the study chose itself. */
function settingsOf(
  { base, batchSizes, microbatches, layouts, variants, baseBatch, baseRate }: BatchStudyDesign,
  { rules, parts, seeds, repeats, timedSteps }: BatchStudyOptions,
  planned: readonly PlannedRun[],
): Omit<BatchStudy['settings'], 'capacities' | 'capacityFrom' | 'quick'> {
  return {
    batchSizes,
    microbatches,
    series: [...new Set(layouts.map((l) => l.series))],
    variants: variants.map((v) => v.name),
    baseBatch,
    baseRate,
    optimizer: base.optimizer.kind,
    devices: Math.max(...planned.map((p) => p.plan.request.devices.length)),
    length: base.epochs === undefined ? `${base.steps ?? 1} steps` : `${base.epochs} epochs`,
    rules,
    parts,
    seeds,
    repeats,
    timedSteps,
  };
}

/**
 * Bytes of each device for the search: those that were given, or the experiment's. Where its devices have as much as they
 * need, the need of the sweep's largest batch in fewest pieces: then that just fits, and the search shows what cutting gains.
 */
function capacitiesOf(
  { layouts }: BatchStudyDesign,
  { capacities }: BatchStudyOptions,
  planned: readonly PlannedRun[],
): { capacities: readonly number[]; from: 'given' | 'devices' | 'chosen' } {
  if (capacities) return { capacities, from: 'given' };
  const own = new Set(planned.flatMap(({ plan }) => plan.request.devices.flatMap((d) => capacityOf(d) ?? [])));
  if (own.size > 0) return { capacities: [Math.min(...own)], from: 'devices' };
  const largest = Math.max(...layouts.map((l) => l.batch));
  const fewest = Math.min(...layouts.map((l) => l.microbatches));
  const needs = planned
    .filter(({ layout }) => layout.batch === largest && layout.microbatches === fewest)
    .map(({ plan }) => Math.max(...plan.memory.map((m) => m.peakBytes)));
  return { capacities: [pages(Math.min(...needs))], from: 'chosen' };
}

const pages = (bytes: number): number => Math.ceil(bytes / 65536) * 65536;

/** Each series and count of microbatches once: the batch is what is sought. */
async function searchCapacities(
  { layouts, sizesVary }: BatchStudyDesign,
  capacities: readonly number[],
  recorder: Recorder,
): Promise<void> {
  if (!sizesVary) return;
  const kinds = new Map<string, Layout>();
  for (const layout of layouts) kinds.set(`${layout.series} ${layout.microbatches}`, layout);
  const breathe = breathing(recorder.signal);
  let done = 0;
  for (const capacityBytes of capacities) {
    for (const { series, microbatches, prepared } of kinds.values()) {
      await breathe();
      recorder.progress('capacity', done++, capacities.length * kinds.size, `M ${microbatches}`);
      const found = largestBatch(stepRequestOf(prepared), microbatches, capacityBytes);
      const row: CapacityRow = {
        series,
        microbatches,
        capacityBytes,
        largestBatch: found.batch,
        atLimit: found.atLimit,
        peakBytes: found.peakBytes,
      };
      recorder.add('capacity', row);
    }
  }
}

/** Gradients of the largest batch, once in one piece and once in each M. */
async function compareAll(design: BatchStudyDesign, recorder: Recorder): Promise<void> {
  const batch = design.batchSizes.at(-1)!;
  const counts = design.microbatches.filter((m) => m > 1 && m <= batch);
  for (const [i, variant] of design.variants.entries()) {
    recorder.progress('gradients', i, design.variants.length, `batch ${batch}`);
    const experiment = trainingOf(design, variant, batch);
    const found = await recorder.journal.once({ gradients: experiment, counts }, () =>
      compareGradients(prepareExperiment(experiment, { where: 'gradients' }), counts, recorder.signal),
    );
    for (const row of found) recorder.add('gradients', { variant: variant.name, batch, ...row });
  }
}

/** Estimates the noise at some steps of the training nearest to the experiment's own batch. */
async function followNoise(runner: TrainingRunner, skipped: { part: StudyPart; why: string }[]): Promise<void> {
  const { design, options, recorder } = runner;
  const distance = (batch: number) => Math.abs(Math.log(batch / design.baseBatch));
  const batch = design.batchSizes.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  for (const [i, variant] of design.variants.entries()) {
    recorder.progress('noise', i, design.variants.length, `along batch ${batch}`);
    const experiment = trainingOf(design, variant, batch);
    const steps = stepsOf(experiment);
    // About seven estimates, evenly on a logarithmic axis.
    const at = [0, ...logarithmicSteps(steps, Math.max(1.5, steps ** (1 / 6)))];
    try {
      const task = { experiment, where: 'noise', points: [steps], noise: { steps: at, samples: options.noiseSamples } };
      const { noise } = await runTask(runner, task);
      for (const estimate of noise) recorder.add('noise', { variant: variant.name, batch, ...estimate });
    } catch (error) {
      // Some models have no gradient of a single sample (batch normalisation): the rest of the study stands without it.
      if (!(error instanceof PartitaError) || outerAbort(recorder)) throw error;
      skipped.push({ part: 'noise', why: error.message });
      return;
    }
  }
}

const outerAbort = ({ signal }: Recorder): boolean => signal?.aborted === true;
