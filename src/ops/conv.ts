import type { Shape, TensorType } from '../core/types.ts';
import { elementCount, formatShape, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { sum } from './reduce.ts';
import {
  begins,
  type PaddingOption,
  type PerAxis,
  perAxis,
  requireImage,
  sides,
  slide,
  spatialRank,
  tapsAlong,
  toThree,
} from './window.ts';

/**
 * Convolution over one to three spatial axes and its two gradients. The three are one trilinear form: with x the input,
 * w the weight and y the output,
 *
 *   S(x, w, y) = Σ over taps (n, o, c, i…, p…) of  x[n, c, p·stride + i·dilation − pad, …] · w[o, c, i…] · y[n, o, p…]
 *
 * and each op is ∂S/∂(the operand it lacks). So their derivatives are these three again, at any order.
 */
export type ConvAttrs = {
  /** One number for each spatial axis: says how many there are. */
  readonly stride: readonly number[];
  /** [begins…, ends…]: for two axes [top, left, bottom, right]. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
};
type InputGradAttrs = ConvAttrs & { readonly inputShape: readonly number[] };
type WeightGradAttrs = ConvAttrs & { readonly weightShape: readonly number[] };

export interface ConvOptions {
  readonly stride?: PerAxis;
  readonly padding?: PaddingOption;
  readonly dilation?: PerAxis;
  readonly groups?: number;
}

/** All sizes of one convolution; lists by spatial axis. */
export interface ConvGeometry {
  readonly n: number;
  readonly c: number;
  readonly o: number;
  readonly size: readonly number[];
  readonly kernel: readonly number[];
  readonly out: readonly number[];
}

/** Sizes from the shapes of input [N, C, D…] and weight [O, C / groups, k…]. Throws TypeRuleError. */
export function convGeometry(x: Shape, weight: Shape, attrs: ConvAttrs): ConvGeometry {
  const rank = spatialRank(attrs.stride);
  requireImage('the input', x, rank);
  require(weight.length ===
    rank +
      2, `the weight must have the axes [O, C / groups, ${['k', 'kh, kw', 'kd, kh, kw'][rank - 1]}], got ${formatShape(weight)}`);
  const [n, c, ...size] = x as [number, number, ...number[]];
  const [o, perGroup, ...kernel] = weight as [number, number, ...number[]];
  const { groups } = attrs;
  require(Number.isInteger(groups) && groups >= 1, `groups must be a positive integer, got ${groups}`);
  require(c % groups === 0, `the input's ${c} channels are not divisible by ${groups} groups`);
  require(o % groups === 0, `the weight's ${o} output channels are not divisible by ${groups} groups`);
  require(perGroup ===
    c /
      groups, `the weight takes ${perGroup} channels a group, the input has ${c / groups} (${c} channels in ${groups} ${groups === 1 ? 'group' : 'groups'})`);
  return { n, c, o, size, kernel, out: slide(size, { ...attrs, kernel }) };
}

/** Calls `visit` with the flat positions in x, w and y of every tap that lies inside the input. */
function eachTap(g: ConvGeometry, attrs: ConvAttrs, visit: (x: number, w: number, y: number) => void): void {
  const size = toThree(g.size, 1);
  const kernel = toThree(g.kernel, 1);
  const out = toThree(g.out, 1);
  const [stride, before, dilation] = [toThree(attrs.stride, 1), toThree(begins(attrs), 0), toThree(attrs.dilation, 1)];
  const [depth, height, width] = [0, 1, 2].map((a) =>
    tapsAlong(size[a]!, out[a]!, kernel[a]!, stride[a]!, before[a]!, dilation[a]!),
  );
  const inGroup = g.c / attrs.groups;
  const outGroup = g.o / attrs.groups;
  for (let n = 0; n < g.n; n++) {
    for (let o = 0; o < g.o; o++) {
      for (let k = 0; k < inGroup; k++) {
        const c = Math.floor(o / outGroup) * inGroup + k;
        for (const d of depth!) {
          const xPlane = ((n * g.c + c) * size[0] + d.at) * size[1];
          const wPlane = ((o * inGroup + k) * kernel[0] + d.tap) * kernel[1];
          const yPlane = ((n * g.o + o) * out[0] + d.out) * out[1];
          for (const h of height!) {
            const xRow = (xPlane + h.at) * size[2];
            const wRow = (wPlane + h.tap) * kernel[2];
            const yRow = (yPlane + h.out) * out[2];
            for (const w of width!) visit(xRow + w.at, wRow + w.tap, yRow + w.out);
          }
        }
      }
    }
  }
}

/** A multiply-add an output element and tap, taps in the padding included (the usual convention). */
const convFlops = (g: ConvGeometry, attrs: ConvAttrs): number =>
  2 * g.n * g.o * elementCount(g.out) * (g.c / attrs.groups) * elementCount(g.kernel);

const outputShape = (g: ConvGeometry): number[] => [g.n, g.o, ...g.out];

function requireFloats(inputs: readonly TensorType[], least: number, most: number): void {
  require(inputs.length >= least &&
    inputs.length <= most, `takes ${least === most ? least : `${least} or ${most}`} inputs, got ${inputs.length}`);
  for (const t of inputs) require(t.dtype === 'f32', `takes f32, got ${t.dtype}`);
}

function requireOutputShape(dy: Shape, g: ConvGeometry): void {
  require(sameShape(
    dy,
    outputShape(g),
  ), `dy must have the convolution's output shape ${formatShape(outputShape(g))}, got ${formatShape(dy)}`);
}

const plain: ConvAttrs = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
const plain1: ConvAttrs = { stride: [1], padding: [0, 0], dilation: [1], groups: 1 };
const plain3: ConvAttrs = { stride: [1, 1, 1], padding: [0, 0, 0, 0, 0, 0], dilation: [1, 1, 1], groups: 1 };

/** Geometries that the three records share: input shape, weight shape, attributes, output shape. */
const cases: readonly { name: string; x: number[]; w: number[]; attrs: ConvAttrs; y: number[] }[] = [
  { name: 'plain', x: [2, 3, 5, 4], w: [4, 3, 3, 3], attrs: plain, y: [2, 4, 3, 2] },
  { name: 'one by one', x: [2, 3, 3, 5], w: [5, 3, 1, 1], attrs: plain, y: [2, 5, 3, 5] },
  {
    name: 'stride, uneven padding',
    x: [1, 2, 6, 5],
    w: [3, 2, 3, 2],
    attrs: { ...plain, stride: [2, 1], padding: [1, 0, 2, 1] },
    y: [1, 3, 4, 5],
  },
  {
    name: 'dilation, rows left over',
    x: [2, 2, 8, 7],
    w: [2, 2, 2, 3],
    attrs: { ...plain, stride: [3, 2], dilation: [2, 1], padding: [1, 1, 1, 1] },
    y: [2, 2, 3, 4],
  },
  {
    name: 'groups',
    x: [2, 4, 4, 4],
    w: [6, 2, 3, 3],
    attrs: { ...plain, groups: 2, padding: [1, 1, 1, 1] },
    y: [2, 6, 4, 4],
  },
  {
    name: 'depthwise, stride',
    x: [1, 3, 5, 5],
    w: [3, 1, 3, 3],
    attrs: { ...plain, groups: 3, stride: [2, 2], padding: [1, 1, 1, 1] },
    y: [1, 3, 3, 3],
  },
  { name: 'window as large as the input', x: [3, 2, 3, 3], w: [4, 2, 3, 3], attrs: plain, y: [3, 4, 1, 1] },
  { name: 'one axis', x: [2, 3, 7], w: [4, 3, 3], attrs: plain1, y: [2, 4, 5] },
  {
    name: 'one axis, groups, dilation, uneven padding',
    x: [2, 4, 9],
    w: [2, 2, 3],
    attrs: { stride: [2], padding: [2, 1], dilation: [2], groups: 2 },
    y: [2, 2, 4],
  },
  { name: 'one axis, window of one', x: [2, 3, 4], w: [2, 3, 1], attrs: plain1, y: [2, 2, 4] },
  { name: 'three axes', x: [2, 2, 3, 4, 3], w: [3, 2, 2, 3, 2], attrs: plain3, y: [2, 3, 2, 2, 2] },
  {
    name: 'three axes, depthwise, all uneven',
    x: [1, 2, 5, 4, 5],
    w: [2, 1, 2, 3, 2],
    attrs: { stride: [2, 1, 2], padding: [1, 0, 1, 0, 2, 0], dilation: [2, 1, 3], groups: 2 },
    y: [1, 2, 2, 4, 2],
  },
  { name: 'three axes, window of one', x: [1, 3, 2, 1, 3], w: [2, 3, 1, 1, 1], attrs: plain3, y: [1, 2, 2, 1, 3] },
];

export const convOp = defineOp<ConvAttrs>({
  name: 'conv',
  doc: 'y[n, o, p…] = bias[o] + Σ_{c, i…} x[n, c, p·stride + i·dilation − pad, …] · w[o, c, i…] over one to three spatial axes (cross-correlation; ONNX Conv, PyTorch conv1d, conv2d, conv3d). x [N, C, D…], w [O, C / groups, k…], bias [O] optional.',
  infer: (inputs, attrs) => {
    requireFloats(inputs, 2, 3);
    const g = convGeometry(inputs[0]!.shape, inputs[1]!.shape, attrs);
    const bias = inputs[2];
    if (bias) {
      require(sameShape(bias.shape, [g.o]), `the bias must have the shape [${g.o}], got ${formatShape(bias.shape)}`);
    }
    return [{ dtype: 'f32', shape: outputShape(g) }];
  },
  reference: ([x, w, bias], attrs, [out]) => {
    const g = convGeometry(x!.type.shape, w!.type.shape, attrs);
    const y = new Float64Array(elementCount(out!.shape));
    if (bias) for (let i = 0; i < y.length; i++) y[i] = bias.data[Math.floor(i / elementCount(g.out)) % g.o]!;
    eachTap(g, attrs, (xAt, wAt, yAt) => {
      y[yAt] = y[yAt]! + x!.data[xAt]! * w!.data[wAt]!;
    });
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads, needs }) => {
      const [x, w] = inputs as [Tensor, Tensor];
      const dy = grads[0]!;
      return [
        needs(0) ? convInputGrad(dy, w, { ...attrs, inputShape: x.shape }) : undefined,
        needs(1) ? convWeightGrad(x, dy, { ...attrs, weightShape: w.shape }) : undefined,
        inputs[2] && needs(2) ? sum(dy, { axes: [0, ...attrs.stride.map((_, i) => i + 2)] }) : undefined,
      ];
    },
  },
  cost: (inputs, outputs, attrs) => ({
    flops:
      convFlops(convGeometry(inputs[0]!.shape, inputs[1]!.shape, attrs), attrs) +
      (inputs.length === 3 ? elementCount(outputs[0]!.shape) : 0),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...cases.map(({ name, x, w, attrs }) => ({ name, inputs: [{ shape: x }, { shape: w }], attrs, atol: 4e-6 })),
    {
      name: 'bias',
      inputs: [{ shape: [2, 3, 4, 5] }, { shape: [5, 3, 3, 3] }, { shape: [5] }],
      attrs: plain,
      atol: 4e-6,
    },
    {
      name: 'one axis, bias',
      inputs: [{ shape: [2, 2, 5] }, { shape: [3, 2, 2] }, { shape: [3] }],
      attrs: plain1,
      atol: 4e-6,
    },
    {
      name: 'three axes, bias',
      inputs: [{ shape: [2, 2, 3, 3, 2] }, { shape: [3, 2, 2, 2, 2] }, { shape: [3] }],
      attrs: plain3,
      atol: 4e-6,
    },
  ],
  badSamples: [
    {
      inputs: [image(1, 3, 8, 8), image(4, 2, 3, 3)],
      attrs: plain,
      message: 'the weight takes 2 channels a group, the input has 3',
    },
    { inputs: [image(1, 3, 8, 8), image(4, 3, 9, 3)], attrs: plain, message: "window's height 9 exceeds" },
    { inputs: [image(1, 3, 8), image(4, 3, 9)], attrs: plain1, message: "window's length 9 exceeds" },
    { inputs: [image(1, 3, 2, 8, 8), image(4, 3, 3, 3, 3)], attrs: plain3, message: "window's depth 3 exceeds" },
    {
      inputs: [image(1, 3, 8, 8), image(4, 3, 3, 3)],
      attrs: { ...plain, groups: 2 },
      message: 'not divisible by 2 groups',
    },
    { inputs: [image(1, 3, 8, 8), image(4, 3, 3, 3)], attrs: { ...plain, stride: [0, 1] }, message: 'stride must be' },
    {
      inputs: [image(1, 3, 8, 8), image(4, 3, 3, 3), { dtype: 'f32', shape: [3] }],
      attrs: plain,
      message: 'the bias must have the shape [4]',
    },
    { inputs: [image(3, 8), image(4, 3, 3, 3)], attrs: plain, message: '[N, C, H, W]' },
    { inputs: [image(3, 8, 8), image(4, 3, 3)], attrs: plain, message: '[N, C, H, W], got 3 axes' },
    {
      inputs: [image(1, 3, 8, 8), image(4, 3, 3, 3)],
      attrs: { ...plain, stride: [] },
      message: 'one to three spatial axes',
    },
    { inputs: [image(1, 3, 8, 8), image(4, 3, 3)], attrs: plain, message: 'the axes [O, C / groups, kh, kw]' },
    { inputs: [image(1, 3, 8, 8)], attrs: plain, message: 'takes 2 or 3 inputs, got 1' },
  ],
});

export const convInputGradOp = defineOp<InputGradAttrs>({
  name: 'convInputGrad',
  doc: 'dx = ∂(Σ conv(x, w) · dy)/∂x, the transposed convolution (ONNX ConvTranspose, PyTorch conv_transpose1d, 2d, 3d without bias); `inputShape` is the shape of x.',
  infer: (inputs, attrs) => {
    requireFloats(inputs, 2, 2);
    require(attrs.inputShape.every(
      (d) => Number.isInteger(d) && d > 0,
    ), `inputShape ${formatShape(attrs.inputShape)} must hold positive integers`);
    const g = convGeometry(attrs.inputShape, inputs[1]!.shape, attrs);
    requireOutputShape(inputs[0]!.shape, g);
    return [{ dtype: 'f32', shape: attrs.inputShape }];
  },
  reference: ([dy, w], attrs) => {
    const dx = new Float64Array(elementCount(attrs.inputShape));
    eachTap(convGeometry(attrs.inputShape, w!.type.shape, attrs), attrs, (xAt, wAt, yAt) => {
      dx[xAt] = dx[xAt]! + w!.data[wAt]! * dy!.data[yAt]!;
    });
    return [dx];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { inputShape: _, ...attrs }, grads, needs }) => {
      const [dy, w] = inputs as [Tensor, Tensor];
      const g = grads[0]!;
      return [
        needs(0) ? conv(g, w, undefined, attrs) : undefined,
        needs(1) ? convWeightGrad(g, dy, { ...attrs, weightShape: w.shape }) : undefined,
      ];
    },
  },
  cost: (inputs, outputs, attrs) => ({
    flops: convFlops(convGeometry(attrs.inputShape, inputs[1]!.shape, attrs), attrs),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, x, w, attrs, y }) => ({
    name,
    inputs: [{ shape: y }, { shape: w }],
    attrs: { ...attrs, inputShape: x },
    atol: 4e-6,
  })),
  badSamples: [
    {
      inputs: [image(1, 4, 5, 6), image(4, 3, 3, 3)],
      attrs: { ...plain, inputShape: [1, 3, 8, 8] },
      message: "dy must have the convolution's output shape [1, 4, 6, 6]",
    },
    {
      inputs: [image(1, 4, 1, 1), image(4, 3, 1, 1)],
      attrs: { ...plain, padding: [1, 0, 0, 0], inputShape: [1, 3, 0, 1] },
      message: 'inputShape [1, 3, 0, 1] must hold positive integers',
    },
  ],
});

export const convWeightGradOp = defineOp<WeightGradAttrs>({
  name: 'convWeightGrad',
  doc: 'dw = ∂(Σ conv(x, w) · dy)/∂w; `weightShape` is the shape of w.',
  infer: (inputs, attrs) => {
    requireFloats(inputs, 2, 2);
    const g = convGeometry(inputs[0]!.shape, attrs.weightShape, attrs);
    requireOutputShape(inputs[1]!.shape, g);
    return [{ dtype: 'f32', shape: attrs.weightShape }];
  },
  reference: ([x, dy], attrs) => {
    const dw = new Float64Array(elementCount(attrs.weightShape));
    eachTap(convGeometry(x!.type.shape, attrs.weightShape, attrs), attrs, (xAt, wAt, yAt) => {
      dw[wAt] = dw[wAt]! + x!.data[xAt]! * dy!.data[yAt]!;
    });
    return [dw];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { weightShape: _, ...attrs }, grads, needs }) => {
      const [x, dy] = inputs as [Tensor, Tensor];
      const g = grads[0]!;
      return [
        needs(0) ? convInputGrad(dy, g, { ...attrs, inputShape: x.shape }) : undefined,
        needs(1) ? conv(x, g, undefined, attrs) : undefined,
      ];
    },
  },
  cost: (inputs, outputs, attrs) => ({
    flops: convFlops(convGeometry(inputs[0]!.shape, attrs.weightShape, attrs), attrs),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, x, w, attrs, y }) => ({
    name,
    inputs: [{ shape: x }, { shape: y }],
    attrs: { ...attrs, weightShape: w },
    atol: 4e-6,
  })),
  badSamples: [
    {
      inputs: [image(1, 3, 8, 8), image(1, 4, 8, 8)],
      attrs: { ...plain, weightShape: [4, 3, 3, 3] },
      message: "dy must have the convolution's output shape [1, 4, 6, 6]",
    },
  ],
});

function image(...shape: number[]): TensorType {
  return { dtype: 'f32', shape };
}

export const completeConv = (options: ConvOptions, rank: number): ConvAttrs => ({
  stride: perAxis(options.stride ?? 1, rank),
  padding: sides(options.padding ?? 0, rank),
  dilation: perAxis(options.dilation ?? 1, rank),
  groups: options.groups ?? 1,
});

/** Convolution over the spatial axes that the attributes speak of. */
export const conv = (x: Tensor, weight: Tensor, bias: Tensor | undefined, attrs: ConvAttrs): Tensor =>
  x.graph.add(convOp, bias ? [x, weight, bias] : [x, weight], attrs)[0]!;

/** Gradient of `conv` for its input: also a transposed convolution. */
export const convInputGrad = (dy: Tensor, weight: Tensor, attrs: InputGradAttrs): Tensor =>
  dy.graph.add(convInputGradOp, [dy, weight], attrs)[0]!;

/** Gradient of `conv` for its weight. */
export const convWeightGrad = (x: Tensor, dy: Tensor, attrs: WeightGradAttrs): Tensor =>
  x.graph.add(convWeightGradOp, [x, dy], attrs)[0]!;

/** 1-D convolution of [N, C, L] with [O, C / groups, k], as PyTorch's `conv1d`. */
export const conv1d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  conv(x, weight, bias, completeConv(options, 1));

/** 2-D convolution of [N, C, H, W] with [O, C / groups, kh, kw], as PyTorch's `conv2d`. */
export const conv2d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  conv(x, weight, bias, completeConv(options, 2));

/** 3-D convolution of [N, C, D, H, W] with [O, C / groups, kd, kh, kw], as PyTorch's `conv3d`. */
export const conv3d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  conv(x, weight, bias, completeConv(options, 3));
