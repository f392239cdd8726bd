/**
 * What a training is between two steps, whole: another session that takes it over goes on with the same bits, whatever its
 * partition, schedule and devices. Everything is keyed by parameter name, nothing by stage.
 *
 * Random numbers and the order of the samples are functions of (seed, step), so `step` and the identity's seed are the
 * whole of their state; rate and bias corrections are functions of the step too.
 */
import type { HostTensor } from '../../core/types.ts';
import type { EvaluationRecord } from '../evaluate.ts';
import type { StepRecord } from '../trainer.ts';
import type { TrainingIdentity } from './identity.ts';

export type NamedTensors = ReadonlyMap<string, HostTensor>;

export interface Checkpoint {
  /** Updates done; the next step's number. */
  readonly step: number;
  readonly identity: TrainingIdentity;
  /** The experiment as whoever trains understands it; null where there is none. */
  readonly experiment: unknown;
  readonly parameters: NamedTensors;
  /** Running statistics. */
  readonly buffers: NamedTensors;
  /** By kind and parameter: `m/encoder.weight`. */
  readonly optimizerState: NamedTensors;
  /** Of all steps so far, so that a resumed training can tell of them. */
  readonly records: readonly StepRecord[];
  /** The evaluation with the least loss so far; undefined where there was none. */
  readonly best?: BestEvaluation | undefined;
}

export interface BestEvaluation {
  /** Step of the record that holds the evaluation. */
  readonly step: number;
  readonly evaluation: EvaluationRecord;
  /** Parameters and buffers behind that step. */
  readonly parameters: NamedTensors;
}

/** Whether an evaluation is the best so far. The first of equal ones stays; one without a loss (NaN) never is. */
export const isBetter = (evaluation: EvaluationRecord, best: { readonly evaluation: EvaluationRecord } | undefined) =>
  evaluation.loss < (best?.evaluation.loss ?? Number.POSITIVE_INFINITY);
