import { type PeakCategory, peakCategories } from '../../memory/categories.ts';
import { type StepFigures, stepColumns } from '../pipeline.ts';
import type { SessionFigures } from '../turns.ts';

/** What tells one layout of this study from another. */
export interface ScheduleKey {
  /** What else is swept; empty where nothing is. */
  readonly series: string;
  readonly schedule: string;
  readonly stagesPerDevice: number;
  readonly microbatches: number;
}

export interface ScheduleRow extends ScheduleKey, StepFigures {
  readonly devices: number;
  readonly stages: number;
  /**
   * Of equal stages that wait for nothing but each other; null where the schedule has no closed form or the devices are not
   * all used.
   */
  readonly bubbleClosedForm: number | null;
  /** By the schedule's clock: stages that all take the mean of these stages' times, free links. */
  readonly bubbleEqualStages: number;
  /** By the schedule's clock: these stages' own times and links. */
  readonly bubbleOwnStages: number;
  /** Microbatches that a device holds at most, summed over its stages, on the device that holds most. */
  readonly peakInFlight: number;
  /** The schedule's own bound for it; null for schedules without one. */
  readonly inFlightBound: number | null;
  /** Nothing in this series has both a shorter predicted step and a smaller peak. */
  readonly pareto: boolean;
}

export interface ScheduleDeviceRow extends ScheduleKey, Readonly<Record<PeakCategory, number>> {
  readonly device: number;
  readonly busySecondsPredicted: number;
  readonly peakInFlight: number;
  readonly peakBytesPlanned: number;
  readonly peakBytesMeasured: number | null;
  readonly capacityBytes: number | null;
}

/** A task of a schedule's picture. */
export interface TimelineRow extends ScheduleKey {
  readonly device: number;
  readonly kind: string;
  readonly stage: number;
  readonly microbatch: number;
  readonly startSeconds: number;
  readonly endSeconds: number;
}

export interface ScheduleRunRow extends ScheduleKey, SessionFigures {
  readonly repeat: number;
}

export interface ScheduleTables {
  readonly runs: readonly ScheduleRunRow[];
  readonly schedules: readonly ScheduleRow[];
  readonly devices: readonly ScheduleDeviceRow[];
  readonly timelines: readonly TimelineRow[];
}

const key = ['series', 'schedule', 'stagesPerDevice', 'microbatches'] as const satisfies readonly (keyof ScheduleKey)[];

export const scheduleColumns: {
  readonly [name in keyof ScheduleTables]: readonly (keyof ScheduleTables[name][number])[];
} = {
  runs: [...key, 'repeat', 'steps', 'medianSeconds', 'lowestSeconds', 'highestSeconds', 'medianBubble'],
  schedules: [
    ...key,
    'devices',
    'stages',
    'bubbleClosedForm',
    'bubbleEqualStages',
    'bubbleOwnStages',
    'peakInFlight',
    'inFlightBound',
    ...stepColumns,
    'pareto',
  ],
  devices: [
    ...key,
    'device',
    'busySecondsPredicted',
    'peakInFlight',
    'peakBytesPlanned',
    'peakBytesMeasured',
    'capacityBytes',
    ...peakCategories,
  ],
  timelines: [...key, 'device', 'kind', 'stage', 'microbatch', 'startSeconds', 'endSeconds'],
};
