/** Lowering of moves, reductions and products to the WebAssembly kernels. */
import {
  byteSize,
  bytesPerElement,
  type DType,
  elementCount,
  type Shape,
  stridesOf,
  type TensorType,
} from '../../core/types.ts';
import { broadcastStrides } from '../../ops/broadcast.ts';
import { type MatmulAttrs, matmulSizes } from '../../ops/matmul.ts';
import type { ReduceAttrs } from '../../ops/reduce.ts';
import {
  type Arg,
  call,
  input,
  type KernelCall,
  type Lowered,
  type LowerRule,
  type NodeSignature,
  output,
  workspace,
} from '../kernel-call.ts';
import { coalesce, offsetsOf, Scratch, shifted, stridedCopy } from './strided.ts';
import { gemmWorkspace } from './workspace.ts';

const moves = (calls: readonly KernelCall[]): Lowered => ({ calls, workspaceBytes: 0 });

/** Reads input 0 with strides. */
const gather = ({ outputs }: NodeSignature, strides: readonly number[], from: Arg = input(0)): Lowered =>
  moves(stridedCopy('copy', outputs[0]!.dtype, outputs[0]!.shape, strides, from, output(0)));

const transpose: LowerRule = (node) => {
  const strides = stridesOf(node.inputs[0]!.shape);
  return gather(
    node,
    (node.attrs.perm as number[]).map((axis) => strides[axis]!),
  );
};

const broadcastTo: LowerRule = (node) => gather(node, broadcastStrides(node.inputs[0]!.shape, node.outputs[0]!.shape));

/** Strides of every step-th element, and the byte offset of the first one. */
function window(shape: Shape, dtype: DType, starts: readonly number[], steps: readonly number[]) {
  const strides = stridesOf(shape);
  const first = strides.reduce((at, stride, i) => at + stride * starts[i]!, 0);
  return { strides: strides.map((s, i) => s * steps[i]!), plus: first * bytesPerElement[dtype] };
}

const slice: LowerRule = (node) => {
  const [x] = node.inputs;
  const { strides, plus } = window(x!.shape, x!.dtype, node.attrs.starts as number[], node.attrs.steps as number[]);
  return gather(node, strides, input(0, plus));
};

const sliceScatter: LowerRule = ({ inputs, outputs, attrs }) => {
  const [x, y] = [inputs[0]!, outputs[0]!];
  const { strides, plus } = window(y.shape, y.dtype, attrs.starts as number[], attrs.steps as number[]);
  const fill = bytesPerElement[y.dtype] === 4 ? 'fill32' : 'fill8';
  return moves([
    { kernel: fill, args: [elementCount(y.shape), 0, output(0)] },
    ...stridedCopy('copyInto', x.dtype, x.shape, strides, input(0), output(0, plus)),
  ]);
};

const concat: LowerRule = ({ inputs, outputs, attrs }) => {
  const y = outputs[0]!;
  const axis = attrs.axis as number;
  const strides = stridesOf(y.shape);
  let plus = 0;
  return moves(
    inputs.flatMap((x, i) => {
      const calls = stridedCopy('copyInto', x.dtype, x.shape, strides, input(i), output(0, plus));
      plus += x.shape[axis]! * strides[axis]! * bytesPerElement[x.dtype];
      return calls;
    }),
  );
};

/**
 * The kernels reduce [outer, reduce, inner] to [outer, inner]. Several groups of reduced axes take one pass each, the
 * last group first; what is between two passes lies in the workspace.
 */
const reduction =
  (
    name: 'reduceSum' | 'reduceMax' | 'reduceMin' | 'reduceProd' | 'reduceLogSumExp' | 'reduceSumOfSquares',
    average = false,
  ): LowerRule =>
  ({ inputs, outputs, attrs }) => {
    const x = inputs[0]!;
    const { axes } = attrs as ReduceAttrs;
    const kernel = x.dtype === 'i32' ? `${name}I32` : name;
    const groups = alternate(x.shape, axes);
    const count = elementCount(x.shape) / elementCount(outputs[0]!.shape);
    const squares = name === 'reduceSumOfSquares';
    if (count === 1) {
      return squares
        ? call(kernel, elementCount(x.shape), 1, 1, input(0), output(0))
        : call('copyBytes', byteSize(x), input(0), output(0));
    }

    const scratch = new Scratch();
    const calls: KernelCall[] = [];
    let from: Arg = input(0);
    for (let at = groups.length - 1; at >= 0; at--) {
      const group = groups[at]!;
      if (!group.reduced) continue;
      const outer = groups.slice(0, at).reduce((n, g) => n * g.size, 1);
      const inner = groups.slice(at + 1).reduce((n, g) => n * g.size, 1);
      const last = !groups.slice(0, at).some((g) => g.reduced);
      const to: Arg = last ? output(0) : workspace(scratch.take(4 * outer * inner));
      // Squares are taken once; what is between the passes are sums.
      const pass = squares && calls.length > 0 ? 'reduceSum' : kernel;
      const scale = pass === 'reduceSum' ? [last && average ? 1 / count : 1] : [];
      calls.push({ kernel: pass, args: [outer, group.size, inner, from, to, ...scale] });
      groups.splice(at, 1);
      from = to;
    }
    return { calls, workspaceBytes: scratch.bytes };
  };

/** Neighbouring axes of one kind joined: kept, reduced, kept … */
function alternate(shape: Shape, axes: readonly number[]): { reduced: boolean; size: number }[] {
  const groups: { reduced: boolean; size: number }[] = [];
  shape.forEach((size, axis) => {
    if (size === 1) return;
    const reduced = axes.includes(axis);
    const last = groups.at(-1);
    if (last?.reduced === reduced) last.size *= size;
    else groups.push({ reduced, size });
  });
  return groups;
}

const matmul: LowerRule = ({ inputs, attrs }) => {
  const [a, b] = [inputs[0]!, inputs[1]!];
  const { transA, transB } = attrs as MatmulAttrs;
  const { m, n, k, batchA, batchB, batch } = matmulSizes(a, b, { transA, transB });
  const stepsA = transA ? [1, m] : [k, 1];
  const stepsB = transB ? [1, k] : [n, 1];
  const matrices = elementCount(batch);
  if (elementCount(batchB) === 1 && (!transA || matrices === 1)) {
    // One b for all rows of a: batch and rows together are the rows of one product.
    const rows = matrices * m;
    return {
      calls: [
        { kernel: 'gemm', args: [rows, n, k, input(0), ...stepsA, input(1), ...stepsB, output(0), n, 0, workspace()] },
      ],
      workspaceBytes: gemmWorkspace(rows, n, k),
    };
  }
  const { dims, strides } = coalesce(batch, [
    broadcastStrides(batchA, batch).map((s) => s * m * k),
    broadcastStrides(batchB, batch).map((s) => s * k * n),
  ]);
  const [sa, sb] = strides as [number[], number[]];
  const count = dims.at(-1) ?? 1;
  // Batches that repeat unevenly: one call for each step of all but their innermost dimension.
  const startsA = offsetsOf(dims.slice(0, -1), sa);
  const startsB = offsetsOf(dims.slice(0, -1), sb);
  const product = m * n;
  const calls = startsA.map(
    (startA, i): KernelCall => ({
      kernel: 'gemmBatched',
      args: [
        ...[count, m, n, k],
        ...[shifted(input(0), 4 * startA), sa.at(-1) ?? 0, ...stepsA],
        ...[shifted(input(1), 4 * startsB[i]!), sb.at(-1) ?? 0, ...stepsB],
        ...[shifted(output(0), 4 * i * count * product), product, n],
        ...[0, workspace()],
      ],
    }),
  );
  return { calls, workspaceBytes: gemmWorkspace(m, n, k) };
};

/** A sum over microbatches: the first one copies, later ones add to the output. */
export const lowerAccumulate = (type: TensorType, first: boolean): Lowered =>
  first
    ? call('copyBytes', byteSize(type), input(0), output(0))
    : call('accumulate', elementCount(type.shape), output(0), input(0));

/** The first microbatch starts from the buffer, later ones from the output. */
const runningAverage: LowerRule = ({ outputs, attrs }) => {
  const momentum = attrs.momentum as number;
  const previous = attrs.first === false ? output(0) : input(0);
  return call(
    'runningAverage',
    elementCount(outputs[0]!.shape),
    ...[previous, input(1), output(0)],
    ...[1 - momentum, momentum],
  );
};

/** Lowering of the ops whose records are in shape, reduce, matmul, accumulate and running-average. */
export const basicRules = {
  accumulate: ({ outputs, attrs }: NodeSignature) => lowerAccumulate(outputs[0]!, attrs.first !== false),
  broadcastTo,
  concat,
  // Aliases: detach, reshape. Their output is their input's bytes.
  detach: () => moves([]),
  logSumExp: reduction('reduceLogSumExp'),
  matmul,
  max: reduction('reduceMax'),
  mean: reduction('reduceSum', true),
  min: reduction('reduceMin'),
  prod: reduction('reduceProd'),
  reshape: () => moves([]),
  runningAverage,
  slice,
  sliceScatter,
  sum: reduction('reduceSum'),
  sumOfSquares: reduction('reduceSumOfSquares'),
  transpose,
} satisfies Readonly<Record<string, LowerRule>>;
