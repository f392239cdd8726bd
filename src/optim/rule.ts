import type { Tensor } from '../graph/graph.ts';
import type { ParameterInit } from '../graph/source.ts';
import type { UpdateScalars } from '../ops/update-record.ts';

/** What tells one optimizer from another. */
export interface OptimizerRule {
  readonly defaultRate: number;
  /** What the configuration decides beside rate and weight decay, defaults included, under its own names. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where the configuration gives none. */
  readonly weightDecay: number;
  readonly state: readonly string[];
  /** First values of a state tensor; default zeros. */
  readonly init?: (state: string) => ParameterInit | undefined;
  /** Momentum, or Adam's beta1, where a step gives none; undefined: there is none to give. */
  readonly momentum: number | undefined;
  /** Numbers of the node's `hyper` input at a step, from 0. */
  readonly hyper: (lr: number, step: number, momentum: number) => readonly number[];
  /** Appends the update node; its outputs: w', state' … */
  readonly node: (
    w: Tensor,
    g: Tensor,
    state: readonly Tensor[],
    scalars: UpdateScalars,
    weightDecay: number,
  ) => readonly Tensor[];
}
