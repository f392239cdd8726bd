import { GraphError } from '../core/errors.ts';
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require, type Sample } from '../graph/op-record.ts';
import { callerLine } from '../graph/source-line.ts';
import { add, mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { filled, type NormOptions } from './norm-shapes.ts';
import { mean as meanOf, sum } from './reduce.ts';
import { broadcastTo, reshape } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';

/**
 * Layer normalisation over the last axis (Ba, Kiros, Hinton: "Layer Normalization", 2016). Mean and rstd of each row are
 * outputs: its gradients read them back instead of computing them again. The gradients take them as independent inputs,
 * so that each op's derivative stands by itself; the dependence of mean and rstd on x is in layerNorm's own rule.
 *
 * With h = (x − mean)·rstd and rows over all axes but the last, of size D:
 *   y = h·gamma + beta, mean = Σ x / D, rstd = 1 / √(Σ (x − mean)² / D + eps)
 */
export type LayerNormAttrs = { readonly eps: number };

const rowsOf = (x: Shape): Shape => x.slice(0, -1);

function requireRows(inputs: readonly TensorType[], names: readonly string[]): void {
  requireFloats(inputs, names);
  require(inputs[0]!.shape.length >= 1, 'works along the last axis of x and needs at least one, got a scalar');
}

/** Views rows and the last axis of the reference's flat data. */
function layout(x: Shape): { rows: number; columns: number } {
  const columns = x.at(-1)!;
  return { rows: elementCount(x) / columns, columns };
}

const cases: readonly { name: string; shape: number[] }[] = [
  { name: 'rows', shape: [3, 5] },
  { name: 'three axes', shape: [2, 3, 9] },
  { name: 'one row', shape: [8] },
];

export const layerNormOp = defineOp<LayerNormAttrs>({
  name: 'layerNorm',
  doc: 'y = (x − mean)·rstd·gamma + beta over the last axis, with the biased variance; outputs y, mean, rstd (ONNX LayerNormalization of the last axis, PyTorch layer_norm). x […, D], gamma and beta [D], mean and rstd […].',
  infer: (inputs, { eps }) => {
    requireRows(inputs, ['x', 'gamma', 'beta']);
    require(eps >= 0, `eps must not be negative, got ${eps}`);
    const [x, gamma, beta] = inputs as [TensorType, TensorType, TensorType];
    requireShape('gamma', gamma.shape, x.shape.slice(-1));
    requireShape('beta', beta.shape, x.shape.slice(-1));
    const row: TensorType = { dtype: 'f32', shape: rowsOf(x.shape) };
    return [x, row, row];
  },
  reference: ([x, gamma, beta], { eps }) => {
    const { rows, columns } = layout(x!.type.shape);
    const y = new Float64Array(x!.data.length);
    const mean = new Float64Array(rows);
    const rstd = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * columns, (r + 1) * columns);
      const mu = row.reduce((s, v) => s + v, 0) / columns;
      const scale = 1 / Math.sqrt(row.reduce((s, v) => s + (v - mu) ** 2, 0) / columns + eps);
      mean[r] = mu;
      rstd[r] = scale;
      row.forEach((v, i) => {
        y[r * columns + i] = (v - mu) * scale * gamma!.data[i]! + beta!.data[i]!;
      });
    }
    return [y, mean, rstd];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, grads, needs }) => {
      const [x, gamma] = inputs as [Tensor, Tensor];
      const [, mean, rstd] = outputs as [Tensor, Tensor, Tensor];
      const [dy, dMean, dRstd] = grads;
      const parts: Tensor[] = [];
      if (needs(0)) {
        if (dy) parts.push(layerNormInputGrad(x, gamma, mean, rstd, dy));
        // ∂mean/∂x = 1 / D; ∂rstd/∂x = −rstd³·(x − mean) / D. Only higher derivatives ask for these.
        const size = x.shape.at(-1)!;
        if (dMean) parts.push(broadcastTo(perRow(mul(dMean, 1 / size), x), x.shape));
        if (dRstd) {
          const factor = mul(mul(mul(mul(rstd, rstd), rstd), dRstd), -1 / size);
          parts.push(mul(perRow(factor, x), sub(x, perRow(mean, x))));
        }
      }
      const [dGamma, dBeta] = dy && (needs(1) || needs(2)) ? layerNormWeightGrad(x, mean, rstd, dy) : [];
      return [
        parts.length ? parts.reduce((s, t) => add(s, t)) : undefined,
        needs(1) ? dGamma : undefined,
        needs(2) ? dBeta : undefined,
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: 8 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    ...cases.map(
      ({ name, shape }): Sample<LayerNormAttrs> => ({
        name,
        inputs: [{ shape }, { shape: shape.slice(-1), low: 0.5, high: 1.5 }, { shape: shape.slice(-1) }],
        attrs: { eps: 1e-5 },
        atol: 1e-5, // cancellation: a small difference of x and mean times a large rstd
      }),
    ),
    {
      name: 'large eps',
      inputs: [{ shape: [4, 6] }, { shape: [6] }, { shape: [6] }],
      attrs: { eps: 0.1 },
    },
  ],
  badSamples: [
    {
      inputs: [
        { dtype: 'f32', shape: [2, 5] },
        { dtype: 'f32', shape: [4] },
        { dtype: 'f32', shape: [5] },
      ],
      attrs: { eps: 1e-5 },
      message: 'gamma must have the shape [5], got [4]',
    },
    {
      inputs: [
        { dtype: 'f32', shape: [2, 5] },
        { dtype: 'f32', shape: [5] },
      ],
      attrs: { eps: 1e-5 },
      message: 'takes x, gamma, beta: 3 inputs, got 2',
    },
  ],
});

/** A value a row as […, 1], to be broadcast along x's last axis. */
const perRow = (t: Tensor, x: Tensor): Tensor => reshape(t, [...rowsOf(x.shape), 1]);

function requireStatistics(x: TensorType, mean: TensorType, rstd: TensorType, dy: TensorType): void {
  requireShape('mean', mean.shape, rowsOf(x.shape));
  requireShape('rstd', rstd.shape, rowsOf(x.shape));
  requireShape('dy', dy.shape, x.shape);
}

export const layerNormInputGradOp = defineOp({
  name: 'layerNormInputGrad',
  doc: 'dx = rstd·(g − mean(g) − h·mean(g·h)) with h = (x − mean)·rstd, g = dy·gamma and means over the last axis.',
  infer: (inputs) => {
    requireRows(inputs, ['x', 'gamma', 'mean', 'rstd', 'dy']);
    const [x, gamma, mean, rstd, dy] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    requireShape('gamma', gamma.shape, x.shape.slice(-1));
    requireStatistics(x, mean, rstd, dy);
    return [x];
  },
  reference: ([x, gamma, mean, rstd, dy]) => {
    const { rows, columns } = layout(x!.type.shape);
    const dx = new Float64Array(x!.data.length);
    for (let r = 0; r < rows; r++) {
      const h = (i: number): number => (x!.data[r * columns + i]! - mean!.data[r]!) * rstd!.data[r]!;
      const g = (i: number): number => dy!.data[r * columns + i]! * gamma!.data[i]!;
      let sumG = 0;
      let sumGH = 0;
      for (let i = 0; i < columns; i++) {
        sumG += g(i);
        sumGH += g(i) * h(i);
      }
      for (let i = 0; i < columns; i++) {
        dx[r * columns + i] = rstd!.data[r]! * (g(i) - sumG / columns - (h(i) * sumGH) / columns);
      }
    }
    return [dx];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, gamma, mean, rstd, dy]) => {
      const h = normalized(x!, mean!, rstd!);
      const g = mul(dy!, gamma!);
      const rowMean = (t: Tensor): Tensor => meanOf(t, { axes: [-1], keepDims: true });
      return [mul(perRow(rstd!, x!), sub(sub(g, rowMean(g)), mul(h, rowMean(mul(g, h)))))];
    },
  },
  cost: (inputs, outputs) => ({
    flops: 12 * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, shape }) => ({
    name,
    inputs: [
      { shape },
      { shape: shape.slice(-1) },
      { shape: shape.slice(0, -1) },
      { shape: shape.slice(0, -1), low: 0.5, high: 1.5 },
      { shape },
    ],
    attrs: {},
    atol: 2e-6,
  })),
  badSamples: [
    {
      inputs: [[2, 5], [5], [3], [2], [2, 5]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: {},
      message: 'mean must have the shape [2], got [3]',
    },
  ],
});

const normalized = (x: Tensor, mean: Tensor, rstd: Tensor): Tensor => mul(sub(x, perRow(mean, x)), perRow(rstd, x));

export const layerNormWeightGradOp = defineOp({
  name: 'layerNormWeightGrad',
  doc: 'dgamma = Σ dy·(x − mean)·rstd, dbeta = Σ dy, over all axes but the last.',
  infer: (inputs) => {
    requireRows(inputs, ['x', 'mean', 'rstd', 'dy']);
    const [x, mean, rstd, dy] = inputs as [TensorType, TensorType, TensorType, TensorType];
    requireStatistics(x, mean, rstd, dy);
    const weight: TensorType = { dtype: 'f32', shape: x.shape.slice(-1) };
    return [weight, weight];
  },
  reference: ([x, mean, rstd, dy]) => {
    const { columns } = layout(x!.type.shape);
    const dGamma = new Float64Array(columns);
    const dBeta = new Float64Array(columns);
    dy!.data.forEach((d, at) => {
      const r = Math.floor(at / columns);
      const i = at % columns;
      dGamma[i] = dGamma[i]! + d * (x!.data[at]! - mean!.data[r]!) * rstd!.data[r]!;
      dBeta[i] = dBeta[i]! + d;
    });
    return [dGamma, dBeta];
  },
  gradient: {
    kind: 'decompose',
    build: ([x, mean, rstd, dy]) => {
      const over = { axes: Array.from({ length: x!.rank - 1 }, (_, i) => i) };
      const total = (t: Tensor): Tensor => (over.axes.length ? sum(t, over) : t);
      return [total(mul(dy!, normalized(x!, mean!, rstd!))), total(dy!)];
    },
  },
  cost: (inputs, outputs) => ({ flops: 5 * elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: cases.map(({ name, shape }) => ({
    name,
    inputs: [{ shape }, { shape: shape.slice(0, -1) }, { shape: shape.slice(0, -1), low: 0.5, high: 1.5 }, { shape }],
    attrs: {},
    atol: 2e-6,
  })),
  badSamples: [
    {
      inputs: [[2, 5], [2], [2], [2, 4]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: {},
      message: 'dy must have the shape [2, 5], got [2, 4]',
    },
  ],
});

export interface LayerNormOptions extends NormOptions {
  /** Trailing axes that are normalised together; default: those of gamma or beta, and one where there is neither. */
  readonly axes?: number;
}

/**
 * Layer normalisation over the last axis, or the last ones that gamma spans, as PyTorch's `layer_norm`. gamma and beta of
 * the normalised axes' shape are by default 1 and 0.
 */
export function layerNorm(x: Tensor, gamma?: Tensor, beta?: Tensor, options: LayerNormOptions = {}): Tensor {
  const [y] = normalizeRows(x, splitAxes(x, gamma, beta, options), gamma, beta, options);
  return reshape(y, x.shape);
}

/** `layerNorm` with the mean and 1/√(variance + eps) of each row: x's shape with the normalised axes of size 1. */
export function layerNormWithStatistics(
  x: Tensor,
  gamma?: Tensor,
  beta?: Tensor,
  options: LayerNormOptions = {},
): { readonly y: Tensor; readonly mean: Tensor; readonly rstd: Tensor } {
  const axes = splitAxes(x, gamma, beta, options);
  const [y, mean, rstd] = normalizeRows(x, axes, gamma, beta, options);
  const row = [...axes.outer, ...axes.inner.map(() => 1)];
  return { y: reshape(y, x.shape), mean: reshape(mean, row), rstd: reshape(rstd, row) };
}

/** Sizes of the axes that stay and of those that are normalised together. */
interface RowAxes {
  readonly outer: Shape;
  readonly inner: Shape;
}

function splitAxes(x: Tensor, gamma?: Tensor, beta?: Tensor, options: LayerNormOptions = {}): RowAxes {
  const trailing = options.axes ?? gamma?.rank ?? beta?.rank ?? 1;
  const at = Math.max(0, x.rank - trailing);
  return { outer: x.shape.slice(0, at), inner: x.shape.slice(at) };
}

/** The op over the normalised axes joined into one. */
function normalizeRows(
  x: Tensor,
  { outer, inner }: RowAxes,
  gamma: Tensor | undefined,
  beta: Tensor | undefined,
  { eps = 1e-5 }: LayerNormOptions,
): readonly [y: Tensor, mean: Tensor, rstd: Tensor] {
  const joined = inner.length <= 1 ? inner : [elementCount(inner)];
  const weight = (t: Tensor | undefined, name: string, value: 0 | 1): Tensor => {
    if (t === undefined) return filled(x, joined, value);
    if (sameShape(t.shape, inner)) return reshape(t, joined);
    if (inner.length <= 1) return t;
    // The type rule knows the joined axes only.
    throw new GraphError(
      'type-rule',
      `layerNorm: ${name} must have the shape ${formatShape(inner)}, got ${formatShape(t.shape)}${callerLine()}`,
      {
        fields: { op: layerNormOp.name, shapes: [x.shape, t.shape] },
        remedy: `give ${name} the shape ${formatShape(inner)}`,
      },
    );
  };
  const rows = reshape(x, [...outer, ...joined]);
  const inputs = [rows, weight(gamma, 'gamma', 1), weight(beta, 'beta', 0)];
  return x.graph.add(layerNormOp, inputs, { eps }) as readonly [Tensor, Tensor, Tensor];
}

/** Gradient of `layerNorm` for x, from its saved statistics. */
export const layerNormInputGrad = (x: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor, dy: Tensor): Tensor =>
  x.graph.add(layerNormInputGradOp, [x, gamma, mean, rstd, dy], {})[0]!;

/** Gradients of `layerNorm` for gamma and beta, from its saved statistics. */
export const layerNormWeightGrad = (x: Tensor, mean: Tensor, rstd: Tensor, dy: Tensor): readonly [Tensor, Tensor] =>
  x.graph.add(layerNormWeightGradOp, [x, mean, rstd, dy], {}) as readonly [Tensor, Tensor];
