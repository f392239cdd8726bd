/**
 * The recurrence of a GRU (Cho et al. 2014) and its derivative, fused: one node for all steps of one direction. For every
 * step, with h′ of the step before:
 *
 *   z = σ(x_z + R_z·h′)   r = σ(x_r + R_r·h′)   h = (1 − z)∘n + z∘h′
 *   reset before: n = tanh(x_n + R_n·(r∘h′)), as first published
 *   reset after:  n = tanh(x_n + r∘q), q = R_n·h′ + b, as in cuDNN and PyTorch: one product a step
 *
 * Gate values, and q where there is one, are outputs: the backward scan reads them instead of computing them again, and
 * takes the outputs' cotangents as independent, so that it is the whole derivative, whatever order of derivative asks.
 */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require, type Sample } from '../graph/op-record.ts';
import { mul } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { gruBlocks } from './gates.ts';
import { type GruScanAttrs, gruFlops, gruScanGrad } from './gru-scan-grad.ts';
import { matmul } from './matmul.ts';
import { sum } from './reduce.ts';
import { addProduct, atTime, columns, requireScan, rowsOf, stateBefore, statesBefore, timesOf } from './scan.ts';
import { concat, slice } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { sigmoid64 } from './unary.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const gruScanOp = defineOp<GruScanAttrs>({
  name: 'gruScan',
  doc: 'z, r = σ(x + R·h′), n = tanh(x + R·(r∘h′)) (reset `before`) or tanh(x + r∘(R·h′ + b)) (`after`), h = (1 − z)∘n + z∘h′, over all steps of one direction. x [T, N, 3H] (inputs’ product and biases), R [3H, H], h₀ [N, H], with `after` b [H] → h [T, N, H], gate values [T, N, 3H], with `after` R·h′ + b [T, N, H]; `gates` is the order of the blocks. The recurrence of ONNX GRU and torch.nn.GRU.',
  infer: (inputs, { gates, reset }) => {
    require(Object.hasOwn(gruBlocks, gates), `gates must be zrh or rzn, got ${gates}`);
    require(reset === 'before' || reset === 'after', `reset must be before or after, got ${reset}`);
    requireFloats(inputs, ['x', 'R', 'h0', ...(reset === 'after' ? ['bias'] : [])]);
    const [x, r, h0, b] = inputs as [TensorType, TensorType, TensorType, TensorType?];
    const { steps, batch, size } = requireScan('x', x.shape, r.shape, 3);
    requireShape('h0', h0.shape, [batch, size]);
    if (b) requireShape('bias', b.shape, [size]);
    const states = f32(steps, batch, size);
    return [states, x, ...(b ? [states] : [])];
  },
  reference: ([x, r, h0, b], { gates: order, reverse }) => {
    const sizes = requireScan('x', x!.type.shape, r!.type.shape, 3);
    const { steps, batch, size } = sizes;
    const block = gruBlocks[order];
    const gates = x!.data.slice();
    const h = new Float64Array(steps * batch * size);
    const product = new Float64Array(steps * batch * size);
    const candidate = r!.data.subarray(2 * size * size);
    for (const t of timesOf(steps, reverse)) {
      const [now, hNow, q] = [atTime(gates, t, steps), atTime(h, t, steps), atTime(product, t, steps)];
      const before = stateBefore(h, h0!.data, t, sizes, reverse);
      addProduct(columns(now, 3 * size, 0, 2 * size), columns(before, size), r!.data, true);
      for (let n = 0; n < batch; n++) {
        now.subarray(3 * n * size, (3 * n + 2) * size).forEach((v, k) => {
          now[3 * n * size + k] = sigmoid64(v);
        });
      }
      const resetAt = (at: number): number => now[(3 * Math.floor(at / size) + block.r) * size + (at % size)]!;
      if (b) {
        addProduct(columns(q, size), columns(before, size), candidate, true);
        q.forEach((v, at) => {
          q[at] = v + b.data[at % size]!;
        });
      } else {
        const u = before.map((v, at) => v * resetAt(at));
        addProduct(columns(now, 3 * size, 2 * size, size), columns(u, size), candidate, true);
      }
      for (let at = 0; at < batch * size; at++) {
        const place = (k: number): number => (3 * Math.floor(at / size) + k) * size + (at % size);
        const z = now[place(block.z)]!;
        const n = Math.tanh(now[place(block.n)]! + (b ? resetAt(at) * q[at]! : 0));
        now[place(block.n)] = n;
        hNow[at] = (1 - z) * n + z * before[at]!;
      }
    }
    return [h, gates, ...(b ? [product] : [])];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [, r, h0, b] = inputs as [Tensor, Tensor, Tensor, Tensor?];
      const [h, gates, product] = outputs as [Tensor, Tensor, Tensor?];
      const cotangents = { h: grads[0], gates: grads[1], product: grads[2] };
      const { dX, dH0, dProduct } = gruScanGrad({ h, gates, h0, r, product }, cotangents, attrs);
      const weight = (): Tensor =>
        weightGradient({ dX, dProduct, gates, before: statesBefore(h, h0, attrs.reverse) }, attrs);
      return [
        dX,
        needs(1) ? weight() : undefined,
        dH0,
        ...(b ? [needs(3) ? sum(dProduct!, { axes: [0, 1] }) : undefined] : []),
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: gruFlops(outputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    scanSample('one step, one sample, one unit', [1, 1, 1], { reset: 'before' }),
    scanSample('one step, one unit, reset after', [1, 2, 1], { reset: 'after' }),
    scanSample('odd sizes', [3, 2, 5], { reset: 'before' }),
    scanSample('odd sizes, reset after', [3, 2, 5], { reset: 'after' }),
    scanSample('reverse', [4, 3, 3], { reset: 'before', gates: 'rzn', reverse: true }),
    scanSample('reverse, reset after', [4, 1, 3], { reset: 'after', gates: 'rzn', reverse: true }),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 6), f32(6, 3), f32(3, 2)],
      attrs: { gates: 'zrh', reset: 'before', reverse: false },
      message: 'the recurrent weight must have the shape [6, 2], got [6, 3]',
    },
    {
      inputs: [f32(2, 3, 6), f32(6, 2), f32(3, 2)],
      attrs: { gates: 'zrh', reset: 'after', reverse: false },
      message: 'takes x, R, h0, bias: 4 inputs, got 3',
    },
    {
      inputs: [f32(2, 3, 6), f32(6, 2), f32(3, 2), f32(6)],
      attrs: { gates: 'zrh', reset: 'after', reverse: false },
      message: 'bias must have the shape [2], got [6]',
    },
    {
      inputs: [f32(3, 6), f32(6, 2), f32(3, 2)],
      attrs: { gates: 'zrh', reset: 'before', reverse: false },
      message: 'x must be [T, N, 3·H], got [3, 6]',
    },
  ],
});

function scanSample(
  name: string,
  [t, n, h]: [number, number, number],
  options: Partial<GruScanAttrs> & Pick<GruScanAttrs, 'reset'>,
): Sample<GruScanAttrs> {
  const { gates = 'zrh', reset, reverse = false } = options;
  const bias = reset === 'after' ? [{ shape: [h] }] : [];
  return {
    name,
    inputs: [{ shape: [t, n, 3 * h] }, { shape: [3 * h, h] }, { shape: [n, h] }, ...bias],
    attrs: { gates, reset, reverse },
  };
}

/** R's gradient: what each product got back, by what it was taken of, over all steps and samples. */
function weightGradient(
  scan: {
    readonly dX: Tensor;
    readonly dProduct: Tensor | undefined;
    readonly gates: Tensor;
    readonly before: Tensor;
  },
  { gates }: GruScanAttrs,
): Tensor {
  const size = scan.before.shape[2]!;
  const block = (x: Tensor, from: number, to: number): Tensor => slice(x, { 2: [from * size, to * size] });
  const { r } = gruBlocks[gates];
  const product = (d: Tensor, of: Tensor): Tensor => matmul(rowsOf(d), rowsOf(of), { transA: true });
  return concat(
    [
      product(block(scan.dX, 0, 2), scan.before),
      scan.dProduct
        ? product(scan.dProduct, scan.before)
        : product(block(scan.dX, 2, 3), mul(block(scan.gates, r, r + 1), scan.before)),
    ],
    { axis: 0 },
  );
}

export interface GruScan {
  readonly h: Tensor;
  readonly gates: Tensor;
}

/** All steps of one direction: states h [T, N, H] and gate values [T, N, 3H]. `bias`: of the candidate's product. */
export function gruScan(
  x: Tensor,
  weights: { readonly r: Tensor; readonly bias?: Tensor },
  initial: Tensor,
  attrs: GruScanAttrs,
): GruScan {
  const inputs = [x, weights.r, initial, ...(weights.bias ? [weights.bias] : [])];
  const [h, gates] = x.graph.add(gruScanOp, inputs, attrs) as readonly [Tensor, Tensor];
  return { h, gates };
}
