/** Comparisons, logic, selection and casts: what has no gradient of its own, or only passes it on. */
import { type DType, elementCount, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require, type Sample } from '../graph/op-record.ts';
import { broadcastMap, broadcastOf, sumTo } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp, lift, type Operand } from './define.ts';
import { abs } from './unary.ts';

const cost: OpRecord['cost'] = (inputs, outputs) => ({
  flops: elementCount(outputs[0]!.shape),
  bytes: elementwiseBytes(inputs, outputs),
});

/** f of two broadcast operands, element by element. */
const map2 =
  (f: (a: number, b: number) => number): OpRecord['reference'] =>
  ([a, b], _, [y]) => {
    const ia = broadcastMap(a!.type.shape, y!.shape);
    const ib = broadcastMap(b!.type.shape, y!.shape);
    return [Float64Array.from(ia, (at, i) => f(a!.data[at]!, b!.data[ib[i]!]!))];
  };

const compareSamples: readonly Sample[] = [
  {
    name: 'f32 with ties',
    inputs: [
      { shape: [2, 3], values: [1, 2, 3, -1, 0, 5] },
      { shape: [3], values: [1, 0, 3] },
    ],
    attrs: {},
  },
  {
    name: 'f32 special values',
    inputs: [
      { shape: [7], values: [Number.NaN, Infinity, -Infinity, 0, -0, Number.NaN, 1] },
      { shape: [7], values: [1, Infinity, Infinity, -0, 0, Number.NaN, -Infinity] },
    ],
    attrs: {},
  },
  {
    name: 'i32, column and row',
    inputs: [
      { shape: [5, 1], dtype: 'i32', low: -2, high: 3 },
      { shape: [3], dtype: 'i32', low: -2, high: 3 },
    ],
    attrs: {},
  },
  {
    name: 'i32 beyond the integers of f32',
    inputs: [
      { shape: [4], dtype: 'i32', values: [16777216, 16777217, -2147483648, 2147483647] },
      { shape: [4], dtype: 'i32', values: [16777217, 16777217, 2147483647, -2147483648] },
    ],
    attrs: {},
  },
  {
    name: 'six axes',
    inputs: [{ shape: [2, 1, 2, 1, 2, 1] }, { shape: [1, 2, 1, 3, 1, 2] }],
    attrs: {},
  },
];

function comparison(name: string, symbol: string, source: string, f: (a: number, b: number) => boolean): OpRecord {
  return defineOp({
    name,
    doc: `y = a ${symbol} b, bool. a and b: both f32 or both i32, NumPy broadcasting. ${source}.`,
    infer: ([a, b]) => {
      require(a && b, 'takes two tensors');
      require(a.dtype === b.dtype &&
        a.dtype !== 'bool', `operands must be both f32 or both i32, not ${a.dtype} and ${b.dtype}`);
      return [{ dtype: 'bool', shape: broadcastOf(a.shape, b.shape) }];
    },
    reference: map2((a, b) => (f(a, b) ? 1 : 0)),
    gradient: { kind: 'none', why: 'a comparison is constant almost everywhere' },
    cost,
    samples: compareSamples,
    badSamples: [
      { inputs: [t('f32', 2), t('i32', 2)], attrs: {}, message: 'not f32 and i32' },
      { inputs: [t('f32', 2), t('f32', 3)], attrs: {}, message: 'axis -1 is 2 and 3' },
    ],
  });
}

function t(dtype: DType, ...shape: number[]): TensorType {
  return { dtype, shape };
}

export const equalOp = comparison('equal', '=', 'ONNX Equal, torch.eq', (a, b) => a === b);
export const notEqualOp = comparison('notEqual', '≠', 'torch.ne', (a, b) => a !== b);
export const lessOp = comparison('less', '<', 'ONNX Less, torch.lt', (a, b) => a < b);
export const lessEqualOp = comparison('lessEqual', '≤', 'ONNX LessOrEqual, torch.le', (a, b) => a <= b);
export const greaterOp = comparison('greater', '>', 'ONNX Greater, torch.gt', (a, b) => a > b);
export const greaterEqualOp = comparison('greaterEqual', '≥', 'ONNX GreaterOrEqual, torch.ge', (a, b) => a >= b);

export const notOp: OpRecord = defineOp({
  name: 'not',
  doc: 'y = ¬x, bool of any shape. ONNX Not, torch.logical_not.',
  infer: ([x]) => {
    require(x?.dtype === 'bool', `x must be bool, not ${x?.dtype}`);
    return [x];
  },
  reference: ([x]) => [x!.data.map((v) => 1 - v)],
  gradient: { kind: 'none', why: 'it works on booleans' },
  cost,
  samples: [{ inputs: [{ shape: [3, 7], dtype: 'bool' }], attrs: {} }],
  badSamples: [{ inputs: [t('f32', 2)], attrs: {}, message: 'x must be bool, not f32' }],
});

function logic(name: string, symbol: string, source: string, f: (a: number, b: number) => number): OpRecord {
  return defineOp({
    name,
    doc: `y = a ${symbol} b, bool, NumPy broadcasting. ${source}.`,
    infer: ([a, b]) => {
      require(a && b, 'takes two tensors');
      require(a.dtype === 'bool' && b.dtype === 'bool', `operands must be bool, not ${a.dtype} and ${b.dtype}`);
      return [{ dtype: 'bool', shape: broadcastOf(a.shape, b.shape) }];
    },
    reference: map2(f),
    gradient: { kind: 'none', why: 'it works on booleans' },
    cost,
    samples: [
      {
        name: 'same shape',
        inputs: [
          { shape: [5, 7], dtype: 'bool' },
          { shape: [5, 7], dtype: 'bool' },
        ],
        attrs: {},
      },
      {
        name: 'row and column',
        inputs: [
          { shape: [5, 1], dtype: 'bool' },
          { shape: [7], dtype: 'bool' },
        ],
        attrs: {},
      },
    ],
    badSamples: [{ inputs: [t('bool', 2), t('f32', 2)], attrs: {}, message: 'not bool and f32' }],
  });
}

export const andOp = logic('and', '∧', 'ONNX And, torch.logical_and', (a, b) => Math.min(a, b));
export const orOp = logic('or', '∨', 'ONNX Or, torch.logical_or', (a, b) => Math.max(a, b));
export const xorOp = logic('xor', '⊕', 'ONNX Xor, torch.logical_xor', (a, b) => (a === b ? 0 : 1));

export const whereOp: OpRecord = defineOp({
  name: 'where',
  doc: 'y = a where c, else b. c: bool; a and b: both f32 or both i32; NumPy broadcasting of all three. ONNX Where, torch.where.',
  infer: ([c, a, b]) => {
    require(c && a && b, 'takes three tensors');
    require(c.dtype === 'bool', `the condition must be bool, not ${c.dtype}`);
    require(a.dtype === b.dtype &&
      a.dtype !== 'bool', `branches must be both f32 or both i32, not ${a.dtype} and ${b.dtype}`);
    return [{ dtype: a.dtype, shape: broadcastOf(c.shape, a.shape, b.shape) }];
  },
  reference: ([c, a, b], _, [y]) => {
    const [ic, ia, ib] = [c!, a!, b!].map((x) => broadcastMap(x.type.shape, y!.shape)) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
    return [Float64Array.from(ic, (at, i) => (c!.data[at] ? a!.data[ia[i]!]! : b!.data[ib[i]!]!))];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, grads, needs }) => {
      const [c, a, b] = inputs as [Tensor, Tensor, Tensor];
      const dy = grads[0]!;
      return [
        undefined,
        needs(1) ? sumTo(where(c, dy, 0), a.shape) : undefined,
        needs(2) ? sumTo(where(c, 0, dy), b.shape) : undefined,
      ];
    },
  },
  cost,
  samples: [
    { name: 'same shape', inputs: [{ shape: [3, 5], dtype: 'bool' }, { shape: [3, 5] }, { shape: [3, 5] }], attrs: {} },
    {
      name: 'three broadcasts',
      inputs: [
        { shape: [4, 1, 3], values: [1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0], dtype: 'bool' },
        { shape: [2, 1] },
        { shape: [3] },
      ],
      attrs: {},
    },
    {
      name: 'scalar branch',
      inputs: [{ shape: [7], values: [1, 0, 1, 1, 0, 0, 1], dtype: 'bool' }, { shape: [] }, { shape: [7] }],
      attrs: {},
    },
    {
      name: 'scalar condition',
      inputs: [{ shape: [], values: [1], dtype: 'bool' }, { shape: [5] }, { shape: [2, 5] }],
      attrs: {},
      gradientOf: [1],
    },
    {
      name: 'six axes',
      inputs: [
        { shape: [1, 2, 1, 3, 1, 1], values: [1, 0, 0, 1, 1, 0], dtype: 'bool' },
        { shape: [2, 1, 2, 1, 2, 1] },
        { shape: [1, 2, 1, 3, 1, 2] },
      ],
      attrs: {},
    },
    {
      name: 'i32',
      inputs: [
        { shape: [2, 3], dtype: 'bool' },
        { shape: [2, 3], dtype: 'i32', low: -9, high: 9 },
        { shape: [], dtype: 'i32', values: [-100] },
      ],
      attrs: {},
    },
  ],
  badSamples: [
    { inputs: [t('f32', 2), t('f32', 2), t('f32', 2)], attrs: {}, message: 'the condition must be bool, not f32' },
    { inputs: [t('bool', 2), t('f32', 2), t('i32', 2)], attrs: {}, message: 'not f32 and i32' },
    { inputs: [t('bool', 2), t('f32', 3), t('f32', 1)], attrs: {}, message: 'do not broadcast' },
  ],
});

/** f32 → i32: towards zero, saturating at the range's ends, NaN → 0 (WebAssembly's i32.trunc_sat). */
const truncate = (x: number): number =>
  Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), -(2 ** 31)), 2 ** 31 - 1) + 0;

export const castOp: OpRecord<{ to: DType }> = defineOp<{ to: DType }>({
  name: 'cast',
  doc: 'y = x as dtype `to`: f32 → i32 truncates and saturates (NaN → 0), anything not 0 is true, true is 1. ONNX Cast, torch.Tensor.to.',
  infer: ([x], { to }) => {
    require(x, 'takes one tensor');
    require(to === 'f32' || to === 'i32' || to === 'bool', `to must be f32, i32 or bool, not ${to}`);
    require(x.dtype !== to, `x is ${to} already`);
    return [{ dtype: to, shape: x.shape }];
  },
  reference: ([x], { to }) => {
    const f = to === 'bool' ? (v: number) => (v !== 0 ? 1 : 0) : to === 'i32' ? truncate : Math.fround;
    return [x!.data.map(f)];
  },
  gradient: { kind: 'none', why: 'integers and booleans have no gradient' },
  cost,
  samples: [
    { name: 'bool to f32', inputs: [{ shape: [3, 7], dtype: 'bool' }], attrs: { to: 'f32' } },
    { name: 'bool to i32', inputs: [{ shape: [3, 7], dtype: 'bool' }], attrs: { to: 'i32' } },
    {
      name: 'i32 to f32',
      inputs: [{ shape: [7], dtype: 'i32', values: [0, 1, -1, 16777217, 2147483647, -2147483648, 12345] }],
      attrs: { to: 'f32' },
    },
    { name: 'i32 to bool', inputs: [{ shape: [3, 7], dtype: 'i32', low: -1, high: 2 }], attrs: { to: 'bool' } },
    {
      name: 'f32 to i32',
      inputs: [{ shape: [9], values: [0.9, -0.9, 2.5, -2.5, 3e9, -3e9, Number.NaN, -Infinity, 0] }],
      attrs: { to: 'i32' },
    },
    {
      name: 'f32 to bool',
      inputs: [{ shape: [6], values: [0, -0, 1e-30, -2, Number.NaN, Infinity] }],
      attrs: { to: 'bool' },
    },
  ],
  badSamples: [
    { inputs: [t('f32', 2)], attrs: { to: 'f32' }, message: 'x is f32 already' },
    { inputs: [t('f32', 2)], attrs: { to: 'f64' as DType }, message: 'to must be f32, i32 or bool, not f64' },
  ],
});

const build =
  (op: OpRecord) =>
  (a: Operand, b: Operand): Tensor => {
    const pair = lift(a, b);
    return pair[0]!.graph.add(op, pair, {})[0]!;
  };

/** a = b */
export const equal = build(equalOp);
/** a ≠ b */
export const notEqual = build(notEqualOp);
/** a < b */
export const less = build(lessOp);
/** a ≤ b */
export const lessEqual = build(lessEqualOp);
/** a > b */
export const greater = build(greaterOp);
/** a ≥ b */
export const greaterEqual = build(greaterEqualOp);
/** a ∧ b */
export const and = (a: Tensor, b: Tensor): Tensor => a.graph.add(andOp, [a, b], {})[0]!;
/** a ∨ b */
export const or = (a: Tensor, b: Tensor): Tensor => a.graph.add(orOp, [a, b], {})[0]!;
/** a ⊕ b: one of them, not both. */
export const xor = (a: Tensor, b: Tensor): Tensor => a.graph.add(xorOp, [a, b], {})[0]!;
/** ¬x */
export const not = (x: Tensor): Tensor => x.graph.add(notOp, [x], {})[0]!;

/** a where the condition holds, else b. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const branches = typeof a === 'number' && typeof b === 'number' ? liftNumbers(condition, a, b) : lift(a, b);
  return condition.graph.add(whereOp, [condition, ...branches], {})[0]!;
}

const liftNumbers = ({ graph }: Tensor, ...values: number[]): Tensor[] => values.map((v) => graph.scalar(v));

/** x as another dtype; x itself where it has that dtype. */
export const cast = (x: Tensor, to: DType): Tensor => (x.dtype === to ? x : x.graph.add(castOp, [x], { to })[0]!);

/** x is NaN, bool. */
export const isNan = (x: Tensor): Tensor => notEqual(x, x);

/** x is an infinity of one of the wanted signs (default both), bool. */
export function isInf(x: Tensor, options: { readonly positive?: boolean; readonly negative?: boolean } = {}): Tensor {
  const { positive = true, negative = true } = options;
  if (positive && negative) return equal(abs(x), Infinity);
  if (!positive && !negative) return less(x, -Infinity); // asked for nothing: false everywhere
  return equal(x, positive ? Infinity : -Infinity);
}
