/** Measuring: steps instruction by instruction, from them times of kernels; and the constants of the machine. */

export { cacheFolder } from '../core/cache-folder.ts';
export { breakdownOf, type ProfileBreakdown } from './breakdown.ts';
export { MeasurementCache } from './cache.ts';
export { costsOfProfile, machineCosts, profileFor, withMeasuredLinks } from './costs.ts';
export { feedOf } from './feed.ts';
export { machineIdentity, plannerIdentity } from './identity.ts';
export { onOneDevice, type ProfileOptions, profileModel, profileModels, profileOf } from './kernels.ts';
export { type MeasureOptions, measureMachine } from './machine.ts';
export { PlanStore, type PlanStoreOptions } from './plan-store.ts';
export {
  type Feed,
  type InstructionTime,
  type RecordedSteps,
  type RecordedWindow,
  type RecordOptions,
  recordSteps,
  type Statistic,
  StepRecorder,
} from './record.ts';
export { isUndisturbed, leastDisturbed, type Timed, watchRunDelay } from './run-delay.ts';
export { speedTraces } from './speeds.ts';
export { type TrialOptions, timePlans } from './trials.ts';
