/** What a plan is asked for. */
import { analyticCosts, type CostModel } from '../cost/model.ts';
import type { FusionMode } from '../fusion/modes.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { BackendName, SimdVariant } from '../lower/kernel-call.ts';
import type { BatchNormMode } from '../optim/batch-norm-modes.ts';
import type { ClipConfig } from '../optim/clip.ts';
import type { Model } from '../optim/model.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { L2Penalty } from '../optim/training-graph.ts';
import type { PartitionSpec } from '../partition/index.ts';
import type { RecomputeChoice, RecomputeMode } from '../recompute/index.ts';
import type { Durations, Schedule, ScheduleName } from '../schedule/index.ts';
import type { Cluster } from '../simulate/cluster.ts';

export interface PlannedDevice {
  readonly backend: BackendName;
  /** Capacity in bytes; null: as much as needed. */
  readonly memory: number | null;
  /** Relative speed, 1 = this machine's core. */
  readonly speed: number;
  /** Only simulated: its memory may be larger than what a WebAssembly memory can address. */
  readonly simulated?: boolean;
}

/** What a program of a plan does with a batch. */
export interface ProgramSpec {
  readonly batch: number;
  /** `train` updates the parameters, `gradients` computes them, `forward` only runs the model. */
  readonly mode: 'train' | 'gradients' | 'forward';
  /** Results beyond the loss. */
  readonly outputs?: boolean;
  /** The gradient's squared norm, parameter by parameter; training reports `gradNorm` from it. */
  readonly gradientNorm?: boolean;
  /**
   * The squared norms that the gradient noise is estimated from, microbatch by microbatch; needs `gradientNorm`, and two
   * microbatches or `invariant`.
   */
  readonly gradientNoise?: boolean;
}

/** `auto` is made for the plan's own costs and memories by list scheduling. */
export type ScheduleWord = ScheduleName | 'auto';

/** A word, or a schedule from a file. */
export type ScheduleChoice = ScheduleWord | Schedule;

export interface PlanRequest {
  readonly model: Model;
  /** The first program decides partition and schedule. */
  readonly programs: Readonly<Record<string, ProgramSpec>>;
  readonly microbatches: number;
  readonly devices: readonly PlannedDevice[];
  /** Default `1f1b`; `gpipe` where the model normalises by the whole batch. */
  readonly schedule?: ScheduleChoice;
  readonly partition: PartitionSpec;
  /** Device of each stage; default: where the schedule wants them (`schedulePlacement`), or a file has them. */
  readonly placement?: readonly number[];
  /** Stages that each device owns where no placement says so. Default: as the schedule has them, most one. */
  readonly stagesPerDevice?: number;
  /** Schedules of programs that were decided before: those of a stored plan, but for the first program's. */
  readonly decided?: Readonly<Record<string, Schedule>>;
  /** Times of the schedule's stages on a device of speed 1, by which messages get their places. Default: by `costs`. */
  readonly stageSeconds?: readonly Durations[];
  /** Without one a program that trains stops at the gradients: its cost can be planned, and `train` refuses it. */
  readonly optimizer?: Optimizer;
  /** Of the programs that train; gradients that are asked for are not clipped. */
  readonly clip?: ClipConfig;
  readonly l2?: L2Penalty;
  /**
   * What the backward pass computes again instead of having it kept: by a rule, or stage by stage; default `none`. Changes
   * no bit.
   */
  readonly recompute?: RecomputeMode | RecomputeChoice;
  /** What batch normalisation takes its statistics of; default `micro`. */
  readonly batchNorm?: BatchNormMode;
  readonly inputGradients?: boolean;
  /** Which build of the kernels WebAssembly devices run; default `strict`. `relaxed` has bits of its own. */
  readonly simd?: SimdVariant;
  /** What devices with the backend `blas` call for products (`findBlas`). */
  readonly blas?: BlasLibrary | undefined;
  /**
   * The same bits for every number of microbatches: each sample is computed by itself, and sums over the batch are one
   * binary tree over the samples (`program/pairwise.ts`). Slower, and log₂ of the batch partial sums a gradient.
   */
  readonly invariant?: boolean;
  /** Elementwise nodes that follow each other run as one pass over memory (`fusion/`); default `off`. Changes no bit. */
  readonly fusion?: FusionMode;
  /** `plain`: without what shortens lifetimes (docs/memory-lifetimes.md), to compare with. Default `short`. */
  readonly lifetimes?: 'short' | 'plain';
  /** What computing and sending cost, for the partition and the prediction. Default: rooflines of a WebAssembly core. */
  readonly costs?: CostModel;
  /**
   * Where steps are predicted: these devices, one for each of `devices`, with what their links share. Default: `devices` with
   * `costs`, and links that share nothing. Partitions and schedules are made by `devices` and `costs` all the same.
   */
  readonly cluster?: Cluster;
}

export interface ScheduledRequest extends PlanRequest {
  readonly schedule: ScheduleChoice;
}

/** Where the steps of a request's plans are predicted. */
export const clusterOf = ({ devices, costs = analyticCosts(), cluster }: PlanRequest): Cluster =>
  cluster ?? { devices, costs };
