/** What a search chooses among, and what it is told. */
import type { RecomputeMode } from '../../recompute/index.ts';
import type { Plan, ScheduleWord } from '../plan.ts';

export interface SearchOptions {
  /** Numbers of microbatches to try. Default: powers of two up to 32 and the batch, and that of the request. */
  readonly microbatches?: readonly number[];
  /**
   * Default: all names, and then `auto` for the cuts of the best plans, which it is made for one by one. Where `auto` is
   * named here, it is made for every cut, which takes its time.
   */
  readonly schedules?: readonly ScheduleWord[];
  /** Numbers of stages a device to try where a schedule takes several. Default 1, 2 and 4. */
  readonly stagesPerDevice?: readonly number[];
  /** Ways to cut. Default: all of `partitionWays`; `given` alone where the request's own partition is to be kept. */
  readonly partitions?: readonly (PartitionWay | 'given')[];
  /** What stages may compute again. Default: as the request has it, or where a memory is limited `optimal`. */
  readonly recompute?: RecomputeMode;
  /** Whether fewer devices than there are may be used. Default true. */
  readonly fewerDevices?: boolean;
  /** Plans that are compiled and simulated. Default 40. */
  readonly evaluations?: number;
  /** No further plan is begun after this time. Default 60. */
  readonly timeLimitSeconds?: number;
  /** Ends the search: with the best plan so far, or where none fits yet with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every plan that was simulated. */
  readonly onEvaluated?: (candidate: EvaluatedCandidate, count: number) => void;
  /** Real steps that decide between the plans predicted to be fastest. Default: none, and the prediction decides. */
  readonly trials?: Trials;
}

/** How a search tries plans, as `profile.timePlans` does it. */
export interface Trials {
  /** Plans that are tried, at most: the fastest by prediction, and of other numbers of microbatches. At least two. */
  readonly plans: number;
  /** What a step of each plan takes, in their order; undefined, or no positive time, for a plan that could not be tried. */
  readonly time: (plans: readonly Plan[]) => Promise<readonly (StepTime | undefined)[]>;
}

/** What steps took one behind another, as those of a training follow each other. */
export interface StepTime {
  /** The median of `turns`, seconds a step. */
  readonly stepSeconds: number;
  /** Median distance from it, seconds. */
  readonly mad: number;
  readonly turns: number;
}

/**
 * How a candidate's partition was found. `chain-*`: contiguous in the graph's own order, exact for the balance named.
 * `contiguous`: convex stages in any order. `anywhere`: parts on any device, made into as many convex stages as that takes. The rest are the rules of others (docs/partition.md).
 */
export const partitionWays = [
  'chain-time',
  'chain-memory',
  'contiguous',
  'anywhere',
  'pipedream',
  'blocks',
  'parameters',
  'equal',
] as const;
export type PartitionWay = (typeof partitionWays)[number];

/** A combination, with what it promises. */
export interface Candidate {
  readonly microbatches: number;
  readonly partition: PartitionWay | 'given';
  readonly schedule: ScheduleWord;
  readonly recompute: RecomputeMode;
  readonly stages: number;
  readonly stagesPerDevice: number;
  /** Device of each stage. */
  readonly placement: readonly number[];
  /** On paper, seconds a step. */
  readonly estimatedSeconds: number;
  /** On paper, bytes of each device. */
  readonly estimatedBytes: readonly number[];
}

/** A combination that was compiled and simulated. */
export interface EvaluatedCandidate extends Candidate {
  readonly stepSeconds: number;
  readonly bubbleFraction: number;
  readonly peakBytes: readonly number[];
  readonly fits: boolean;
}

/** A candidate whose steps were run. */
export interface Trial extends StepTime {
  readonly candidate: EvaluatedCandidate;
}
