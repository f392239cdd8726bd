/** Lowering of fused chains: a body made of the vector functions of the ops' own kernels, and how its operands are walked. */
import { bytesPerElement, type DType, elementCount, type Shape, stridesOf, type TensorType } from '../../core/types.ts';
import type { Attrs } from '../../graph/op-record.ts';
import { broadcastStrides } from '../../ops/broadcast.ts';
import { type FusedAttrs, type FusibleOp, fusedOp, viewedTypes } from '../../ops/fused.ts';
import { type OpName, recordOf } from '../../ops/index.ts';
import { type Arg, type FusedBody, type FusedWalk, input, type LowerRule, output } from '../kernel-call.ts';
import { clipBounds, dtypeNames, eluParameters, eluSlopes, integerComparisons, ramp } from './elementwise.ts';
import { coalesce } from './strided.ts';

/** More dimensions than these, once neighbours are merged, are not walked in one pass. */
export const mostFusedDims = 4;

/** The dimensions that are left of a shape once all operands are walked together. */
export function fusedWalk(shape: Shape, operands: readonly TensorType[]) {
  const strides = operands.map((t) => broadcastStrides(t.shape, shape));
  const { dims, strides: merged } = coalesce(shape, [stridesOf(shape), ...strides]);
  return { dims, strides: merged.slice(1) };
}

const parameters: Partial<Readonly<Record<FusibleOp, (attrs: Attrs) => readonly number[]>>> = {
  clip: clipBounds,
  clipGrad: clipBounds,
  elu: eluParameters,
  eluGrad: eluSlopes,
  hardSigmoid: ramp,
  hardSigmoidGrad: ramp,
  leakyRelu: ({ slope }) => [slope as number],
  leakyReluGrad: ({ slope }) => [slope as number],
  thresholdedRelu: ({ alpha }) => [alpha as number],
  thresholdedReluGrad: ({ alpha }) => [alpha as number],
};

/** The bits of a number rounded to f32: JSON has no infinity. */
const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;

export const lowerFused: LowerRule = (node) => {
  const fused = node.attrs as unknown as FusedAttrs;
  const { steps, outputs } = fused;
  const inputs = viewedTypes(node.inputs, fused);
  const [{ shape }] = fusedOp.infer(node.inputs, { ...fused, shapes: undefined }) as [TensorType];
  const n = elementCount(shape);
  const { dims, strides } = fusedWalk(shape, inputs);
  const sizes = dims.length > 0 ? dims : [1];
  const types = [...inputs];
  /** The body's value of each of the op's: some ops take two functions. */
  const placeOf = inputs.map((_, i) => i);
  const body: { vector: string; args: number[]; constants: number[] }[] = [];
  const push = (vector: string, args: number[], constants: number[] = []): number =>
    inputs.length + body.push({ vector, args, constants }) - 1;
  for (const { op, args, attrs } of steps) {
    const operands = args.map((a) => types[a]!);
    const [made] = recordOf(op as OpName).infer(operands, attrs);
    const values = args.map((a) => placeOf[a]!);
    const integer = operands.every((t) => t.dtype === 'i32');
    const comparison = integer ? integerComparisons[op] : undefined;
    types.push(made!);
    if (op === 'cast') {
      const [from, to] = [operands[0]!.dtype, made!.dtype];
      placeOf.push(from === to ? values[0]! : push(`cast${dtypeNames[from]}${dtypeNames[to]}`, values));
    } else if (comparison) {
      const compared = push(comparison.kernel, comparison.swap ? values.toReversed() : values);
      placeOf.push(comparison.negate ? push('not', [compared]) : compared);
    } else {
      const constants = parameters[op as FusibleOp]?.(attrs).map(bitsOf) ?? [];
      placeOf.push(push(integer ? `${op}I32` : op, values, constants));
    }
  }
  const walkOf = (i: number): FusedWalk =>
    elementCount(inputs[i]!.shape) === n ? 'full' : strides[i]!.at(-1) === 0 ? 'splat' : 'row';
  const strideArgs = (i: number, dtype: DType): number[] =>
    walkOf(i) === 'full' ? [] : strides[i]!.slice(0, -1).map((s) => s * bytesPerElement[dtype]);
  const args: Arg[] = [
    ...sizes,
    ...inputs.flatMap(({ dtype }, i) => [input(i), ...strideArgs(i, dtype)]),
    ...outputs.map((_, i) => output(i)),
  ];
  const made: FusedBody = {
    rank: sizes.length,
    inputs: inputs.map(({ dtype }, i) => ({ dtype, walk: walkOf(i) })),
    steps: body,
    outputs: outputs.map((v, i) => ({ value: placeOf[v]!, dtype: node.outputs[i]!.dtype })),
  };
  return { calls: [{ kernel: fusedOp.name, args, body: made }], workspaceBytes: 0 };
};
