/**
 * The recurrence of an LSTM (Hochreiter, Schmidhuber 1997; forget gate: Gers et al. 2000; peepholes: Gers, Schmidhuber
 * 2000) and its derivative, fused: one node for all steps of one direction. For every step, with h′ and c′ of the step
 * before and p the peephole weights, if there are any:
 *
 *   i = σ(x_i + R_i·h′ + p_i∘c′)   f = σ(x_f + R_f·h′ + p_f∘c′)   g = tanh(x_g + R_g·h′)
 *   c = f∘c′ + i∘g                 o = σ(x_o + R_o·h′ + p_o∘c)    h = o∘tanh(c)
 *
 * Gate values are an output: the backward scan reads them instead of computing them again. It takes h, c and gates as
 * independent cotangents, so that it is the whole derivative of all outputs, whatever order of derivative asks. From what
 * it sends to the gates the gradients of all weights follow by one product or sum each, over all steps and samples.
 */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require, type Sample } from '../graph/op-record.ts';
import { mul } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { lstmBlocks } from './gates.ts';
import { type LstmScanAttrs, lstmFlops, lstmScanGrad } from './lstm-scan-grad.ts';
import { matmul } from './matmul.ts';
import { sum } from './reduce.ts';
import {
  addProduct,
  atTime,
  blocks,
  columns,
  requireScan,
  rowsOf,
  stateBefore,
  statesBefore,
  timesOf,
} from './scan.ts';
import { concat } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { sigmoid64 } from './unary.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const lstmScanOp = defineOp<LstmScanAttrs>({
  name: 'lstmScan',
  doc: 'i, f, o = σ(x + R·h′ (+ p∘c′; of o: p∘c)), g = tanh(x + R·h′), c = f∘c′ + i∘g, h = o∘tanh(c), over all steps of one direction. x [T, N, 4H] (inputs’ product and biases), R [4H, H], h₀, c₀ [N, H], peepholes [3H] (i, o, f; may be left out) → h, c [T, N, H] and gate values [T, N, 4H]; `gates` is the order of the blocks. The recurrence of ONNX LSTM and torch.nn.LSTM.',
  infer: (inputs, { gates }) => {
    requireFloats(inputs, ['x', 'R', 'h0', 'c0', ...(inputs.length > 4 ? ['peepholes'] : [])]);
    require(Object.hasOwn(lstmBlocks, gates), `gates must be iofc or ifgo, got ${gates}`);
    const [x, r, h0, c0, p] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType?];
    const { steps, batch, size } = requireScan('x', x.shape, r.shape, 4);
    requireShape('h0', h0.shape, [batch, size]);
    requireShape('c0', c0.shape, [batch, size]);
    if (p) requireShape('peepholes', p.shape, [3 * size]);
    return [f32(steps, batch, size), f32(steps, batch, size), x];
  },
  reference: ([x, r, h0, c0, p], { gates: order, reverse }) => {
    const sizes = requireScan('x', x!.type.shape, r!.type.shape, 4);
    const { steps, batch, size } = sizes;
    const block = lstmBlocks[order];
    const gates = x!.data.slice();
    const h = new Float64Array(steps * batch * size);
    const c = new Float64Array(steps * batch * size);
    const peephole = (at: number): number => p?.data[at] ?? 0;
    for (const t of timesOf(steps, reverse)) {
      const now = atTime(gates, t, steps);
      addProduct(columns(now, 4 * size), columns(stateBefore(h, h0!.data, t, sizes, reverse), size), r!.data, true);
      const before = stateBefore(c, c0!.data, t, sizes, reverse);
      const [hNow, cNow] = [atTime(h, t, steps), atTime(c, t, steps)];
      for (let n = 0; n < batch; n++) {
        for (let j = 0; j < size; j++) {
          const at = n * size + j;
          const place = (b: number): number => (4 * n + b) * size + j;
          const i = sigmoid64(now[place(block.i)]! + peephole(j) * before[at]!);
          const f = sigmoid64(now[place(block.f)]! + peephole(2 * size + j) * before[at]!);
          const g = Math.tanh(now[place(block.g)]!);
          cNow[at] = f * before[at]! + i * g;
          const o = sigmoid64(now[place(block.o)]! + peephole(size + j) * cNow[at]);
          hNow[at] = o * Math.tanh(cNow[at]);
          now[place(block.i)] = i;
          now[place(block.f)] = f;
          now[place(block.g)] = g;
          now[place(block.o)] = o;
        }
      }
    }
    return [h, c, gates];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, outputs, attrs, grads, needs }) => {
      const [, r, h0, c0, p] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor?];
      const [h, c, gates] = outputs as [Tensor, Tensor, Tensor];
      const { dX, dH0, dC0 } = lstmScanGrad(
        { gates, c, c0, r, peepholes: p },
        { h: grads[0], c: grads[1], gates: grads[2] },
        attrs,
      );
      return [
        dX,
        needs(1) ? matmul(rowsOf(dX), rowsOf(statesBefore(h, h0, attrs.reverse)), { transA: true }) : undefined,
        dH0,
        dC0,
        ...(p ? [needs(4) ? peepholeGradient(dX, c, c0, attrs) : undefined] : []),
      ];
    },
  },
  cost: (inputs, outputs) => ({ flops: lstmFlops(outputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    scanSample('one step, one sample, one unit', [1, 1, 1], { gates: 'iofc' }),
    scanSample('odd sizes', [3, 2, 5], { gates: 'iofc' }),
    scanSample('reverse', [4, 3, 3], { gates: 'ifgo', reverse: true }),
    scanSample('peepholes', [3, 2, 3], { gates: 'iofc', peepholes: true }),
    scanSample('peepholes, reverse, one unit', [3, 3, 1], { gates: 'ifgo', reverse: true, peepholes: true }),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 12), f32(12, 4), f32(3, 3), f32(3, 3)],
      attrs: { gates: 'iofc', reverse: false },
      message: 'the recurrent weight must have the shape [12, 3], got [12, 4]',
    },
    {
      inputs: [f32(2, 3, 10), f32(10, 2), f32(3, 2), f32(3, 2)],
      attrs: { gates: 'iofc', reverse: false },
      message: 'the last axis of x, 10, must hold 4 gates of one size',
    },
    {
      inputs: [f32(2, 3, 8), f32(8, 2), f32(3, 2), f32(1, 2)],
      attrs: { gates: 'iofc', reverse: false },
      message: 'c0 must have the shape [3, 2], got [1, 2]',
    },
    {
      inputs: [f32(2, 3, 8), f32(8, 2), f32(3, 2), f32(3, 2), f32(8)],
      attrs: { gates: 'iofc', reverse: false },
      message: 'peepholes must have the shape [6], got [8]',
    },
    {
      inputs: [f32(2, 3, 8), f32(8, 2), f32(3, 2)],
      attrs: { gates: 'iofc', reverse: false },
      message: 'takes x, R, h0, c0: 4 inputs, got 3',
    },
  ],
});

function scanSample(
  name: string,
  [t, n, h]: [number, number, number],
  options: Partial<LstmScanAttrs> & { readonly peepholes?: true },
): Sample<LstmScanAttrs> {
  const { gates = 'iofc', reverse = false } = options;
  const peepholes = options.peepholes ? [{ shape: [3 * h] }] : [];
  return {
    name,
    inputs: [{ shape: [t, n, 4 * h] }, { shape: [4 * h, h] }, { shape: [n, h] }, { shape: [n, h] }, ...peepholes],
    attrs: { gates, reverse },
  };
}

/** Each peephole weight's gradient: its gate's cotangent times the cell state it looks at, over steps and samples. */
function peepholeGradient(dX: Tensor, c: Tensor, c0: Tensor, { gates, reverse }: LstmScanAttrs): Tensor {
  const block = lstmBlocks[gates];
  const parts = blocks(dX, 4);
  const before = statesBefore(c, c0, reverse);
  const of = (gate: number, cell: Tensor): Tensor => sum(mul(parts[gate]!, cell), { axes: [0, 1] });
  return concat([of(block.i, before), of(block.o, c), of(block.f, before)], { axis: 0 });
}

export interface LstmScan {
  readonly h: Tensor;
  readonly c: Tensor;
  readonly gates: Tensor;
}

/** All steps of one direction: states h, c [T, N, H] and gate values [T, N, 4H]. */
export function lstmScan(
  x: Tensor,
  weights: { readonly r: Tensor; readonly peepholes?: Tensor },
  initial: { readonly h: Tensor; readonly c: Tensor },
  attrs: LstmScanAttrs,
): LstmScan {
  const inputs = [x, weights.r, initial.h, initial.c, ...(weights.peepholes ? [weights.peepholes] : [])];
  const [h, c, gates] = x.graph.add(lstmScanOp, inputs, attrs) as readonly [Tensor, Tensor, Tensor];
  return { h, c, gates };
}
