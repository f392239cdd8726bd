import type { Tensor } from '../graph/graph.ts';
import { equal, where } from './compare.ts';
import { refuseOptions } from './options.ts';
import { max, type ReduceOptions, sum, sumOfSquares } from './reduce.ts';
import { abs, sqrt } from './unary.ts';

export interface VectorNormOptions extends ReduceOptions {
  /** Default 2. */
  readonly ord?: 1 | 2 | typeof Infinity;
}

/**
 * Σ|x|, √Σx² or max |x| over axes. The gradient at a vector of zeros is 0, as PyTorch's. ONNX ReduceL1 and ReduceL2,
 * torch.linalg.vector_norm.
 */
export function vectorNorm(x: Tensor, { ord = 2, ...options }: VectorNormOptions = {}): Tensor {
  if (ord === 1) return sum(abs(x), options);
  if (ord === Infinity) return max(abs(x), options);
  if (ord !== 2) {
    const remedy = `pow(sum(pow(abs(x), ${ord})), 1 / ${ord}), away from 0`;
    refuseOptions('vectorNorm', x, `ord must be 1, 2 or Infinity, got ${ord}`, remedy, { ord });
  }
  const squares = sumOfSquares(x, options);
  // The root's derivative at 0 is infinite: it is taken of 1 there, and nothing of it passes.
  const zero = equal(squares, 0);
  return where(zero, 0, sqrt(where(zero, 1, squares)));
}
