import type { Schedule } from './schedule.ts';
import { givesWeightGradient, type Task, taskKey } from './task.ts';

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
  const saved = new Set(schedule.rows.flat().filter(givesWeightGradient).map(slot));
  return schedule.rows.flatMap((row, device) => {
    const held = new Map<number, number>();
    let ofDevice = 0;
    return row.map((t, index) => {
      const change = t.kind === 'F' && saved.has(slot(t)) ? 1 : givesWeightGradient(t) ? -1 : 0;
      const ofStage = (held.get(t.stage) ?? 0) + change;
      held.set(t.stage, ofStage);
      ofDevice += change;
      return { device, index, task: t, ofStage, ofDevice };
    });
  });
}

const slot = (t: Task): string => taskKey({ ...t, kind: 'F' });

/** The most microbatches each stage ever holds. */
export function peakInFlight(schedule: Schedule): number[] {
  const peaks = new Array<number>(schedule.stages).fill(0);
  for (const p of inFlightPoints(schedule)) peaks[p.task.stage] = Math.max(peaks[p.task.stage]!, p.ofStage);
  return peaks;
}

/** The most microbatches each device ever holds, one for every stage that holds it. */
export function peakInFlightOfDevices(schedule: Schedule): number[] {
  const peaks = new Array<number>(schedule.devices).fill(0);
  for (const p of inFlightPoints(schedule)) peaks[p.device] = Math.max(peaks[p.device]!, p.ofDevice);
  return peaks;
}
