/** Activations beyond relu, sigmoid, tanh and gelu. Those with parameters carry them as attributes. */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import {
  clipGrad,
  eluGrad,
  geluTanhGrad,
  hardSigmoidGrad,
  hardSwishGrad,
  leakyReluGrad,
  softsignGrad,
  thresholdedReluGrad,
} from './activations-grad.ts';
import { mul } from './binary.ts';
import { binary, broadcastSamples } from './binary-record.ts';
import { greater, where } from './compare.ts';
import { sigmoid, tanh } from './unary.ts';
import { awayFrom, unary } from './unary-record.ts';

const ends = { shape: [7], values: [-Infinity, -1e30, -90, 0, 90, 1e30, Infinity] };

export const softplusOp = unary({
  name: 'softplus',
  doc: 'y = ln(1 + eˣ), as max(x, 0) + ln(1 + e^−|x|). ONNX Softplus, torch.nn.functional.softplus.',
  f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  gradient: (x, _y, dy) => mul(dy, sigmoid(x)),
  flops: 30,
  range: { low: -4, high: 4 },
  more: [{ name: 'ends of the range', inputs: [ends], attrs: {}, gradientOf: [] }],
});

export const softsignOp = unary({
  name: 'softsign',
  doc: 'y = x/(1 + |x|). ONNX Softsign, torch.nn.functional.softsign.',
  f: (x) => x / (1 + Math.abs(x)),
  gradient: (x, _y, dy) => softsignGrad(x, dy),
  flops: 3,
  range: { low: -3, high: 3, ...awayFrom(0) },
});

/** All finite; e^(inputScale·x) must decay below 0. */
export type EluAttrs = { readonly alpha: number; readonly scale: number; readonly inputScale: number };

export const eluOp = unary<EluAttrs>({
  name: 'elu',
  doc: 'y = scale·x where x > 0, else scale·alpha·(e^(inputScale·x) − 1). ONNX Elu, Selu, Celu; torch.nn.functional.elu, selu, celu.',
  f: (x, { alpha, scale, inputScale }) => scale * (x > 0 ? x : alpha * Math.expm1(inputScale * x)),
  gradient: (x, _y, dy, attrs) => eluGrad(x, dy, attrs),
  check: checkElu,
  flops: 16,
  attrs: { alpha: 0.7, scale: 1.3, inputScale: 1.2 },
  range: awayFrom(0),
  more: [
    { name: 'ends of the range', inputs: [ends], attrs: { alpha: 1, scale: 1, inputScale: 1 }, gradientOf: [] },
    {
      name: 'small negative values',
      inputs: [{ shape: [5], low: -1e-3, high: 0 }],
      attrs: { alpha: 1, scale: 1, inputScale: 1 },
      gradientOf: [],
      atol: 0,
    },
  ],
  bad: [
    {
      inputs: [{ dtype: 'f32', shape: [2] }],
      attrs: { alpha: 1, scale: 1, inputScale: -1 },
      message: 'inputScale must be positive, not -1',
    },
  ],
});

function checkElu({ alpha, scale, inputScale }: EluAttrs): void {
  requireFinite({ alpha, scale, inputScale });
  require(inputScale > 0, `inputScale must be positive, not ${inputScale}`);
}

function requireFinite(attrs: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(attrs))
    require(Number.isFinite(value), `${name} must be finite, not ${value}`);
}

export type LeakyReluAttrs = { readonly slope: number };

export const leakyReluOp = unary<LeakyReluAttrs>({
  name: 'leakyRelu',
  doc: 'y = x where x > 0, else slope·x; the derivative at 0 is slope. ONNX LeakyRelu, torch.nn.functional.leaky_relu.',
  f: (x, { slope }) => (x > 0 ? x : slope * x),
  // With slope ≥ 0, y > 0 exactly where x > 0: what lies behind keeps y anyway, and x may go.
  gradient: (x, y, dy, attrs) => leakyReluGrad(attrs.slope >= 0 ? y : x, dy, attrs),
  check: ({ slope }) => requireFinite({ slope }),
  attrs: { slope: 0.15 },
  range: awayFrom(0),
  bad: [
    { inputs: [{ dtype: 'f32', shape: [2] }], attrs: { slope: Number.NaN }, message: 'slope must be finite, not NaN' },
  ],
});

export type HardSigmoidAttrs = { readonly alpha: number; readonly beta: number };

export const hardSigmoidOp = unary<HardSigmoidAttrs>({
  name: 'hardSigmoid',
  doc: 'y = min(max(alpha·x + beta, 0), 1), with derivative 0 at the kinks. ONNX HardSigmoid, torch.nn.functional.hardsigmoid.',
  f: (x, { alpha, beta }) => Math.min(Math.max(alpha * x + beta, 0), 1),
  gradient: (x, _y, dy, attrs) => hardSigmoidGrad(x, dy, attrs),
  check: ({ alpha, beta }) => requireFinite({ alpha, beta }),
  flops: 4,
  attrs: { alpha: 0.2, beta: 0.5 },
  range: { low: -4, high: 4, ...awayFrom(-2.5, 2.5) },
  scalar: 0.3,
  bad: [
    {
      inputs: [{ dtype: 'f32', shape: [2] }],
      attrs: { alpha: Infinity, beta: 0 },
      message: 'alpha must be finite, not Infinity',
    },
  ],
});

export const hardSwishOp = unary({
  name: 'hardSwish',
  doc: 'y = x·min(max(x/6 + ½, 0), 1). ONNX HardSwish, torch.nn.functional.hardswish.',
  f: (x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1),
  gradient: (x, _y, dy) => hardSwishGrad(x, dy),
  flops: 5,
  range: { low: -5, high: 5, ...awayFrom(-3, 3) },
  scalar: 0.7,
});

/** Bounds are inclusive; null: none, since JSON has no infinity. */
export type ClipAttrs = { readonly low: number | null; readonly high: number | null };

export const clipOp = unary<ClipAttrs>({
  name: 'clip',
  doc: 'y = min(max(x, low), high), a null bound being none; NaN passes; high where the bounds cross. The derivative is 1 from low to high, both included. ONNX Clip, torch.clamp.',
  f: clipped,
  integers: clipped,
  gradient: (x, _y, dy, attrs) => clipGrad(x, dy, attrs),
  check: checkClip,
  flops: 2,
  attrs: { low: -0.75, high: 1.25 },
  range: awayFrom(-0.75, 1.25),
  scalar: 0.3,
  more: [
    { name: 'no upper bound', inputs: [{ shape: [9], ...awayFrom(0) }], attrs: { low: 0, high: null } },
    { name: 'no lower bound', inputs: [{ shape: [9], ...awayFrom(0) }], attrs: { low: null, high: 0 } },
    { name: 'no bound', inputs: [{ shape: [5] }], attrs: { low: null, high: null } },
    {
      name: 'bounds, infinities, NaN',
      inputs: [{ shape: [6], values: [-0.75, 1.25, -Infinity, Infinity, Number.NaN, 0] }],
      attrs: { low: -0.75, high: 1.25 },
      gradientOf: [],
    },
    { name: 'crossing bounds', inputs: [{ shape: [5] }], attrs: { low: 0.5, high: -0.5 }, gradientOf: [] },
    { name: 'i32', inputs: [{ shape: [3, 7], dtype: 'i32', low: -9, high: 9 }], attrs: { low: -3, high: 5 } },
    {
      name: 'i32, one bound',
      inputs: [{ shape: [5], dtype: 'i32', values: [-2147483648, -1, 0, 1, 2147483647] }],
      attrs: { low: 0, high: null },
    },
  ],
  bad: [
    {
      inputs: [{ dtype: 'f32', shape: [2] }],
      attrs: { low: -Infinity, high: 1 },
      message: 'low must be finite or null (no bound), not -Infinity',
    },
    {
      inputs: [{ dtype: 'i32', shape: [2] }],
      attrs: { low: null, high: 0.5 },
      message: 'high must be an integer of 32 bits beside i32, not 0.5',
    },
  ],
});

function clipped(x: number, { low, high }: ClipAttrs): number {
  return Math.min(Math.max(x, low ?? -Infinity), high ?? Infinity);
}

function checkClip(attrs: ClipAttrs, x: TensorType): void {
  for (const name of ['low', 'high'] as const) {
    const bound = attrs[name];
    if (bound === null) continue;
    require(Number.isFinite(bound), `${name} must be finite or null (no bound), not ${bound}`);
    if (x.dtype === 'i32') {
      require(bound === (bound | 0), `${name} must be an integer of 32 bits beside i32, not ${bound}`);
    }
  }
}

export type ThresholdedReluAttrs = { readonly alpha: number };

export const thresholdedReluOp = unary<ThresholdedReluAttrs>({
  name: 'thresholdedRelu',
  doc: 'y = x where x > alpha, else 0; NaN passes. ONNX ThresholdedRelu, torch.nn.functional.threshold.',
  f: (x, { alpha }) => (x <= alpha ? 0 : x),
  // With alpha ≥ 0, y > alpha exactly where x > alpha.
  gradient: (x, y, dy, attrs) => thresholdedReluGrad(attrs.alpha >= 0 ? y : x, dy, attrs),
  check: ({ alpha }) => requireFinite({ alpha }),
  attrs: { alpha: 0.5 },
  range: awayFrom(0.5),
  scalar: 0.7,
  bad: [
    { inputs: [{ dtype: 'f32', shape: [2] }], attrs: { alpha: Number.NaN }, message: 'alpha must be finite, not NaN' },
  ],
});

/** √(2/π) and the cubic's share of the argument (Hendrycks and Gimpel, 2016). */
const [root, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];

export const geluTanhOp = unary({
  name: 'geluTanh',
  doc: 'y = x/2·(1 + tanh(√(2/π)·(x + 0.044715 x³))). ONNX Gelu (approximate = tanh), torch.nn.functional.gelu.',
  f: (x) => 0.5 * x * (1 + Math.tanh(root * (x + cubic * x * x * x))),
  gradient: (x, _y, dy) => geluTanhGrad(x, dy),
  flops: 25,
});

export const preluOp = binary({
  name: 'prelu',
  doc: 'y = x where x > 0, else slope·x; inputs x and slope ([C, 1, 1] for one slope a channel of [N, C, H, W]). ONNX PRelu, torch.nn.functional.prelu.',
  f: (x, slope) => (x > 0 ? x : slope * x),
  gradient: (x, slope, dy, _y, { needs }) => [
    needs(0) ? where(greater(x, 0), dy, mul(dy, slope)) : undefined,
    needs(1) ? where(greater(x, 0), 0, mul(dy, x)) : undefined,
  ],
  flops: 2,
  samples: [
    ...broadcastSamples({ low: -2, high: 1, ...awayFrom(0) }, {}),
    {
      name: 'one slope a channel',
      inputs: [{ shape: [2, 3, 2, 2], low: -2, high: 2, ...awayFrom(0) }, { shape: [3, 1, 1] }],
      attrs: {},
    },
  ],
});

const build =
  (op: OpRecord) =>
  (x: Tensor): Tensor =>
    x.graph.add(op, [x], {})[0]!;

/** ln(1 + eˣ) */
export const softplus = build(softplusOp);
/** x/(1 + |x|) */
export const softsign = build(softsignOp);
/** x·min(max(x/6 + ½, 0), 1) */
export const hardSwish = build(hardSwishOp);
/** GELU by its approximation with tanh. */
export const geluTanh = build(geluTanhOp);

/** scale·x above 0, scale·alpha·(e^(inputScale·x) − 1) below. All default to 1. */
export const elu = (x: Tensor, { alpha = 1, scale = 1, inputScale = 1 }: Partial<EluAttrs> = {}): Tensor =>
  x.graph.add(eluOp, [x], { alpha, scale, inputScale })[0]!;

/** Self-normalising elu (Klambauer et al., 2017). */
export const selu = (x: Tensor): Tensor => elu(x, { alpha: 1.6732632423543772, scale: 1.0507009873554805 });

/** max(x, 0) + min(alpha·(e^(x/alpha) − 1), 0): elu with a continuous derivative. Default alpha 1. */
export const celu = (x: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor =>
  elu(x, { alpha, inputScale: 1 / alpha });

/** x above 0, slope·x below. Default slope 0.01. */
export const leakyRelu = (x: Tensor, { slope = 0.01 }: Partial<LeakyReluAttrs> = {}): Tensor =>
  x.graph.add(leakyReluOp, [x], { slope })[0]!;

/** min(max(alpha·x + beta, 0), 1). Defaults as PyTorch's, 1/6 and 1/2 (ONNX: 0.2 and 0.5). */
export const hardSigmoid = (x: Tensor, { alpha = 1 / 6, beta = 0.5 }: Partial<HardSigmoidAttrs> = {}): Tensor =>
  x.graph.add(hardSigmoidOp, [x], { alpha, beta })[0]!;

/** x where x > alpha, else 0. Default alpha 1. */
export const thresholdedRelu = (x: Tensor, { alpha = 1 }: Partial<ThresholdedReluAttrs> = {}): Tensor =>
  x.graph.add(thresholdedReluOp, [x], { alpha })[0]!;

/** x above 0, slope·x below, the slope a tensor that broadcasts. */
export const prelu = (x: Tensor, slope: Tensor): Tensor => x.graph.add(preluOp, [x, slope], {})[0]!;

/** x·tanh(softplus(x)) (Misra, 2019). */
export const mish = (x: Tensor): Tensor => mul(x, tanh(softplus(x)));

/** What a clip's bounds are without effect for: beyond every value of the dtype. */
const extremes = { f32: [-Infinity, Infinity], i32: [-(2 ** 31), 2 ** 31 - 1], bool: [0, 1] } as const;

/** x limited to [low, high]; a bound that is left out or infinite is none. */
export function clip(x: Tensor, { low, high }: { readonly low?: number; readonly high?: number } = {}): Tensor {
  const [least, most] = extremes[x.dtype];
  // The bound that f32 elements are compared with is an f32 itself, or x = low would count as below low.
  const rounded = (bound: number) => (x.dtype === 'f32' ? Math.fround(bound) : bound);
  const bounds = {
    low: low === undefined || rounded(low) <= least ? null : rounded(low),
    high: high === undefined || rounded(high) >= most ? null : rounded(high),
  };
  return x.graph.add(clipOp, [x], bounds)[0]!;
}
