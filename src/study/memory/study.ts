/**
 * The study of memory: where every byte of a training and of a prediction goes, on each device and over the step's time, for
 * every combination of a sweep. It is planned, and what is planned is what runs; `measure` runs it all the same.
 */
import { UsageError } from '../../core/errors.ts';
import { elementCount, formatType } from '../../core/types.ts';
import { analyticCosts } from '../../cost/model.ts';
import { peakHolders } from '../../memory/footprint.ts';
import { type Model, someGraph } from '../../optim/model.ts';
import { hasNullDevices } from '../../plan/null-devices.ts';
import { capacityOf, clusterOf, type Plan, type PlanRequest } from '../../plan/plan.ts';
import { flopsAgainOf } from '../../plan/recompute-curve.ts';
import { describe, memoryCategories } from '../../program/instruction.ts';
import { peakInFlightOfDevices } from '../../schedule/index.ts';
import { memoryOverTime, simulate } from '../../simulate/index.ts';
import type { PreparedExperiment } from '../../train/experiment/prepare.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import { Session } from '../../train/session.ts';
import { stepRequestOf } from '../layout.ts';
import { loadNow, machineNow } from '../machine.ts';
import {
  frameOf,
  noteOnce,
  planOrReason,
  prepareSweep,
  type Skipped,
  type StudyFrame,
  scheduleName,
} from '../pipeline.ts';
import { breathing, collecting, requireStudy, type StudyRecorder } from '../recorder.ts';
import { type Combination, splitSweep } from '../sweep.ts';
import type { Value } from '../table-file.ts';
import { korthikantiBytes, predictionStateBytes, textbookBytes, trainingStateBytes } from './formulas.ts';
import { samplesOf } from './over-time.ts';
import { summarizeMemory } from './summary.ts';
import { type MemoryKey, type MemoryTables, memoryColumns, type Purpose } from './tables.ts';

export interface MemoryStudyOptions {
  readonly purposes: readonly Purpose[];
  /** Runs every layout, and puts what its devices find in their memories beside the plan. */
  readonly measure: boolean;
  /** Batch sizes of an experiment without data, a layout each; with data they are swept as `data.batchSize`. */
  readonly batch?: readonly number[] | undefined;
}

export interface MemorySettings {
  readonly purposes: readonly Purpose[];
  readonly measured: boolean;
  /** On null devices: what is measured was played, and computed nothing. */
  readonly played: boolean;
  /** Swept keys in order, `batch` among them where it was given. */
  readonly swept: readonly string[];
  readonly costs: string;
}

export type MemoryStudy = StudyFrame<'memory', MemorySettings, MemoryTables>;

interface Layout {
  readonly values: Readonly<Record<string, unknown>>;
  readonly label: string;
  readonly prepared: PreparedExperiment;
}

export interface MemoryDesign {
  readonly layouts: readonly Layout[];
  readonly swept: readonly string[];
}

/** The experiments of the sweep with their models; plans are made one after the other when it runs. */
export function designMemoryStudy(experiment: Experiment, { batch }: MemoryStudyOptions, where: string): MemoryDesign {
  const { sweep, base } = splitSweep(experiment, where);
  if (batch && experiment.data) {
    throw new UsageError('command-line', '--batch: the experiment has data, which say the batch', {
      fields: { flag: 'batch' },
      remedy: `--sweep.data.batchSize ${batch.join()}`,
    });
  }
  const layouts = (batch ?? [undefined]).flatMap((size) =>
    prepareSweep(base, sweep, where, size).map(({ combination, prepared }): Layout => {
      const many = batch !== undefined && batch.length > 1;
      return { ...named(combination, many ? { batch: size } : {}), prepared };
    }),
  );
  return { layouts, swept: Object.keys(layouts[0]!.values) };
}

function named({ values, label }: Combination, more: Readonly<Record<string, unknown>>): Omit<Layout, 'prepared'> {
  const own = Object.entries(more).map(([key, value]) => `${key} ${value}`);
  return { values: { ...more, ...values }, label: [...own, ...(label === '' ? [] : [label])].join(', ') };
}

/** Points in time that all layouts and devices share, and the least and most of one. */
const TIME_ROWS = 30_000;
const [FEWEST, MOST] = [40, 400];
/** Tensors of a device's peak that have a row of their own. */
const HOLDER_ROWS = 40;

export async function runMemoryStudy(
  design: MemoryDesign,
  options: MemoryStudyOptions,
  given: Partial<StudyRecorder<MemoryTables, Purpose>> = {},
): Promise<MemoryStudy> {
  requireStudy('runMemoryStudy', design, options, { design: ['layouts'], options: ['purposes'] });
  const { layouts, swept } = design;
  const began = performance.now();
  const loadBefore = loadNow();
  const { recorder, tables } = collecting<MemoryTables, Purpose>(
    Object.keys(memoryColumns(swept)) as (keyof MemoryTables)[],
    given,
  );
  const skipped: Skipped[] = [];
  const samples = Math.floor(TIME_ROWS / (layouts.length * options.purposes.length));
  let costs = '';
  let played = false;
  const breathe = breathing(recorder.signal);
  for (const purpose of options.purposes) {
    for (const [i, layout] of layouts.entries()) {
      await breathe();
      recorder.progress(purpose, i, layouts.length, layout.label);
      const { prepared, label } = layout;
      const request = purpose === 'training' ? stepRequestOf(prepared) : predictionRequestOf(prepared);
      const planned = planOrReason(request);
      if ('why' in planned) {
        skipped.push({ what: `${purpose}${label === '' ? '' : ` with ${label}`}`, why: planned.why });
        continue;
      }
      const { plan, shortages } = planned;
      played ||= hasNullDevices(plan.request.devices);
      costs = (plan.request.costs ?? analyticCosts()).source;
      const why = !options.measure ? undefined : unmeasured(prepared, plan, shortages.length > 0);
      if (why !== undefined) noteOnce(skipped, { what: `measuring ${label || 'it'}`, why });
      const measured =
        options.measure && why === undefined
          ? await recorder.journal.once({ measure: prepared.experiment, purpose }, () =>
              measure(prepared, plan, recorder.signal),
            )
          : undefined;
      const key = keyOf(layout, purpose);
      const most = Math.min(MOST, Math.max(FEWEST, Math.floor(samples / plan.memory.length)));
      addRows({ key, plan, prepared, measured, most, fits: shortages.length === 0 }, recorder);
    }
  }
  if (tables.layouts.length === 0) {
    throw new UsageError('study-empty', `nothing can be planned: ${skipped[0]?.what}: ${skipped[0]?.why}`, {
      fields: { skipped },
      remedy: 'partita plan with one of these experiments says more',
    });
  }
  const study: Omit<MemoryStudy, 'summary'> = {
    version: 1,
    command: 'study',
    study: 'memory',
    ...frameOf(layouts[0]!.prepared),
    settings: { purposes: options.purposes, measured: options.measure, played, swept, costs },
    machine: machineNow(loadBefore),
    skipped,
    tables,
    seconds: (performance.now() - began) / 1000,
  };
  return { ...study, summary: summarizeMemory(study) };
}

/** The model's outputs for a batch, with neither targets nor losses: what a device needs that only predicts. */
function predictionRequestOf(prepared: PreparedExperiment): PlanRequest {
  const { optimizer: _, clip: __, l2: ___, model, ...request } = stepRequestOf(prepared);
  const quiet: Model = { ...model, build: (batch, mode) => ({ ...model.build(batch, mode), objective: [] }) };
  const prediction = { batch: prepared.batch, mode: 'forward', outputs: true } as const;
  return { ...request, model: quiet, programs: { prediction } };
}

const keyOf = ({ values, label }: Layout, purpose: Purpose): MemoryKey => ({
  layout: label,
  purpose,
  ...Object.fromEntries(Object.entries(values).map(([key, value]) => [`sweep.${key}`, cellOf(value)])),
});

const cellOf = (value: unknown): Value =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as Value);

interface Planned {
  readonly key: MemoryKey;
  readonly plan: Plan;
  readonly prepared: PreparedExperiment;
  readonly measured: readonly number[] | undefined;
  /** Samples over time of one device. */
  readonly most: number;
  readonly fits: boolean;
}

function addRows(planned: Planned, recorder: StudyRecorder<MemoryTables, Purpose>): void {
  const { key, plan, prepared, measured, most, fits } = planned;
  const [name, program] = Object.entries(plan.programs)[0]!;
  const simulation = simulate(program, clusterOf(plan.request));
  let savedBytes = 0;
  for (const { device, layouts, persistent, peakBytes, byCategory } of plan.memory) {
    const layout = layouts[name]!;
    const own = program.devices[device]!;
    const overTime = memoryOverTime(own, layout, persistent, simulation);
    savedBytes += overTime.samples.reduce((high, s) => Math.max(high, s.live.savedActivations), 0);
    const peak = own.instructions[layout.peakAt];
    recorder.add('devices', {
      ...key,
      device,
      stages: plan.placement.flatMap((d, s) => (d === device ? [s] : [])).join(' '),
      peakBytes,
      peakBytesMeasured: measured?.[device] ?? null,
      capacityBytes: capacityOf(plan.request.devices[device]!),
      ...byCategory,
      maxLiveBytes: layout.maxLive,
      heightOverMaxLive: layout.height / Math.max(1, layout.maxLive),
      layoutWasteBytes: layout.height - layout.maxLive,
      naiveSumBytes: layout.naiveSum,
      peakSeconds: overTime.samples[layout.peakAt]?.seconds ?? 0,
      peakInstruction: layout.peakAt,
      peakAt: peak ? describe(peak, own) : 'no instruction',
    });
    for (const { seconds, instruction, live, liveBytes, reachBytes } of samplesOf(overTime, most)) {
      recorder.add('overTime', { ...key, device, seconds, instruction, ...live, liveBytes, reachBytes });
    }
    const holders = peakHolders(own, layout, persistent);
    for (const { name: tensor, type, bytes, category, first, last, from, to, why } of holders.slice(0, HOLDER_ROWS)) {
      const shape = type && formatType(type);
      recorder.add('holders', { ...key, device, tensor, type: shape, bytes, category, first, last, from, to, why });
    }
    const rest = holders.slice(HOLDER_ROWS);
    for (const category of memoryCategories) {
      const smaller = rest.filter((h) => h.category === category);
      if (smaller.length === 0) continue;
      const bytes = smaller.reduce((sum, h) => sum + h.bytes, 0);
      const lives = { first: null, last: null, from: null, to: null, why: 'each smaller than those listed' };
      recorder.add('holders', {
        ...key,
        device,
        tensor: `${smaller.length} more`,
        type: null,
        bytes,
        category,
        ...lives,
      });
    }
  }
  const peaks = plan.memory.map((m) => m.peakBytes);
  const inUse = plan.memory.map((m) => m.layouts[name]!);
  recorder.add('layouts', {
    ...key,
    batch: prepared.batch,
    microbatches: program.microbatches,
    devices: plan.memory.length,
    stages: plan.partition.stages,
    schedule: scheduleName(plan),
    partition: plan.partition.method,
    recompute: key.purpose === 'training' ? prepared.experiment.recompute : null,
    flopsAgain: flopsAgainOf(plan, name),
    optimizer: key.purpose === 'training' ? prepared.optimizer.config.kind : null,
    parameterCount: parametersOf(prepared),
    fits,
    stepSecondsPredicted: plan.prediction.stepSeconds,
    peakBytes: Math.max(...peaks),
    peakBytesMeasured: measured ? Math.max(...measured) : null,
    sumOfPeakBytes: peaks.reduce((a, b) => a + b, 0),
    naiveSumBytes: inUse.reduce((sum, l) => sum + l.naiveSum, 0),
    savedBytes,
    heightOverMaxLive: Math.max(...inUse.map((l) => l.height / Math.max(1, l.maxLive))),
    ...formulasOf(planned),
  });
}

const parametersOf = ({ model }: PreparedExperiment): number =>
  someGraph(model).parameters.reduce((sum, p) => sum + elementCount(p.shape), 0);

type Formulas = Pick<
  MemoryTables['layouts'][number],
  'statesFormulaBytes' | 'korthikanti16Bytes' | 'korthikantiF32Bytes' | 'textbookBytes'
>;

function formulasOf({ key: { purpose }, plan, prepared }: Planned): Formulas {
  const { modelConfig: model, optimizer, batch } = prepared;
  const parameters = parametersOf(prepared);
  const isTraining = purpose === 'training';
  const activations =
    model.kind === 'gpt' && isTraining
      ? korthikantiBytes({
          layers: model.layers,
          heads: model.heads,
          width: model.width,
          sequence: model.context,
          microbatch: batch / plan.request.microbatches,
          inFlight: peakInFlightOfDevices(Object.values(plan.schedules)[0]!).filter((held) => held > 0),
        })
      : null;
  const isTextbook = model.kind === 'mlp' && model.hidden.length === 1;
  const isWhole = plan.memory.length === 1 && plan.request.microbatches === 1;
  const textbook =
    isTextbook && isWhole
      ? textbookBytes({
          inputs: elementCount([model.inputs].flat()),
          hidden: model.hidden[0]!,
          outputs: model.classes,
          batch,
        })
      : null;
  return {
    statesFormulaBytes: isTraining
      ? trainingStateBytes(parameters, optimizer.stateNames.length)
      : predictionStateBytes(parameters),
    korthikanti16Bytes: activations,
    korthikantiF32Bytes: activations === null ? null : 2 * activations,
    textbookBytes: textbook?.[purpose] ?? null,
  };
}

/** Null devices are fed nothing. */
const unmeasured = ({ source }: PreparedExperiment, plan: Plan, tooLarge: boolean): string | undefined =>
  !source && !hasNullDevices(plan.request.devices)
    ? 'the experiment has no data'
    : tooLarge
      ? 'a device has too little memory'
      : undefined;

/** Highest byte that each device has written in two steps: what the first leaves for the second is in it. */
async function measure(
  { source, experiment }: PreparedExperiment,
  plan: Plan,
  signal: AbortSignal | undefined,
): Promise<readonly number[]> {
  const [program] = Object.keys(plan.programs);
  await using session = await Session.open(plan, { seed: experiment.seed, signal });
  const tensors = source?.batchAt(0).tensors ?? {};
  for (let step = 0; step < 2; step++) await session.run(program!, tensors, { step, signal });
  return await session.measuredPeaks();
}
