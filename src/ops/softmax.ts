import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, type RefTensor, require } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { sum } from './reduce.ts';
import { transpose } from './shape.ts';
import { exp, neg } from './unary.ts';

/** FLOPs an element: an exponential (a polynomial of about 20) and the passes over the row. */
const flopsPerElement = 25;

/** What sets softmax and its logarithm apart. Both work on rows: the last axis. */
interface RowSpec {
  readonly name: string;
  readonly doc: string;
  /** One row's values. */
  readonly row: (inputs: readonly Float64Array[]) => Float64Array;
  readonly gradient: (
    inputs: readonly Tensor[],
    y: Tensor,
    g: Tensor,
    needs: (i: number) => boolean,
  ) => (Tensor | undefined)[];
  readonly inputs: readonly string[];
  /** Range of the samples' first input. */
  readonly range?: { readonly low: number; readonly high: number };
}

function rowOp(spec: RowSpec): OpRecord {
  const { inputs: names } = spec;
  const sample = (name: string, ...shape: number[]) => ({
    name,
    inputs: names.map((_, i) => (i === 0 ? { shape, ...spec.range } : { shape })),
    attrs: {},
  });
  return defineOp({
    name: spec.name,
    doc: spec.doc,
    infer: (inputs) => {
      require(inputs.length === names.length, `takes ${names.join(' and ')}, got ${inputs.length} inputs`);
      const [first] = inputs as [TensorType];
      for (const t of inputs) {
        require(t.dtype === 'f32', `takes f32, got ${t.dtype}`);
        require(sameShape(
          t.shape,
          first.shape,
        ), `${names.join(' and ')} must have one shape, got ${formatShape(t.shape)} too`);
      }
      require(first.shape.length >= 1, 'works along the last axis and needs at least one, got a scalar');
      return [first];
    },
    reference: (inputs) => [eachRow(inputs, spec.row)],
    gradient: {
      kind: 'rule',
      rule: ({ inputs, outputs, grads, needs }) => spec.gradient(inputs, outputs[0]!, grads[0]!, needs),
    },
    cost: (inputs, outputs) => ({
      flops: flopsPerElement * elementCount(outputs[0]!.shape),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: [sample('rows', 3, 5), sample('one row', 7), sample('three axes', 2, 3, 9), sample('two classes', 4, 2)],
    badSamples: [
      { inputs: names.map(() => ({ dtype: 'f32', shape: [] })), attrs: {}, message: 'needs at least one' },
      { inputs: names.map(() => ({ dtype: 'i32', shape: [2, 3] })), attrs: {}, message: 'takes f32, got i32' },
    ],
  });
}

function eachRow(inputs: readonly RefTensor[], row: RowSpec['row']): Float64Array {
  const columns = inputs[0]!.type.shape.at(-1)!;
  const out = new Float64Array(inputs[0]!.data.length);
  for (let at = 0; at < out.length; at += columns) {
    const rows = inputs.map((t) => t.data.subarray(at, at + columns));
    out.set(row(rows), at);
  }
  return out;
}

const total = (values: Float64Array): number => values.reduce((s, v) => s + v, 0);
const largest = (values: Float64Array): number => values.reduce((m, v) => Math.max(m, v), -Infinity);

/** Σ over the last axis, kept as an axis of size 1. */
const rowSum = (x: Tensor): Tensor => sum(x, { axes: [-1], keepDims: true });

export const softmaxOp = rowOp({
  name: 'softmax',
  doc: 'y = e^(x − max x) / Σ e^(x − max x) along the last axis (ONNX Softmax, PyTorch softmax). A row of nothing but −∞ gives NaN.',
  inputs: ['x'],
  row: ([x]) => {
    const top = largest(x!);
    const e = x!.map((v) => Math.exp(v - top));
    const all = total(e);
    return e.map((v) => v / all);
  },
  gradient: (_, y, g) => [softmaxGrad(y, g)],
});

export const softmaxGradOp = rowOp({
  name: 'softmaxGrad',
  doc: 'dx = y·(dy − Σ y·dy) along the last axis, y the output of softmax.',
  inputs: ['y', 'dy'],
  range: { low: 0, high: 1 },
  row: ([y, dy]) => {
    const dot = total(y!.map((v, i) => v * dy![i]!));
    return y!.map((v, i) => v * (dy![i]! - dot));
  },
  // dx = (diag y − y·yᵀ)·dy: symmetric in dy, so its transpose is itself.
  gradient: ([y, dy], _, g, needs) => [
    needs(0) ? sub(mul(g, sub(dy!, rowSum(mul(y!, dy!)))), mul(dy!, rowSum(mul(g, y!)))) : undefined,
    needs(1) ? softmaxGrad(y!, g) : undefined,
  ],
});

export const logSoftmaxOp = rowOp({
  name: 'logSoftmax',
  doc: 'y = (x − max x) − log Σ e^(x − max x) along the last axis (ONNX LogSoftmax, PyTorch log_softmax).',
  inputs: ['x'],
  row: ([x]) => {
    const top = largest(x!);
    const rest = Math.log(total(x!.map((v) => Math.exp(v - top))));
    return x!.map((v) => v - top - rest);
  },
  gradient: (_, y, g) => [logSoftmaxGrad(y, g)],
});

export const logSoftmaxGradOp = rowOp({
  name: 'logSoftmaxGrad',
  doc: 'dx = dy − e^y·Σ dy along the last axis, y the output of logSoftmax.',
  inputs: ['y', 'dy'],
  range: { low: -2, high: 0 },
  row: ([y, dy]) => {
    const all = total(dy!);
    return y!.map((v, i) => dy![i]! - Math.exp(v) * all);
  },
  gradient: ([y, dy], _, g, needs) => [
    needs(0) ? neg(mul(mul(g, exp(y!)), rowSum(dy!))) : undefined,
    needs(1) ? sub(g, rowSum(mul(g, exp(y!)))) : undefined,
  ],
});

/** Applies a row op along another axis by exchanging it with the last one. */
function along(axis: number, x: Tensor, apply: (x: Tensor) => Tensor): Tensor {
  const at = normalAxis(axis, x.rank);
  if (at === x.rank - 1 || x.rank === 0) return apply(x);
  const order = Array.from({ length: x.rank }, (_, i) => i);
  order[at] = x.rank - 1;
  order[x.rank - 1] = at;
  return transpose(apply(transpose(x, order)), order);
}

const build =
  (op: OpRecord) =>
  (...inputs: Tensor[]): Tensor =>
    inputs[0]!.graph.add(op, inputs, {})[0]!;

/** Probabilities along an axis. */
export const softmax = (x: Tensor, options: { readonly axis?: number } = {}): Tensor =>
  along(options.axis ?? -1, x, build(softmaxOp));

/** Logarithm of the probabilities along an axis. */
export const logSoftmax = (x: Tensor, options: { readonly axis?: number } = {}): Tensor =>
  along(options.axis ?? -1, x, build(logSoftmaxOp));

/** Gradient of `softmax` over the last axis, from its output. */
export const softmaxGrad = (y: Tensor, dy: Tensor): Tensor => build(softmaxGradOp)(y, dy);

/** Gradient of `logSoftmax` over the last axis, from its output. */
export const logSoftmaxGrad = (y: Tensor, dy: Tensor): Tensor => build(logSoftmaxGradOp)(y, dy);
