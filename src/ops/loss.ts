import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { OpValueError, type RefTensor, require, type Sample } from '../graph/op-record.ts';
import { mul, sub } from './binary.ts';
import { equal, notEqual, where } from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp, type Operand } from './define.ts';
import { reshape } from './shape.ts';
import { softmax } from './softmax.ts';

/** Rows whose target equals `ignoreIndex` count nothing; null: every row counts. */
export type CrossEntropyAttrs = { readonly ignoreIndex: number | null };

function requireLoss(
  inputs: readonly TensorType[],
  names: readonly string[],
  { ignoreIndex }: CrossEntropyAttrs,
): void {
  require(inputs.length === names.length, `takes ${names.join(', ')}: ${names.length} inputs, got ${inputs.length}`);
  const [logits, target, ...scalars] = inputs as [TensorType, TensorType, ...TensorType[]];
  require(logits.dtype === 'f32', `logits must be f32, got ${logits.dtype}`);
  require(target.dtype === 'i32', `targets are class indices in i32, got ${target.dtype}`);
  require(logits.shape.length >= 1, 'logits must have the classes as their last axis, got a scalar');
  require(sameShape(
    target.shape,
    logits.shape.slice(0, -1),
  ), `the target must have the shape ${formatShape(logits.shape.slice(0, -1))} (logits without their last axis, the classes), got ${formatShape(target.shape)}`);
  scalars.forEach((t, i) => {
    require(t.dtype === 'f32' &&
      t.shape.length === 0, `${names[i + 2]} must be an f32 scalar, got ${t.dtype}${formatShape(t.shape)}`);
  });
  require(ignoreIndex === null ||
    Number.isInteger(ignoreIndex), `ignoreIndex must be an integer or null, got ${ignoreIndex}`);
}

/** Calls `visit` for each row that counts, with its logits, class, and log Σ e^logit. */
function eachCounted(
  logits: RefTensor,
  target: RefTensor,
  ignoreIndex: number | null,
  visit: (row: Float64Array, label: number, logSum: number, at: number) => void,
): void {
  const classes = logits.type.shape.at(-1)!;
  target.data.forEach((label, r) => {
    if (label === ignoreIndex) return;
    if (label < 0 || label >= classes) throw new OpValueError(`target ${label} is not one of ${classes} classes`);
    const row = logits.data.subarray(r * classes, (r + 1) * classes);
    const top = row.reduce((m, v) => Math.max(m, v), -Infinity);
    const logSum = top + Math.log(row.reduce((s, v) => s + Math.exp(v - top), 0));
    visit(row, label, logSum, r * classes);
  });
}

const lossSamples = (cotangent: boolean): Sample<CrossEntropyAttrs>[] => {
  const scalars = cotangent
    ? [
        { shape: [], low: 0.2, high: 1 },
        { shape: [], low: 0.5, high: 1 },
      ]
    : [{ shape: [], low: 0.2, high: 1 }];
  return [
    {
      name: 'rows',
      inputs: [{ shape: [4, 5] }, { shape: [4], dtype: 'i32', values: [0, 4, 2, 2] }, ...scalars],
      attrs: { ignoreIndex: null },
    },
    {
      name: 'sequences, a class ignored',
      inputs: [
        { shape: [2, 3, 4], low: -2, high: 2 },
        { shape: [2, 3], dtype: 'i32', values: [3, 1, 0, 1, 2, 0] },
        ...scalars,
      ],
      attrs: { ignoreIndex: 1 },
    },
    {
      name: 'padding ignored',
      inputs: [{ shape: [5, 3] }, { shape: [5], dtype: 'i32', values: [-100, 0, 2, -100, 1] }, ...scalars],
      attrs: { ignoreIndex: -100 },
    },
    {
      name: 'one row',
      inputs: [{ shape: [9] }, { shape: [], dtype: 'i32', values: [7] }, ...scalars],
      attrs: { ignoreIndex: null },
    },
  ];
};

/** About 20 for the exponential, and the passes over the row. */
const flopsPerElement = 25;

export const crossEntropyOp = defineOp<CrossEntropyAttrs>({
  name: 'crossEntropy',
  doc: 'loss = scale·Σ over rows of (log Σ e^logit − logit[target]), rows with target = ignoreIndex left out. logits […, C], target i32 […], scale [] (PyTorch cross_entropy with scale = 1 / rows counted). A target outside 0…C − 1 is an error.',
  infer: (inputs, attrs) => {
    requireLoss(inputs, ['logits', 'target', 'scale'], attrs);
    return [{ dtype: 'f32', shape: [] }];
  },
  reference: ([logits, target, scale], { ignoreIndex }) => {
    let total = 0;
    eachCounted(logits!, target!, ignoreIndex, (row, label, logSum) => {
      total += logSum - row[label]!;
    });
    return [Float64Array.of(total * scale!.data[0]!)];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads, needs }) => {
      const [logits, target, scale] = inputs as [Tensor, Tensor, Tensor];
      const dy = grads[0]!;
      return [
        needs(0) ? crossEntropyGrad(logits, target, scale, dy, attrs) : undefined,
        undefined,
        needs(2) ? mul(crossEntropy(logits, target, 1, attrs), dy) : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({
    flops: flopsPerElement * elementCount(inputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: lossSamples(false),
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [4, 5] },
        { dtype: 'i32', shape: [4, 5] },
        { dtype: 'f32', shape: [] },
      ],
      attrs: { ignoreIndex: null },
      message: 'the target must have the shape [4]',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [4, 5] },
        { dtype: 'f32', shape: [4] },
        { dtype: 'f32', shape: [] },
      ],
      attrs: { ignoreIndex: null },
      message: 'class indices in i32',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [4, 5] },
        { dtype: 'i32', shape: [4] },
        { dtype: 'f32', shape: [1] },
      ],
      attrs: { ignoreIndex: null },
      message: 'scale must be an f32 scalar',
    },
  ],
});

export const crossEntropyGradOp = defineOp<CrossEntropyAttrs>({
  name: 'crossEntropyGrad',
  doc: 'dlogits = (softmax(logits) − onehot(target))·scale·dy; rows with target = ignoreIndex are 0.',
  infer: (inputs, attrs) => {
    requireLoss(inputs, ['logits', 'target', 'scale', 'dy'], attrs);
    return [inputs[0]!];
  },
  reference: ([logits, target, scale, dy], { ignoreIndex }) => {
    const out = new Float64Array(logits!.data.length);
    const factor = scale!.data[0]! * dy!.data[0]!;
    eachCounted(logits!, target!, ignoreIndex, (row, label, logSum, at) => {
      row.forEach((v, i) => {
        out[at + i] = (Math.exp(v - logSum) - (i === label ? 1 : 0)) * factor;
      });
    });
    return [out];
  },
  gradient: {
    kind: 'decompose',
    build: ([logits, target, scale, dy], { ignoreIndex }) => {
      const classes = logits!.shape.at(-1)!;
      const column = reshape(target!, [...target!.shape, 1]);
      const onehot = where(equal(column, indices(logits!, classes)), 1, 0);
      const difference = sub(softmax(logits!), onehot);
      const counted = ignoreIndex === null ? difference : where(notEqual(column, ignoreIndex), difference, 0);
      return [mul(counted, mul(scale!, dy!))];
    },
  },
  cost: (inputs, outputs) => ({
    flops: flopsPerElement * elementCount(inputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: lossSamples(true),
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [4, 5] },
        { dtype: 'i32', shape: [4] },
        { dtype: 'f32', shape: [] },
        { dtype: 'f32', shape: [4] },
      ],
      attrs: { ignoreIndex: null },
      message: 'dy must be an f32 scalar',
    },
  ],
});

/** The class indices 0…count − 1. */
const indices = (like: Tensor, count: number): Tensor =>
  like.graph.constant(
    { type: { dtype: 'i32', shape: [count] }, data: Int32Array.from({ length: count }, (_, i) => i) },
    'classes',
  );

export interface CrossEntropyOptions {
  readonly ignoreIndex?: number | null;
}

const scalarOf = (like: Tensor, value: Operand): Tensor =>
  typeof value === 'number' ? like.graph.scalar(value) : value;

/** scale·Σ over rows of −log softmax(logits)[target]; a scale of 1 / rows makes it the mean. */
export const crossEntropy = (
  logits: Tensor,
  target: Tensor,
  scale: Operand,
  options: CrossEntropyOptions = {},
): Tensor =>
  logits.graph.add(crossEntropyOp, [logits, target, scalarOf(logits, scale)], {
    ignoreIndex: options.ignoreIndex ?? null,
  })[0]!;

/** Gradient of `crossEntropy` for its logits. */
export const crossEntropyGrad = (
  logits: Tensor,
  target: Tensor,
  scale: Operand,
  dy: Tensor,
  options: CrossEntropyOptions = {},
): Tensor =>
  logits.graph.add(crossEntropyGradOp, [logits, target, scalarOf(logits, scale), dy], {
    ignoreIndex: options.ignoreIndex ?? null,
  })[0]!;
