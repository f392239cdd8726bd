import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { fanInUniform, kaimingUniform } from '../init/index.ts';
import { add } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { reshape } from '../ops/shape.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface LinearOptions extends LayerOptions {
  /** default true */
  readonly bias?: boolean;
  /** A weight [out, in] to share (tied weights) instead of a new parameter. */
  readonly weight?: Tensor;
}

/** y = x·weightᵀ + bias over the last axis (PyTorch Linear). weight [out, in], bias [out]. */
export const linear = (x: Tensor, outFeatures: number, options: LinearOptions = {}): Tensor =>
  scoped('linear', x, options, { name: true, bias: true, weight: true }, () => {
    const inFeatures = x.shape.at(-1)!;
    const shape = [outFeatures, inFeatures];
    const weight = options.weight ?? x.graph.parameter('weight', shape, kaimingUniform(shape));
    const bias =
      options.bias === false ? undefined : x.graph.parameter('bias', [outFeatures], fanInUniform(inFeatures));
    return affine(x, weight, bias);
  });

/** x·weightᵀ + bias as one product of all rows, so that the weight's gradient is one product too. */
export function affine(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const rows = reshape(x, [elementCount(x.shape.slice(0, -1)), x.shape.at(-1)!]);
  const y = matmul(rows, weight, { transB: true });
  return reshape(bias ? add(y, bias) : y, [...x.shape.slice(0, -1), weight.shape[0]!]);
}
