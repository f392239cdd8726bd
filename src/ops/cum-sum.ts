/** Running sums along an axis. */
import { elementCount, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { axisLayout, requireAxis } from './indices.ts';

/** `exclusive`: y[i] leaves out x[i]. `reverse`: sums run from the axis' end. */
export type CumSumAttrs = { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };

const plain = { exclusive: false, reverse: false };

export const cumSumOp: OpRecord<CumSumAttrs> = defineOp<CumSumAttrs>({
  name: 'cumSum',
  doc: 'y[i] = x[0] + … + x[i] along an axis; `exclusive`: up to x[i − 1], from 0; `reverse`: from the last entry down. f32, or i32 that wraps around. ONNX CumSum, torch.cumsum.',
  infer: ([x], { axis }) => {
    require(x, 'takes one tensor');
    require(x.dtype !== 'bool', 'x must be f32 or i32, not bool');
    requireAxis(axis, x.shape.length);
    return [x];
  },
  reference: ([x], { axis, exclusive, reverse }) => {
    const { outer, size, inner } = axisLayout(x!.type.shape, axis);
    const integer = x!.type.dtype === 'i32';
    const y = new Float64Array(x!.data.length);
    for (let line = 0; line < outer * inner; line++) {
      const first = Math.floor(line / inner) * size * inner + (line % inner);
      let total = 0;
      for (let i = 0; i < size; i++) {
        const at = first + (reverse ? size - 1 - i : i) * inner;
        const next = total + x!.data[at]!;
        y[at] = exclusive ? total : integer ? next | 0 : next;
        total = integer ? next | 0 : next;
      }
    }
    return [y];
  },
  gradient: {
    kind: 'rule',
    // x[i] is in every sum from its own on: the sums of dy run the other way.
    rule: ({ attrs, grads }) => [cumSum(grads[0]!, { ...attrs, reverse: !attrs.reverse })],
  },
  cost: (inputs, outputs) => ({ flops: elementCount(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    { name: 'last axis', inputs: [{ shape: [3, 7] }], attrs: { axis: 1, ...plain } },
    { name: 'first axis', inputs: [{ shape: [5, 7] }], attrs: { axis: 0, ...plain } },
    {
      name: 'middle axis, exclusive',
      inputs: [{ shape: [2, 4, 3] }],
      attrs: { axis: 1, exclusive: true, reverse: false },
    },
    { name: 'reverse', inputs: [{ shape: [3, 5] }], attrs: { axis: 1, exclusive: false, reverse: true } },
    {
      name: 'reverse and exclusive',
      inputs: [{ shape: [4, 3, 2] }],
      attrs: { axis: 0, exclusive: true, reverse: true },
    },
    { name: 'an axis of one', inputs: [{ shape: [3, 1, 2] }], attrs: { axis: 1, ...plain } },
    {
      name: 'i32, wrapping around',
      inputs: [{ shape: [2, 3], dtype: 'i32', values: [2147483647, 1, 5, -3, 4, -5] }],
      attrs: { axis: 1, ...plain },
    },
    {
      name: 'i32, first axis',
      inputs: [{ shape: [4, 5], dtype: 'i32', low: -9, high: 9 }],
      attrs: { axis: 0, exclusive: true, reverse: true },
    },
  ],
  badSamples: [
    { inputs: [f32(2, 3)], attrs: { axis: 2, ...plain }, message: 'axis 2 is out of range for rank 2' },
    { inputs: [{ dtype: 'bool', shape: [2] }], attrs: { axis: 0, ...plain }, message: 'not bool' },
  ],
});

function f32(...shape: number[]): TensorType {
  return { dtype: 'f32', shape };
}

export interface CumSumOptions {
  readonly axis: number;
  /** y[i] leaves out x[i]; default false. */
  readonly exclusive?: boolean;
  /** From the axis' end; default false. */
  readonly reverse?: boolean;
}

/** Running sum along an axis. */
export const cumSum = (x: Tensor, { axis, exclusive = false, reverse = false }: CumSumOptions): Tensor =>
  x.graph.add(cumSumOp, [x], { axis: normalAxis(axis, x.rank), exclusive, reverse })[0]!;
