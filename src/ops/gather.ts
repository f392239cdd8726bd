import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/** Rows of a table by index, and the sum of rows by index: each the other's transpose, so closed under differentiation. */
type ScatterAttrs = { readonly rows: number };

const requirePair = (inputs: readonly TensorType[], names: string): void =>
  require(inputs.length === 2, `takes ${names}, got ${inputs.length} input${inputs.length === 1 ? '' : 's'}`);

function requireTypes(values: TensorType, indices: TensorType): void {
  require(values.dtype === 'f32', `takes f32 values, got ${values.dtype}`);
  require(indices.dtype === 'i32', `takes i32 indices, got ${indices.dtype}`);
}

/** The index of row `at`, checked: a kernel traps where this throws. */
function rowAt(indices: Float64Array, at: number, rows: number): number {
  const row = indices[at]!;
  if (row < 0 || row >= rows) throw new RangeError(`index ${row} is not a row of a table of ${rows}`);
  return row;
}

export const gatherOp = defineOp({
  name: 'gather',
  doc: 'y[i…, :] = table[indices[i…], :] (ONNX Gather of axis 0, PyTorch embedding). table [V, D…], indices i32; an index outside 0…V − 1 is an error.',
  infer: (inputs) => {
    requirePair(inputs, 'a table and indices');
    const [table, indices] = inputs as [TensorType, TensorType];
    requireTypes(table, indices);
    require(table.shape.length >= 1, 'the table must have an axis of rows, got a scalar');
    return [{ dtype: 'f32', shape: [...indices.shape, ...table.shape.slice(1)] }];
  },
  reference: ([table, indices]) => {
    const [rows, ...rest] = table!.type.shape as [number, ...number[]];
    const width = elementCount(rest);
    const y = new Float64Array(indices!.data.length * width);
    for (let i = 0; i < indices!.data.length; i++) {
      const from = rowAt(indices!.data, i, rows) * width;
      y.set(table!.data.subarray(from, from + width), i * width);
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, grads }) => [scatterAdd(inputs[1]!, grads[0]!, { rows: inputs[0]!.shape[0]! }), undefined],
  },
  cost: ([, indices], [y]) => ({ flops: 0, bytes: elementwiseBytes([indices!, y!], [y!]) }),
  samples: [
    {
      name: 'rows, one twice',
      inputs: [{ shape: [5, 3] }, { shape: [2, 3], dtype: 'i32', values: [4, 0, 2, 2, 1, 4] }],
      attrs: {},
    },
    { name: 'scalars', inputs: [{ shape: [7] }, { shape: [4], dtype: 'i32', values: [6, 1, 1, 0] }], attrs: {} },
    { name: 'one index', inputs: [{ shape: [3, 2, 5] }, { shape: [], dtype: 'i32', values: [1] }], attrs: {} },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [5, 3] },
        { dtype: 'f32', shape: [2] },
      ],
      attrs: {},
      message: 'takes i32 indices, got f32',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [] },
        { dtype: 'i32', shape: [2] },
      ],
      attrs: {},
      message: 'must have an axis of rows',
    },
  ],
});

export const scatterAddOp = defineOp<ScatterAttrs>({
  name: 'scatterAdd',
  doc: 'y = 0, then y[indices[i…], :] += dy[i…, :] in ascending order of i; `rows` is the size of y’s first axis.',
  infer: (inputs, { rows }) => {
    requirePair(inputs, 'indices and values');
    const [indices, dy] = inputs as [TensorType, TensorType];
    requireTypes(dy, indices);
    require(Number.isInteger(rows) && rows >= 1, `rows must be a positive integer, got ${rows}`);
    const rank = indices.shape.length;
    require(sameShape(
      dy.shape.slice(0, rank),
      indices.shape,
    ), `the values' first axes must be those of the indices, ${formatShape(indices.shape)}, got ${formatShape(dy.shape)}`);
    return [{ dtype: 'f32', shape: [rows, ...dy.shape.slice(rank)] }];
  },
  reference: ([indices, dy], { rows }, [out]) => {
    const width = elementCount(out!.shape.slice(1));
    const y = new Float64Array(rows * width);
    for (let i = 0; i < indices!.data.length; i++) {
      const to = rowAt(indices!.data, i, rows) * width;
      for (let k = 0; k < width; k++) y[to + k] = y[to + k]! + dy!.data[i * width + k]!;
    }
    return [y];
  },
  gradient: { kind: 'rule', rule: ({ inputs, grads }) => [undefined, gather(grads[0]!, inputs[0]!)] },
  cost: (inputs, outputs) => ({ flops: elementCount(inputs[1]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    {
      name: 'rows, one twice',
      inputs: [{ shape: [2, 3], dtype: 'i32', values: [4, 0, 2, 2, 1, 4] }, { shape: [2, 3, 3] }],
      attrs: { rows: 6 },
    },
    {
      name: 'scalars',
      inputs: [{ shape: [4], dtype: 'i32', values: [6, 1, 1, 0] }, { shape: [4] }],
      attrs: { rows: 7 },
    },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'i32', shape: [2, 3] },
        { dtype: 'f32', shape: [3, 2, 4] },
      ],
      attrs: { rows: 5 },
      message: "the values' first axes must be those of the indices, [2, 3]",
    },
    {
      inputs: [
        { dtype: 'i32', shape: [2] },
        { dtype: 'f32', shape: [2] },
      ],
      attrs: { rows: 0 },
      message: 'rows must be a positive integer',
    },
  ],
});

/** Rows of `table` [V, D…] by i32 `indices`: shape [...indices, D…]. */
export const gather = (table: Tensor, indices: Tensor): Tensor => table.graph.add(gatherOp, [table, indices], {})[0]!;

/** Sum of the values [...indices, D…] by index: shape [rows, D…]. */
export const scatterAdd = (indices: Tensor, values: Tensor, options: { readonly rows: number }): Tensor =>
  values.graph.add(scatterAddOp, [indices, values], { rows: options.rows })[0]!;

/** Rows and elements a row of a table. */
export const tableLayout = (table: Shape): { rows: number; width: number } => ({
  rows: table[0]!,
  width: elementCount(table.slice(1)),
});
