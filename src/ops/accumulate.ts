import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/**
 * The bridge from the microbatch region to the step region. Its output lives as long as the step: the first microbatch
 * copies into it, later ones add, in their order (`lowerAccumulate` in lower/). With one microbatch it is the identity.
 */
export const accumulateOp: OpRecord = defineOp({
  name: 'accumulate',
  doc: 'y = Σ x over the microbatches of a step, in their order; f32 of any shape. The way from the microbatch region to the step region.',
  infer: ([x]) => {
    require(x, 'takes one tensor');
    require(x.dtype === 'f32', `x must be f32, not ${x.dtype}`);
    return [x];
  },
  reference: ([x]) => [x!.data.slice()],
  accumulates: { next: (previous, [x]) => previous.map((v, i) => v + x!.data[i]!), associative: true },
  gradient: { kind: 'none', why: 'it is the boundary of the microbatch region: differentiate before accumulating' },
  cost: (inputs, outputs) => ({
    flops: elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes([...inputs, ...outputs], outputs),
  }),
  samples: [
    { name: 'matrix', inputs: [{ shape: [3, 5] }], attrs: {} },
    { name: 'scalar', inputs: [{ shape: [] }], attrs: {} },
  ],
  badSamples: [{ inputs: [{ dtype: 'i32', shape: [2] }], attrs: {}, message: `x must be f32, not i32` }],
});

/**
 * The sum of x over the microbatches of the step. `total` names the sum: graphs of different chunk sizes add to the same
 * one, however their other nodes differ.
 */
export const accumulate = (x: Tensor, total?: string): Tensor =>
  x.graph.add(accumulateOp, [x], total === undefined ? {} : { total })[0]!;
