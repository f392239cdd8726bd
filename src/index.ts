/**
 * Partita's public face: re-exports only.
 *
 *     import { Graph, losses, makeLearningRate, makeOptimizer, nn, plan, Session, train } from 'partita';
 */
import './core/globals.ts';

export { backward, backwardWithin, gradients } from './autodiff/backward.ts';
export { findBlas } from './backends/blas/library.ts';
export {
  DeviceError,
  FormatError,
  GraphError,
  PartitaError,
  PlanError,
  UsageError,
} from './core/errors.ts';
export { formatBytes, formatCount, formatPercent, formatSeconds, wrap } from './core/format.ts';
export type { DType, HostTensor, Shape, TensorType } from './core/types.ts';
export { measuredCosts } from './cost/machine.ts';
export { analyticCosts, type CostModel } from './cost/model.ts';
export { mergeProfiles, type Profile, profiledCosts, readProfile, writeProfile } from './cost/profile.ts';
export { type ExportedModel, type ExportOptions, exportModel, exportOnnx } from './formats/onnx/export.ts';
export { type ImportOptions, importModel, type OnnxImporter, prepareImport } from './formats/onnx/importer.ts';
export type { OnnxModel } from './formats/onnx/model.ts';
export { readOnnx } from './formats/onnx/read.ts';
export { readSafetensors, writeSafetensors } from './formats/safetensors.ts';
export { evaluate } from './graph/evaluate.ts';
export { Graph, type Node, Tensor } from './graph/graph.ts';
export type { OpRecord } from './graph/op-record.ts';
export { printGraph, toDot } from './graph/print.ts';
export { verify } from './graph/verify.ts';
export * as init from './init/index.ts';
export * as losses from './losses/index.ts';
export { type PeakHolder, peakHolders } from './memory/footprint.ts';
export * as nn from './nn/index.ts';
export { ops } from './ops/public.ts';
export type { ClipConfig } from './optim/clip.ts';
export type { Model, ModelGraph } from './optim/model.ts';
export * as optim from './optim/optimizer.ts';
export { makeOptimizer, type Optimizer, type OptimizerConfig } from './optim/optimizer.ts';
export { buildTrainingGraph } from './optim/training-graph.ts';
export * as partition from './partition/index.ts';
export * as plan from './plan/index.ts';
export { type LeastMemory, type LeastMemoryOptions, leastMemory } from './plan/least-memory.ts';
export { draftPlan, makePlan, type Plan, type PlanRequest, type ProgramSpec } from './plan/plan.ts';
export {
  type Candidate,
  type EvaluatedCandidate,
  type SearchOptions,
  type SearchResult,
  searchPlan,
} from './plan/search.ts';
export * as profile from './profile/index.ts';
export { printProgram } from './program/print.ts';
export { validateProgram } from './program/validate.ts';
export * as recompute from './recompute/index.ts';
export { batchStudyPage } from './report/batch-study/page.ts';
export { type Chart, drawChart } from './report/chart.ts';
export { figuresOf, meanOfSteps } from './report/figures.ts';
export { comparisonSummary, comparisonTable } from './report/gradient-comparison.ts';
export { graphSvg, type SvgOptions } from './report/graph/svg.ts';
export { type GraphValues, graphValues, type ValueObjective } from './report/graph/values.ts';
export { type GraphView, type GraphViewOptions, graphView } from './report/graph/view.ts';
export { memoryStudyPage } from './report/memory-study.ts';
export { partitionStudyPage } from './report/partition-study.ts';
export { printFigures, printPlan } from './report/plan.ts';
export { scalingStudyPage } from './report/scaling-study.ts';
export { scheduleStudyPage } from './report/schedule-study.ts';
export { stepTrace } from './report/step-trace.ts';
export { table } from './report/table.ts';
export * as schedule from './schedule/index.ts';
export { makeSchedule, type Schedule, type ScheduleName } from './schedule/index.ts';
export * as simulate from './simulate/index.ts';
export * as study from './study/index.ts';
export type { BestEvaluation, Checkpoint } from './train/checkpoint/checkpoint.ts';
export { readCheckpoint, type StoredCheckpoint, writeCheckpoint } from './train/checkpoint/folder.ts';
export type { CheckpointOptions } from './train/checkpoint/resume.ts';
export {
  type CompareOptions,
  compareGradients,
  compareMicrobatches,
  compareTensors,
  type GradientComparison,
  type MicrobatchComparison,
  type TensorDifference,
} from './train/compare-gradients.ts';
export { openDataset, openFile, openNpy } from './train/data/open.ts';
export { type BatchSource, epochsOf } from './train/data/source.ts';
export { holdOut } from './train/data/split.ts';
export {
  type DerivativeOptions,
  grad,
  gradientPenalty,
  hessian,
  hessianVectorProduct as hvp,
  perExampleGradients,
  valueAndGrad,
} from './train/derivatives.ts';
export { makeEvaluator } from './train/evaluate.ts';
export * as experiment from './train/experiment/index.ts';
export {
  cyclesMomentum,
  type LearningRate,
  type LearningRateConfig,
  makeLearningRate,
  makeMomentum,
} from './train/learning-rate.ts';
export { type GradientNoise, gradientNoise, type NoiseOptions } from './train/noise.ts';
export { estimateFromPair, type NoisePair, type NoiseStatistics } from './train/noise-statistics.ts';
export {
  type NoiseAverageOptions,
  type NoiseRecord,
  NoiseTracker,
  noiseOfStep,
  type StepNoise,
} from './train/noise-tracker.ts';
export {
  type RunOptions,
  type RunResult,
  Session,
  type SessionOptions,
  type StagedBatch,
  type StagedRunOptions,
  type StageOptions,
} from './train/session.ts';
export { programFor, type StepRecord, type TrainOptions, train } from './train/trainer.ts';
