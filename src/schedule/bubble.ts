import type { Clock } from './clock.ts';
import { namedSchedules, type ScheduleName } from './named.ts';

/** Idle share of p devices with equal stages, from the closed form: (p−1)/(M+p−1) for gpipe and 1f1b. */
export const closedFormBubble = (name: ScheduleName, stages: number, microbatches: number): number =>
  namedSchedules[name].bubble(stages, microbatches);

/** The same measured: 1 − Σ busy / (devices · makespan). Surplus devices count as idle. */
export function bubbleFraction(clock: Clock): number {
  const busy = clock.rows.flat().reduce((sum, t) => sum + (t.end - t.start), 0);
  return clock.makespan === 0 ? 0 : 1 - busy / (clock.rows.length * clock.makespan);
}
