import type { ClockOptions } from './clock.ts';
import { peakInFlightOfDevices } from './in-flight.ts';
import { playTimes } from './play.ts';
import type { Schedule } from './schedule.ts';
import { TaskIndex } from './task-index.ts';

export interface DeviceFigures {
  readonly busy: number;
  /** Until the last device ends. */
  readonly idle: number;
  /** Microbatches held at once, one for every stage that holds it. */
  readonly peakInFlight: number;
}

/** What the clock says of a schedule, in the unit of the durations. */
export interface StageFigures {
  readonly makespan: number;
  /**
   * 1 − work/T of the device that works most, T the longest that any device takes from its own first start to its own
   * last end: the bubble of steps that follow each other without a barrier (Qi et al., 2024). 0 where nothing takes time.
   */
  readonly bubbleFraction: number;
  /** The same with the makespan as T: of steps that begin and end together. */
  readonly bubbleFractionMakespan: number;
  readonly devices: readonly DeviceFigures[];
}

/** Plays the schedule; throws where it cannot finish. */
export function stageFigures(schedule: Schedule, options: ClockOptions = {}): StageFigures {
  const index = new TaskIndex(schedule);
  const { rowStarts, starts, ends, makespan } = playTimes(schedule, options, index);
  const held = peakInFlightOfDevices(schedule, index);
  let span = 0;
  let mostBusy = 0;
  const devices = schedule.rows.map((row, d): DeviceFigures => {
    const first = rowStarts[d]!;
    let busy = 0;
    for (let place = first; place < first + row.length; place++) busy += ends[place]! - starts[place]!;
    if (row.length > 0) span = Math.max(span, ends[first + row.length - 1]! - starts[first]!);
    mostBusy = Math.max(mostBusy, busy);
    return { busy, idle: makespan - busy, peakInFlight: held[d]! };
  });
  const bubble = (time: number): number => (time > 0 ? 1 - mostBusy / time : 0);
  return { makespan, bubbleFraction: bubble(span), bubbleFractionMakespan: bubble(makespan), devices };
}
