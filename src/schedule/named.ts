import { nearest, UsageError } from '../core/errors.ts';
import { gpipe } from './gpipe.ts';
import { oneFOneB } from './one-f-one-b.ts';
import { type PlacementRule, placementBy } from './placement.ts';
import type { Schedule, ScheduleShape } from './schedule.ts';

export type ScheduleName = 'gpipe' | '1f1b';

/** All that is known of a schedule by its name. Adding one is a rule's file and a record here. */
export interface NamedSchedule {
  readonly build: (shape: ScheduleShape) => Schedule;
  /** Where the stages lie unless a placement is written by hand, and how many of them each device owns by default. */
  readonly placement: PlacementRule;
  readonly stagesPerDevice: number;
  /** The most microbatches that stage s of p ever holds of M. */
  readonly inFlight: (s: number, p: number, M: number) => number;
  /** Idle share of the devices' time for p equal stages on p devices, whatever F, B and W take (links free). */
  readonly bubble: (p: number, M: number) => number;
}

/** The pipeline fills and drains once a step: p − 1 slots of F+B+W are lost beside M used. */
const fillAndDrain = (p: number, M: number): number => (p - 1) / (M + p - 1);

export const namedSchedules: { readonly [name in ScheduleName]: NamedSchedule } = {
  gpipe: { build: gpipe, placement: 'straight', stagesPerDevice: 1, inFlight: (_s, _p, M) => M, bubble: fillAndDrain },
  '1f1b': {
    build: oneFOneB,
    placement: 'straight',
    stagesPerDevice: 1,
    inFlight: (s, p, M) => Math.min(p - s, M),
    bubble: fillAndDrain,
  },
};

export const scheduleNames = Object.keys(namedSchedules) as ScheduleName[];

export const isScheduleName = (name: string): name is ScheduleName => Object.hasOwn(namedSchedules, name);

export function makeSchedule(name: ScheduleName, shape: ScheduleShape): Schedule {
  return recordOf(name).build(shape);
}

/** Microbatches that each stage may hold at once: what `validateSchedule` takes as `inFlightBound`. */
export const inFlightBounds = (name: ScheduleName, stages: number, microbatches: number): number[] =>
  Array.from({ length: stages }, (_, s) => recordOf(name).inFlight(s, stages, microbatches));

/** Device of each stage where every device owns `stagesPerDevice` (default: the schedule's) of them. */
export function schedulePlacement(name: ScheduleName, devices: number, stagesPerDevice?: number): number[] {
  const record = recordOf(name);
  return placementBy(record.placement, devices, stagesPerDevice ?? record.stagesPerDevice);
}

/** Names come from experiment files too, so the type alone is no guard. */
function recordOf(name: ScheduleName): NamedSchedule {
  if (!isScheduleName(name)) throw unknownSchedule(name);
  return namedSchedules[name];
}

function unknownSchedule(name: string): UsageError {
  const near = nearest(name, scheduleNames);
  return new UsageError('unknown-schedule', `there is no schedule "${name}"; there are ${scheduleNames.join(', ')}`, {
    fields: { schedule: name, known: scheduleNames },
    remedy: near === undefined ? `Use one of ${scheduleNames.join(', ')}.` : `Did you mean "${near}"?`,
  });
}
