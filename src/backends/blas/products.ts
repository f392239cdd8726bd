/** The kernels that `lower/blas` names: products by a native library, in a device's memory. */
import { columnBytes, convSizeArgs, productOf, readConvSizes } from '../../lower/blas/conv-sizes.ts';
import type { BoundCall } from '../backend.ts';
import { type AttentionExports, nativeAttention, nativeAttentionGrad } from './attention.ts';
import type { Blas } from './library.ts';

/** From a call's numbers, byte offsets among them, to what runs it. */
export type BindNative = (args: readonly number[]) => BoundCall;

type Export = (...args: number[]) => void;

/** What convolutions take of the WebAssembly kernels. */
export interface ConvExports {
  readonly columns: Export;
  readonly fromColumns: Export;
  readonly addIntoRow: Export;
  /** Where memory is shared, a view's own `fill` goes byte by byte. */
  readonly fill32: Export;
}

export function nativeProducts(
  blas: Blas,
  memory: WebAssembly.Memory,
  exports: ConvExports & AttentionExports,
): Readonly<Record<string, BindNative>> {
  const { sgemm, addressOf } = blas;
  // Never moves: what a shared memory may grow to is reserved.
  const base = addressOf(new Uint8Array(memory.buffer));

  const one: BindNative = (args) => {
    const [transA, transB, m, n, k, a, lda, b, ldb, beta, c, ldc] = args as Twelve;
    const [A, B, C] = [base + a, base + b, base + c];
    return () => sgemm(transA, transB, m, n, k, A, lda, B, ldb, beta, C, ldc);
  };

  const batched: BindNative = (args) => {
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

  /** The convolution's product and the walk over its samples and groups, for each of the three. */
  const walk = (args: readonly number[]) => {
    const sizes = readConvSizes(args);
    const { samples, channels, size, kernel, stride, before, dilation, groups, out } = sizes;
    const { outputs: o, depth, pixels } = productOf(sizes);
    const perGroup = channels / groups;
    const image = 4 * perGroup * size.reduce((n, s) => n * s, 1);
    const window = [perGroup, ...size, ...kernel, ...stride, ...before, ...dilation, ...out];
    return {
      ...{ o, depth, pixels, image, isPlain: columnBytes(sizes) === 0 },
      operands: args.slice(convSizeArgs) as unknown as readonly [number, number, number, number, number],
      imageElements: (samples * groups * image) / 4,
      columns: (x: number, to: number) => exports.columns(...window, x, to),
      fromColumns: (from: number, x: number) => exports.fromColumns(...window, from, x),
      each: (visit: (sample: number, group: number, image: number, result: number, weight: number) => void) => {
        for (let n = 0; n < samples; n++) {
          for (let g = 0; g < groups; g++) {
            const at = n * groups + g;
            visit(n, g, at * image, at * 4 * o * pixels, g * 4 * o * depth);
          }
        }
      },
    };
  };

  /** y[n, g] = w[g]·cols(x[n, g]) + bias[g] */
  const conv: BindNative = (args) => {
    const { o, depth, pixels, isPlain, operands, columns, each } = walk(args);
    const [x, w, bias, y, scratch] = operands;
    return () =>
      each((_, g, image, result, weight) => {
        if (!isPlain) columns(x + image, scratch);
        const cols = isPlain ? x + image : scratch;
        sgemm(0, 0, o, pixels, depth, base + w + weight, depth, base + cols, pixels, 0, base + y + result, pixels);
        if (bias < 0) return;
        for (let i = 0; i < o; i++)
          exports.addIntoRow(pixels, y + result + 4 * i * pixels, values[bias / 4 + g * o + i]!);
      });
  };
  const values = new Float32Array(memory.buffer);

  /** dx[n, g] = cols⁻¹(w[g]ᵀ·dy[n, g]) */
  const inputGrad: BindNative = (args) => {
    const { o, depth, pixels, isPlain, operands, imageElements, fromColumns, each } = walk(args);
    const [dy, w, dx, scratch] = operands;
    return () => {
      if (!isPlain) exports.fill32(imageElements, 0, dx);
      each((_n, _g, image, result, weight) => {
        const cols = isPlain ? dx + image : scratch;
        sgemm(1, 0, depth, pixels, o, base + w + weight, depth, base + dy + result, pixels, 0, base + cols, pixels);
        if (!isPlain) fromColumns(scratch, dx + image);
      });
    };
  };

  /** dw[g] += dy[n, g]·cols(x[n, g])ᵀ, samples in ascending order */
  const weightGrad: BindNative = (args) => {
    const { o, depth, pixels, isPlain, operands, columns, each } = walk(args);
    const [x, dy, dw, scratch] = operands;
    return () =>
      each((n, _g, image, result, weight) => {
        if (!isPlain) columns(x + image, scratch);
        const cols = isPlain ? x + image : scratch;
        const beta = n > 0 ? 1 : 0;
        sgemm(0, 1, o, depth, pixels, base + dy + result, pixels, base + cols, pixels, beta, base + dw + weight, depth);
      });
  };

  return {
    sgemm: one,
    sgemmBatched: batched,
    sgemmConv: conv,
    sgemmConvInputGrad: inputGrad,
    sgemmConvWeightGrad: weightGrad,
    sgemmAttention: nativeAttention(blas, base, exports),
    sgemmAttentionGrad: nativeAttentionGrad(blas, base, exports),
  };
}

// biome-ignore format: twelve
type Twelve = readonly [number, number, number, number, number, number, number, number, number, number, number, number];
