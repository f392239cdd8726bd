import { type PeakCategory, peakCategories } from '../../memory/categories.ts';
import { type StepFigures, stepColumns } from '../pipeline.ts';
import type { SessionFigures } from '../turns.ts';

/** One way to cut, on some number of devices. */
export interface PartitionRow extends StepFigures {
  /** What else is swept; empty where nothing is. */
  readonly series: string;
  readonly devices: number;
  readonly method: string;
  readonly microbatches: number;
  readonly schedule: string;
  /** Seconds of a microbatch on the most loaded stage: forward, backward, its share of the update, transfers. */
  readonly loadSeconds: number;
  /** No convex stages have a smaller one, as far as any method proved. */
  readonly loadBoundSeconds: number;
  /** (load − bound) / load */
  readonly gap: number;
  /** Largest load over the mean. */
  readonly imbalance: number;
  /** Between devices, a step. */
  readonly transferBytes: number;
  /** No plan on these devices has a shorter step under these costs. */
  readonly stepBoundSeconds: number;
  readonly methodSeconds: number;
}

/** One device of it. */
export interface PartitionDeviceRow extends Readonly<Record<PeakCategory, number>> {
  readonly series: string;
  readonly devices: number;
  readonly method: string;
  readonly device: number;
  readonly loadSeconds: number;
  readonly busySecondsPredicted: number;
  readonly peakBytesPlanned: number;
  readonly peakBytesMeasured: number | null;
  readonly capacityBytes: number | null;
}

export interface PartitionRunRow extends SessionFigures {
  readonly series: string;
  readonly devices: number;
  readonly method: string;
  readonly repeat: number;
}

export interface PartitionTables {
  readonly runs: readonly PartitionRunRow[];
  readonly partitions: readonly PartitionRow[];
  readonly devices: readonly PartitionDeviceRow[];
}

export const partitionColumns: {
  readonly [name in keyof PartitionTables]: readonly (keyof PartitionTables[name][number])[];
} = {
  runs: [
    'series',
    'devices',
    'method',
    'repeat',
    'steps',
    'medianSeconds',
    'lowestSeconds',
    'highestSeconds',
    'medianBubble',
  ],
  partitions: [
    'series',
    'devices',
    'method',
    'microbatches',
    'schedule',
    'loadSeconds',
    'loadBoundSeconds',
    'gap',
    'imbalance',
    'transferBytes',
    'stepBoundSeconds',
    ...stepColumns,
    'methodSeconds',
  ],
  devices: [
    'series',
    'devices',
    'method',
    'device',
    'loadSeconds',
    'busySecondsPredicted',
    'peakBytesPlanned',
    'peakBytesMeasured',
    'capacityBytes',
    ...peakCategories,
  ],
};
