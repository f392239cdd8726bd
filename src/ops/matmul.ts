import { elementCount, formatShape, type Shape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { broadcastMap, broadcastOf, sumTo } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { reshape } from './shape.ts';

/** Whether the last two axes of an operand are exchanged, without moving it. */
export type MatmulAttrs = { readonly transA: boolean; readonly transB: boolean };

/** Sizes of a product: rows and columns of y, the summed length, and the batch axes. */
export interface MatmulSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batchA: Shape;
  readonly batchB: Shape;
  /** `batchA` and `batchB` broadcast. */
  readonly batch: Shape;
}

export function matmulSizes(a: TensorType, b: TensorType, { transA, transB }: MatmulAttrs): MatmulSizes {
  for (const [name, t] of [
    ['a', a],
    ['b', b],
  ] as const) {
    require(t.dtype === 'f32', `${name} must be f32, not ${t.dtype}`);
    require(t.shape.length >= 2, `${name} must have at least 2 axes, not ${formatShape(t.shape)}`);
  }
  const [rowsA, colsA] = matrixOf(a.shape, transA);
  const [rowsB, colsB] = matrixOf(b.shape, transB);
  require(colsA ===
    rowsB, `inner sizes ${colsA} of a and ${rowsB} of b differ: ${formatShape([rowsA, colsA])} × ${formatShape([rowsB, colsB])}`);
  const batchA = a.shape.slice(0, -2);
  const batchB = b.shape.slice(0, -2);
  return { m: rowsA, n: colsB, k: colsA, batchA, batchB, batch: broadcastOf(batchA, batchB) };
}

function matrixOf(shape: Shape, transposed: boolean): [rows: number, columns: number] {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return transposed ? [columns, rows] : [rows, columns];
}

export const matmulOp: OpRecord<MatmulAttrs> = defineOp<MatmulAttrs>({
  name: 'matmul',
  doc: 'y = a·b over the last two axes, [… m, k]·[… k, n] → [… m, n]; transA, transB exchange an operand’s last two axes; NumPy broadcasting of the others. f32. ONNX MatMul and Gemm, torch.matmul.',
  infer: ([a, b], attrs) => {
    require(a && b, 'takes two tensors');
    const { batch, m, n } = matmulSizes(a, b, attrs);
    return [{ dtype: 'f32', shape: [...batch, m, n] }];
  },
  reference: ([a, b], attrs) => {
    const { m, n, k, batchA, batchB, batch } = matmulSizes(a!.type, b!.type, attrs);
    const startsA = broadcastMap(batchA, batch);
    const startsB = broadcastMap(batchB, batch);
    const [rowA, colA] = attrs.transA ? [1, m] : [k, 1];
    const [rowB, colB] = attrs.transB ? [1, k] : [n, 1];
    const y = new Float64Array(startsA.length * m * n);
    for (let at = 0; at < startsA.length; at++) {
      const [sa, sb] = [startsA[at]! * m * k, startsB[at]! * k * n];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let p = 0; p < k; p++) sum += a!.data[sa + i * rowA + p * colA]! * b!.data[sb + p * rowB + j * colB]!;
          y[(at * m + i) * n + j] = sum;
        }
      }
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads, needs }) => {
      const [a, b] = inputs as [Tensor, Tensor];
      const dy = grads[0]!;
      return [
        needs(0) ? sumTo(gradientOfA(b, dy, attrs), a.shape) : undefined,
        needs(1) ? gradientOfB(a, b, dy, attrs) : undefined,
      ];
    },
  },
  cost: (inputs, outputs, attrs) => ({
    flops: 2 * elementCount(outputs[0]!.shape) * matmulSizes(inputs[0]!, inputs[1]!, attrs).k,
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...[false, true].flatMap((transA) =>
      [false, true].map((transB) => ({
        name: `${transA ? 'aᵀ' : 'a'}·${transB ? 'bᵀ' : 'b'}`,
        inputs: [{ shape: transA ? [5, 3] : [3, 5] }, { shape: transB ? [7, 5] : [5, 7] }],
        attrs: { transA, transB },
      })),
    ),
    ...[false, true].flatMap((transA) =>
      [false, true].map((transB) => ({
        name: `batched ${transA ? 'aᵀ' : 'a'}·${transB ? 'bᵀ' : 'b'}`,
        inputs: [{ shape: transA ? [2, 4, 3] : [2, 3, 4] }, { shape: transB ? [2, 5, 4] : [2, 4, 5] }],
        attrs: { transA, transB },
      })),
    ),
    { name: 'linear layer over a sequence', inputs: [{ shape: [2, 3, 5] }, { shape: [5, 4] }], attrs: plain() },
    {
      name: 'linear layer, b transposed',
      inputs: [{ shape: [2, 3, 5] }, { shape: [4, 5] }],
      attrs: { transA: false, transB: true },
    },
    {
      name: 'one b, a transposed',
      inputs: [{ shape: [2, 5, 3] }, { shape: [5, 4] }],
      attrs: { transA: true, transB: false },
    },
    { name: 'one a', inputs: [{ shape: [3, 5] }, { shape: [2, 5, 4] }], attrs: plain() },
    { name: 'batches broadcast both ways', inputs: [{ shape: [2, 1, 3, 4] }, { shape: [3, 4, 2] }], attrs: plain() },
    {
      name: 'alternating batches',
      inputs: [{ shape: [2, 1, 2, 3, 4] }, { shape: [1, 3, 2, 5, 4] }],
      attrs: { transA: false, transB: true },
    },
    { name: 'b with axes of one', inputs: [{ shape: [2, 3, 4] }, { shape: [1, 4, 5] }], attrs: plain() },
    { name: 'row times column', inputs: [{ shape: [1, 9] }, { shape: [9, 1] }], attrs: plain() },
    { name: 'column times row', inputs: [{ shape: [9, 1] }, { shape: [1, 9] }], attrs: plain() },
    { name: 'larger than a block', inputs: [{ shape: [37, 41] }, { shape: [41, 35] }], attrs: plain(), atol: 1e-5 },
  ],
  badSamples: [
    { inputs: [f32(2, 3), f32(4, 5)], attrs: plain(), message: 'inner sizes 3 of a and 4 of b differ' },
    {
      inputs: [f32(2, 3), f32(3, 4)],
      attrs: { transA: true, transB: false },
      message: 'inner sizes 2 of a and 3 of b differ',
    },
    { inputs: [f32(3), f32(3, 4)], attrs: plain(), message: 'a must have at least 2 axes, not [3]' },
    { inputs: [f32(2, 3, 4), f32(3, 4, 5)], attrs: plain(), message: 'do not broadcast' },
    { inputs: [f32(2, 3), { dtype: 'i32', shape: [3, 4] }], attrs: plain(), message: 'b must be f32, not i32' },
  ],
});

function plain(): MatmulAttrs {
  return { transA: false, transB: false };
}

function f32(...shape: number[]): TensorType {
  return { dtype: 'f32', shape };
}

/** d(op a) = dy·(op b)ᵀ, with all transposes as attributes. */
function gradientOfA(b: Tensor, dy: Tensor, { transA, transB }: MatmulAttrs): Tensor {
  if (transA) return matmul(b, dy, { transA: transB, transB: true });
  return matmul(dy, b, { transB: !transB });
}

/** d(op b) = (op a)ᵀ·dy */
function gradientOfB(a: Tensor, b: Tensor, dy: Tensor, { transA, transB }: MatmulAttrs): Tensor {
  if (!transA && oneMatrix(b)) {
    // One b for the whole batch: batch and rows are one long summed axis, so the gradient is a single product.
    const rows = (t: Tensor) => reshape(t, [elementCount(t.shape.slice(0, -1)), t.shape[t.rank - 1]!]);
    const product = transB ? matmul(rows(dy), rows(a), { transA: true }) : matmul(rows(a), rows(dy), { transA: true });
    return reshape(product, b.shape);
  }
  const batched = transB ? matmul(dy, a, { transA: true, transB: transA }) : matmul(a, dy, { transA: !transA });
  return sumTo(batched, b.shape);
}

/** Whether this is one matrix for the whole batch: by rank, so that the graph does not depend on the batch's size. */
const oneMatrix = (t: Tensor): boolean => t.rank === 2;

export interface MatmulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/**
 * a·b over the last two axes, broadcasting the others. A vector is a row on the left and a column on the right, whose axis
 * the result does not have: [k]·[… k, n] → [… n], [… m, k]·[k] → [… m], [k]·[k] → [] (NumPy and torch.matmul).
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false } = options;
  const [isRow, isColumn] = [a.rank === 1 && !transA, b.rank === 1 && !transB];
  const rows = isRow ? reshape(a, [1, ...a.shape]) : a;
  const columns = isColumn ? reshape(b, [...b.shape, 1]) : b;
  const product = a.graph.add(matmulOp, [rows, columns], { transA, transB })[0]!;
  if (!isRow && !isColumn) return product;
  const kept = [...(isRow ? [] : [product.shape.at(-2)!]), ...(isColumn ? [] : [product.shape.at(-1)!])];
  return reshape(product, [...product.shape.slice(0, -2), ...kept]);
}
