/** The order of tasks per device: named schedules, their clock grid, their text form and their validator. */
export type { AutoSchedule, AutoScheduleOptions, NamedAgainst, ScheduleMemory, ScheduleObjective } from './auto.ts';
export { autoSchedule } from './auto.ts';
export { bubbleFraction, closedFormBubble } from './bubble.ts';
export type { Clock, ClockOptions, Durations, TimedTask, Times, Waiting } from './clock.ts';
export { clockUntilStuck, timesUntilStuck } from './clock.ts';
export { readScheduleCsv, writeScheduleCsv } from './csv.ts';
export type { StageEdge } from './dependencies.ts';
export { chainEdges, requirementsOf } from './dependencies.ts';
export { forwardOnly } from './forward-only.ts';
export type { GridOptions } from './grid.ts';
export { printGrid } from './grid.ts';
export type { InFlightPoint } from './in-flight.ts';
export { inFlightPoints, peakHeldOfDevices, peakInFlight, peakInFlightOfDevices, walkInFlight } from './in-flight.ts';
export type { Layout, NamedSchedule, ScheduleName } from './named.ts';
export {
  deviceInFlightBounds,
  inFlightBounds,
  isScheduleName,
  makeSchedule,
  namedSchedules,
  scheduleNames,
  schedulePlacement,
} from './named.ts';
export { type PlacementRule, placementBy, placementOver } from './placement.ts';
export { playClock, playTimes } from './play.ts';
export type { ScheduleProblemCode } from './problem.ts';
export type { Schedule, ScheduleShape } from './schedule.ts';
export type { DeviceFigures, StageFigures } from './stage-figures.ts';
export { stageFigures } from './stage-figures.ts';
export type { StageRule } from './stage-rows.ts';
export { fromStageRule } from './stage-rows.ts';
export type { Task, TaskKind } from './task.ts';
export { givesActivationGradient, givesWeightGradient, parseTaskKey, sameTask, task, taskKey } from './task.ts';
export type { ValidateOptions } from './validate.ts';
export { validateSchedule } from './validate.ts';
