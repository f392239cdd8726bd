import { nearest, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames, requireArgument, requireWords } from '../core/options.ts';
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

/** A loss between values: `mse`, from which rmse and mae are computed, or a binary one, from which accuracy is. */
export interface ValueTerm {
  /** Names of the model output and of the target, of one shape. */
  readonly output: string;
  readonly target: string;
  readonly kind: 'mse' | 'bce' | 'bceWithLogits';
}

export interface EvaluationRecord {
  readonly samples: number;
  /** Objective, averaged over batches by their samples (by their counted targets where it is one loss over classes). */
  readonly loss: number;
  /**
   * Share of counted targets that are met: whose class has the largest output, the first of equal ones; of binary targets
   * (those ≥ 0.5 are true), on whose side of 0.5 the probability lies, of 0 the logit.
   */
  readonly accuracy?: number;
  /** √ of the mean squared difference of outputs and targets of `mse`, over all elements. */
  readonly rmse?: number;
  /** Mean absolute difference of the same. */
  readonly mae?: number;
  /** exp of the mean cross entropy of a counted target, for texts. */
  readonly perplexity?: number;
}

export type Evaluator = (session: Session, signal?: AbortSignal) => Promise<EvaluationRecord>;

export interface EvaluatorOptions {
  /** In order, all of them. */
  readonly batches: readonly { readonly size: number; readonly tensors: () => Readonly<Record<string, HostTensor>> }[];
  readonly terms: readonly ClassTerm[];
  readonly values?: readonly ValueTerm[];
  /** Whether the objective is one loss over classes and nothing else: the first of `terms`, further ones are only measured. */
  readonly single: boolean;
  readonly perplexity: boolean;
}

const evaluatorNames: OptionNames<EvaluatorOptions> = {
  batches: 'required list',
  terms: 'required list',
  values: 'list',
  single: 'required flag',
  perplexity: 'required flag',
};

const batchNames: OptionNames<EvaluatorOptions['batches'][number]> = {
  size: 'required count',
  tensors: 'required function',
};
const termNames: OptionNames<ClassTerm> = {
  output: 'required text',
  target: 'required text',
  classes: 'required count',
  ignoreIndex: 'required',
  values: 'required text',
};
const valueNames: OptionNames<ValueTerm> = { output: 'required text', target: 'required text', kind: 'required text' };

function checkEvaluator(options: EvaluatorOptions): void {
  const what = 'makeEvaluator';
  checkOptions(what, options, evaluatorNames);
  const { batches, terms, values = [], single } = options;
  for (const [i, batch] of batches.entries()) checkOptions(what, batch, batchNames, `batches.${i}`);
  for (const [i, term] of terms.entries()) {
    checkOptions(what, term, termNames, `terms.${i}`);
    requireWords(what, `terms.${i}.values`, ['logits', 'logProbabilities'], term.values);
  }
  for (const [i, term] of values.entries()) {
    checkOptions(what, term, valueNames, `values.${i}`);
    requireWords(what, `values.${i}.kind`, ['mse', 'bce', 'bceWithLogits'], term.kind);
  }
  requireArgument(what, !single || terms.length > 0, 'one of terms where single is true', terms, 'single: false');
}

/** The tensor of this name among those of a batch or a run; throws UsageError where there is none. */
function tensorNamed(what: string, name: string, tensor: HostTensor | undefined, known: readonly string[]): HostTensor {
  if (tensor !== undefined) return tensor;
  throw new UsageError(
    'evaluation-tensor',
    `makeEvaluator: there is no ${what} ${name}; there are ${known.join(', ')}`,
    {
      fields: { [what]: name, known },
      remedy: `${what}: '${nearest(name, known) ?? known[0] ?? name}'`,
    },
  );
}

/** Of a row the outputs of all classes stand side by side, a row for each target; of a loss between values there is one. */
function refuseOtherSize(term: ClassTerm | ValueTerm, outputs: number, targets: number): void {
  const { output, target } = term;
  const [classes, of] = 'classes' in term ? [term.classes, `${term.classes} classes`] : [1, `kind ${term.kind}`];
  if (outputs === targets * classes) return;
  const meant = outputs / targets;
  throw new UsageError(
    'classes' in term ? 'evaluation-classes' : 'evaluation-values',
    `makeEvaluator: ${output} holds ${outputs} values, and ${targets} targets ${target} of ${of} need ${targets * classes}`,
    {
      fields: { output, target, classes, outputs, targets },
      remedy:
        'classes' in term && Number.isInteger(meant) && meant > 0
          ? `classes: ${meant}`
          : 'output and target of one loss',
    },
  );
}

/** Runs the plan's forward programs over held-out batches; no parameter changes. */
export function makeEvaluator(options: EvaluatorOptions): Evaluator {
  checkEvaluator(options);
  const { batches, terms, values = [], single, perplexity } = options;
  const differences = values.filter(({ kind }) => kind === 'mse');
  const binary = values.filter(({ kind }) => kind !== 'mse');
  return async (session, signal) => {
    let [samples, loss, weight] = [0, 0, 0];
    const total = { counted: 0, correct: 0, crossEntropy: 0 };
    const hits = { counted: 0, correct: 0 };
    const difference = { elements: 0, squares: 0, absolutes: 0 };
    for (const { size, tensors: open } of batches) {
      const tensors = open();
      const run = await session.run(programFor(session.plan, 'forward', { epoch: 0, step: 0, tensors }), tensors, {
        signal,
      });
      const outputOf = (name: string) => {
        const known = [...run.results.keys()].flatMap((key) => (key.startsWith('output/') ? [key.slice(7)] : []));
        return tensorNamed('output', name, run.results.get(`output/${name}`), known);
      };
      const targetOf = (name: string) => tensorNamed('target', name, tensors[name], Object.keys(tensors));
      const score = terms.map((term) => scoreOf(outputOf(term.output), targetOf(term.target), term));
      for (const s of score) {
        total.counted += s.counted;
        total.correct += s.correct;
        total.crossEntropy += s.crossEntropy;
      }
      const pair = (term: ValueTerm) => {
        const [output, target] = [outputOf(term.output).data, targetOf(term.target).data];
        refuseOtherSize(term, output.length, target.length);
        return [output, target] as const;
      };
      for (const term of binary) {
        const [output, target] = pair(term);
        const border = term.kind === 'bce' ? 0.5 : 0;
        hits.counted += target.length;
        for (let i = 0; i < target.length; i++) if (output[i]! >= border === target[i]! >= 0.5) hits.correct++;
      }
      for (const term of differences) {
        const [output, target] = pair(term);
        difference.elements += target.length;
        for (let i = 0; i < target.length; i++) {
          const d = output[i]! - target[i]!;
          difference.squares += d * d;
          difference.absolutes += Math.abs(d);
        }
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
      ...(terms.length + binary.length > 0
        ? { accuracy: (total.correct + hits.correct) / (total.counted + hits.counted) }
        : {}),
      ...(differences.length > 0
        ? {
            rmse: Math.sqrt(difference.squares / difference.elements),
            mae: difference.absolutes / difference.elements,
          }
        : {}),
      ...(perplexity && terms.length > 0 ? { perplexity: Math.exp(total.crossEntropy / total.counted) } : {}),
    };
  };
}

/** Sums over the rows that count, in f64. */
function scoreOf(output: HostTensor, target: HostTensor, term: ClassTerm) {
  refuseOtherSize(term, output.data.length, target.data.length);
  const { classes, ignoreIndex, values } = term;
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
