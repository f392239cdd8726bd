import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { require } from '../graph/op-record.ts';
import { defineOp } from './define.ts';

export const detachOp = defineOp({
  name: 'detach',
  doc: 'y = x, through which no gradient flows back; no bytes move. Any dtype (torch.Tensor.detach, ONNX Identity).',
  infer: (inputs) => {
    require(inputs.length === 1, `takes one tensor, got ${inputs.length}`);
    return [inputs[0]!];
  },
  reference: ([x]) => [x!.data.slice()],
  gradient: { kind: 'zero', why: 'it is there to stop the gradient' },
  cost: () => ({ flops: 0, bytes: 0 }),
  samples: [
    { name: 'values', inputs: [{ shape: [3, 4] }], attrs: {} },
    { name: 'integers', inputs: [{ shape: [5], dtype: 'i32', low: -9, high: 9 }], attrs: {} },
  ],
  badSamples: [{ inputs: [scalar(), scalar()], attrs: {}, message: 'takes one tensor, got 2' }],
  alias: true,
});

function scalar(): TensorType {
  return { dtype: 'f32', shape: [] };
}

/** x, through which no gradient flows back (PyTorch `detach`). */
export const detach = (x: Tensor): Tensor => x.graph.add(detachOp, [x], {})[0]!;
