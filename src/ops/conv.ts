import type { Shape, TensorType } from '../core/types.ts';
import { elementCount, formatShape, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { sum } from './reduce.ts';
import { type PaddingOption, type PairOption, pair, requireImage, sides, slide } from './window.ts';

/**
 * Convolution and its two gradients. The three are one trilinear form: with x the input, w the weight and y the output,
 *
 *   S(x, w, y) = Σ over taps (n, o, c, i, j, p, q) of  x[n, c, p·stride + i·dilation − pad, …] · w[o, c, i, j] · y[n, o, p, q]
 *
 * and each op is ∂S/∂(the operand it lacks). So their derivatives are these three again, at any order.
 */
export type ConvAttrs = {
  readonly stride: readonly number[];
  /** [top, left, bottom, right] */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
};
type InputGradAttrs = ConvAttrs & { readonly inputShape: readonly number[] };
type WeightGradAttrs = ConvAttrs & { readonly weightShape: readonly number[] };

export interface ConvOptions {
  readonly stride?: PairOption;
  readonly padding?: PaddingOption;
  readonly dilation?: PairOption;
  readonly groups?: number;
}

/** All sizes of one convolution. */
export interface ConvGeometry {
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly o: number;
  readonly kh: number;
  readonly kw: number;
  readonly oh: number;
  readonly ow: number;
}

/** Sizes from the shapes of input [N, C, H, W] and weight [O, C / groups, kh, kw]. Throws TypeRuleError. */
export function convGeometry(x: Shape, weight: Shape, attrs: ConvAttrs): ConvGeometry {
  requireImage('the input', x);
  require(weight.length === 4, `the weight must have the axes [O, C / groups, kh, kw], got ${formatShape(weight)}`);
  const [n, c, h, w] = x as [number, number, number, number];
  const [o, perGroup, kh, kw] = weight as [number, number, number, number];
  const { groups } = attrs;
  require(Number.isInteger(groups) && groups >= 1, `groups must be a positive integer, got ${groups}`);
  require(c % groups === 0, `the input's ${c} channels are not divisible by ${groups} groups`);
  require(o % groups === 0, `the weight's ${o} output channels are not divisible by ${groups} groups`);
  require(perGroup ===
    c /
      groups, `the weight takes ${perGroup} channels a group, the input has ${c / groups} (${c} channels in ${groups} ${groups === 1 ? 'group' : 'groups'})`);
  const [oh, ow] = slide([h, w], { ...attrs, kernel: [kh, kw] });
  return { n, c, h, w, o, kh, kw, oh, ow };
}

/** Calls `visit` with the flat positions in x, w and y of every tap that lies inside the input, in row-major order of w. */
function eachTap(g: ConvGeometry, attrs: ConvAttrs, visit: (x: number, w: number, y: number) => void): void {
  const [sh, sw] = attrs.stride as [number, number];
  const [top, left] = attrs.padding as [number, number];
  const [dh, dw] = attrs.dilation as [number, number];
  const inGroup = g.c / attrs.groups;
  const outGroup = g.o / attrs.groups;
  for (let n = 0; n < g.n; n++) {
    for (let o = 0; o < g.o; o++) {
      for (let k = 0; k < inGroup; k++) {
        const c = Math.floor(o / outGroup) * inGroup + k;
        for (let i = 0; i < g.kh; i++) {
          for (let j = 0; j < g.kw; j++) {
            const wAt = ((o * inGroup + k) * g.kh + i) * g.kw + j;
            for (let p = 0; p < g.oh; p++) {
              const row = p * sh + i * dh - top;
              if (row < 0 || row >= g.h) continue;
              for (let q = 0; q < g.ow; q++) {
                const column = q * sw + j * dw - left;
                if (column < 0 || column >= g.w) continue;
                visit(((n * g.c + c) * g.h + row) * g.w + column, wAt, ((n * g.o + o) * g.oh + p) * g.ow + q);
              }
            }
          }
        }
      }
    }
  }
}

/** A multiply-add an output element and tap, taps in the padding included (the usual convention). */
const convFlops = (g: ConvGeometry, attrs: ConvAttrs): number =>
  2 * g.n * g.o * g.oh * g.ow * (g.c / attrs.groups) * g.kh * g.kw;

const outputShape = (g: ConvGeometry): number[] => [g.n, g.o, g.oh, g.ow];

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
];

export const conv2dOp = defineOp<ConvAttrs>({
  name: 'conv2d',
  doc: 'y[n, o, p, q] = bias[o] + Σ_{c, i, j} x[n, c, p·stride + i·dilation − pad, …] · w[o, c, i, j] (cross-correlation; ONNX Conv, PyTorch conv2d). x [N, C, H, W], w [O, C / groups, kh, kw], bias [O] optional.',
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
    if (bias) for (let i = 0; i < y.length; i++) y[i] = bias.data[Math.floor(i / (g.oh * g.ow)) % g.o]!;
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
        needs(0) ? conv2dInputGrad(dy, w, { ...attrs, inputShape: x.shape }) : undefined,
        needs(1) ? conv2dWeightGrad(x, dy, { ...attrs, weightShape: w.shape }) : undefined,
        inputs[2] && needs(2) ? sum(dy, { axes: [0, 2, 3] }) : undefined,
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
  ],
  badSamples: [
    {
      inputs: [image(1, 3, 8, 8), image(4, 2, 3, 3)],
      attrs: plain,
      message: 'the weight takes 2 channels a group, the input has 3',
    },
    { inputs: [image(1, 3, 8, 8), image(4, 3, 9, 3)], attrs: plain, message: "window's height 9 exceeds" },
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
    { inputs: [{ dtype: 'f32', shape: [3, 8] }, image(4, 3, 3, 3)], attrs: plain, message: '[N, C, H, W]' },
  ],
});

export const conv2dInputGradOp = defineOp<InputGradAttrs>({
  name: 'conv2dInputGrad',
  doc: 'dx = ∂(Σ conv2d(x, w) · dy)/∂x, the transposed convolution; `inputShape` is the shape of x.',
  infer: (inputs, attrs) => {
    requireFloats(inputs, 2, 2);
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
        needs(0) ? conv2d(g, w, undefined, attrs) : undefined,
        needs(1) ? conv2dWeightGrad(g, dy, { ...attrs, weightShape: w.shape }) : undefined,
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
  ],
});

export const conv2dWeightGradOp = defineOp<WeightGradAttrs>({
  name: 'conv2dWeightGrad',
  doc: 'dw = ∂(Σ conv2d(x, w) · dy)/∂w; `weightShape` is the shape of w.',
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
        needs(0) ? conv2dInputGrad(dy, g, { ...attrs, inputShape: x.shape }) : undefined,
        needs(1) ? conv2d(x, g, undefined, attrs) : undefined,
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

const complete = (options: ConvOptions): ConvAttrs => ({
  stride: pair(options.stride ?? 1),
  padding: sides(options.padding ?? 0),
  dilation: pair(options.dilation ?? 1),
  groups: options.groups ?? 1,
});

/** 2-D convolution of [N, C, H, W] with [O, C / groups, kh, kw], as PyTorch's `conv2d`. */
export const conv2d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  x.graph.add(conv2dOp, bias ? [x, weight, bias] : [x, weight], complete(options))[0]!;

/** Gradient of `conv2d` for its input: also a transposed convolution. */
export const conv2dInputGrad = (
  dy: Tensor,
  weight: Tensor,
  options: ConvOptions & { readonly inputShape: Shape },
): Tensor =>
  dy.graph.add(conv2dInputGradOp, [dy, weight], { ...complete(options), inputShape: options.inputShape })[0]!;

/** Gradient of `conv2d` for its weight. */
export const conv2dWeightGrad = (
  x: Tensor,
  dy: Tensor,
  options: ConvOptions & { readonly weightShape: Shape },
): Tensor => x.graph.add(conv2dWeightGradOp, [x, dy], { ...complete(options), weightShape: options.weightShape })[0]!;
