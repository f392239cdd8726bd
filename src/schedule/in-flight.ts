import { requireKinds } from '../core/options.ts';
import { requireSchedule, type Schedule } from './schedule.ts';
import { givesWeightGradient, type Task } from './task.ts';
import { TaskIndex } from './task-index.ts';

/** A task with the microbatches held right after it began (F) or ended (W, BW). */
export interface InFlightPoint {
  readonly device: number;
  readonly index: number;
  readonly task: Task;
  /** Microbatches that the task's stage holds. */
  readonly ofStage: number;
  /** Microbatches that the device holds, summed over its stages. */
  readonly ofDevice: number;
}

/**
 * A microbatch is in flight on a stage from its F to the last reader of its saved activations: BW, or W where the
 * backward is split. An F without a backward (evaluation) saves nothing and does not count.
 */
export function inFlightPoints(schedule: Schedule): InFlightPoint[] {
  const points: InFlightPoint[] = [];
  walkInFlight(schedule, (device, index, task, ofStage, ofDevice) => {
    points.push({ device, index, task, ofStage, ofDevice });
  });
  return points;
}

/** The same points one after another. */
export function walkInFlight(
  schedule: Schedule,
  visit: (device: number, index: number, t: Task, ofStage: number, ofDevice: number) => void,
  tasks = new TaskIndex(schedule),
): void {
  requireKinds('walkInFlight', { visit: ['function', visit] });
  const saves = ({ stage, microbatch }: Task): boolean =>
    tasks.placeOf('BW', stage, microbatch) >= 0 || tasks.placeOf('W', stage, microbatch) >= 0;
  schedule.rows.forEach((row, device) => {
    const held = new Map<number, number>();
    let ofDevice = 0;
    row.forEach((t, index) => {
      const change = givesWeightGradient(t) ? -1 : t.kind === 'F' && saves(t) ? 1 : 0;
      const ofStage = (held.get(t.stage) ?? 0) + change;
      if (change !== 0) held.set(t.stage, ofStage);
      ofDevice += change;
      visit(device, index, t, ofStage, ofDevice);
    });
  });
}

/**
 * The most that each device ever holds, in microbatches of one stage: one from F to its backward, and `share` of one from a B
 * of its own to its W. With a share of 1 the same as `peakInFlightOfDevices`.
 */
export function peakHeldOfDevices(schedule: Schedule, share: number, tasks = new TaskIndex(schedule)): number[] {
  const peaks = new Array<number>(schedule.devices).fill(0);
  let [current, split] = [-1, 0];
  walkInFlight(
    schedule,
    (device, _index, { kind, stage, microbatch }, _ofStage, ofDevice) => {
      if (device !== current) [current, split] = [device, 0];
      // Counts, not a running sum: shares added and taken again would leave roundings behind.
      if (kind === 'B' && tasks.placeOf('W', stage, microbatch) >= 0) split++;
      else if (kind === 'W') split--;
      peaks[device] = Math.max(peaks[device]!, ofDevice - split + share * split);
    },
    tasks,
  );
  return peaks;
}

/** The most microbatches each stage ever holds. */
export function peakInFlight(schedule: Schedule): number[] {
  requireSchedule(schedule);
  const peaks = new Array<number>(schedule.stages).fill(0);
  walkInFlight(schedule, (_device, _index, { stage }, ofStage) => {
    peaks[stage] = Math.max(peaks[stage]!, ofStage);
  });
  return peaks;
}

/** The most microbatches each device ever holds, one for every stage that holds it. */
export function peakInFlightOfDevices(schedule: Schedule, tasks?: TaskIndex): number[] {
  requireSchedule(schedule);
  const peaks = new Array<number>(schedule.devices).fill(0);
  walkInFlight(
    schedule,
    (device, _index, _task, _ofStage, ofDevice) => {
      peaks[device] = Math.max(peaks[device]!, ofDevice);
    },
    tasks,
  );
  return peaks;
}
