/** The largest and smallest entries of an axis, and where they are. NaN counts as the largest of all, as in PyTorch. */
import { formatShape, type Shape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require, type Sample } from '../graph/op-record.ts';
import { normalAxis, reducedShape } from './axes.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { scatterElements } from './gather-elements.ts';
import { axisLayout, requireAxis } from './indices.ts';
import { filled } from './scatter.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

function requireOrdered(x: TensorType | undefined, axis: number): asserts x {
  require(x, 'takes one tensor');
  require(x.dtype !== 'bool', 'x must be f32 or i32, not bool');
  requireAxis(axis, x.shape.length);
}

/** Calls `f` with the entries of every line along the axis, and the line's place among outputs with `entries` entries. */
function eachLine(
  x: Float64Array,
  shape: Shape,
  axis: number,
  entries: number,
  f: (line: Float64Array, first: number, step: number) => void,
): void {
  const { outer, size, inner } = axisLayout(shape, axis);
  const line = new Float64Array(size);
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < inner; k++) {
      for (let i = 0; i < size; i++) line[i] = x[(o * size + i) * inner + k]!;
      f(line, o * entries * inner + k, inner);
    }
  }
}

/** Negative where a comes before b, the largest first; NaN before all else. */
const descending = (a: number, b: number): number => {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(b)) - Number(Number.isNaN(a));
  return b - a || 0; // ∞ − ∞
};

export type TopKAttrs = { readonly axis: number; readonly k: number; readonly largest: boolean };

export const topKOp: OpRecord<TopKAttrs> = defineOp<TopKAttrs>({
  name: 'topK',
  doc: 'The k largest (or smallest) entries along an axis in order, and their places: values like x with k entries, i32 indices. Of equal entries the one of lower index comes first; NaN counts as the largest. f32 or i32. The gradient goes to the entries chosen. ONNX TopK, torch.topk.',
  infer: ([x], { axis, k }) => {
    requireOrdered(x, axis);
    require(Number.isInteger(k) &&
      k >= 1 &&
      k <= x.shape[axis]!, `k = ${k} must lie in 1 … ${x.shape[axis]} for axis ${axis} of ${formatShape(x.shape)}`);
    const shape = x.shape.map((d, i) => (i === axis ? k : d));
    return [
      { dtype: x.dtype, shape },
      { dtype: 'i32', shape },
    ];
  },
  reference: ([x], { axis, k, largest }) => {
    const count = (x!.data.length / x!.type.shape[axis]!) * k;
    const [values, indices] = [new Float64Array(count), new Float64Array(count)];
    eachLine(x!.data, x!.type.shape, axis, k, (line, first, step) => {
      // Array sorts are stable: equal entries keep the order of their indices.
      const order = [...line.keys()].sort((a, b) =>
        largest ? descending(line[a]!, line[b]!) : descending(line[b]!, line[a]!),
      );
      for (let i = 0; i < k; i++) {
        indices[first + i * step] = order[i]!;
        values[first + i * step] = line[order[i]!]!;
      }
    });
    return [values, indices];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs: [x], outputs: [, indices], attrs: { axis }, grads: [dy] }) => [
      dy && scatterElements(filled(dy.graph, 0, x!.shape), indices!, dy, { axis, reduction: 'add' }),
    ],
  },
  // A heap of k entries: most elements are compared with its root only.
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    { name: 'largest', inputs: [{ shape: [3, 7], distinct: 0.01 }], attrs: { axis: 1, k: 3, largest: true } },
    {
      name: 'smallest, first axis',
      inputs: [{ shape: [6, 5], distinct: 0.01 }],
      attrs: { axis: 0, k: 2, largest: false },
    },
    {
      name: 'all of a middle axis',
      inputs: [{ shape: [2, 5, 3], distinct: 0.01 }],
      attrs: { axis: 1, k: 5, largest: true },
    },
    { name: 'one', inputs: [{ shape: [9], distinct: 0.01 }], attrs: { axis: 0, k: 1, largest: true } },
    {
      name: 'ties and special values',
      inputs: [
        { shape: [2, 6], values: [1, 3, Number.NaN, 3, -Infinity, 3, 0, -0, Infinity, Number.NaN, 0, Infinity] },
      ],
      attrs: { axis: 1, k: 5, largest: true },
      gradientOf: [],
    },
    {
      name: 'ties and special values, smallest',
      inputs: [
        { shape: [2, 6], values: [1, 3, Number.NaN, 1, -Infinity, 3, 0, -0, Infinity, Number.NaN, 0, Infinity] },
      ],
      attrs: { axis: 1, k: 6, largest: false },
      gradientOf: [],
    },
    {
      name: 'i32',
      inputs: [
        {
          shape: [3, 8],
          dtype: 'i32',
          values: [
            5, -1, 5, 2147483647, 16777217, 16777216, 0, -2147483648, 1, 1, 1, 1, 2, 2, 2, 2, 8, 7, 6, 5, 4, 3, 2, 1,
          ],
        },
      ],
      attrs: { axis: 1, k: 4, largest: true },
    },
  ],
  badSamples: [
    { inputs: [f32(3, 4)], attrs: { axis: 1, k: 5, largest: true }, message: 'k = 5 must lie in 1 … 4 for axis 1' },
    { inputs: [f32(3, 4)], attrs: { axis: 2, k: 1, largest: true }, message: 'axis 2 is out of range' },
    { inputs: [{ dtype: 'bool', shape: [3] }], attrs: { axis: 0, k: 1, largest: true }, message: 'not bool' },
  ],
});

export type ArgExtremumAttrs = { readonly axis: number; readonly keepDims: boolean; readonly selectLastIndex: boolean };

function argExtremum(
  name: string,
  doc: string,
  /** Whether a is nearer the extremum than b; neither is NaN. */
  beats: (a: number, b: number) => boolean,
): OpRecord<ArgExtremumAttrs> {
  return defineOp<ArgExtremumAttrs>({
    name,
    doc: `${doc} along an axis, i32; of several the first, or the last (selectLastIndex); NaN counts as the extremum. f32 or i32; the axis becomes 1 (keepDims) or goes.`,
    infer: ([x], { axis, keepDims }) => {
      requireOrdered(x, axis);
      return [{ dtype: 'i32', shape: reducedShape(x.shape, [axis], keepDims) }];
    },
    reference: ([x], { axis, selectLastIndex }, [out]) => {
      const y = new Float64Array(out!.shape.reduce((n, d) => n * d, 1));
      eachLine(x!.data, x!.type.shape, axis, 1, (line, first) => {
        let best = 0;
        for (let i = 1; i < line.length; i++) {
          const [a, b] = [line[i]!, line[best]!];
          const ties = a === b || (Number.isNaN(a) && Number.isNaN(b));
          const wins = Number.isNaN(a) ? !Number.isNaN(b) : beats(a, b);
          if (ties ? selectLastIndex : wins) best = i;
        }
        y[first] = best;
      });
      return [y];
    },
    gradient: { kind: 'none', why: 'an index is constant almost everywhere' },
    cost: (inputs, outputs) => ({
      flops: inputs[0]!.shape.reduce((n, d) => n * d, 1),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: argSamples,
    badSamples: [
      { inputs: [f32(3)], attrs: { axis: 1, ...firstOf }, message: 'axis 1 is out of range for rank 1' },
      { inputs: [{ dtype: 'bool', shape: [3] }], attrs: { axis: 0, ...firstOf }, message: 'not bool' },
    ],
  });
}

const firstOf = { keepDims: false, selectLastIndex: false };
const lastOf = { keepDims: false, selectLastIndex: true };

const argSamples: readonly Sample<ArgExtremumAttrs>[] = [
  { name: 'last axis', inputs: [{ shape: [3, 13] }], attrs: { axis: 1, ...firstOf } },
  { name: 'first axis, kept', inputs: [{ shape: [5, 7] }], attrs: { axis: 0, keepDims: true, selectLastIndex: false } },
  { name: 'middle axis', inputs: [{ shape: [2, 5, 3] }], attrs: { axis: 1, ...lastOf } },
  { name: 'an axis of one', inputs: [{ shape: [3, 1] }], attrs: { axis: 1, ...firstOf } },
  ...[firstOf, lastOf].flatMap((which): Sample<ArgExtremumAttrs>[] => [
    {
      name: `${which === firstOf ? 'first' : 'last'} of ties`,
      inputs: [{ shape: [3, 9], values: [...line(2), ...line(-2), ...line(0)] }],
      attrs: { axis: 1, ...which },
    },
    {
      name: `${which === firstOf ? 'first' : 'last'} of several NaN`,
      inputs: [
        {
          shape: [2, 7],
          values: [
            1,
            Number.NaN,
            3,
            Infinity,
            -Infinity,
            Number.NaN,
            2,
            -Infinity,
            -Infinity,
            1,
            1,
            Infinity,
            Infinity,
            0,
          ],
        },
      ],
      attrs: { axis: 1, ...which },
    },
    {
      name: `${which === firstOf ? 'first' : 'last'} of ties, columns of i32`,
      inputs: [{ shape: [7, 5], dtype: 'i32', low: -2, high: 2 }],
      attrs: { axis: 0, ...which },
    },
  ]),
  {
    name: 'i32 beyond the integers of f32',
    inputs: [
      {
        shape: [2, 6],
        dtype: 'i32',
        values: [16777216, 16777217, 16777216, 16777217, 5, 6, -2147483648, 2147483647, 0, -2147483648, 2147483647, 1],
      },
    ],
    attrs: { axis: 1, ...firstOf },
  },
];

/** Both extrema three times each. */
function line(offset: number): number[] {
  return [0, 3, -3, 1, 3, -3, -3, 3, 2].map((v) => v + offset);
}

export const argMaxOp = argExtremum(
  'argMax',
  'Place of the largest entry (ONNX ArgMax, torch.argmax)',
  (a, b) => a > b,
);
export const argMinOp = argExtremum(
  'argMin',
  'Place of the smallest entry (ONNX ArgMin, torch.argmin)',
  (a, b) => a < b,
);

export interface TopKOptions {
  readonly k: number;
  /** Default: the last. */
  readonly axis?: number;
  /** Default true; false: the smallest. */
  readonly largest?: boolean;
}

/** The k largest entries along an axis, in order, and their i32 indices. */
export function topK(
  x: Tensor,
  { k, axis = -1, largest = true }: TopKOptions,
): { readonly values: Tensor; readonly indices: Tensor } {
  const [values, indices] = x.graph.add(topKOp, [x], { axis: normalAxis(axis, x.rank), k, largest });
  return { values: values!, indices: indices! };
}

export interface ArgOptions {
  /** Default: the last. */
  readonly axis?: number;
  /** Keeps the axis as size 1; default false. */
  readonly keepDims?: boolean;
  /** Of several the last; default the first. */
  readonly selectLastIndex?: boolean;
}

const build =
  (op: OpRecord<ArgExtremumAttrs>) =>
  (x: Tensor, { axis = -1, keepDims = false, selectLastIndex = false }: ArgOptions = {}): Tensor =>
    x.graph.add(op, [x], { axis: normalAxis(axis, x.rank), keepDims, selectLastIndex })[0]!;

/** i32 place of the largest entry along an axis. */
export const argMax = build(argMaxOp);
/** i32 place of the smallest entry along an axis. */
export const argMin = build(argMinOp);
