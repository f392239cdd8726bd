/** Lowering of group and batch normalisation and of dropout to the WebAssembly kernels. */
import { byteSize } from '../../core/types.ts';
import { type JoinMomentsAttrs, momentRows, type RunningMomentsAttrs } from '../../ops/batch-moments.ts';
import { type DropoutAttrs, dropoutLayout, dropoutThreshold } from '../../ops/dropout.ts';
import { groupLayout } from '../../ops/group-norm.ts';
import { channelLayout } from '../../ops/norm-shapes.ts';
import {
  type Arg,
  call,
  calls,
  input,
  type Lowered,
  type LowerRule,
  type NodeSignature,
  output,
} from '../kernel-call.ts';
import { bitsOf } from './window.ts';

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

/** Offsets of the rows of moments, in bytes. */
function momentBytes(channels: number) {
  const { count, mean, variance } = momentRows(channels);
  return { count: 4 * count, mean: 4 * mean, variance: 4 * variance };
}

const channelMoments: LowerRule = ({ inputs }) => {
  const { n, channels, spatial } = channelLayout(inputs[0]!.shape);
  const at = momentBytes(channels);
  return calls(
    ['fill32', channels, bitsOf(n * spatial, true), output(0, at.count)],
    ['channelMoments', n, channels, spatial, input(0), output(0, at.mean), output(0, at.variance)],
  );
};

const joinMoments: LowerRule = ({ inputs, attrs }) => {
  const channels = inputs[0]!.shape[0]!;
  const at = momentBytes(channels);
  return calls(
    ['fill32', channels, bitsOf((attrs as JoinMomentsAttrs).count, true), output(0, at.count)],
    ['copyBytes', 4 * channels, input(0), output(0, at.mean)],
    ['copyBytes', 4 * channels, input(1), output(0, at.variance)],
  );
};

/** The first microbatch's moments as they are; later ones merge into the output. */
const accumulateMoments: LowerRule = ({ outputs, attrs }) => {
  const moments = outputs[0]!;
  return attrs.first === false
    ? call('mergeMoments', moments.shape[1]!, input(0), output(0))
    : call('copyBytes', byteSize(moments), input(0), output(0));
};

const batchNormWithMoments: LowerRule = ({ inputs, attrs }) => {
  const { n, channels, spatial } = channelLayout(inputs[0]!.shape);
  const at = momentBytes(channels);
  const [mean, variance] = [input(3, at.mean), input(3, at.variance)];
  return calls(
    ['copyBytes', 4 * channels, mean, output(1)],
    ['copyBytes', 4 * channels, variance, output(2)],
    [
      'batchNormInference',
      ...[n, channels, spatial],
      ...[input(0), input(1), input(2), mean, variance, output(0)],
      attrs.eps as number,
    ],
  );
};

const batchNormWithMomentsInputGrad: LowerRule = ({ inputs, attrs }) => {
  const { n, channels, spatial } = channelLayout(inputs[0]!.shape);
  const at = momentBytes(channels);
  return call(
    'batchNormWithMomentsInputGrad',
    ...[n, channels, spatial, input(0), input(1)],
    ...[input(2, at.count), input(2, at.mean), input(2, at.variance)],
    ...[input(3), input(4), input(5), output(0), attrs.eps as number],
  );
};

const runningMoments: LowerRule = ({ inputs, attrs }) => {
  const { momentum, statistic } = attrs as RunningMomentsAttrs;
  const channels = inputs[0]!.shape[0]!;
  const at = momentBytes(channels);
  const weights = [1 - momentum, momentum];
  return statistic === 'unbiasedVariance'
    ? call('runningVariance', ...[channels, input(0), input(1, at.count), input(1, at.variance), output(0)], ...weights)
    : call('runningAverage', channels, input(0), input(1, at[statistic]), output(0), ...weights);
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
  accumulateMoments,
  batchNorm: batch('batchNorm'),
  batchNormInference: batch('batchNormInference'),
  batchNormInputGrad: batch('batchNormInputGrad'),
  batchNormWeightGrad: batch('batchNormWeightGrad'),
  batchNormWithMoments,
  batchNormWithMomentsInputGrad,
  channelMoments,
  dropout: (node: NodeSignature) => drop('dropout', node, [1 / (1 - (node.attrs as DropoutAttrs).ratio)]),
  dropoutMask: (node: NodeSignature) => drop('dropoutMask', node),
  groupNorm: group('groupNorm'),
  groupNormInputGrad: group('groupNormInputGrad'),
  groupNormWeightGrad: group('groupNormWeightGrad'),
  joinMoments,
  runningMoments,
} satisfies Readonly<Record<string, LowerRule>>;
