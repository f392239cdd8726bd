import type { Schedule, ScheduleShape } from './schedule.ts';
import { fromStageRule, type StageRule } from './stage-rows.ts';
import { task } from './task.ts';

/**
 * Evaluation: forwards alone; nothing is saved for a backward.
 *
 *     device 0  F0 F1 F2 F3 .. ..
 *     device 1  .. F0 F1 F2 F3 ..
 *     device 2  .. .. F0 F1 F2 F3
 */
const forwardRow: StageRule = (s, _p, M) => Array.from({ length: M }, (_, m) => task('F', s, m));

export const forwardOnly = (shape: ScheduleShape): Schedule => fromStageRule('forward-only', shape, forwardRow);
