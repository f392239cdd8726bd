/** Plans: made from a request, read as numbers, stored as JSON. */

export { type Prediction, predict } from '../simulate/predict.ts';
export { type Binding, bindingOf, type CategoryShare } from './binding.ts';
export { type Content, contentOf } from './content.ts';
export { type LeastMemory, type LeastMemoryOptions, leastMemory } from './least-memory.ts';
export {
  draftPlan,
  makePlan,
  type Plan,
  type PlannedDevice,
  type PlanRequest,
  type ProgramSpec,
  type Shortage,
  shortages,
} from './plan.ts';
export { checkSamePlan, type PlanFile, planFileOf, readPlanFile, withDecisions, writePlanFile } from './plan-file.ts';
export { type CurvePoint, recomputeCurve } from './recompute-curve.ts';
export {
  type Candidate,
  type EvaluatedCandidate,
  type PartitionWay,
  partitionWays,
  type SearchOptions,
  type SearchResult,
  type StepTime,
  searchPlan,
  type Trial,
  type Trials,
} from './search.ts';
export { steadyStepOf } from './steady-step.ts';
export { planOfStored, type StoredPlan, storedPlanOf } from './stored-plan.ts';
export { type DeviceSummary, type PlanSummary, type StageSummary, summarizePlan } from './summary.ts';
