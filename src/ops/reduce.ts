import { elementCount, type Shape, stridesOf, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type GradientContext, type OpRecord, require, type Sample, type SampleInput } from '../graph/op-record.ts';
import { checkAxes, normalAxes, reducedShape } from './axes.ts';
import { div, mul } from './binary.ts';
import { indexMap } from './broadcast.ts';
import { cast, equal, where } from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { broadcastTo, reshape } from './shape.ts';

/** `axes`: non-negative, ascending. */
export type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

interface ReduceSpec {
  readonly name: string;
  readonly doc: string;
  readonly start: number;
  readonly step: (total: number, x: number) => number;
  readonly finish?: (total: number, count: number) => number;
  readonly gradient: (x: Tensor, dy: Tensor, y: Tensor, axes: readonly number[]) => Tensor;
  readonly range: Partial<SampleInput>;
}

function reduction(spec: ReduceSpec): OpRecord<ReduceAttrs> {
  return defineOp<ReduceAttrs>({
    name: spec.name,
    doc: `${spec.doc} x: f32; the axes become 1 (keepDims) or go.`,
    infer: ([x], { axes, keepDims }) => {
      require(x, 'takes one tensor');
      require(x.dtype === 'f32', `x must be f32, not ${x.dtype}`);
      require(axes.length > 0 || x.shape.length === 0, 'needs at least one axis');
      checkAxes(axes, x.shape.length);
      return [{ dtype: 'f32', shape: reducedShape(x.shape, axes, keepDims) }];
    },
    reference: ([x], { axes }) => {
      const { shape } = x!.type;
      const kept = reducedShape(shape, axes, true);
      const own = stridesOf(kept);
      const into = indexMap(
        shape,
        own.map((s, i) => (axes.includes(i) ? 0 : s)),
      );
      const y = new Float64Array(elementCount(kept)).fill(spec.start);
      for (const [i, at] of into.entries()) y[at] = spec.step(y[at]!, x!.data[i]!);
      return [spec.finish ? y.map((v) => spec.finish!(v, into.length / y.length)) : y];
    },
    gradient: {
      kind: 'rule',
      rule: ({ inputs, outputs, attrs, grads }: GradientContext<ReduceAttrs>) => {
        const x = inputs[0]!;
        const kept = reducedShape(x.shape, attrs.axes, true);
        return [spec.gradient(x, reshape(grads[0]!, kept), reshape(outputs[0]!, kept), attrs.axes)];
      },
    },
    cost: (inputs, outputs) => ({ flops: elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
    samples: samples(spec.range),
    badSamples: [
      { inputs: [matrix], attrs: { axes: [2], keepDims: false }, message: 'axis 2 is out of range for rank 2' },
      { inputs: [matrix], attrs: { axes: [0, 0], keepDims: false }, message: 'axis 0 is given twice' },
      { inputs: [matrix], attrs: { axes: [], keepDims: false }, message: 'needs at least one axis' },
      { inputs: [{ dtype: 'bool', shape: [2] }], attrs: { axes: [0], keepDims: false }, message: 'not bool' },
    ],
  });
}

const matrix: TensorType = { dtype: 'f32', shape: [2, 3] };

function samples(range: Partial<SampleInput>): Sample<ReduceAttrs>[] {
  const cases: [string, Shape, number[], boolean][] = [
    ['last axis', [3, 7], [1], false],
    ['first axis, kept', [5, 3], [0], true],
    ['middle axis', [2, 5, 3], [1], false],
    ['all axes', [3, 5], [0, 1], false],
    ['two groups', [2, 3, 4, 3], [0, 2], false],
    ['three groups, kept', [2, 3, 2, 2, 3], [0, 2, 4], true],
    ['an axis of one', [3, 1, 4], [1], false],
    ['scalar', [], [], false],
  ];
  return cases.map(([name, shape, axes, keepDims]) => ({
    name,
    inputs: [{ shape, ...range }],
    attrs: { axes, keepDims },
  }));
}

const countOf = (shape: Shape, axes: readonly number[]): number => axes.reduce((n, axis) => n * shape[axis]!, 1);

export const sumOp = reduction({
  name: 'sum',
  doc: 'y = Σ x over the axes. ONNX ReduceSum, torch.sum.',
  start: 0,
  step: (total, x) => total + x,
  gradient: (x, dy) => broadcastTo(dy, x.shape),
  range: {},
});

export const meanOp = reduction({
  name: 'mean',
  doc: 'y = (Σ x)/n over the axes. ONNX ReduceMean, torch.mean.',
  start: 0,
  step: (total, x) => total + x,
  finish: (total, count) => total / count,
  gradient: (x, dy, _y, axes) => broadcastTo(mul(dy, 1 / countOf(x.shape, axes)), x.shape),
  range: {},
});

/** dy shared evenly among the elements that attain the extremum (PyTorch's amax, amin). */
function shareAmongTies(x: Tensor, dy: Tensor, y: Tensor, axes: readonly number[]): Tensor {
  const attained = equal(x, y);
  const ties = sum(cast(attained, 'f32'), { axes, keepDims: true });
  return where(attained, div(dy, ties), 0);
}

/** Math.max and Math.min give NaN for NaN, as the kernels do. */
export const maxOp = reduction({
  name: 'max',
  doc: 'y = max x over the axes, NaN where any is; ties share the gradient evenly. ONNX ReduceMax, torch.amax.',
  start: -Infinity,
  step: Math.max,
  gradient: shareAmongTies,
  range: { distinct: 0.005 },
});

export const minOp = reduction({
  name: 'min',
  doc: 'y = min x over the axes, NaN where any is; ties share the gradient evenly. ONNX ReduceMin, torch.amin.',
  start: Infinity,
  step: Math.min,
  gradient: shareAmongTies,
  range: { distinct: 0.005 },
});

export interface ReduceOptions {
  /** Default: all. Negative axes count from the end. */
  readonly axes?: number | readonly number[];
  /** Keeps the reduced axes as size 1; default false. */
  readonly keepDims?: boolean;
}

const build =
  (op: OpRecord<ReduceAttrs>) =>
  (x: Tensor, options: ReduceOptions = {}): Tensor => {
    const axes = normalAxes(options.axes, x.rank);
    if (axes.length === 0 && x.rank > 0) return x; // NumPy: no axes, nothing to reduce
    return x.graph.add(op, [x], { axes, keepDims: options.keepDims ?? false })[0]!;
  };

/** Sum over axes (default all). */
export const sum = build(sumOp);
/** Mean over axes (default all). */
export const mean = build(meanOp);
/** Largest element over axes (default all). */
export const max = build(maxOp);
/** Smallest element over axes (default all). */
export const min = build(minOp);
