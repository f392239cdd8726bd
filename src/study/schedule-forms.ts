import { closedFormBubble } from '../schedule/bubble.ts';
import { type Durations, isScheduleName, type Schedule, schedulePlacement } from '../schedule/index.ts';

/**
 * Idle share by the schedule's closed form, for equal stages on devices that are all used as the schedule itself places them;
 * null where there is none.
 */
export function idealBubble(schedule: Schedule, devices: number, durations: Durations): number | null {
  const { name, stages, microbatches, placement } = schedule;
  if (!isScheduleName(name) || stages % devices !== 0) return null;
  const stagesPerDevice = stages / devices;
  const own = schedulePlacement(name, devices, stagesPerDevice);
  if (own.length !== stages || own.some((d, s) => d !== placement[s])) return null;
  return closedFormBubble(name, devices, microbatches, { stagesPerDevice, durations });
}
