/**
 * The recurrence of a plain RNN (Elman 1990) and its derivative, fused: h = f(x + R·h′) with f = tanh or relu, one node for
 * all steps of one direction. The states are all that the backward scan needs.
 */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require, type Sample } from '../graph/op-record.ts';
import { add } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { matmul } from './matmul.ts';
import {
  addProduct,
  atTime,
  columns,
  requireScan,
  rowsOf,
  stack,
  stateBefore,
  statesBefore,
  timesOf,
  unstack,
} from './scan.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { reluGrad, tanhGrad } from './unary-grad.ts';

export type RnnActivation = 'tanh' | 'relu';
export type RnnScanAttrs = { readonly activation: RnnActivation; readonly reverse: boolean };

/** Values, slopes from the value, and the slope's op. */
const activations: Readonly<
  Record<
    RnnActivation,
    {
      readonly f: (x: number) => number;
      readonly slope: (y: number) => number;
      readonly grad: (y: Tensor, dy: Tensor) => Tensor;
    }
  >
> = {
  tanh: { f: Math.tanh, slope: (y) => 1 - y * y, grad: tanhGrad },
  relu: { f: (x) => Math.max(x, 0), slope: (y) => (y > 0 ? 1 : 0), grad: reluGrad },
};

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

/** Products of all steps, and about 15 operations a unit. */
const flopsOf = ([steps, batch, size]: readonly number[]): number => steps! * batch! * size! * (2 * size! + 15);

export const rnnScanOp = defineOp<RnnScanAttrs>({
  name: 'rnnScan',
  doc: 'h = f(x + R·h′) over all steps of one direction, f = tanh or relu. x [T, N, H] (inputs’ product and biases), R [H, H], h₀ [N, H] → h [T, N, H]. The recurrence of ONNX RNN and torch.nn.RNN.',
  infer: (inputs, { activation }) => {
    requireFloats(inputs, ['x', 'R', 'h0']);
    require(Object.hasOwn(activations, activation), `the activation must be tanh or relu, got ${activation}`);
    const [x, r, h0] = inputs as [TensorType, TensorType, TensorType];
    const { batch, size } = requireScan('x', x.shape, r.shape, 1);
    requireShape('h0', h0.shape, [batch, size]);
    return [x];
  },
  reference: ([x, r, h0], { activation, reverse }) => {
    const sizes = requireScan('x', x!.type.shape, r!.type.shape, 1);
    const { steps, size } = sizes;
    const h = x!.data.slice();
    for (const t of timesOf(steps, reverse)) {
      const now = atTime(h, t, steps);
      const before = stateBefore(h, h0!.data, t, sizes, reverse);
      addProduct(columns(now, size), columns(before, size), r!.data, true);
      now.set(now.map(activations[activation].f));
    }
    return [h];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [, r, h0] = inputs as [Tensor, Tensor, Tensor];
      const h = outputs[0]!;
      const [dX, dH0] = h.graph.add(rnnScanGradOp, [h, r, grads[0]!], attrs) as readonly [Tensor, Tensor];
      const before = (): Tensor => rowsOf(statesBefore(h, h0, attrs.reverse));
      return [dX, needs(1) ? matmul(rowsOf(dX), before(), { transA: true }) : undefined, dH0];
    },
  },
  cost: (inputs, outputs) => ({ flops: flopsOf(outputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    scanSample('one step, one sample, one unit', [1, 1, 1], { activation: 'tanh' }),
    scanSample('odd sizes', [3, 2, 5], { activation: 'tanh' }),
    scanSample('reverse', [4, 3, 3], { activation: 'tanh', reverse: true }),
    // Terms of R·h′ below 0.5 and x apart from 0 by more: every unit stands clear of the kink.
    scanSample('relu', [3, 2, 3], { activation: 'relu' }),
    scanSample('relu, reverse', [3, 1, 3], { activation: 'relu', reverse: true }),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 4), f32(4, 3), f32(3, 4)],
      attrs: { activation: 'tanh', reverse: false },
      message: 'the recurrent weight must have the shape [4, 4], got [4, 3]',
    },
    {
      inputs: [f32(3, 4), f32(4, 4), f32(3, 4)],
      attrs: { activation: 'tanh', reverse: false },
      message: 'x must be [T, N, H], got [3, 4]',
    },
    {
      inputs: [f32(2, 3, 4), f32(4, 4), f32(4, 4)],
      attrs: { activation: 'relu', reverse: false },
      message: 'h0 must have the shape [3, 4], got [4, 4]',
    },
  ],
});

function scanSample(
  name: string,
  [t, n, h]: [number, number, number],
  { activation, reverse = false }: Partial<RnnScanAttrs> & Pick<RnnScanAttrs, 'activation'>,
): Sample<RnnScanAttrs> {
  const relu = activation === 'relu';
  const x = relu ? { values: Array.from({ length: t * n * h }, (_, i) => (((i * 5) % 7) - 2.5) / 2 + i / 97) } : {};
  const small = relu ? { low: -0.1, high: 0.1 } : {};
  return {
    name,
    inputs: [{ shape: [t, n, h], ...x }, { shape: [h, h], ...small }, { shape: [n, h] }],
    attrs: { activation, reverse },
  };
}

export const rnnScanGradOp = defineOp<RnnScanAttrs>({
  name: 'rnnScanGrad',
  doc: 'The cotangents of rnnScan’s x and h₀ from that of h, by backpropagation through time. h [T, N, H] as rnnScan left it, R [H, H], dh [T, N, H].',
  infer: (inputs, { activation }) => {
    requireFloats(inputs, ['h', 'R', 'dh']);
    require(Object.hasOwn(activations, activation), `the activation must be tanh or relu, got ${activation}`);
    const [h, r, dh] = inputs as [TensorType, TensorType, TensorType];
    const { batch, size } = requireScan('h', h.shape, r.shape, 1);
    requireShape('dh', dh.shape, h.shape);
    return [h, f32(batch, size)];
  },
  reference: ([h, r, dh], { activation, reverse }) => {
    const [steps, batch, size] = h!.type.shape as [number, number, number];
    const dX = dh!.data.slice();
    let dH = new Float64Array(batch * size);
    for (const t of timesOf(steps, !reverse)) {
      const [now, dNow] = [atTime(h!.data, t, steps), atTime(dX, t, steps)];
      dNow.set(dNow.map((d, at) => (d + dH[at]!) * activations[activation].slope(now[at]!)));
      dH = new Float64Array(batch * size);
      addProduct(columns(dH, size), columns(dNow, size), r!.data, false);
    }
    return [dX, dH];
  },
  gradient: {
    kind: 'decompose',
    build: ([h, r, dh], { activation, reverse }) => {
      const steps = h!.shape[0]!;
      const [states, given] = [unstack(h!), unstack(dh!)];
      const dX = new Array<Tensor>(steps);
      let sent: Tensor | undefined;
      for (const t of timesOf(steps, !reverse)) {
        dX[t] = activations[activation].grad(states[t]!, sent ? add(given[t]!, sent) : given[t]!);
        sent = matmul(dX[t], r!);
      }
      return [stack(dX), sent];
    },
  },
  cost: (inputs, outputs) => ({ flops: flopsOf(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    gradSample('one step, one sample, one unit', [1, 1, 1], { activation: 'tanh' }),
    gradSample('odd sizes', [3, 2, 5], { activation: 'tanh' }),
    gradSample('reverse', [4, 3, 3], { activation: 'tanh', reverse: true }),
    gradSample('relu', [3, 2, 3], { activation: 'relu' }),
    gradSample('relu, reverse', [3, 1, 3], { activation: 'relu', reverse: true }),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 4), f32(4, 4), f32(2, 3, 5)],
      attrs: { activation: 'tanh', reverse: false },
      message: 'dh must have the shape [2, 3, 4], got [2, 3, 5]',
    },
  ],
});

function gradSample(
  name: string,
  [t, n, h]: [number, number, number],
  { activation, reverse = false }: Partial<RnnScanAttrs> & Pick<RnnScanAttrs, 'activation'>,
): Sample<RnnScanAttrs> {
  const relu = activation === 'relu';
  return {
    name,
    // relu's slope is constant but for its kink: its value has no derivative of its own.
    inputs: [
      { shape: [t, n, h], ...(relu ? { awayFrom: [0], distinct: 0.02 } : {}) },
      { shape: [h, h] },
      { shape: [t, n, h] },
    ],
    attrs: { activation, reverse },
    ...(relu ? { gradientOf: [1, 2] } : {}),
  };
}

/** All steps of one direction: states [T, N, H]. */
export const rnnScan = (x: Tensor, r: Tensor, initial: Tensor, attrs: RnnScanAttrs): Tensor =>
  x.graph.add(rnnScanOp, [x, r, initial], attrs)[0]!;
