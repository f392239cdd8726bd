import type { DType, TensorType } from '../core/types.ts';
import type { Attrs } from '../graph/op-record.ts';

/**
 * What executes kernel calls. `blas`: the WebAssembly kernels, and a native library for products. `null`: nothing does. Its
 * devices play their instructions and count bytes, and neither compute nor hold any, so that what no machine can hold is
 * played too.
 */
export type BackendName = 'wasm' | 'blas' | 'reference' | 'null';

/** Those that compute; each has its own lowering table. */
export type ComputingBackend = Exclude<BackendName, 'null'>;

/** Whose kernels a device's programs are made of: a null device stands for a WebAssembly device, to the byte. */
export const kernelsOf = (backend: BackendName): ComputingBackend => (backend === 'null' ? 'wasm' : backend);

/**
 * Builds of the WebAssembly kernels. `strict`: multiply, round, add, round: the same bits on every machine. `relaxed`: one
 * instruction for both in matrix products and convolutions, whose rounding the processor chooses.
 */
export const simdVariants = ['strict', 'relaxed'] as const;
export type SimdVariant = (typeof simdVariants)[number];

/** Where an argument's byte offset comes from, once the memory plan knows it. */
export type Operand =
  | { readonly input: number }
  | { readonly output: number }
  /** Bytes from the start of the instruction's workspace. */
  | { readonly workspace: number };

/** An argument: a number as it is, or an offset; `plus` bytes are added (a slice of the operand). */
export type Arg = number | (Operand & { readonly plus?: number });

/** How a fused kernel walks an operand along the innermost dimension: all of it once, a row again and again, one element. */
export type FusedWalk = 'full' | 'row' | 'splat';

/**
 * What a fused kernel does to each element. Its arguments: the dimensions, the inputs (each a pointer, and behind it, where it
 * is not walked in full, strides in bytes along all dimensions but the innermost), the outputs.
 */
export interface FusedBody {
  readonly rank: number;
  readonly inputs: readonly { readonly dtype: DType; readonly walk: FusedWalk }[];
  /** Vector functions (`workers/kernels/vectors.ts`) of inputs and earlier steps, then of f32 constants by their bits. */
  readonly steps: readonly {
    readonly vector: string;
    readonly args: readonly number[];
    readonly constants: readonly number[];
  }[];
  readonly outputs: readonly { readonly value: number; readonly dtype: DType }[];
}

/** One call of one kernel, as plain data. */
export interface KernelCall {
  readonly kernel: string;
  readonly args: readonly Arg[];
  /** Of the kernel `fused`, which is made when a program is loaded. */
  readonly body?: FusedBody;
}

/** What a node becomes on a backend. */
export interface Lowered {
  readonly calls: readonly KernelCall[];
  /** Scratch bytes alive during these calls only; written to the last byte. */
  readonly workspaceBytes: number;
}

/** A node as the lowering rules see it: types and attributes, no graph. */
export interface NodeSignature {
  readonly op: string;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  readonly attrs: Attrs;
}

/** Bytes that a node takes from an input as they are. */
export interface Copy {
  readonly bytes: number;
  readonly from: Operand & { readonly plus?: number };
  readonly to: Operand & { readonly plus?: number };
}

/** What calls that do nothing but copy bytes copy; undefined where any call does more. */
export function copiesOf(list: readonly KernelCall[]): Copy[] | undefined {
  const copies: Copy[] = [];
  for (const { kernel, args } of list) {
    const [bytes, from, to] = args;
    if (kernel !== 'copyBytes' || typeof bytes !== 'number') return undefined;
    if (typeof from !== 'object' || typeof to !== 'object') return undefined;
    copies.push({ bytes, from, to });
  }
  return copies;
}

export type LowerRule = (node: NodeSignature) => Lowered;

export const input = (i: number, plus = 0): Arg => (plus ? { input: i, plus } : { input: i });
export const output = (i: number, plus = 0): Arg => (plus ? { output: i, plus } : { output: i });
export const workspace = (offset = 0): Arg => ({ workspace: offset });
export const calls = (...list: readonly [kernel: string, ...args: Arg[]][]): Lowered => ({
  calls: list.map(([kernel, ...args]) => ({ kernel, args })),
  workspaceBytes: 0,
});
export const call = (kernel: string, ...args: Arg[]): Lowered => calls([kernel, ...args]);
