/** Studies: sweeps of an experiment, run and compared. */
export { type BatchStudyDesign, designBatchStudy } from './batch/design.ts';
export { type BatchStudyOptions, defaultOptions, type RateRule, type StudyPart } from './batch/options.ts';
export type { Recorder } from './batch/recorder.ts';
export { type BatchStudy, runBatchStudy } from './batch/study.ts';
export type { Claim } from './batch/summary.ts';
export type { BatchTables } from './batch/tables.ts';
export { type LargestBatch, largestBatch } from './capacity.ts';
export { fileJournal, type Journal, memoryJournal } from './journal.ts';
export {
  designMemoryStudy,
  type MemoryStudy,
  type MemoryStudyOptions,
  runMemoryStudy,
} from './memory/study.ts';
export {
  designPartitionStudy,
  type PartitionStudy,
  type PartitionStudyOptions,
  runPartitionStudy,
} from './partition/study.ts';
export { designScalingStudy, runScalingStudy, type ScalingStudy, type ScalingStudyOptions } from './scaling/study.ts';
export {
  designScheduleStudy,
  runScheduleStudy,
  type ScheduleStudy,
  type ScheduleStudyOptions,
} from './schedule/study.ts';
export { fitTradeOff, type TradeOff } from './steps-to-target.ts';
export { type Combination, combinationsOf, expandSweep } from './sweep.ts';
