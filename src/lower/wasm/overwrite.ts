/**
 * Which inputs a node's output 0 may be written over. A kernel is safe for an input where it reads each element before it
 * writes the one in the same place, and never again: maps, and kernels that finish their sums over a row or channel before
 * they write it. `test/conformance/overwrite.test.ts` runs each op both ways.
 */
import { bytesPerElement, elementCount, type TensorType } from '../../core/types.ts';
import type { OpName } from '../../ops/index.ts';
import { copiesOf, type Lowered, type NodeSignature, type Operand } from '../kernel-call.ts';
import { elementwiseRules } from './elementwise.ts';

/** Beside the elementwise ops, alone and fused, which may overwrite any input of the output's size. */
const byPlace: Partial<Readonly<Record<OpName, readonly number[]>>> = {
  batchNorm: [0],
  batchNormInference: [0],
  batchNormInputGrad: [0, 4],
  batchNormWithMoments: [0],
  batchNormWithMomentsInputGrad: [0, 3],
  crossEntropyGrad: [0],
  dropout: [0],
  groupNorm: [0],
  groupNormInputGrad: [0, 4],
  layerNorm: [0],
  layerNormInputGrad: [0, 4],
  logSoftmax: [0],
  logSoftmaxGrad: [0, 1],
  softmax: [0],
  softmaxGrad: [0, 1],
};

/** Positions among the inputs, in order. */
export function overwritableOnWasm(node: NodeSignature, lowered: Lowered): readonly number[] {
  const y = node.outputs[0]!;
  const all = node.inputs.map((_, i) => i);
  const candidates =
    node.op in elementwiseRules || node.op === 'fused'
      ? all
      : isCopy(lowered)
        ? [0]
        : (byPlace[node.op as OpName] ?? []);
  return candidates.filter((i) => isSameSize(node.inputs[i]!, y));
}

/** A copy of all of input 0, such as the first of a sum over microbatches: in one place, nothing is to be done. */
function isCopy({ calls }: Lowered): boolean {
  const copies = copiesOf(calls);
  if (copies?.length !== 1) return false;
  const whole = (side: 'input' | 'output', arg: Operand & { readonly plus?: number }) =>
    side in arg && Object.values(arg)[0] === 0 && (arg.plus ?? 0) === 0;
  return whole('input', copies[0]!.from) && whole('output', copies[0]!.to);
}

const isSameSize = (a: TensorType, b: TensorType): boolean =>
  elementCount(a.shape) === elementCount(b.shape) && bytesPerElement[a.dtype] === bytesPerElement[b.dtype];
