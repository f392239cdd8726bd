/** Normalisations but BatchNormalization: none has a state. */
import { type Shape, sameShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { normalAxis } from '../../../ops/axes.ts';
import { equal, where } from '../../../ops/compare.ts';
import { abs, add, div, mul, pow, sqrt, sub } from '../../../ops/elementwise.ts';
import { groupNorm, instanceNorm } from '../../../ops/group-norm.ts';
import { layerNormWithStatistics } from '../../../ops/norm.ts';
import { mean, sum } from '../../../ops/reduce.ts';
import { broadcastTo, reshape, slice, sliceScatter } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';

const instanceNormalization = (context: OperatorContext) => [
  instanceNorm(context.float(0), context.float(1), context.float(2), { eps: context.floatAttr('epsilon', 1e-5) }),
];

/** Statistics are computed in f32, ONNX's default; any other type would be another result. */
function requireFloatStash(context: OperatorContext): void {
  const type = context.int('stash_type', 1);
  if (type !== 1) context.unsupported(`stash_type ${type}: statistics are computed in FLOAT (1)`);
}

/** Scale and bias are one a group before version 21, one a channel since. */
function groupNormalization(context: OperatorContext) {
  const x = context.float(0);
  const groups = context.int('num_groups');
  const perGroup = context.opset < 21;
  if (!perGroup) requireFloatStash(context);
  const channels = x.shape[1] ?? 1;
  const [scale, bias] = [1, 2].map((i) => {
    const weight = context.float(i);
    if (!perGroup || channels % groups !== 0) return weight;
    return reshape(broadcastTo(reshape(weight, [groups, 1]), [groups, channels / groups]), [channels]);
  });
  return [groupNorm(x, groups, scale, bias, { eps: context.floatAttr('epsilon', 1e-5) })];
}

/** Whether a shape broadcasts to another without changing it. */
const fits = (shape: Shape, to: Shape): boolean =>
  shape.length <= to.length && shape.every((d, i) => d === 1 || d === to[to.length - shape.length + i]);

/** A weight without the axes of size 1 in front that a shape of this rank does not have. */
function withoutLead(t: Tensor, rank: number): Tensor {
  const lead = t.rank - rank;
  return lead > 0 && t.shape.slice(0, lead).every((d) => d === 1) ? reshape(t, t.shape.slice(lead)) : t;
}

/** Weights have the normalised axes' shape; ONNX takes any that broadcasts to it, or to x. */
function layerNormalization(context: OperatorContext) {
  requireFloatStash(context);
  const x = context.float(0);
  const axis = normalAxis(context.int('axis', -1), x.rank);
  if (axis < 0 || axis >= x.rank) context.invalid(`axis ${context.int('axis', -1)} is out of range for rank ${x.rank}`);
  const inner = x.shape.slice(axis);
  const options = { eps: context.floatAttr('epsilon', 1e-5), axes: x.rank - axis };
  const scale = withoutLead(context.float(1), inner.length);
  const bias = context.optional(2) && withoutLead(context.float(2), inner.length);
  if (fits(scale.shape, inner) && (!bias || fits(bias.shape, inner))) {
    const whole = (t: Tensor): Tensor => (sameShape(t.shape, inner) ? t : broadcastTo(t, inner));
    const { y, mean: m, rstd } = layerNormWithStatistics(x, whole(scale), bias && whole(bias), options);
    return [y, m, rstd];
  }
  const { y, mean: m, rstd } = layerNormWithStatistics(x, undefined, undefined, options);
  const scaled = mul(y, broadcastTo(scale, x.shape));
  return [bias ? add(scaled, broadcastTo(bias, x.shape)) : scaled, m, rstd];
}

/** x / ‖x‖ₚ along an axis, p 1 or 2; 0 where the norm is 0. */
function lpNormalization(context: OperatorContext) {
  const x = context.float(0);
  const p = context.int('p', 2);
  if (p !== 1 && p !== 2) context.invalid(`p must be 1 or 2, got ${p}`);
  const total = sum(p === 1 ? abs(x) : mul(x, x), { axes: context.int('axis', -1), keepDims: true });
  // All of x is 0 where the total is: any norm but 0 will do, and keeps the gradient finite.
  const safe = where(equal(total, 0), 1, total);
  return [div(x, broadcastTo(p === 1 ? safe : sqrt(safe), x.shape))];
}

/**
 * Local response normalisation (Krizhevsky, Sutskever, Hinton 2012): y = x / (bias + alpha/size·Σ x²)^beta, the sum over
 * `size` neighbouring channels, the lesser half of them before.
 */
function lrn(context: OperatorContext) {
  const x = context.float(0);
  const size = context.int('size');
  if (size < 1) context.invalid(`size must be positive, got ${size}`);
  const before = Math.floor((size - 1) / 2);
  const channels = x.shape[1] ?? context.invalid('the input must be [N, C, …]');
  const shape = x.shape.with(1, channels + size - 1);
  const padded = sliceScatter(mul(x, x), { shape, starts: x.shape.map((_, axis) => (axis === 1 ? before : 0)) });
  // Channels beyond both ends are in no sum.
  const from = Math.max(0, before - channels + 1);
  const to = Math.min(size, before + channels);
  let total: Tensor | undefined;
  for (let k = from; k < to; k++) {
    const part = slice(padded, { 1: [k, k + channels] });
    total = total ? add(total, part) : part;
  }
  const scale = context.floatAttr('alpha', 1e-4) / size;
  return [div(x, pow(add(mul(total!, scale), context.floatAttr('bias', 1)), context.floatAttr('beta', 0.75)))];
}

/** y = (x − mean) / (√variance + 1e-9) over the axes; 0 where all values are equal. */
function meanVarianceNormalization(context: OperatorContext) {
  const x = context.float(0);
  const over = { axes: context.ints('axes', [0, 2, 3]), keepDims: true };
  const deviation = sub(x, broadcastTo(mean(x, over), x.shape));
  const variance = mean(mul(deviation, deviation), over);
  // As in LpNormalization: √ has no derivative at 0.
  const deviationScale = add(sqrt(where(equal(variance, 0), 1, variance)), 1e-9);
  return [div(deviation, broadcastTo(deviationScale, x.shape))];
}

export const normOperators: OperatorTable = {
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LayerNormalization: layerNormalization,
  LpNormalization: lpNormalization,
  LRN: lrn,
  MeanVarianceNormalization: meanVarianceNormalization,
};
