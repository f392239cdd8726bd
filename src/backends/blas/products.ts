/** The kernels that `lower/blas` names: products by a native library, in a device's memory. */
import type { BoundCall } from '../backend.ts';
import { type AttentionExports, nativeAttention, nativeAttentionGrad } from './attention.ts';
import { type ConvExports, nativeConvolutions } from './convolutions.ts';
import type { Blas } from './library.ts';

/** From a call's numbers, byte offsets among them, to what runs it. */
export type BindNative = (args: readonly number[]) => BoundCall;

export function nativeProducts(
  blas: Blas,
  memory: WebAssembly.Memory,
  exports: ConvExports & AttentionExports,
): Readonly<Record<string, BindNative>> {
  // Never moves: what a shared memory may grow to is reserved.
  const base = blas.addressOf(new Uint8Array(memory.buffer));
  return {
    sgemm: product(blas, base),
    sgemmBatched: batchedProduct(blas, base),
    ...nativeConvolutions(blas, memory, base, exports),
    sgemmAttention: nativeAttention(blas, base, exports),
    sgemmAttentionGrad: nativeAttentionGrad(blas, base, exports),
  };
}

const product =
  ({ sgemm }: Blas, base: number): BindNative =>
  (args) => {
    const [transA, transB, m, n, k, a, lda, b, ldb, beta, c, ldc] = args as Twelve;
    const [A, B, C] = [base + a, base + b, base + c];
    return () => sgemm(transA, transB, m, n, k, A, lda, B, ldb, beta, C, ldc);
  };

const batchedProduct =
  ({ sgemm }: Blas, base: number): BindNative =>
  (args) => {
    const [count, transA, transB, m, n, k, a, ...rest] = args as readonly [...Twelve, ...number[]];
    const [stepA, lda, b, stepB, ldb, beta, c, stepC, ldc] = rest as unknown as Twelve;
    return () => {
      let [A, B, C] = [base + a, base + b, base + c];
      for (let i = 0; i < count; i++) {
        sgemm(transA, transB, m, n, k, A, lda, B, ldb, beta, C, ldc);
        A += 4 * stepA;
        B += 4 * stepB;
        C += 4 * stepC;
      }
    };
  };

// biome-ignore format: twelve
type Twelve = readonly [number, number, number, number, number, number, number, number, number, number, number, number];
