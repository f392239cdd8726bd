/**
 * PyTorch's `cross_entropy` and `nll_loss` with all their options, of a chunk as it is: a mean is the chunk's. (Means over
 * the whole batch of a training step are in src/losses.) Compositions of ordinary ops; cross entropy without class weights
 * is the fused op.
 */
import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { div, mul } from './binary.ts';
import { and, cast, equal, greaterEqual, less, notEqual, where } from './compare.ts';
import type { Operand } from './define.ts';
import { gather } from './gather.ts';
import { crossEntropy } from './loss.ts';
import { requireWord, wordsOf } from './options.ts';
import { mean, sum } from './reduce.ts';
import { reshape, transpose } from './shape.ts';
import { logSoftmax } from './softmax.ts';
import { neg, reciprocal } from './unary.ts';

/** What becomes of the losses of all targets. `mean` divides by the sum of the weights of the targets that count. */
export type Reduction = 'none' | 'sum' | 'mean';

export interface ClassLossOptions {
  /** A weight for each class, f32 [C]; default: all 1. */
  readonly weight?: Tensor;
  /** Targets with this value count nothing; default null, every target counts. */
  readonly ignoreIndex?: number | null;
  /** Default `mean`. */
  readonly reduction?: Reduction;
}

const reductions = wordsOf<Reduction>({ none: true, sum: true, mean: true });

/** [N, C, d…] with the classes last: [N, d…, C]. */
function classesLast(x: Tensor): Tensor {
  if (x.rank <= 2) return x;
  return transpose(x, [0, ...Array.from({ length: x.rank - 2 }, (_, i) => i + 2), 1]);
}

/** The class indices 0…count − 1. */
const classIndices = (like: Tensor, count: number): Tensor =>
  like.graph.constant(
    { type: { dtype: 'i32', shape: [count] }, data: Int32Array.from({ length: count }, (_, i) => i) },
    'classes',
  );

/** −rows[…, target] for rows […, C] and targets […] that are classes; 0 where they are none. */
function negativeAt(rows: Tensor, target: Tensor): Tensor {
  const hit = equal(column(target), classIndices(rows, rows.shape.at(-1)!));
  return neg(sum(where(hit, rows, 0), { axes: -1 }));
}

const column = (t: Tensor): Tensor => reshape(t, [...t.shape, 1]);

/** `loss` of the targets that are classes, 0 of those ignored, NaN of any other: what is out of range must not pass. */
function guarded(loss: Tensor, target: Tensor, classes: number, ignoreIndex: number | null): Tensor {
  const isClass = and(greaterEqual(target, 0), less(target, classes));
  const checked = where(isClass, loss, Number.NaN);
  return ignoreIndex === null ? checked : where(equal(target, ignoreIndex), 0, checked);
}

/**
 * −logProbabilities[…, target] for each target, 0 where it is ignored, NaN where it is no class: logProbabilities […, C],
 * target i32 […].
 */
export const negativeLogProbability = (logProbabilities: Tensor, target: Tensor, ignoreIndex: number | null): Tensor =>
  guarded(negativeAt(logProbabilities, target), target, logProbabilities.shape.at(-1)!, ignoreIndex);

/** 1 where a target counts, else 0. */
const counted = (target: Tensor, ignoreIndex: number): Tensor => cast(notEqual(target, ignoreIndex), 'f32');

/** The weight of each target's class; 0 of ignored targets. Targets out of range weigh as class 0: their loss is NaN. */
function weightsOf(weight: Tensor, target: Tensor, ignoreIndex: number | null): Tensor {
  const isClass = and(greaterEqual(target, 0), less(target, weight.shape[0] ?? 1));
  const ofClass = gather(weight, where(isClass, target, zeroIndex(target)));
  return ignoreIndex === null ? ofClass : where(equal(target, ignoreIndex), 0, ofClass);
}

const zeroIndex = ({ graph }: Tensor): Tensor =>
  graph.constant({ type: { dtype: 'i32', shape: [] }, data: Int32Array.of(0) }, 'scalar');

/** All losses of targets, or their sum or mean. */
function reduced(losses: Tensor, target: Tensor, { weight, ignoreIndex = null, reduction = 'mean' }: ClassLossOptions) {
  const weights = weight && weightsOf(weight, target, ignoreIndex);
  const weighted = weights ? mul(losses, weights) : losses;
  switch (reduction) {
    case 'none':
      return weighted;
    case 'sum':
      return sum(weighted);
    case 'mean': {
      if (weights) return div(sum(weighted), sum(weights));
      if (ignoreIndex === null) return mean(weighted);
      return div(sum(weighted), sum(counted(target, ignoreIndex)));
    }
  }
}

/**
 * −weight[target]·logProbabilities[target], as PyTorch's `nll_loss`. logProbabilities [N, C, d…], target i32 [N, d…]. A
 * target that is no class makes the loss NaN.
 */
export function nllLoss(logProbabilities: Tensor, target: Tensor, options: ClassLossOptions = {}): Tensor {
  requireWord('nllLoss', logProbabilities, 'reduction', options.reduction ?? 'mean', reductions);
  const rows = classesLast(logProbabilities);
  return reduced(negativeLogProbability(rows, target, options.ignoreIndex ?? null), target, options);
}

/**
 * −weight[target]·log softmax(logits)[target], as PyTorch's `cross_entropy` of class indices. logits [N, C, d…], target
 * i32 [N, d…]. A target that is no class is an error, or makes the loss NaN (with weights, or where nothing is reduced).
 */
export function crossEntropyLoss(logits: Tensor, target: Tensor, options: ClassLossOptions = {}): Tensor {
  const { weight, ignoreIndex = null, reduction = 'mean' } = options;
  requireWord('crossEntropyLoss', logits, 'reduction', reduction, reductions);
  const rows = classesLast(logits);
  if (!weight && reduction !== 'none') {
    return crossEntropy(rows, target, scaleOf(target, ignoreIndex, reduction), { ignoreIndex });
  }
  return reduced(negativeLogProbability(logSoftmax(rows), target, ignoreIndex), target, options);
}

/** 1, or 1 / (targets that count). */
function scaleOf(target: Tensor, ignoreIndex: number | null, reduction: 'sum' | 'mean'): Operand {
  if (reduction === 'sum') return 1;
  if (ignoreIndex === null) return 1 / elementCount(target.shape);
  return reciprocal(sum(counted(target, ignoreIndex)));
}
