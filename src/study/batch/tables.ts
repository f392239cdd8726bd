/**
 * The tables of a batch study: what its CSV files, the tables of its page and its pictures all show. Seconds and bytes are
 * in the columns' names; null stands where something did not run or does not apply.
 */
import { type PeakCategory, peakCategories } from '../../memory/categories.ts';

/** One session of one layout. */
export interface RunRow {
  readonly series: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly repeat: number;
  readonly steps: number;
  readonly medianSeconds: number;
  readonly lowestSeconds: number;
  readonly highestSeconds: number;
  readonly medianBubble: number;
}

/** One layout over all its sessions; quartiles are over all timed steps. */
export interface TimingRow {
  readonly series: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly schedule: string;
  readonly devices: number;
  readonly fits: boolean;
  readonly stepSeconds: number | null;
  readonly stepSecondsLow: number | null;
  readonly stepSecondsHigh: number | null;
  readonly samplesPerSecond: number | null;
  /** 1 − Σ busy / (devices · step time). */
  readonly bubble: number | null;
  readonly bubbleLow: number | null;
  readonly bubbleHigh: number | null;
  /** Of p equal stages on p devices; null for other placements and for schedules from files. */
  readonly bubbleClosedForm: number | null;
  /** By the cost model. */
  readonly bubblePredicted: number;
  /** One device's time for the same batch in one piece, over devices times this time. */
  readonly efficiency: number | null;
  /** The count of microbatches of this batch and series that is best: see `sweetSpots`. */
  readonly sweetSpot: boolean;
}

/** One device of one layout. */
export interface MemoryRow extends Readonly<Record<PeakCategory, number>> {
  readonly series: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly device: number;
  readonly fits: boolean;
  readonly peakBytesPlanned: number;
  readonly peakBytesMeasured: number | null;
  readonly capacityBytes: number | null;
}

export interface CapacityRow {
  readonly series: string;
  readonly microbatches: number;
  readonly capacityBytes: number;
  readonly largestBatch: number;
  readonly atLimit: boolean;
  readonly peakBytes: number;
}

export interface GradientRow {
  readonly variant: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly parameter: string;
  readonly equalBits: boolean;
  readonly maxUlps: number;
  readonly maxDifference: number;
  /** ‖g₁ − g_M‖ / ‖g₁‖ */
  readonly relative: number;
  /** The most that another order of the same additions can change; null where that is not known. */
  readonly bound: number | null;
  /** Largest difference over the bound of its element. */
  readonly boundUsed: number | null;
  readonly within: boolean | null;
}

/** A training of the largest batch, cut into M: its losses beside those of M = 1. */
export interface CutTrainingRow {
  readonly variant: string;
  readonly batch: number;
  readonly microbatches: number;
  readonly step: number;
  readonly loss: number;
  /** |loss − loss of M = 1| */
  readonly difference: number;
  readonly heldOutLoss: number | null;
  readonly accuracy: number | null;
}

export interface CurveRow {
  readonly variant: string;
  readonly batch: number;
  readonly rule: string;
  readonly lr: number;
  readonly seed: number;
  readonly step: number;
  readonly samples: number;
  /** Steps times the step time that was measured for this batch at its sweet spot. */
  readonly seconds: number | null;
  readonly loss: number;
  readonly heldOutLoss: number | null;
  readonly accuracy: number | null;
}

/** A trial of the search for a rate. */
export interface TuningRow {
  readonly variant: string;
  readonly batch: number;
  readonly lr: number;
  /** Held-out loss at the end where there is one, else training loss; null where it diverged. */
  readonly score: number | null;
  readonly best: boolean;
}

export interface TargetRow {
  readonly variant: string;
  readonly batch: number;
  readonly rule: string;
  readonly lr: number;
  readonly seeds: number;
  readonly reached: number;
  readonly diverged: number;
  /** Medians over the seeds; null where most of them do not reach it. */
  readonly steps: number | null;
  readonly stepsLow: number | null;
  readonly stepsHigh: number | null;
  readonly samples: number | null;
  readonly seconds: number | null;
  /** At the end of the trainings, medians. */
  readonly finalLoss: number | null;
  readonly finalHeldOutLoss: number | null;
  readonly finalAccuracy: number | null;
}

export interface NoiseRow {
  readonly variant: string;
  /** Of the training along which it was estimated. */
  readonly batch: number;
  readonly step: number;
  readonly samples: number;
  readonly traceSigma: number;
  readonly gradNormSquared: number;
  readonly noiseScale: number | null;
}

export interface BatchTables {
  readonly runs: readonly RunRow[];
  readonly timing: readonly TimingRow[];
  readonly memory: readonly MemoryRow[];
  readonly capacity: readonly CapacityRow[];
  readonly gradients: readonly GradientRow[];
  readonly cutTraining: readonly CutTrainingRow[];
  readonly curves: readonly CurveRow[];
  readonly tuning: readonly TuningRow[];
  readonly targets: readonly TargetRow[];
  readonly noise: readonly NoiseRow[];
}

export type TableName = keyof BatchTables;

/** Columns in the order of the files; every key of a row, and no other. */
export const tableColumns: { readonly [name in TableName]: readonly (keyof BatchTables[name][number])[] } = {
  runs: [
    'series',
    'batch',
    'microbatches',
    'repeat',
    'steps',
    'medianSeconds',
    'lowestSeconds',
    'highestSeconds',
    'medianBubble',
  ],
  timing: [
    'series',
    'batch',
    'microbatches',
    'schedule',
    'devices',
    'fits',
    'stepSeconds',
    'stepSecondsLow',
    'stepSecondsHigh',
    'samplesPerSecond',
    'bubble',
    'bubbleLow',
    'bubbleHigh',
    'bubbleClosedForm',
    'bubblePredicted',
    'efficiency',
    'sweetSpot',
  ],
  memory: [
    'series',
    'batch',
    'microbatches',
    'device',
    'fits',
    'peakBytesPlanned',
    'peakBytesMeasured',
    'capacityBytes',
    ...peakCategories,
  ],
  capacity: ['series', 'microbatches', 'capacityBytes', 'largestBatch', 'atLimit', 'peakBytes'],
  gradients: [
    'variant',
    'batch',
    'microbatches',
    'parameter',
    'equalBits',
    'maxUlps',
    'maxDifference',
    'relative',
    'bound',
    'boundUsed',
    'within',
  ],
  cutTraining: ['variant', 'batch', 'microbatches', 'step', 'loss', 'difference', 'heldOutLoss', 'accuracy'],
  curves: ['variant', 'batch', 'rule', 'lr', 'seed', 'step', 'samples', 'seconds', 'loss', 'heldOutLoss', 'accuracy'],
  tuning: ['variant', 'batch', 'lr', 'score', 'best'],
  targets: [
    'variant',
    'batch',
    'rule',
    'lr',
    'seeds',
    'reached',
    'diverged',
    'steps',
    'stepsLow',
    'stepsHigh',
    'samples',
    'seconds',
    'finalLoss',
    'finalHeldOutLoss',
    'finalAccuracy',
  ],
  noise: ['variant', 'batch', 'step', 'samples', 'traceSigma', 'gradNormSquared', 'noiseScale'],
};
