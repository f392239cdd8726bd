/** Lowering of group and batch normalisation and of dropout to the WebAssembly kernels. */
import { type DropoutAttrs, dropoutLayout, dropoutThreshold } from '../../ops/dropout.ts';
import { groupLayout } from '../../ops/group-norm.ts';
import { channelLayout } from '../../ops/norm-shapes.ts';
import { type Arg, call, input, type Lowered, type LowerRule, type NodeSignature, output } from '../kernel-call.ts';

/** (sizes…, inputs…, outputs…, eps where the op has one). */
const normalization = (kernel: string, sizes: readonly number[], { inputs, outputs, attrs }: NodeSignature): Lowered =>
  call(
    kernel,
    ...sizes,
    ...inputs.map((_, i) => input(i)),
    ...outputs.map((_, i) => output(i)),
    ...(typeof attrs.eps === 'number' ? [attrs.eps] : []),
  );

const group =
  (kernel: string): LowerRule =>
  (node) => {
    const { n, groups, size, spatial } = groupLayout(node.inputs[0]!.shape, node.attrs.groups as number);
    return normalization(kernel, [n, groups, size, spatial], node);
  };

const batch =
  (kernel: string): LowerRule =>
  (node) => {
    const { n, channels, spatial } = channelLayout(node.inputs[0]!.shape);
    return normalization(kernel, [n, channels, spatial], node);
  };

/** (samples, outer, run, operands…, y, stream, threshold, more…). */
function drop(kernel: string, { inputs, outputs, attrs }: NodeSignature, more: readonly Arg[] = []): Lowered {
  const { ratio, stream, axis } = attrs as DropoutAttrs;
  const samples = inputs.at(-2)!.shape[0]!;
  const { outer, run } = dropoutLayout(outputs[0]!.shape, axis, samples);
  const operands = inputs.map((_, i) => input(i));
  return call(kernel, samples, outer, run, ...operands, output(0), ...stream, dropoutThreshold(ratio), ...more);
}

export const normRules = {
  batchNorm: batch('batchNorm'),
  batchNormInference: batch('batchNormInference'),
  batchNormInputGrad: batch('batchNormInputGrad'),
  batchNormWeightGrad: batch('batchNormWeightGrad'),
  dropout: (node: NodeSignature) => drop('dropout', node, [1 / (1 - (node.attrs as DropoutAttrs).ratio)]),
  dropoutMask: (node: NodeSignature) => drop('dropoutMask', node),
  groupNorm: group('groupNorm'),
  groupNormInputGrad: group('groupNormInputGrad'),
  groupNormWeightGrad: group('groupNormWeightGrad'),
} satisfies Readonly<Record<string, LowerRule>>;
