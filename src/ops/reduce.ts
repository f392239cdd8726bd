import { elementCount, type Shape, stridesOf, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type GradientRule, type OpRecord, require, type Sample, type SampleInput } from '../graph/op-record.ts';
import { checkAxes, normalAxes, reducedShape } from './axes.ts';
import { div, mul, sub } from './binary.ts';
import { indexMap } from './broadcast.ts';
import { cast, equal, where } from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { broadcastTo, concat, reshape, slice } from './shape.ts';
import { exp } from './unary.ts';

/** `axes`: non-negative, ascending. */
export type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

interface ReduceSpec {
  readonly name: string;
  readonly doc: string;
  readonly start: number;
  readonly step: (total: number, x: number) => number;
  /** The step of i32, whose results wrap around; undefined: f32 only. */
  readonly integerStep?: (total: number, x: number) => number;
  readonly finish?: (total: number, count: number) => number;
  readonly gradient:
    | ((x: Tensor, dy: Tensor, y: Tensor, axes: readonly number[]) => Tensor)
    | GradientRule<ReduceAttrs>;
  /** FLOPs an element; default 1. */
  readonly flops?: number;
  readonly range: Partial<SampleInput>;
  readonly more?: readonly Sample<ReduceAttrs>[];
}

function reduction(spec: ReduceSpec): OpRecord<ReduceAttrs> {
  return defineOp<ReduceAttrs>({
    name: spec.name,
    doc: `${spec.doc} x: f32${spec.integerStep ? ' or i32' : ''}; the axes become 1 (keepDims) or go.`,
    infer: ([x], { axes, keepDims }) => {
      require(x, 'takes one tensor');
      if (spec.integerStep) require(x.dtype !== 'bool', 'x must be f32 or i32, not bool');
      else require(x.dtype === 'f32', `x must be f32, not ${x.dtype}`);
      require(axes.length > 0 || x.shape.length === 0, 'needs at least one axis');
      checkAxes(axes, x.shape.length);
      return [{ dtype: x.dtype, shape: reducedShape(x.shape, axes, keepDims) }];
    },
    reference: ([x], { axes }) => {
      const { shape, dtype } = x!.type;
      const step = (dtype === 'i32' && spec.integerStep) || spec.step;
      const kept = reducedShape(shape, axes, true);
      const own = stridesOf(kept);
      const into = indexMap(
        shape,
        own.map((s, i) => (axes.includes(i) ? 0 : s)),
      );
      const y = new Float64Array(elementCount(kept)).fill(spec.start);
      for (const [i, at] of into.entries()) y[at] = step(y[at]!, x!.data[i]!);
      return [spec.finish ? y.map((v) => spec.finish!(v, into.length / y.length)) : y];
    },
    gradient: typeof spec.gradient === 'function' ? keptRule(spec.gradient) : spec.gradient,
    cost: (inputs, outputs) => ({
      flops: (spec.flops ?? 1) * elementCount(inputs[0]!.shape),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: [...samples(spec.range), ...(spec.integerStep ? integerSamples : []), ...(spec.more ?? [])],
    badSamples: [
      { inputs: [matrix], attrs: { axes: [2], keepDims: false }, message: 'axis 2 is out of range for rank 2' },
      { inputs: [matrix], attrs: { axes: [0, 0], keepDims: false }, message: 'axis 0 is given twice' },
      { inputs: [matrix], attrs: { axes: [], keepDims: false }, message: 'needs at least one axis' },
      { inputs: [{ dtype: 'bool', shape: [2] }], attrs: { axes: [0], keepDims: false }, message: 'not bool' },
    ],
  });
}

/** A rule that sees dy and y with the reduced axes as 1, so that they broadcast with x. */
function keptRule(
  gradient: (x: Tensor, dy: Tensor, y: Tensor, axes: readonly number[]) => Tensor,
): GradientRule<ReduceAttrs> {
  return {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads }) => {
      const x = inputs[0]!;
      const kept = reducedShape(x.shape, attrs.axes, true);
      return [gradient(x, reshape(grads[0]!, kept), reshape(outputs[0]!, kept), attrs.axes)];
    },
  };
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

const integerSamples: readonly Sample<ReduceAttrs>[] = [
  {
    name: 'i32, wrapping around',
    inputs: [{ shape: [2, 5], dtype: 'i32', values: [2147483647, 1, 7, -5, 3, -2147483648, 16777217, -9, 2, -3] }],
    attrs: { axes: [1], keepDims: false },
  },
  {
    name: 'i32, two groups',
    inputs: [{ shape: [3, 5, 4], dtype: 'i32', low: -9, high: 9 }],
    attrs: { axes: [0, 2], keepDims: true },
  },
  {
    name: 'i32, first axis',
    inputs: [{ shape: [4, 7], dtype: 'i32', low: -2000000000, high: 2000000000 }],
    attrs: { axes: [0], keepDims: false },
  },
];

const countOf = (shape: Shape, axes: readonly number[]): number => axes.reduce((n, axis) => n * shape[axis]!, 1);

export const sumOp = reduction({
  name: 'sum',
  doc: 'y = Σ x over the axes. ONNX ReduceSum, torch.sum.',
  start: 0,
  step: (total, x) => total + x,
  integerStep: (total, x) => (total + x) | 0,
  gradient: (x, dy) => broadcastTo(dy, x.shape),
  range: {},
});

export const sumOfSquaresOp = reduction({
  name: 'sumOfSquares',
  doc: 'y = Σ x² over the axes, squared and added in f64, without a tensor of squares. ONNX ReduceSumSquare.',
  start: 0,
  step: (total, x) => total + x * x,
  gradient: (x, dy) => mul(x, mul(dy, 2)),
  flops: 2,
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
  integerStep: Math.max,
  gradient: shareAmongTies,
  range: { distinct: 0.005 },
});

export const minOp = reduction({
  name: 'min',
  doc: 'y = min x over the axes, NaN where any is; ties share the gradient evenly. ONNX ReduceMin, torch.amin.',
  start: Infinity,
  step: Math.min,
  integerStep: Math.min,
  gradient: shareAmongTies,
  range: { distinct: 0.005 },
});

export const prodOp = reduction({
  name: 'prod',
  doc: 'y = Π x over the axes. ONNX ReduceProd, torch.prod.',
  start: 1,
  step: (total, x) => total * x,
  integerStep: Math.imul,
  gradient: { kind: 'decompose', build: ([x], attrs) => [productTree(x!, attrs)] },
  range: { low: -2, high: 2 },
  more: [
    {
      name: 'one, two and three factors of zero',
      inputs: [{ shape: [3, 5], values: [0.5, 0, -1.5, 2, 0.75, 0, 1.5, -0.5, 0, 2, 0, 0, 1.25, 0, -1] }],
      attrs: { axes: [1], keepDims: false },
    },
  ],
});

/**
 * The product as a tree: halves of an axis are multiplied until one entry is left. Each of its multiplications is
 * differentiated by the other factor, so that derivatives of any order hold also where factors are 0, which y / x and its
 * like cannot give. Its depth follows from the axis' size.
 */
function productTree(x: Tensor, { axes, keepDims }: ReduceAttrs): Tensor {
  let y = x;
  for (const axis of axes) {
    while (y.shape[axis]! > 1) {
      const size = y.shape[axis]!;
      const half = size >> 1;
      const part = (start: number, end: number) => slice(y, { [axis]: [start, end] });
      const products = mul(part(0, half), part(half, 2 * half));
      y = size % 2 === 1 ? concat([products, part(size - 1, size)], { axis }) : products;
    }
  }
  return reshape(y, reducedShape(x.shape, axes, keepDims));
}

/** ln(eᵃ + eᵇ) without overflow. */
const logAddExp = (a: number, b: number): number =>
  a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));

export const logSumExpOp = reduction({
  name: 'logSumExp',
  doc: 'y = ln Σ eˣ over the axes, the maximum taken out first: −∞ where all x are, with gradient 0 there. ONNX ReduceLogSumExp, torch.logsumexp.',
  start: -Infinity,
  step: logAddExp,
  gradient: (x, dy, y) => mul(dy, exp(sub(x, where(equal(y, -Infinity), 0, y)))),
  flops: 25,
  range: { low: -3, high: 3 },
  more: [
    {
      name: 'infinities and large values',
      inputs: [
        {
          shape: [5, 3],
          values: [
            -Infinity,
            -Infinity,
            -Infinity,
            1,
            -Infinity,
            2,
            3e38,
            3e38,
            -3e38,
            0,
            Infinity,
            1,
            -900,
            -901,
            -902,
          ],
        },
      ],
      attrs: { axes: [1], keepDims: false },
      gradientOf: [],
    },
    {
      name: 'infinities in columns',
      inputs: [{ shape: [2, 5], values: [-Infinity, 1, Infinity, -Infinity, 3e38, -Infinity, -Infinity, 0, 5, 3e38] }],
      attrs: { axes: [0], keepDims: false },
      gradientOf: [],
    },
  ],
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
/** Product over axes (default all). */
export const prod = build(prodOp);
/** ln Σ eˣ over axes (default all), without overflow. */
export const logSumExp = build(logSumExpOp);
const squaresOver = build(sumOfSquaresOp);
/** Sum of squares over axes (default all). */
export const sumOfSquares = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  x.rank > 0 && normalAxes(options.axes, x.rank).length === 0 ? mul(x, x) : squaresOver(x, options);
