import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

export type ClipFactorAttrs = { readonly maxNorm: number };

/** What torch.nn.utils.clip_grad_norm_ adds to the norm. */
const epsilon = 1e-6;

export const clipFactorOp = defineOp<ClipFactorAttrs>({
  name: 'clipFactor',
  doc: "y = min(1, maxNorm / (√Σ x + 1e-6)): what torch.nn.utils.clip_grad_norm_ multiplies gradients by, x being the sums of squares of their tensors, added in order. x: f32 [n]; y: f32 []. NaN where the norm is NaN, as PyTorch's with error_if_nonfinite false.",
  infer: ([x], { maxNorm }) => {
    require(x?.dtype === 'f32' && x.shape.length === 1, 'takes one f32 vector of sums of squares');
    require(maxNorm > 0, `maxNorm must be positive, got ${maxNorm}`);
    return [{ dtype: 'f32', shape: [] }];
  },
  reference: ([x], { maxNorm }) => {
    let total = 0;
    for (const square of x!.data) total += square;
    return [Float64Array.of(Math.min(1, maxNorm / (Math.sqrt(total) + epsilon)))];
  },
  gradient: { kind: 'none', why: 'it scales gradients on their way into an update' },
  cost: (inputs, outputs) => ({
    flops: elementCount(inputs[0]!.shape) + 4,
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    { name: 'clips', inputs: [{ shape: [5], low: 0, high: 9 }], attrs: { maxNorm: 0.5 } },
    { name: 'does not clip', inputs: [{ shape: [3], low: 0, high: 1 }], attrs: { maxNorm: 2 } },
    { name: 'a norm near 1e-6', inputs: [{ shape: [2], values: [1e-12, 3e-12] }], attrs: { maxNorm: 1e-6 } },
    { name: 'no gradient at all', inputs: [{ shape: [1], values: [0] }], attrs: { maxNorm: 1e-7 } },
  ],
  badSamples: [
    { inputs: [{ dtype: 'f32', shape: [2, 2] }], attrs: { maxNorm: 1 }, message: 'takes one f32 vector' },
    { inputs: [{ dtype: 'f32', shape: [2] }], attrs: { maxNorm: 0 }, message: 'maxNorm must be positive, got 0' },
  ],
});

/** The factor that norm clipping multiplies all gradients by, from their sums of squares f32 [n]. */
export const clipFactor = (squares: Tensor, attrs: ClipFactorAttrs): Tensor =>
  squares.graph.add(clipFactorOp, [squares], attrs)[0]!;
