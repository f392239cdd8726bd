import { type Rule, scheduleBy } from './placed.ts';
import type { Schedule, ScheduleShape } from './schedule.ts';
import type { Task } from './task.ts';

/** A rule that orders each stage by itself: the tasks of stage s of p, for M microbatches. */
export type StageRule = (s: number, p: number, M: number) => Task[];

/** The schedule of such a rule under any placement. Devices that own several stages interleave their rows. */
export const fromStageRule = (name: string, shape: ScheduleShape, rule: StageRule): Schedule =>
  scheduleBy(stageRule(name, rule), shape);

/** Every stage by itself: one a device, whatever shares it. */
export const stageRule = (name: string, rule: StageRule): Rule => ({
  name,
  placement: 'straight',
  stagesPerDevice: 1,
  fixed: true,
  rows: (stages, _devices, M) => ({ rows: Array.from({ length: stages }, (_, s) => rule(s, stages, M)) }),
});
