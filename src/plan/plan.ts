import type { HostTensor } from '../core/types.ts';
import type { Graph } from '../graph/graph.ts';
import type { DeviceMemoryPlan } from '../memory/device-memory.ts';
import type { Partition } from '../partition/partition.ts';
import type { Lifetimes } from '../program/context.ts';
import type { StepProgram } from '../program/instruction.ts';
import type { RecomputeChoice } from '../recompute/index.ts';
import type { Durations, Schedule, StageEdge } from '../schedule/index.ts';
import type { Prediction } from '../simulate/predict.ts';
import { draftPlan } from './draft.ts';
import { refuseWhatDoesNotFit } from './refusal.ts';
import type { PlanRequest, ScheduledRequest } from './request.ts';

export { PlanCache } from './cache.ts';
export { capacityOf } from './capacity.ts';
export { draftPlan, laidOutThoroughly, roughPlan } from './draft.ts';
export { graphsOf } from './graphs.ts';
export { refuseWhatDoesNotFit } from './refusal.ts';
export {
  clusterOf,
  type PlannedDevice,
  type PlanRequest,
  type ProgramSpec,
  type ScheduleChoice,
  type ScheduledRequest,
  type ScheduleWord,
} from './request.ts';
export { type Shortage, shortages } from './shortage.ts';

/** Partition, schedule, programs and memory of a training step, checked against each other and against the devices. */
export interface Plan {
  /** With the schedule that was chosen where none was asked for. */
  readonly request: ScheduledRequest;
  readonly partition: Partition;
  readonly placement: readonly number[];
  /** Devices that own no stage. */
  readonly surplus: readonly number[];
  readonly schedules: Readonly<Record<string, Schedule>>;
  readonly programs: Readonly<Record<string, StepProgram>>;
  /** One training graph a program, at its largest chunk, with what is computed again; nothing in it is fused yet. */
  readonly graphs: Readonly<Record<string, Graph>>;
  /** What each stage of the schedule computes again. */
  readonly recompute: RecomputeChoice;
  /** How the programs' values live on each device. */
  readonly lifetimes: readonly Lifetimes[];
  readonly memory: readonly DeviceMemoryPlan[];
  readonly constants: ReadonlyMap<string, HostTensor>;
  readonly stageEdges: readonly StageEdge[];
  /** Of one microbatch on a device of speed 1: what the places for messages were made by. */
  readonly stageSeconds: readonly Durations[];
  readonly prediction: Prediction;
}

/** Makes a plan. Throws PlanError where a device's memory does not suffice, before anything has started. */
export function makePlan(request: PlanRequest): Plan {
  return refuseWhatDoesNotFit(draftPlan(request));
}
