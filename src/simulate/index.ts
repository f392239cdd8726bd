/** Steps on paper: programs played with a cost model on devices that need not exist. */
export { type Fit, type FitOptions, fitPositive } from '../cost/fit-positive.ts';
export {
  type Parallelism,
  type TransformerMachine,
  type TransformerShape,
  type TransformerTimes,
  type TransformerWork,
  transformerTimes,
  transformerWork,
} from '../cost/transformer.ts';
export { type Action, type ActionKind, type ActionSource, action, actionsOf } from './actions.ts';
export type { Cluster, Medium, SimulatedDevice } from './cluster.ts';
export { instructionSeconds } from './cluster.ts';
export { type ClusterFile, readCluster } from './cluster-file.ts';
export { type CriticalPath, criticalPath, type PathKind, type PathSegment } from './critical-path.ts';
export { type IdleCause, type IdleReason, idleCauses, type RootKind, type Wait, whyIdle } from './idle.ts';
export type { Jitter } from './jitter.ts';
export { type MemoryOverTime, type MemorySample, memoryOverTime } from './memory.ts';
export { type PipelineOptions, pipelineProgram } from './pipeline.ts';
export { type Prediction, predict } from './predict.ts';
export {
  type SimulatedTimes,
  type SimulateOptions,
  type Simulation,
  simulate,
  type WaitKind,
} from './simulate.ts';
export { SpeedTrace } from './speed-trace.ts';
export { steadyStep } from './steady.ts';
export type { TimedAction, Timeline } from './timeline.ts';
export { type IterationOptions, transformerIteration } from './transformer-iteration.ts';
