/**
 * Lowering for devices with a native BLAS: that of the WebAssembly kernels, with products that are worth a native call given
 * to `sgemm`. Sizes alone decide which, so that every layout of a machine gives the same bits.
 */
import { type Arg, type KernelCall, type Lowered, type NodeSignature, workspace } from '../kernel-call.ts';
import { lowerForWasm } from '../wasm/index.ts';
import { gemmWorkspace } from '../wasm/workspace.ts';
import { attentionPlaces, readAttention } from './attention-blocks.ts';
import { type ConvSizes, columnBytes, productOf, readConvSizes } from './conv-sizes.ts';
import { widthsOf } from './conv-widths.ts';

/** A library as a plan records it. */
export interface BlasLibrary {
  /** What the loader was given: a path, or a name that it looks for by itself. */
  readonly file: string;
  /** What the library says of itself; bits depend on it. */
  readonly version: string;
}

/** What goes to the library: below, a native call takes as long as our kernel, or longer (docs/blas.md). */
export const leastNativeFlops = 2 ** 15;
const leastNativeRows = 4;

const isWorthIt = (m: number, n: number, k: number): boolean =>
  2 * m * n * k >= leastNativeFlops && m >= leastNativeRows;

/**
 * Of a convolution and its gradients, a sample and group: our kernels take the image from where it lies or pack it once, a native
 * product has windows copied, which only pays where enough outputs share them.
 */
export const leastNativeConvFlops = 2 ** 18;
const leastNativeOutputs = { conv: 8, convInputGrad: 8, convWeightGrad: 16 };
/** Of a weights' gradient, whose windows have so many rows: for fewer our kernel packs nothing. */
const leastNativeDepth = 16;

type ConvKernel = keyof typeof nativeConv;

function isConvWorthIt(kernel: ConvKernel, sizes: ConvSizes): boolean {
  const { outputs, depth, pixels } = productOf(sizes);
  return (
    2 * outputs * pixels * depth >= leastNativeConvFlops &&
    outputs >= leastNativeOutputs[kernel] &&
    (kernel !== 'convWeightGrad' || depth >= leastNativeDepth)
  );
}

export function lowerForBlas(node: NodeSignature): Lowered {
  const lowered = lowerForWasm(node);
  const native = lowered.calls.map(nativeCall);
  if (native.every((call) => call === undefined)) return lowered;
  // Their workspace is exact again, which takes knowing what every call needs of it.
  let workspaceBytes = 0;
  for (const [i, call] of lowered.calls.entries()) {
    const bytes = native[i]?.workspaceBytes ?? workspaceOf(call);
    if (bytes === undefined) return lowered;
    workspaceBytes = Math.max(workspaceBytes, bytes);
  }
  return { calls: lowered.calls.map((call, i) => native[i]?.call ?? call), workspaceBytes };
}

/** Of a call that stays; undefined where that is its kernel's affair. */
function workspaceOf({ kernel, args }: KernelCall): number | undefined {
  if (kernel === 'gemm') return gemmWorkspace(...(args.slice(0, 3) as [number, number, number]));
  return args.some((arg) => typeof arg === 'object' && 'workspace' in arg) ? undefined : 0;
}

interface NativeCall {
  readonly call: KernelCall;
  readonly workspaceBytes: number;
}

function nativeCall({ kernel, args }: KernelCall): NativeCall | undefined {
  switch (kernel) {
    case 'gemm': {
      const [m, n, k, a, ars, acs, b, brs, bcs, c, ldc, beta] = args as GemmArgs;
      const product = sgemm(m, n, k, [ars, acs], [brs, bcs], ldc);
      if (!product) return undefined;
      const { sizes, lda, ldb } = product;
      return { call: { kernel: 'sgemm', args: [...sizes, a, lda, b, ldb, beta, c, ldc] }, workspaceBytes: 0 };
    }
    case 'gemmBatched': {
      const [count, m, n, k, a, stepA, ars, acs, b, stepB, brs, bcs, c, stepC, ldc, beta] = args as BatchedArgs;
      const product = sgemm(m, n, k, [ars, acs], [brs, bcs], ldc);
      if (!product) return undefined;
      const { sizes, lda, ldb } = product;
      const operands = [a, stepA, lda, b, stepB, ldb, beta, c, stepC, ldc];
      return { call: { kernel: 'sgemmBatched', args: [count, ...sizes, ...operands] }, workspaceBytes: 0 };
    }
    case 'conv':
    case 'convInputGrad':
    case 'convWeightGrad': {
      const sizes = readConvSizes(args as readonly number[]);
      if (!isConvWorthIt(kernel, sizes)) return undefined;
      const operands = args.slice(0, -1);
      const bytes = widthsOf(sizes)?.end ?? columnBytes(sizes);
      return {
        call: { kernel: nativeConv[kernel], args: [...operands, bytes === 0 ? 0 : workspace()] },
        workspaceBytes: bytes,
      };
    }
    case 'attention':
    case 'attentionGrad': {
      const isGradient = kernel === 'attentionGrad';
      const blocks = readAttention(args, isGradient);
      if (!isWorthIt(blocks.rows, blocks.columns, blocks.size)) return undefined;
      const { forward, gradient } = attentionPlaces(blocks);
      const native = { call: { kernel: nativeAttention[kernel], args } };
      return { ...native, workspaceBytes: isGradient ? gradient.end : forward.end };
    }
    default:
      return undefined;
  }
}

const nativeAttention = {
  attention: 'sgemmAttention',
  attentionGrad: 'sgemmAttentionGrad',
};

type GemmArgs = [number, number, number, Arg, number, number, Arg, number, number, Arg, number, number];
type BatchedArgs = [
  ...[number, number, number, number],
  ...[Arg, number, number, number],
  ...[Arg, number, number, number],
  ...[Arg, number, number, number],
];

const nativeConv = { conv: 'sgemmConv', convInputGrad: 'sgemmConvInputGrad', convWeightGrad: 'sgemmConvWeightGrad' };

type Steps = readonly [row: number, column: number];

/** The product's sizes and transposes for row-major BLAS; undefined where it is small, or a matrix is none for BLAS. */
function sgemm(m: number, n: number, k: number, a: Steps, b: Steps, ldc: number) {
  const [left, right] = [matrixOf(m, k, a), matrixOf(k, n, b)];
  if (!isWorthIt(m, n, k) || !left || !right || ldc < n) return undefined;
  return { sizes: [left.transposed, right.transposed, m, n, k], lda: left.leading, ldb: right.leading };
}

/** Whether the matrix is stored transposed (0 or 1), and the elements from one of its stored rows to the next. */
function matrixOf(rows: number, columns: number, [row, column]: Steps) {
  if ((column === 1 || columns === 1) && (row >= columns || rows === 1))
    return { transposed: 0, leading: Math.max(row, columns) };
  if ((row === 1 || rows === 1) && (column >= rows || columns === 1))
    return { transposed: 1, leading: Math.max(column, rows) };
  return undefined;
}
