/** Gathers, scatters, scans and orderings along axes. Indices are i32 in the graph, whatever the file has. */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { cast, not, where } from '../../../ops/compare.ts';
import { cumSum } from '../../../ops/cum-sum.ts';
import { gather } from '../../../ops/gather.ts';
import { gatherElements, scatterElements } from '../../../ops/gather-elements.ts';
import { gatherND, scatterND } from '../../../ops/gather-nd.ts';
import { oneHotMask } from '../../../ops/one-hot.ts';
import { type ArgOptions, argMax, argMin, topK } from '../../../ops/order.ts';
import { reductions, type ScatterReduction } from '../../../ops/scatter.ts';
import { slice, transpose, view } from '../../../ops/shape.ts';
import { known } from '../known.ts';
import { isTensor, type OperatorContext, type OperatorRule, type OperatorTable } from '../operator.ts';
import { axisOf } from './shape.ts';

/** Input i as i32 indices. */
const indices = (context: OperatorContext, i: number): Tensor => cast(context.tensor(i), 'i32');

function constantIndices(context: OperatorContext, values: ArrayLike<number>): Tensor {
  return context.lift(known('INT32', [values.length], values));
}

const gatherRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  return [gather(x, indices(context, 1), { axis: axisOf(context, context.int('axis', 0), x.rank) })];
};

const gatherElementsRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  return [gatherElements(x, indices(context, 1), { axis: axisOf(context, context.int('axis', 0), x.rank) })];
};

const gatherNDRule: OperatorRule = (context) => [
  gatherND(context.tensor(0), indices(context, 1), { batchDims: context.int('batch_dims', 0) }),
];

function reductionOf(context: OperatorContext): ScatterReduction {
  const name = context.string('reduction', 'none');
  return (
    reductions.find((r) => r === name) ?? context.invalid(`reduction '${name}' is not one of ${reductions.join(', ')}`)
  );
}

/** ScatterElements, and Scatter, its name before version 11. */
const scatterElementsRule: OperatorRule = (context) => {
  const data = context.tensor(0);
  const axis = axisOf(context, context.int('axis', 0), data.rank);
  return [scatterElements(data, indices(context, 1), context.tensor(2), { axis, reduction: reductionOf(context) })];
};

const scatterNDRule: OperatorRule = (context) => [
  scatterND(context.tensor(0), indices(context, 1), context.tensor(2), { reduction: reductionOf(context) }),
];

const cumSumRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  const axis = axisOf(context, context.integer(1, 'the axis'), x.rank);
  const flags = { exclusive: context.int('exclusive', 0) !== 0, reverse: context.int('reverse', 0) !== 0 };
  return [cumSum(x, { axis, ...flags })];
};

/** k: an attribute before version 10, then an input. The result is in order also where `sorted` does not ask for it. */
const topKRule: OperatorRule = (context) => {
  const x = context.tensor(0);
  const axis = axisOf(context, context.int('axis', -1), x.rank);
  const k = context.has('k') ? context.int('k') : context.integer(1, 'k');
  const { values, indices: places } = topK(x, { k, axis, largest: context.int('largest', 1) !== 0 });
  return [values, places];
};

const argExtremum =
  (build: (x: Tensor, options: ArgOptions) => Tensor): OperatorRule =>
  (context) => {
    const x = context.tensor(0);
    const axis = axisOf(context, context.int('axis', 0), x.rank);
    const keepDims = context.int('keepdims', 1) !== 0;
    return [build(x, { axis, keepDims, selectLastIndex: context.int('select_last_index', 0) !== 0 })];
  };

/** `values` is [off, on]; the result has its type. */
const oneHotRule: OperatorRule = (context) => {
  const depth = Math.trunc(context.scalar(1, 'the depth'));
  const classes = indices(context, 0);
  const mask = oneHotMask(classes, { depth, axis: axisOf(context, context.int('axis', -1), classes.rank + 1) });
  const values = context.input(2);
  if (elementCount(values.shape) !== 2) {
    context.invalid(`values are off and on, and there are ${elementCount(values.shape)}`);
  }
  if (!isTensor(values) && values.data[0] === 0 && values.data[1] === 1) {
    return [cast(mask, context.lift(values).dtype)];
  }
  const both = context.tensor(2);
  if (both.dtype === 'bool') {
    const [off, on] = context.known(2, 'values of bool').data;
    if (off === on) context.unsupported('values of bool that are the same');
    return [on ? mask : not(mask)];
  }
  const value = (i: number) => view(slice(both, { 0: [i, i + 1] }), []);
  return [where(mask, value(1), value(0))];
};

/** Entries of an axis, or of all elements in a row, where a condition holds that is known: else the shape would not be. */
const compress: OperatorRule = (context) => {
  const x = context.tensor(0);
  const axis = context.has('axis') ? axisOf(context, context.int('axis'), x.rank) : undefined;
  const condition = context.known(1, 'the condition').data;
  const chosen = [...condition.keys()].filter((i) => condition[i] !== 0);
  const from = axis === undefined ? view(x, [elementCount(x.shape)]) : x;
  const at = axis ?? 0;
  if (chosen.length === 0) return [known(context.dtypeOf(0), from.shape.with(at, 0), [])];
  return [gather(from, constantIndices(context, chosen), { axis: at })];
};

/** The first `length` entries of each sample backwards; lengths are known. */
const reverseSequence: OperatorRule = (context) => {
  const x = context.tensor(0);
  const batchAxis = axisOf(context, context.int('batch_axis', 1), x.rank);
  const timeAxis = axisOf(context, context.int('time_axis', 0), x.rank);
  if (batchAxis === timeAxis) context.invalid('batch_axis and time_axis are the same');
  const [batch, time] = [x.shape[batchAxis]!, x.shape[timeAxis]!];
  const lengths = context.integers(1, 'the lengths');
  if (lengths.length !== batch || lengths.some((n) => n < 0 || n > time)) {
    context.invalid(`lengths [${lengths.join(', ')}] do not fit ${batch} samples of ${time} entries`);
  }
  // Batch and time become one axis in front, whose entries are then put into their new order.
  const perm = [batchAxis, timeAxis, ...x.shape.keys()].filter((axis, i, all) => all.indexOf(axis) === i);
  const front = transpose(x, perm);
  const order = lengths.flatMap((n, b) => Array.from({ length: time }, (_, t) => b * time + (t < n ? n - 1 - t : t)));
  const joined = view(front, [batch * time, ...front.shape.slice(2)]);
  const turned = view(gather(joined, constantIndices(context, order)), front.shape);
  return [
    transpose(
      turned,
      perm.map((_, axis) => perm.indexOf(axis)),
    ),
  ];
};

export const indexingOperators: OperatorTable = {
  ArgMax: argExtremum(argMax),
  ArgMin: argExtremum(argMin),
  Compress: compress,
  CumSum: cumSumRule,
  Gather: gatherRule,
  GatherElements: gatherElementsRule,
  GatherND: gatherNDRule,
  OneHot: oneHotRule,
  ReverseSequence: reverseSequence,
  Scatter: scatterElementsRule,
  ScatterElements: scatterElementsRule,
  ScatterND: scatterNDRule,
  TopK: topKRule,
};
