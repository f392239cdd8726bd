/**
 * What a batch study will run: the experiment and its sweep become layouts and trainings, all checked before any of them
 * begins.
 */
import { UsageError } from '../../core/errors.ts';
import { refuseNullDevices } from '../../plan/null-devices.ts';
import { batchSizeOf, wantedTensors } from '../../train/experiment/data.ts';
import { type PreparedExperiment, prepareExperiment } from '../../train/experiment/prepare.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import { defaultBatchSize } from '../../train/experiment/semantics.ts';
import type { Sweep } from '../../train/experiment/sweep.ts';
import {
  type Combination,
  combinationsOf,
  expandSweep,
  experimentWith,
  invalidCombinations,
  labelOf,
} from '../sweep.ts';
import { type BatchStudyOptions, defaultEpochs } from './options.ts';

export interface BatchStudyDesign {
  readonly where: string;
  readonly base: Experiment;
  /** Samples that the rate of the experiment is meant for. */
  readonly baseBatch: number;
  readonly baseRate: number;
  readonly batchSizes: readonly number[];
  readonly microbatches: readonly number[];
  /** Samples of the data to train on. */
  readonly dataSize: number;
  /** `digits`. */
  readonly dataName: string;
  /** Every layout to plan and time. */
  readonly layouts: readonly Layout[];
  /** Trainings that differ in more than batch size, rate and seed; a single one where no such key is swept. */
  readonly variants: readonly Variant[];
  /** Whether batches can be of other sizes than the data have. */
  readonly sizesVary: boolean;
}

export interface Layout {
  /** What tells it from others of equal batch and microbatches: `gpipe, devices 3`; empty where nothing else is swept. */
  readonly series: string;
  /** The training it is a layout of. */
  readonly variant: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly combination: Combination;
  readonly prepared: PreparedExperiment;
}

export interface Variant {
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Keys that decide how a step is computed and not what: training curves do not depend on them. */
const layoutKeys = ['microbatches', 'devices', 'links', 'schedule', 'stagesPerDevice', 'partition', 'recompute'];
const isLayoutKey = (key: string): boolean => layoutKeys.includes(key.split('.')[0]!);
const withoutLayout = <V>(values: Readonly<Record<string, V>>): Record<string, V> =>
  Object.fromEntries(Object.entries(values).filter(([key]) => !isLayoutKey(key)));

/** Keys that the study itself sets, or that belong to single runs. */
const ownKeys: Readonly<Record<string, string>> = {
  steps: '--steps: one length for all trainings',
  epochs: '--epochs: one length for all trainings',
  seed: '--seeds N',
  eval: '"eval" for all of them',
  checkpoint: 'no checkpoints in a study',
  resume: 'no resuming in a study',
  learningRate: '"learningRate" for all of them, and --lr-rules',
};

/** Throws UsageError, naming every combination that cannot run. */
export function designBatchStudy(given: Experiment, options: BatchStudyOptions, where: string): BatchStudyDesign {
  const sweep = given.sweep ?? {};
  refuseOwnKeys(sweep, where);
  const base = withDefaults(given, options);
  if (typeof base.devices !== 'number')
    refuseNullDevices(base.devices, 'a study of batches times, trains and compares');
  const prepared = prepareExperiment(base, { where }); // the sweep's keys and values are checked here too
  if (options.target?.metric === 'accuracy' && !prepared.evaluation) {
    throw new UsageError('study-target', `${where}: an accuracy to reach needs held-out data`, {
      fields: { key: 'eval' },
      remedy: '--eval.fraction 0.2, or --target-loss',
    });
  }
  if (base.learningRate.kind === 'values' && options.parts.includes('learning') && sweep['data.batchSize']) {
    throw new UsageError(
      'study-rates',
      `${where}: learningRate.values gives a rate for each step, and the steps change with the batch size`,
      {
        fields: { key: 'learningRate.values' },
        remedy: '--learningRate constant',
      },
    );
  }
  const dataSize = samplesOf(prepared);
  const sizesVary = base.data?.mode === 'epochs' && prepared.model.ownBatch === undefined;
  const filled = fillSweep(sweep, prepared, dataSize, sizesVary, options.quick);
  const combinations = expandSweep(withoutSweep(base), filled, where);
  const layouts = layoutsOf(combinations, where);
  const { 'data.batchSize': _, ...others } = filled;
  return {
    where,
    base: withoutSweep(base),
    baseBatch: base.data?.mode === 'epochs' ? (base.data.batchSize ?? defaultBatchSize) : prepared.batch,
    baseRate: base.optimizer.lr,
    batchSizes: [...new Set(layouts.map((l) => l.batch))].sort((a, b) => a - b),
    microbatches: [...new Set(layouts.map((l) => l.microbatches))].sort((a, b) => a - b),
    dataSize,
    dataName: prepared.source!.name,
    layouts,
    variants: combinationsByName(withoutLayout(others)),
    sizesVary,
  };
}

/** The training of a variant with a batch size; M and layout are the experiment's own. */
export function trainingOf({ base, sizesVary }: BatchStudyDesign, variant: Variant, batch: number): Experiment {
  return experimentWith(base, {
    ...variant.values,
    microbatches: Math.min(base.microbatches, batch),
    ...(sizesVary ? { 'data.batchSize': batch } : {}),
  });
}

const withoutSweep = ({ sweep: _, ...experiment }: Experiment): Experiment => ({ ...experiment, sweep: undefined });

/** Epochs where no length is given, and a held-out part where the data can be split. */
function withDefaults(experiment: Experiment, { quick }: BatchStudyOptions): Experiment {
  const { data, steps, epochs } = experiment;
  const splits = data !== undefined && data.kind !== 'file' && data.kind !== 'npy' && data.mode === 'epochs';
  return {
    ...experiment,
    ...(steps === undefined && epochs === undefined && data?.mode === 'epochs' ? { epochs: defaultEpochs(quick) } : {}),
    ...(experiment.eval === undefined && splits ? { eval: { every: undefined, fraction: 0.2, data: undefined } } : {}),
  };
}

function refuseOwnKeys(sweep: Sweep, where: string): void {
  for (const key of Object.keys(sweep)) {
    const instead = ownKeys[key.split('.')[0]!];
    if (instead === undefined) continue;
    throw new UsageError('sweep-key', `${where}: sweep.${key}: a batch study does not sweep this; it has ${instead}`, {
      fields: { key: `sweep.${key}` },
      remedy: instead.startsWith('--') ? instead.split(':')[0] : `leave sweep.${key} out`,
    });
  }
}

/** Batch sizes 8 … 256 and 1 … 8 microbatches where the sweep does not say; what is defaulted suits what is given. */
function fillSweep(
  sweep: Sweep,
  { batch, experiment }: PreparedExperiment,
  dataSize: number,
  sizesVary: boolean,
  quick: boolean,
): Sweep {
  const numbers = (key: string) => sweep[key] as readonly number[] | undefined;
  const most = Math.max(1, ...(numbers('microbatches') ?? []));
  const sizes = (quick ? [16, 64, 256] : [8, 16, 32, 64, 128, 256]).filter((b) => b <= dataSize && b >= most);
  const batches = sizesVary ? (numbers('data.batchSize') ?? (sizes.length > 0 ? sizes : [batch])) : undefined;
  const smallest = Math.min(...(batches ?? [batch]));
  const counts = (quick ? [1, 4] : [1, 2, 4, 8]).filter((m) => m <= smallest);
  const fromFile = typeof experiment.schedule === 'object' && !sweep.schedule;
  const { 'data.batchSize': _, microbatches, ...rest } = sweep;
  return {
    ...rest,
    ...(batches
      ? { 'data.batchSize': batches }
      : sweep['data.batchSize']
        ? { 'data.batchSize': sweep['data.batchSize'] }
        : {}),
    // A schedule from a file is made for its own count of microbatches.
    microbatches: microbatches ?? (fromFile ? [experiment.microbatches] : counts),
  };
}

function layoutsOf(combinations: readonly Combination[], where: string): Layout[] {
  const problems: { label: string; message: string; remedy?: string }[] = [];
  const layouts = combinations.flatMap((combination): Layout[] => {
    const { label, values, experiment } = combination;
    try {
      const prepared = prepareExperiment(experiment, { where: label });
      const wanted = values['data.batchSize'];
      if (wanted !== undefined && prepared.batch !== wanted) {
        const size = prepared.batch;
        problems.push({
          label,
          message: `${label}: the data have ${size} samples`,
          remedy: `--sweep.data.batchSize ${size}`,
        });
        return [];
      }
      if (experiment.microbatches > prepared.batch) {
        problems.push({
          label,
          message: `${label}: a batch of ${prepared.batch} cannot be cut into ${experiment.microbatches} microbatches`,
          remedy: `--sweep.microbatches ${prepared.batch}`,
        });
        return [];
      }
      const { 'data.batchSize': _, microbatches: __, ...others } = values;
      const series = seriesOf(others);
      const variant = labelOf(withoutLayout(others));
      return [{ series, variant, batch: prepared.batch, microbatches: experiment.microbatches, combination, prepared }];
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      problems.push({ label, message: error.message, remedy: error.remedy });
      return [];
    }
  });
  if (problems.length > 0) throw invalidCombinations(problems, where);
  return layouts;
}

/** A single swept key is told by its value alone where that is a word (`gpipe`), else with its key. */
function seriesOf(values: Readonly<Record<string, unknown>>): string {
  const all = Object.values(values);
  return all.length === 1 && typeof all[0] === 'string' ? all[0] : labelOf(values);
}

function combinationsByName(sweep: Sweep): Variant[] {
  const keys = Object.keys(sweep);
  if (keys.length === 0) return [{ name: '', values: {} }];
  return combinationsOf(sweep).map((values) => ({ name: labelOf(values), values }));
}

function samplesOf({ source, model, batch }: PreparedExperiment): number {
  const last = source!.stepsPerEpoch - 1;
  if (last === 0 || !Number.isFinite(last)) return batch;
  return last * batch + batchSizeOf(source!.batchAt(last).tensors, wantedTensors(model), source!.name);
}
