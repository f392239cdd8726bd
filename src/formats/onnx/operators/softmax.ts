/** Softmax and its kin: along one axis from version 13, of the input as a matrix before. */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { normalAxis } from '../../../ops/axes.ts';
import { equal, where } from '../../../ops/compare.ts';
import { max, min } from '../../../ops/reduce.ts';
import { reshape } from '../../../ops/shape.ts';
import { logSoftmax, softmax } from '../../../ops/softmax.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';

type AxisFunction = (x: Tensor, options: { readonly axis: number }) => Tensor;

/**
 * From version 13 along `axis`, default −1. Before, `axis` (default 1) parts the axes into rows and columns, and the
 * function works on rows: along all axes from `axis` on together.
 */
const alongAxis =
  (apply: AxisFunction): OperatorRule =>
  (context) => {
    const x = context.float(0);
    const matrix = context.opset < 13;
    const given = context.int('axis', matrix ? 1 : -1);
    const axis = normalAxis(given, x.rank);
    // The columns of a matrix may be none of the axes: each element is a row by itself.
    if (axis < 0 || axis > x.rank || (axis === x.rank && !matrix)) outOfRange(context, given, x.rank);
    if (!matrix || axis === x.rank - 1) return [apply(x, { axis })];
    const columns = elementCount(x.shape.slice(axis));
    return [reshape(apply(reshape(x, [...x.shape.slice(0, axis), columns]), { axis: -1 }), x.shape)];
  };

const outOfRange = (context: OperatorContext, axis: number, rank: number): never =>
  context.invalid(`axis ${axis} is out of range for rank ${rank}`);

/** 1 at the first largest element along the axis, else 0. A constant almost everywhere: its gradient is 0. */
const hardmax: AxisFunction = (x, { axis }) => {
  const at = normalAxis(axis, x.rank);
  const over = { axes: at, keepDims: true };
  const size = x.shape[at]!;
  const places = x.graph.constant(
    {
      type: { dtype: 'f32', shape: [size, ...x.shape.slice(at + 1).map(() => 1)] },
      data: Float32Array.from({ length: size }, (_, i) => i),
    },
    'places',
  );
  const first = min(where(equal(x, max(x, over)), places, size), over);
  return where(equal(places, first), 1, 0);
};

export const softmaxOperators: OperatorTable = {
  Hardmax: alongAxis(hardmax),
  LogSoftmax: alongAxis(logSoftmax),
  Softmax: alongAxis(softmax),
};
