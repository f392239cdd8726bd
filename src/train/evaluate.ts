import type { HostTensor } from '../core/types.ts';
import type { Session } from './session.ts';
import { programFor } from './trainer.ts';

/** A loss over classes: what accuracy and perplexity are computed from. */
export interface ClassTerm {
  /** Name of the model output […, classes]: logits, or log probabilities. */
  readonly output: string;
  /** Name of the target […]. */
  readonly target: string;
  readonly classes: number;
  readonly ignoreIndex: number | null;
  readonly values: 'logits' | 'logProbabilities';
}

export interface EvaluationRecord {
  readonly samples: number;
  /** Objective, averaged over batches by their samples (by their counted targets where it is one loss over classes). */
  readonly loss: number;
  /** Share of counted targets whose class has the largest output; the first of equal ones. */
  readonly accuracy?: number;
  /** exp of the mean cross entropy of a counted target, for texts. */
  readonly perplexity?: number;
}

export type Evaluator = (session: Session, signal?: AbortSignal) => Promise<EvaluationRecord>;

export interface EvaluatorOptions {
  /** In order, all of them. */
  readonly batches: readonly { readonly size: number; readonly tensors: () => Readonly<Record<string, HostTensor>> }[];
  readonly terms: readonly ClassTerm[];
  /** Whether the objective is one loss over classes and nothing else. */
  readonly single: boolean;
  readonly perplexity: boolean;
}

/** Runs the plan's forward programs over held-out batches; no parameter changes. */
export function makeEvaluator({ batches, terms, single, perplexity }: EvaluatorOptions): Evaluator {
  return async (session, signal) => {
    let [samples, loss, weight] = [0, 0, 0];
    const total = { counted: 0, correct: 0, crossEntropy: 0 };
    for (const { size, tensors: open } of batches) {
      const tensors = open();
      const run = await session.run(programFor(session.plan, 'forward', { epoch: 0, step: 0, tensors }), tensors, {
        signal,
      });
      const score = terms.map((term) =>
        scoreOf(run.results.get(`output/${term.output}`)!, tensors[term.target]!, term),
      );
      for (const s of score) {
        total.counted += s.counted;
        total.correct += s.correct;
        total.crossEntropy += s.crossEntropy;
      }
      // A batch without a counted target has no loss of its own (0/0).
      const share = single ? score[0]!.counted : size;
      if (share > 0) loss += run.loss * share;
      weight += share;
      samples += size;
    }
    return {
      samples,
      loss: loss / weight,
      ...(terms.length > 0 ? { accuracy: total.correct / total.counted } : {}),
      ...(perplexity && terms.length > 0 ? { perplexity: Math.exp(total.crossEntropy / total.counted) } : {}),
    };
  };
}

/** Sums over the rows that count, in f64. */
function scoreOf(output: HostTensor, target: HostTensor, { classes, ignoreIndex, values }: ClassTerm) {
  let [counted, correct, crossEntropy] = [0, 0, 0];
  for (let row = 0; row < target.data.length; row++) {
    const label = target.data[row]!;
    if (label === ignoreIndex) continue;
    let best = 0;
    for (let c = 1; c < classes; c++)
      if (output.data[row * classes + c]! > output.data[row * classes + best]!) best = c;
    counted++;
    if (best === label) correct++;
    const top = values === 'logits' ? output.data[row * classes + best]! : 0;
    let logSum = 0;
    if (values === 'logits') {
      let sum = 0;
      for (let c = 0; c < classes; c++) sum += Math.exp(output.data[row * classes + c]! - top);
      logSum = top + Math.log(sum);
    }
    crossEntropy += logSum - output.data[row * classes + label]!;
  }
  return { counted, correct, crossEntropy };
}
