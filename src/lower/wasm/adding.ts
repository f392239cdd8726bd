import type { KernelCall } from '../kernel-call.ts';
import { depthBlock } from './workspace.ts';

/** Where gemm takes its K, and beta: 0 stores the product, 1 adds it to what is there. */
const DEPTH = 2;
const BETA = 11;

/**
 * A product that adds to its output instead of storing there: to the bit what a sum of the stored product would be, as it
 * is one block deep, whose total is added once. undefined of other calls.
 */
export function addingOnWasm([product, ...more]: readonly KernelCall[]): readonly KernelCall[] | undefined {
  if (product?.kernel !== 'gemm' || more.length > 0 || product.args[BETA] !== 0) return undefined;
  const depth = product.args[DEPTH];
  if (typeof depth !== 'number' || depth > depthBlock) return undefined;
  return [{ ...product, args: product.args.map((arg, i) => (i === BETA ? 1 : arg)) }];
}
