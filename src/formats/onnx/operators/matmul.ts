/** Products of matrices: MatMul, Gemm, Einsum. */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { einsum } from '../../../ops/einsum.ts';
import { add, mul } from '../../../ops/elementwise.ts';
import { matmul } from '../../../ops/matmul.ts';
import { view } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';

/** A factor. Products of integers would be exact up to 2^24 only, in f32. */
function factor(context: OperatorContext, i: number): Tensor {
  const tensor = context.tensor(i);
  return tensor.dtype === 'f32' ? tensor : context.unsupported(`products of ${context.dtypeOf(i)}`);
}

/** alpha·A'·B' + beta·C; C broadcasts to the product and may be left out. */
const gemm: OperatorRule = (context) => {
  const [a, b] = [factor(context, 0), factor(context, 1)];
  if (a.rank !== 2 || b.rank !== 2) context.invalid(`Gemm takes matrices, not ranks ${a.rank} and ${b.rank}`);
  const product = matmul(a, b, { transA: context.int('transA', 0) !== 0, transB: context.int('transB', 0) !== 0 });
  const y = scaled(product, context.floatAttr('alpha', 1));
  const beta = context.floatAttr('beta', 1);
  if (context.optional(2) === undefined || beta === 0) return [y];
  const c = factor(context, 2);
  // [1, n] as [n], and [1, 1] as []: leading axes are always summed in the gradient, whatever the number of rows.
  const row = c.rank === 2 && c.shape[0] === 1 ? view(c, c.shape.slice(1)) : c;
  if (c.rank > 2 || elementCount(c.shape) > elementCount(y.shape)) {
    context.invalid(`C, of shape [${c.shape.join(', ')}], does not broadcast to [${y.shape.join(', ')}]`);
  }
  return [add(y, scaled(row, beta))];
};

const scaled = (x: Tensor, by: number): Tensor => (by === 1 ? x : mul(x, by));

export const matmulOperators: OperatorTable = {
  Einsum: (context) => [
    einsum(context.string('equation'), ...Array.from({ length: context.inputCount }, (_, i) => factor(context, i))),
  ],
  Gemm: gemm,
  MatMul: (context) => [matmul(factor(context, 0), factor(context, 1))],
};
