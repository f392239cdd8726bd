/** Lowering of convolution, pooling, softmax, normalisation, losses and updates to the WebAssembly kernels. */
import { elementCount, type Shape } from '../../core/types.ts';
import { type ConvAttrs, convGeometry } from '../../ops/conv.ts';
import type { CrossEntropyAttrs } from '../../ops/loss.ts';
import type { AdamAttrs, SgdAttrs } from '../../ops/optimizer.ts';
import type { AvgPoolAttrs, MaxPoolAttrs } from '../../ops/pool.ts';
import { begins, type Sliding, toThree } from '../../ops/window.ts';
import { type Arg, call, input, type LowerRule, type NodeSignature, output, workspace } from '../kernel-call.ts';
import { type ConvKind, convWorkspace } from './conv-workspace.ts';

/** A pointer argument that is not there. */
const none = -1;

/** The sizes of a window on three spatial axes, as its kernels take them: kernel, stride, padding before, dilation. */
const windowSizes = (by: Sliding): number[] => [
  ...toThree(by.kernel, 1),
  ...toThree(by.stride, 1),
  ...toThree(begins(by), 0),
  ...toThree(by.dilation, 1),
];

/** The sizes that all three convolution kernels take first, then operands, then the workspace. */
function conv(kind: ConvKind, shapesOf: (node: NodeSignature) => readonly [x: Shape, w: Shape]): LowerRule {
  return (node) => {
    const attrs = node.attrs as ConvAttrs;
    const g = convGeometry(...shapesOf(node), attrs);
    const window = windowSizes({ ...attrs, kernel: g.kernel });
    const sizes = [g.n, g.c, ...toThree(g.size, 1), g.o, ...window, attrs.groups, ...toThree(g.out, 1)];
    const bias = kind === 'conv' ? [node.inputs[2] ? input(2) : none] : [];
    return {
      calls: [{ kernel: kind, args: [...sizes, input(0), input(1), ...bias, output(0), workspace()] }],
      workspaceBytes: convWorkspace(kind, g, attrs),
    };
  };
}

/** Planes, the sizes of their three axes, the window, the sizes of the output. */
const poolSizes = (x: Shape, y: Shape, by: Sliding): number[] => [
  x[0]! * x[1]!,
  ...toThree(x.slice(2), 1),
  ...windowSizes(by),
  ...toThree(y.slice(2), 1),
];

const maxPool: LowerRule = ({ inputs, outputs, attrs }) =>
  call(
    'maxPool',
    ...poolSizes(inputs[0]!.shape, outputs[0]!.shape, attrs as MaxPoolAttrs),
    ...[input(0), output(0), output(1)],
  );

/** Scatter and gather by saved places know planes as so many elements. */
const planeSizes = (x: Shape, y: Shape): number[] => [
  x[0]! * x[1]!,
  elementCount(x.slice(2)),
  elementCount(y.slice(2)),
];

/** Average pooling and its gradient take the same sizes: of the input x and the pooled output y. */
function avgPool(kernelName: string, x: Shape, y: Shape, attrs: AvgPoolAttrs) {
  const { padding, countIncludePad } = attrs;
  const size = x.slice(2);
  const counted = size.map((n, axis) => n + (countIncludePad ? padding[axis + size.length]! : 0));
  return call(
    kernelName,
    ...poolSizes(x, y, attrs),
    ...toThree(counted, 1),
    ...[countIncludePad ? 1 : 0, input(0), output(0)],
  );
}

/** (rows, columns, inputs…, outputs…), rows being all axes of input 0 but the last. */
const byRows =
  (kernel: string): LowerRule =>
  ({ inputs, outputs }) =>
    call(kernel, ...rowsOf(inputs[0]!.shape), ...inputs.map((_, i) => input(i)), ...outputs.map((_, i) => output(i)));

function rowsOf(shape: Shape): [rows: number, columns: number] {
  const columns = shape.at(-1)!;
  return [elementCount(shape) / columns, columns];
}

/** What the loss kernels take for "no row is ignored": an index that no i32 class has. */
const ignoreNothing = -(2 ** 31);

const loss =
  (kernel: string): LowerRule =>
  ({ inputs, attrs }) =>
    call(
      kernel,
      ...rowsOf(inputs[0]!.shape),
      ...inputs.map((_, i) => input(i)),
      (attrs as CrossEntropyAttrs).ignoreIndex ?? ignoreNothing,
      output(0),
    );

/** The updates: what they write has its input's offset (`inPlace`), so that one pointer stands for both. */
const sgdUpdate: LowerRule = ({ inputs, attrs }) => {
  const { momentum, dampening, nesterov, weightDecay } = attrs as SgdAttrs;
  const buffer: Arg = momentum === 0 ? none : output(1);
  const numbers = [momentum, dampening, nesterov ? 1 : 0, weightDecay];
  return call('sgd', elementCount(inputs[0]!.shape), output(0), input(1), buffer, input(inputs.length - 1), ...numbers);
};

const adamUpdate: LowerRule = ({ inputs, attrs }) => {
  const { beta1, beta2, eps, weightDecay, decoupled, amsgrad } = attrs as AdamAttrs;
  return call(
    'adam',
    elementCount(inputs[0]!.shape),
    ...[output(0), input(1), output(1), output(2), input(inputs.length - 1)],
    // 1 − β in f64: in f32 it would lose three digits of 1 − 0.999.
    ...[beta1, beta2, 1 - beta1, 1 - beta2, eps, weightDecay],
    ...[decoupled ? 1 : 0, amsgrad ? 1 : 0],
    amsgrad ? output(3) : none,
  );
};

export const nnRules = {
  adamUpdate,
  avgPool: ({ inputs, outputs, attrs }: NodeSignature) =>
    avgPool('avgPool', inputs[0]!.shape, outputs[0]!.shape, attrs as AvgPoolAttrs),
  avgPoolGrad: ({ inputs, outputs, attrs }: NodeSignature) =>
    avgPool('avgPoolGrad', outputs[0]!.shape, inputs[0]!.shape, attrs as AvgPoolAttrs),
  conv: conv('conv', ({ inputs }) => [inputs[0]!.shape, inputs[1]!.shape]),
  convInputGrad: conv('convInputGrad', ({ inputs, outputs }) => [outputs[0]!.shape, inputs[1]!.shape]),
  convWeightGrad: conv('convWeightGrad', ({ inputs, outputs }) => [inputs[0]!.shape, outputs[0]!.shape]),
  crossEntropy: loss('crossEntropy'),
  crossEntropyGrad: loss('crossEntropyGrad'),
  layerNorm: ({ inputs, attrs }: NodeSignature) =>
    call(
      'layerNorm',
      ...rowsOf(inputs[0]!.shape),
      ...[input(0), input(1), input(2), output(0), output(1), output(2)],
      attrs.eps as number,
    ),
  layerNormInputGrad: byRows('layerNormInputGrad'),
  layerNormWeightGrad: byRows('layerNormWeightGrad'),
  logSoftmax: byRows('logSoftmax'),
  logSoftmaxGrad: byRows('logSoftmaxGrad'),
  maxPool,
  maxPoolGather: ({ inputs, outputs }: NodeSignature) =>
    call('maxPoolGather', ...planeSizes(inputs[0]!.shape, outputs[0]!.shape), input(0), input(1), output(0)),
  maxPoolGrad: ({ inputs, outputs }: NodeSignature) =>
    call('maxPoolGrad', ...planeSizes(outputs[0]!.shape, inputs[0]!.shape), input(0), input(1), output(0)),
  sgdUpdate,
  softmax: byRows('softmax'),
  softmaxGrad: byRows('softmaxGrad'),
} satisfies Readonly<Record<string, LowerRule>>;
