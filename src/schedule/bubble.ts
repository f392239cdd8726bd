import { checkOptions, requireArgument, requireKinds } from '../core/options.ts';
import type { Clock, Durations } from './clock.ts';
import { recordOf, type ScheduleName } from './named.ts';

/**
 * Idle share of p devices with equal stages and free links, until the last one ends: (p−1)/(M+p−1) for gpipe and 1f1b.
 * Null where no closed form is known; schedules that split the backward have one only for given durations of a stage.
 */
export function closedFormBubble(
  name: ScheduleName,
  devices: number,
  microbatches: number,
  options: { stagesPerDevice?: number; durations?: Durations } = {},
): number | null {
  const what = 'closedFormBubble';
  const { bubble, stagesPerDevice } = recordOf(name);
  requireKinds(what, { devices: ['count', devices], microbatches: ['count', microbatches] });
  checkOptions(what, options, { stagesPerDevice: 'count', durations: 'record' });
  return bubble({ p: devices, v: options.stagesPerDevice ?? stagesPerDevice, M: microbatches }, options.durations);
}

/** The same measured: 1 − Σ busy / (devices · makespan). Surplus devices count as idle. */
export function bubbleFraction(clock: Clock): number {
  requireArgument(
    'bubbleFraction',
    Array.isArray(clock?.rows),
    'a clock',
    clock,
    'bubbleFraction(playClock(schedule))',
  );
  const { rows, makespan } = clock;
  let busy = 0;
  for (const row of rows) for (const { start, end } of row) busy += end - start;
  return makespan === 0 ? 0 : 1 - busy / (rows.length * makespan);
}
