import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type GradientRule, require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/**
 * Updates of a parameter and its optimizer state, in place: each output takes the memory of its input (`inPlace`; pairs
 * whose output a node lacks do not apply). What changes from step to step — rate, bias corrections — arrives as an input
 * (`hyper`), so that a step's program never changes. Formulas: PyTorch's torch.optim, operation by operation.
 */
export type SgdAttrs = {
  /** 0: no buffer among inputs and outputs. */
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
};
export type AdamAttrs = {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Weight decay on the weight itself (AdamW) instead of on the gradient. */
  readonly decoupled: boolean;
  /** Divide by the largest second moment so far; adds vmax to inputs and outputs. */
  readonly amsgrad: boolean;
};

const notDifferentiable: GradientRule<never> = {
  kind: 'none',
  why: 'updates run after the gradients; differentiating through training steps is not supported',
};

/** All inputs but the last share the weight's shape; the last holds `hypers` numbers. */
function requireUpdate(inputs: readonly TensorType[], names: readonly string[], hypers: readonly string[]): void {
  require(inputs.length ===
    names.length + 1, `takes ${[...names, 'hyper'].join(', ')}: ${names.length + 1} inputs, got ${inputs.length}`);
  const hyper = inputs.at(-1)!;
  for (const t of inputs) require(t.dtype === 'f32', `takes f32, got ${t.dtype}`);
  inputs.slice(1, -1).forEach((t, i) => {
    require(sameShape(
      t.shape,
      inputs[0]!.shape,
    ), `${names[i + 1]} must have the weight's shape ${formatShape(inputs[0]!.shape)}, got ${formatShape(t.shape)}`);
  });
  require(sameShape(hyper.shape, [
    hypers.length,
  ]), `hyper must hold [${hypers.join(', ')}], got the shape ${formatShape(hyper.shape)}`);
}

const requireFraction = (name: string, value: number): void =>
  require(value >= 0 && value < 1, `${name} must lie in [0, 1), got ${value}`);
const requirePositive = (name: string, value: number): void =>
  require(value >= 0, `${name} must not be negative, got ${value}`);

const sgdInputs = ({ momentum }: SgdAttrs): string[] => (momentum === 0 ? ['w', 'g'] : ['w', 'g', 'buf']);

const plainSgd: SgdAttrs = { momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 };

export const sgdUpdateOp = defineOp<SgdAttrs>({
  name: 'sgdUpdate',
  doc: "torch.optim.SGD: d = g + weightDecay·w; buf' = first ? d : momentum·buf + (1 − dampening)·d; w' = w − lr·(nesterov ? d + momentum·buf' : buf'). Inputs w, g, [buf if momentum ≠ 0], hyper = [lr, first (1 on the first step, else 0)]; outputs w', [buf'].",
  infer: (inputs, attrs) => {
    requirePositive('momentum', attrs.momentum);
    requirePositive('weightDecay', attrs.weightDecay);
    require(!attrs.nesterov ||
      (attrs.momentum > 0 && attrs.dampening === 0), 'nesterov needs a momentum and no dampening');
    requireUpdate(inputs, sgdInputs(attrs), ['lr', 'first']);
    return attrs.momentum === 0 ? [inputs[0]!] : [inputs[0]!, inputs[0]!];
  },
  reference: (inputs, { momentum, dampening, nesterov, weightDecay }) => {
    const [w, g] = inputs.map((t) => t.data) as [Float64Array, Float64Array];
    const [lr, first] = inputs.at(-1)!.data as unknown as [number, number];
    const d = g.map((v, i) => v + weightDecay * w[i]!);
    if (momentum === 0) return [w.map((v, i) => v - lr * d[i]!)];
    const buf = inputs[2]!.data.map((v, i) => (first ? d[i]! : momentum * v + (1 - dampening) * d[i]!));
    return [w.map((v, i) => v - lr * (nesterov ? d[i]! + momentum * buf[i]! : buf[i]!)), buf];
  },
  gradient: notDifferentiable,
  cost: (inputs, outputs, { momentum, nesterov, weightDecay }) => ({
    flops: elementCount(inputs[0]!.shape) * (2 + (momentum ? 3 : 0) + (nesterov ? 2 : 0) + (weightDecay ? 2 : 0)),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  inPlace: [
    [0, 0],
    [1, 2],
  ],
  samples: [
    {
      name: 'plain',
      inputs: [{ shape: [3, 5] }, { shape: [3, 5] }, { shape: [2], values: [0.1, 1] }],
      attrs: plainSgd,
    },
    {
      name: 'weight decay',
      inputs: [{ shape: [9] }, { shape: [9] }, { shape: [2], values: [0.1, 0] }],
      attrs: { ...plainSgd, weightDecay: 0.01 },
    },
    ...(
      [
        ['momentum, first step', 1, { ...plainSgd, momentum: 0.9 }],
        ['momentum, dampening', 0, { ...plainSgd, momentum: 0.9, dampening: 0.25 }],
        ['nesterov, weight decay', 0, { ...plainSgd, momentum: 0.75, nesterov: true, weightDecay: 0.1 }],
      ] as const
    ).map(([name, first, attrs]) => ({
      name,
      inputs: [{ shape: [2, 7] }, { shape: [2, 7] }, { shape: [2, 7] }, { shape: [2], values: [0.05, first] }],
      attrs,
    })),
  ],
  badSamples: [
    {
      inputs: [[4], [4], [2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { ...plainSgd, momentum: 0.9 },
      message: 'takes w, g, buf, hyper: 4 inputs, got 3',
    },
    {
      inputs: [[4], [5], [2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: plainSgd,
      message: "g must have the weight's shape [4], got [5]",
    },
    {
      inputs: [[4], [4], [2]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { ...plainSgd, nesterov: true },
      message: 'nesterov needs a momentum',
    },
    {
      inputs: [[4], [4], [3]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: plainSgd,
      message: 'hyper must hold [lr, first]',
    },
  ],
});

const adamInputs = ({ amsgrad }: AdamAttrs): string[] => ['w', 'g', 'm', 'v', ...(amsgrad ? ['vmax'] : [])];

const plainAdam: AdamAttrs = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, decoupled: false, amsgrad: false };
/** hyper at step t. */
const adamHyper = (lr: number, t: number): number[] => [lr, 1 - 0.9 ** t, Math.sqrt(1 - 0.999 ** t)];

export const adamUpdateOp = defineOp<AdamAttrs>({
  name: 'adamUpdate',
  doc: "torch.optim.Adam and AdamW: decoupled ? w ·= 1 − lr·weightDecay : g += weightDecay·w; m' = beta1·m + (1 − beta1)·g; v' = beta2·v + (1 − beta2)·g²; w' = w − (lr / c₁)·m' / (√v̂ / c₂ + eps), v̂ = amsgrad ? vmax' = max(vmax, v') : v'. Inputs w, g, m, v, [vmax], hyper = [lr, c₁ = 1 − beta1^t, c₂ = √(1 − beta2^t)]; outputs w', m', v', [vmax'].",
  infer: (inputs, attrs) => {
    requireFraction('beta1', attrs.beta1);
    requireFraction('beta2', attrs.beta2);
    requirePositive('eps', attrs.eps);
    requirePositive('weightDecay', attrs.weightDecay);
    requireUpdate(inputs, adamInputs(attrs), ['lr', '1 − beta1^t', '√(1 − beta2^t)']);
    return inputs.slice(2).map(() => inputs[0]!);
  },
  reference: (inputs, { beta1, beta2, eps, weightDecay, decoupled, amsgrad }) => {
    const [w0, g0, m0, v0, vmax0] = inputs.map((t) => t.data) as [Float64Array, ...Float64Array[]];
    const [lr, correction1, correction2] = inputs.at(-1)!.data as unknown as [number, number, number];
    const w = decoupled ? w0.map((x) => x * (1 - lr * weightDecay)) : w0;
    const g = decoupled ? g0! : g0!.map((x, i) => x + weightDecay * w0[i]!);
    const m = m0!.map((x, i) => beta1 * x + (1 - beta1) * g[i]!);
    const v = v0!.map((x, i) => beta2 * x + (1 - beta2) * g[i]! ** 2);
    const vmax = amsgrad ? vmax0!.map((x, i) => Math.max(x, v[i]!)) : v;
    const updated = w.map((x, i) => x - ((lr / correction1) * m[i]!) / (Math.sqrt(vmax[i]!) / correction2 + eps));
    return amsgrad ? [updated, m, v, vmax] : [updated, m, v];
  },
  gradient: notDifferentiable,
  cost: (inputs, outputs, { weightDecay, amsgrad }) => ({
    flops: elementCount(inputs[0]!.shape) * (13 + (weightDecay ? 2 : 0) + (amsgrad ? 1 : 0)),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  inPlace: [
    [0, 0],
    [1, 2],
    [2, 3],
    [3, 4],
  ],
  samples: (
    [
      ['first step', 1, plainAdam],
      ['later, weight decay', 7, { ...plainAdam, weightDecay: 0.1 }],
      ['decoupled weight decay (AdamW)', 7, { ...plainAdam, weightDecay: 0.1, decoupled: true }],
      ['amsgrad', 3, { ...plainAdam, amsgrad: true }],
      ['eps large enough to tell where it is added', 3, { ...plainAdam, eps: 0.05 }],
    ] as const
  ).map(([name, step, attrs]) => ({
    name,
    inputs: [
      { shape: [3, 5] },
      { shape: [3, 5], awayFrom: [0], distinct: 0.01 }, // m / √v has a jump where all gradients were 0
      { shape: [3, 5] },
      { shape: [3, 5], low: 0.01, high: 1 },
      ...(attrs.amsgrad ? [{ shape: [3, 5], low: 0.01, high: 1 }] : []),
      { shape: [3], values: adamHyper(0.01, step) },
    ],
    attrs,
  })),
  badSamples: [
    {
      inputs: [[4], [4], [4], [4], [3]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { ...plainAdam, amsgrad: true },
      message: 'takes w, g, m, v, vmax, hyper: 6 inputs, got 5',
    },
    {
      inputs: [[4], [4], [4], [4], [3]].map((shape) => ({ dtype: 'f32', shape })),
      attrs: { ...plainAdam, beta1: 1 },
      message: 'beta1 must lie in [0, 1)',
    },
  ],
});

/** One SGD update; `buf` exactly if the momentum is not 0. Returns [w'] or [w', buf']. */
export const sgdUpdate = (
  w: Tensor,
  g: Tensor,
  buf: Tensor | undefined,
  hyper: Tensor,
  attrs: SgdAttrs,
): readonly Tensor[] => w.graph.add(sgdUpdateOp, buf ? [w, g, buf, hyper] : [w, g, hyper], attrs);

/** One Adam update; the state is [m, v], with amsgrad [m, v, vmax]. Returns [w', ...state']. */
export const adamUpdate = (
  w: Tensor,
  g: Tensor,
  state: readonly Tensor[],
  hyper: Tensor,
  attrs: AdamAttrs,
): readonly Tensor[] => w.graph.add(adamUpdateOp, [w, g, ...state, hyper], attrs);
