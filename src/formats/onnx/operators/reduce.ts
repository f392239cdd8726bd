/** Reductions. `axes` is an attribute, from version 13 (ReduceSum) or 18 (the others) on an input. */
import type { Tensor } from '../../../graph/graph.ts';
import { cast } from '../../../ops/compare.ts';
import { log } from '../../../ops/elementwise.ts';
import { logSumExp, max, mean, min, prod, type ReduceOptions, sum, sumOfSquares } from '../../../ops/reduce.ts';
import { vectorNorm } from '../../../ops/vector-norm.ts';
import type { OperatorContext, OperatorRule, OperatorTable, Value } from '../operator.ts';

type Reduction = (x: Tensor, options: ReduceOptions) => Tensor;

const reduction =
  (reduce: Reduction): OperatorRule =>
  (context) => {
    const options = optionsOf(context);
    return [options ? reduce(context.tensor(0), options) : unreduced(context)];
  };

/** undefined: nothing is reduced (`noop_with_empty_axes`). */
function optionsOf(context: OperatorContext): ReduceOptions | undefined {
  const axes = context.has('axes') ? context.ints('axes') : context.optionalIntegers(1, 'axes');
  const keepDims = context.int('keepdims', 1) !== 0;
  if (axes && axes.length > 0) return { axes, keepDims };
  return context.int('noop_with_empty_axes', 0) === 0 ? { keepDims } : undefined;
}

const unreduced = (context: OperatorContext): Value => context.input(0);

/** A reduction that there is for i32 too; of bools it is that of 0 and 1. */
const ofAny =
  (reduce: Reduction): Reduction =>
  (x, options) =>
    x.dtype === 'bool' ? cast(reduce(cast(x, 'i32'), options), 'bool') : reduce(x, options);

/** A reduction of floats; integers are reduced as f32 (exact up to 2^24) and the result truncated. */
const ofFloats =
  (reduce: Reduction): Reduction =>
  (x, options) =>
    x.dtype === 'f32' ? reduce(x, options) : cast(reduce(cast(x, 'f32'), options), x.dtype);

export const reduceOperators: OperatorTable = {
  ReduceL1: reduction(ofFloats((x, options) => vectorNorm(x, { ...options, ord: 1 }))),
  ReduceL2: reduction(ofFloats((x, options) => vectorNorm(x, { ...options, ord: 2 }))),
  ReduceLogSum: reduction(ofFloats((x, options) => log(sum(x, options)))),
  ReduceLogSumExp: reduction(ofFloats(logSumExp)),
  ReduceMax: reduction(ofAny(max)),
  ReduceMean: reduction(ofFloats(mean)),
  ReduceMin: reduction(ofAny(min)),
  ReduceProd: reduction(ofAny(prod)),
  ReduceSum: reduction(ofAny(sum)),
  ReduceSumSquare: reduction(ofFloats(sumOfSquares)),
};
