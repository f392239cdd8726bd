/** Reductions. `axes` is an attribute, from version 13 (ReduceSum) or 18 (the others) on an input. */
import type { Tensor } from '../../../graph/graph.ts';
import { cast } from '../../../ops/compare.ts';
import { abs, log, mul } from '../../../ops/elementwise.ts';
import { logSumExp, max, mean, min, prod, type ReduceOptions, sum, sumOfSquares } from '../../../ops/reduce.ts';
import { vectorNorm } from '../../../ops/vector-norm.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';

type Reduction = (x: Tensor, options: ReduceOptions) => Tensor;

/** `alone`: what a reduction that is made of several steps does to each element where none are joined; default nothing. */
const reduction =
  (reduce: Reduction, alone?: (x: Tensor) => Tensor): OperatorRule =>
  (context) => {
    const options = optionsOf(context);
    if (options) return [reduce(context.tensor(0), options)];
    return [alone ? alone(context.tensor(0)) : context.input(0)];
  };

/** undefined: no elements are joined (`noop_with_empty_axes`), as over no axes at all. */
function optionsOf(context: OperatorContext): ReduceOptions | undefined {
  const axes = context.has('axes') ? context.ints('axes') : context.optionalIntegers(1, 'axes');
  const keepDims = context.int('keepdims', 1) !== 0;
  if (axes && axes.length > 0) return { axes, keepDims };
  return context.int('noop_with_empty_axes', 0) === 0 ? { keepDims } : undefined;
}

/** A reduction that there is for i32 too; of bools it is that of 0 and 1. */
const ofAny =
  (reduce: Reduction): Reduction =>
  (x, options) =>
    x.dtype === 'bool' ? cast(reduce(cast(x, 'i32'), options), 'bool') : reduce(x, options);

/** A reduction of floats; integers are reduced as f32 (exact up to 2^24) and the result truncated. */
const ofFloats =
  (reduce: Reduction): Reduction =>
  (x, options) =>
    asFloats((floats) => reduce(floats, options))(x);

const asFloats =
  (f: (x: Tensor) => Tensor) =>
  (x: Tensor): Tensor =>
    x.dtype === 'f32' ? f(x) : cast(f(cast(x, 'f32')), x.dtype);

export const reduceOperators: OperatorTable = {
  ReduceL1: reduction(
    ofFloats((x, options) => vectorNorm(x, { ...options, ord: 1 })),
    abs,
  ),
  ReduceL2: reduction(
    ofFloats((x, options) => vectorNorm(x, { ...options, ord: 2 })),
    abs,
  ),
  ReduceLogSum: reduction(
    ofFloats((x, options) => log(sum(x, options))),
    asFloats(log),
  ),
  ReduceLogSumExp: reduction(ofFloats(logSumExp)),
  ReduceMax: reduction(ofAny(max)),
  ReduceMean: reduction(ofFloats(mean)),
  ReduceMin: reduction(ofAny(min)),
  ReduceProd: reduction(ofAny(prod)),
  ReduceSum: reduction(ofAny(sum)),
  ReduceSumSquare: reduction(ofFloats(sumOfSquares), (x) => mul(x, x)),
};
