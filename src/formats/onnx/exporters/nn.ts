/** Products, convolutions, pooling, softmax, attention and the loss of classes. */
import { elementCount, type Shape, sameShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { scaledDotProductAttentionGradOp } from '../../../ops/attention.ts';
import { unfusedAttention } from '../../../ops/attention-unfused.ts';
import { type AvgPoolAttrs, divisors } from '../../../ops/avg-pool.ts';
import { type ConvAttrs, conv, convGeometry, convInputGrad } from '../../../ops/conv.ts';
import { exp, mul, sub } from '../../../ops/elementwise.ts';
import { gatherElements, scatterElements } from '../../../ops/gather-elements.ts';
import { crossEntropyGradOp } from '../../../ops/loss.ts';
import { sum } from '../../../ops/reduce.ts';
import { filled } from '../../../ops/scatter.ts';
import { slice, transpose, view } from '../../../ops/shape.ts';
import { type Sliding, spanOf } from '../../../ops/window.ts';
import { onnxDTypes } from '../model.ts';
import { choice, decomposed, type ExportContext, type ExportTable, nodes, none, parts, random } from './exporter.ts';

/** Both windows of ONNX and ours list the padding as all begins, then all ends. */
const windowAttributes = ({ stride, padding, dilation }: Omit<Sliding, 'kernel'>) => ({
  strides: stride,
  pads: padding,
  dilations: dilation,
});

/**
 * Padding that makes the windows of ceil mode whole. Runtimes disagree on where the last of them begins; with whole windows
 * there is nothing to round.
 */
function wholePadding(size: Shape, out: Shape, { kernel, stride, padding, dilation }: Sliding): number[] {
  const rank = size.length;
  const ends = size.map((n, axis) => {
    const reach = (out[axis]! - 1) * stride[axis]! + spanOf(kernel[axis]!, dilation[axis]!);
    return Math.max(padding[axis + rank]!, reach - n - padding[axis]!);
  });
  return [...padding.slice(0, rank), ...ends];
}

/** Windows of ceil mode, whole where they can be: runtimes refuse padding of a kernel and more, which dilation can need. */
function ceilWindows(size: Shape, out: Shape, window: Sliding) {
  const { kernel, stride, padding, dilation } = window;
  const rank = size.length;
  const whole = wholePadding(size, out, window);
  if (whole.every((n, i) => n < kernel[i % rank]!)) return windowAttributes({ ...window, padding: whole });
  const usual = size.map((n, axis) => {
    const free = n + padding[axis]! + padding[axis + rank]! - spanOf(kernel[axis]!, dilation[axis]!);
    return Math.ceil(free / stride[axis]!) + 1;
  });
  // Else a last window begins in the padding, where runtimes disagree.
  if (!sameShape(usual, out)) return windowAttributes({ ...window, padding: whole });
  return { ...windowAttributes(window), ceil_mode: 1 };
}

/** Gradient of a convolution for its weight: a convolution of x by dy, samples and channels exchanged, group by group. */
function weightGradient(x: Tensor, dy: Tensor, attrs: ConvAttrs & { readonly weightShape: Shape }): Tensor {
  const { groups, stride, dilation, padding, weightShape } = attrs;
  const [n, c, ...size] = x.shape as [number, number, ...number[]];
  const perGroup = c / groups;
  // [N, G, C/G, …] → [C/G, G·N, …]: what were samples are now the channels of each group.
  const split = view(x, [n, groups, perGroup, ...size]);
  const order = split.shape.map((_, axis) => (axis === 0 ? 2 : axis === 2 ? 0 : axis));
  const rows = view(transpose(split, order), [perGroup, groups * n, ...size]);
  const exchanged = (t: Tensor): Tensor => transpose(t, [1, 0, ...size.map((_, i) => i + 2)]);
  const full = conv(rows, exchanged(dy), undefined, { stride: dilation, dilation: stride, padding, groups });
  // Rows that the strides left over make taps which the kernel has not.
  const taps = slice(full, Object.fromEntries(weightShape.slice(2).map((k, i) => [i + 2, [0, k]] as const)));
  return exchanged(taps);
}

/** Windows that ONNX counts as we do. */
const isPlain = (size: Shape, out: Shape, attrs: AvgPoolAttrs): boolean =>
  attrs.dilation.every((d) => d === 1) &&
  sameList(wholePadding(size, out, attrs), attrs.padding) &&
  attrs.padding.every((p, i) => p < attrs.kernel[i % size.length]!);

const sameList = (a: readonly number[], b: readonly number[]): boolean => a.every((v, i) => v === b[i]);

/** A kernel of ones for every channel, and what each window's sum is multiplied by, [1, 1, out…]. */
function averaging(graph: Tensor['graph'], x: Shape, y: Shape, attrs: AvgPoolAttrs) {
  const [, c, ...size] = x as [number, number, ...number[]];
  const out = y.slice(2);
  const weight = { dtype: 'f32', shape: [c, 1, ...attrs.kernel] } as const;
  const share = { dtype: 'f32', shape: [1, 1, ...out] } as const;
  return {
    ones: graph.constant({ type: weight, data: new Float32Array(elementCount(weight.shape)).fill(1) }, 'ones'),
    share: graph.constant({ type: share, data: Float32Array.from(divisors(x, y, attrs), (n) => 1 / n) }, 'share'),
    conv: {
      stride: attrs.stride,
      dilation: attrs.dilation,
      padding: wholePadding(size, out, attrs),
      groups: c,
    } satisfies ConvAttrs,
  };
}

/** x as [N, C, plane]. */
const planes = (x: Tensor): Tensor => view(x, [x.shape[0]!, x.shape[1]!, elementCount(x.shape.slice(2))]);

const rowSum = (x: Tensor): Tensor => sum(x, { axes: -1, keepDims: true });

/** The last two axes exchanged. */
function exchangedLast({ emit }: ExportContext, x: Parameters<ExportContext['emit']>[1][number], rank: number) {
  const perm = Array.from({ length: rank }, (_, i) => (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i));
  return emit('Transpose', [x], { perm });
}

export const nnExporters = {
  avgPool: choice(({ inputTypes: [x], outputTypes: [y] }, attrs) =>
    isPlain(x!.shape.slice(2), y!.shape.slice(2), attrs)
      ? nodes(({ emit, inputs }, { kernel, stride, padding, countIncludePad }) => [
          emit('AveragePool', inputs, {
            kernel_shape: kernel,
            strides: stride,
            pads: padding,
            count_include_pad: countIncludePad ? 1 : 0,
          }),
        ])
      : parts(([v]) => {
          const { ones, share, conv: by } = averaging(v!.graph, x!.shape, y!.shape, attrs);
          return [mul(conv(v!, ones, undefined, by), share)];
        }),
  ),
  avgPoolGrad: parts(([dy], { inputShape, ...attrs }) => {
    const { ones, share, conv: by } = averaging(dy!.graph, inputShape, dy!.shape, attrs);
    return [convInputGrad(mul(dy!, share), ones, { ...by, inputShape })];
  }),
  conv: nodes(({ emit, inputs, inputTypes }, { groups, ...window }) => [
    emit('Conv', inputs, {
      kernel_shape: inputTypes[1]!.shape.slice(2),
      ...windowAttributes(window),
      group: groups,
    }),
  ]),
  // The sizes that the windows do not reach are ONNX's output_padding.
  convInputGrad: nodes(({ emit, inputs, inputTypes }, { inputShape, groups, ...window }) => {
    const { kernel, out, size } = convGeometry(inputShape, inputTypes[1]!.shape, { groups, ...window });
    const more = size.map((n, axis) => {
      const reach = (out[axis]! - 1) * window.stride[axis]! + spanOf(kernel[axis]!, window.dilation[axis]!);
      return n + window.padding[axis]! + window.padding[axis + size.length]! - reach;
    });
    return [
      emit('ConvTranspose', inputs, {
        kernel_shape: kernel,
        ...windowAttributes(window),
        output_padding: more.some((n) => n > 0) ? more : undefined,
        group: groups,
      }),
    ];
  }),
  convWeightGrad: parts(([x, dy], attrs) => [weightGradient(x!, dy!, attrs)]),
  crossEntropy: nodes(({ emit, inputs: [logits, target, scale], inputTypes, sizes }, { ignoreIndex }) => {
    const classes = inputTypes[0]!.shape.at(-1)!;
    const rows = elementCount(inputTypes[1]!.shape);
    const loss = emit(
      'SoftmaxCrossEntropyLoss',
      [
        emit('Reshape', [logits, sizes([rows, classes], 'reshape')]),
        emit('Reshape', [target, sizes([rows], 'reshape')]),
      ],
      { reduction: 'sum', ignore_index: ignoreIndex ?? undefined },
    );
    return [emit('Mul', [loss, scale])];
  }),
  crossEntropyGrad: decomposed(crossEntropyGradOp),
  logSoftmax: nodes(({ emit, inputs }) => [emit('LogSoftmax', inputs, { axis: -1 })]),
  logSoftmaxGrad: parts(([y, dy]) => [sub(dy!, mul(exp(y!), rowSum(dy!)))]),
  matmul: nodes((context, { transA, transB }) => {
    const { emit, inputs, inputTypes } = context;
    if (!transA && !transB) return [emit('MatMul', inputs)];
    const [rankA, rankB] = inputTypes.map((t) => t.shape.length) as [number, number];
    if (rankA === 2 && rankB === 2) {
      return [emit('Gemm', inputs, { transA: transA ? 1 : undefined, transB: transB ? 1 : undefined })];
    }
    const [a, b] = inputs;
    return [
      emit('MatMul', [transA ? exchangedLast(context, a, rankA) : a, transB ? exchangedLast(context, b, rankB) : b]),
    ];
  }),
  maxPool: nodes(
    ({ emit, emitAll, inputs, inputTypes, outputTypes, integer, wants }, { kernel, ceilMode, ...window }) => {
      const [size, out] = [inputTypes[0]!.shape.slice(2), outputTypes[0]!.shape.slice(2)];
      const windows = ceilMode ? ceilWindows(size, out, { kernel, ...window }) : windowAttributes(window);
      const attributes = { kernel_shape: kernel, ...windows };
      if (!wants(1)) return [emit('MaxPool', inputs, attributes), undefined];
      const [y, places] = emitAll('MaxPool', inputs, 2, attributes);
      // ONNX counts places over the whole tensor, the op over one channel of one sample.
      const inPlane = emit('Mod', [places, integer(elementCount(size))]);
      return [y, emit('Cast', [inPlane], { to: onnxDTypes.INT32 })];
    },
  ),
  maxPoolGather: parts(([x, indices]) => [
    view(gatherElements(planes(x!), planes(indices!), { axis: 2 }), indices!.shape),
  ]),
  maxPoolGrad: parts(([dy, indices], { inputShape }) => {
    const [n, c, ...size] = inputShape as [number, number, ...number[]];
    const zeros = filled(dy!.graph, 0, [n, c, elementCount(size)]);
    const sums = scatterElements(zeros, planes(indices!), planes(dy!), { axis: 2, reduction: 'add' });
    return [view(sums, inputShape)];
  }),
  // Operators before version 23 have no attention: its weights are made.
  scaledDotProductAttention: choice(({ wants }, { dropout }) =>
    dropout ? none(random) : parts((inputs, attrs) => unfusedAttention(inputs, attrs, wants(1))),
  ),
  scaledDotProductAttentionGrad: choice((_, { dropout }) =>
    dropout ? none(random) : decomposed(scaledDotProductAttentionGradOp),
  ),
  softmax: nodes(({ emit, inputs }) => [emit('Softmax', inputs, { axis: -1 })]),
  softmaxGrad: parts(([y, dy]) => [mul(y!, sub(dy!, rowSum(mul(y!, dy!))))]),
} satisfies Partial<ExportTable>;
