/** Calls of the kernels that walk strided tensors: few dimensions, strides in elements, 0 repeats. */
import { bytesPerElement, type DType, elementCount, type Shape, stridesOf, type TensorType } from '../../core/types.ts';
import { broadcastStrides } from '../../ops/broadcast.ts';
import { type Arg, type KernelCall, type Lowered, output, workspace } from '../kernel-call.ts';

interface Walk {
  readonly dims: readonly number[];
  /** One list of strides an operand. */
  readonly strides: readonly (readonly number[])[];
}

/** The same walk in as few dimensions as possible: size-1 axes go, neighbours merge where all operands step evenly. */
export function coalesce(shape: Shape, strides: readonly (readonly number[])[]): Walk {
  const dims: number[] = [];
  const merged: number[][] = strides.map(() => []);
  shape.forEach((size, axis) => {
    if (size === 1) return;
    const last = dims.length - 1;
    if (last >= 0 && strides.every((s, o) => merged[o]![last] === s[axis]! * size)) {
      dims[last] = dims[last]! * size;
      strides.forEach((s, o) => {
        merged[o]![last] = s[axis]!;
      });
    } else {
      dims.push(size);
      strides.forEach((s, o) => {
        merged[o]!.push(s[axis]!);
      });
    }
  });
  return { dims, strides: merged };
}

/** A list brought to a length by fillers in front. */
export const padFront = (list: readonly number[], length: number, filler: number): number[] => [
  ...new Array<number>(length - list.length).fill(filler),
  ...list,
];

/** An operand some bytes further on. */
export const shifted = (arg: Arg, bytes: number): Arg =>
  typeof arg === 'number' ? arg + bytes : bytes === 0 ? arg : { ...arg, plus: (arg.plus ?? 0) + bytes };

const kernelDims = 6;

/**
 * Copies between a strided side and a contiguous side of `shape`: `copy` reads with the strides, `copyInto` writes with
 * them. Walks of more than six dimensions become one call for each step of the outer ones.
 */
export function stridedCopy(
  direction: 'copy' | 'copyInto',
  dtype: DType,
  shape: Shape,
  strides: readonly number[],
  from: Arg,
  to: Arg,
): KernelCall[] {
  const size = bytesPerElement[dtype];
  const walk = coalesce(shape, [strides]);
  const dims = walk.dims;
  const steps = walk.strides[0]!;
  if (dims.length === 0 || (dims.length === 1 && steps[0] === 1)) {
    return [{ kernel: 'copyBytes', args: [elementCount(shape) * size, from, to] }];
  }
  const outer = Math.max(0, dims.length - kernelDims);
  const inner = dims.slice(outer);
  const kernel = `${direction}${size === 4 ? '32' : '8'}`;
  const shapeArgs = [...padFront(inner, kernelDims, 1), ...padFront(steps.slice(outer), kernelDims, 0)];
  return offsetsOf(dims.slice(0, outer), steps.slice(0, outer)).map((strided, i) => {
    const contiguous = i * elementCount(inner);
    const [x, y] = direction === 'copy' ? [strided, contiguous] : [contiguous, strided];
    return { kernel, args: [...shapeArgs, shifted(from, x * size), shifted(to, y * size)] };
  });
}

/** Element offsets of all index combinations in order. */
export function offsetsOf(dims: readonly number[], strides: readonly number[]): number[] {
  return dims.reduce<number[]>(
    (offsets, size, axis) => offsets.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * strides[axis]!)),
    [0],
  );
}

const broadcastDims = 4;

/** Scratch areas of one lowering, one after the other; the calls write each to its end. */
export class Scratch {
  #end = 0;

  /** The offset of `bytes` more bytes. */
  take(bytes: number): number {
    const at = Math.ceil(this.#end / 16) * 16;
    this.#end = at + bytes;
    return at;
  }

  get bytes(): number {
    return this.#end;
  }
}

/**
 * A kernel of the form (d0…d3, operand, its four strides, …, y). Where the operands' repetitions alternate so often that
 * four dimensions do not do, the operand whose expansion helps most is first copied out in full.
 */
export function broadcastCall(
  kernel: string,
  operands: readonly { type: TensorType; arg: Arg }[],
  out: Shape,
): Lowered {
  const scratch = new Scratch();
  const calls: KernelCall[] = [];
  const args = operands.map((o) => o.arg);
  const contiguous = stridesOf(out);
  const n = elementCount(out);
  const strides = operands.map(({ type }) =>
    elementCount(type.shape) === n ? contiguous : broadcastStrides(type.shape, out),
  );
  let walk = coalesce(out, strides);
  while (walk.dims.length > broadcastDims) {
    const dimsWithout = strides.map((own, i) =>
      own === contiguous ? Number.POSITIVE_INFINITY : coalesce(out, strides.with(i, contiguous)).dims.length,
    );
    const best = dimsWithout.indexOf(Math.min(...dimsWithout));
    const { dtype } = operands[best]!.type;
    const at = scratch.take(n * bytesPerElement[dtype]);
    calls.push(...stridedCopy('copy', dtype, out, strides[best]!, args[best]!, workspace(at)));
    args[best] = workspace(at);
    strides[best] = contiguous;
    walk = coalesce(out, strides);
  }
  calls.push({
    kernel,
    args: [
      ...padFront(walk.dims, broadcastDims, 1),
      ...args.flatMap((arg, i) => [arg, ...padFront(walk.strides[i]!, broadcastDims, 0)]),
      output(0),
    ],
  });
  return { calls, workspaceBytes: scratch.bytes };
}
