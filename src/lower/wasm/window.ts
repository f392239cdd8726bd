/** Lowering of convolution, pooling, resampling and padding to the WebAssembly kernels. */
import { bytesPerElement, elementCount, type Shape } from '../../core/types.ts';
import type { AvgPoolAttrs } from '../../ops/avg-pool.ts';
import { type ConvAttrs, convGeometry } from '../../ops/conv.ts';
import { type PadAttrs, padLayout } from '../../ops/pad.ts';
import type { PoolAttrs } from '../../ops/pool-windows.ts';
import { around, type ResampleAttrs } from '../../ops/resample.ts';
import { begins, type Sliding, toThree } from '../../ops/window.ts';
import { call, input, type Lowered, type LowerRule, type NodeSignature, output, workspace } from '../kernel-call.ts';
import { type ConvKind, convWorkspace } from './conv-workspace.ts';
import { poolWorkspace } from './pool-workspace.ts';
import { stridedCopy } from './strided.ts';

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

const maxPool: LowerRule = ({ inputs, outputs, attrs }) => {
  const [x, y] = [inputs[0]!.shape, outputs[0]!.shape];
  const args = [...poolSizes(x, y, attrs as PoolAttrs), input(0), output(0), output(1), workspace()];
  return {
    calls: [{ kernel: 'maxPool', args }],
    workspaceBytes: poolWorkspace('largest', x.slice(2), y.slice(2), attrs as PoolAttrs),
  };
};

/** Scatter and gather by saved places know planes as so many elements. */
const planeSizes = (x: Shape, y: Shape): number[] => [
  x[0]! * x[1]!,
  elementCount(x.slice(2)),
  elementCount(y.slice(2)),
];

/** Average pooling and its gradient take the same sizes: of the input x and the pooled output y. */
function avgPool(kernel: string, x: Shape, y: Shape, attrs: AvgPoolAttrs): Lowered {
  const { padding, countIncludePad } = attrs;
  const size = x.slice(2);
  const counted = size.map((n, axis) => n + (countIncludePad ? padding[axis + size.length]! : 0));
  const sizes = [...poolSizes(x, y, attrs), ...toThree(counted, 1), countIncludePad ? 1 : 0];
  return {
    calls: [{ kernel, args: [...sizes, input(0), output(0), workspace()] }],
    workspaceBytes: poolWorkspace('mean', size, y.slice(2), attrs),
  };
}

/** Both directions take the sizes of x and y along the axis, then operands in the order of the node's inputs. */
function resample(kernel: string, x: Shape, y: Shape, taps: number, { axis }: ResampleAttrs) {
  const { outer, size, inner } = around(x, axis);
  return call(kernel, outer, size, inner, y[axis]!, taps, input(0), input(1), input(2), output(0));
}

/** A value as the bits of an element. */
export const bitsOf = (value: number, float: boolean): number =>
  float ? new Int32Array(Float32Array.of(value).buffer)[0]! : value;

const pad: LowerRule = ({ inputs, outputs, attrs }) => {
  const [x, y] = [inputs[0]!, outputs[0]!];
  const { before, value } = attrs as PadAttrs;
  const size = bytesPerElement[y.dtype];
  const { first, strides } = padLayout(y.shape, before);
  const bits = bitsOf(Number(value), y.dtype === 'f32');
  return {
    calls: [
      { kernel: size === 4 ? 'fill32' : 'fill8', args: [elementCount(y.shape), bits, output(0)] },
      ...stridedCopy('copyInto', x.dtype, x.shape, strides, input(0), output(0, first * size)),
    ],
    workspaceBytes: 0,
  };
};

export const windowRules = {
  avgPool: ({ inputs, outputs, attrs }: NodeSignature) =>
    avgPool('avgPool', inputs[0]!.shape, outputs[0]!.shape, attrs as AvgPoolAttrs),
  avgPoolGrad: ({ inputs, outputs, attrs }: NodeSignature) =>
    avgPool('avgPoolGrad', outputs[0]!.shape, inputs[0]!.shape, attrs as AvgPoolAttrs),
  conv: conv('conv', ({ inputs }) => [inputs[0]!.shape, inputs[1]!.shape]),
  convInputGrad: conv('convInputGrad', ({ inputs, outputs }) => [outputs[0]!.shape, inputs[1]!.shape]),
  convWeightGrad: conv('convWeightGrad', ({ inputs, outputs }) => [inputs[0]!.shape, outputs[0]!.shape]),
  maxPool,
  maxPoolGather: ({ inputs, outputs }: NodeSignature) =>
    call('maxPoolGather', ...planeSizes(inputs[0]!.shape, outputs[0]!.shape), input(0), input(1), output(0)),
  maxPoolGrad: ({ inputs, outputs }: NodeSignature) =>
    call('maxPoolGrad', ...planeSizes(outputs[0]!.shape, inputs[0]!.shape), input(0), input(1), output(0)),
  pad,
  resample: ({ inputs, outputs, attrs }: NodeSignature) =>
    resample('resample', inputs[0]!.shape, outputs[0]!.shape, inputs[1]!.shape[1]!, attrs as ResampleAttrs),
  resampleGrad: ({ inputs, outputs, attrs }: NodeSignature) =>
    resample('resampleGrad', outputs[0]!.shape, inputs[0]!.shape, inputs[1]!.shape[1]!, attrs as ResampleAttrs),
} satisfies Readonly<Record<string, LowerRule>>;
