/**
 * Which stage computes what, as plain data. Only forward nodes are assigned; their derivatives, updates and parameters
 * follow them (`stageMap`). Every edge between forward nodes leads to the same or a higher stage.
 */
export interface Partition {
  /** Stages 0 to `stages` − 1, none empty. */
  readonly stages: number;
  /** Stage by name of the forward node. */
  readonly assignment: Readonly<Record<string, number>>;
  /** How it was made: `cuts`, `stages`, `chain-time`, … */
  readonly method: string;
  /** What a partitioner minimised. */
  readonly objective?: PartitionObjective;
}

export interface PartitionObjective {
  readonly kind: Balance;
  readonly unit: 'seconds' | 'bytes';
  /**
   * Load of the most loaded stage. Where stages share devices: of the most loaded device, and for `time` the part of a
   * microbatch in filling and draining by the most loaded stage.
   */
  readonly value: number;
  /** No partition of this kind does better; equal to `value` where the method is exact. */
  readonly lowerBound: number;
  /** Load of each stage. */
  readonly loads: readonly number[];
  /** Load of each device, where stages share devices. */
  readonly deviceLoads?: readonly number[];
  /** Time the partitioner took. */
  readonly seconds: number;
}

export type Balance = 'time' | 'memory' | 'parameters';
