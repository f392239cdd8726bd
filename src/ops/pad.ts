import { GraphError } from '../core/errors.ts';
import { elementCount, type Shape, stridesOf, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { callerLine } from '../graph/source-line.ts';
import { normalAxis } from './axes.ts';
import { indexMap } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { requireWord } from './options.ts';
import { takeBy } from './resample.ts';
import { slice } from './shape.ts';

export type PadAttrs = {
  /** Elements in front of each axis, and behind it; none negative. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** A number as text where JSON has none for it: `Infinity`, `-Infinity`, `NaN`. */
  readonly value: number | string;
};

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

/** The flat index of x's first element in the padded tensor, and the strides it is written with. */
export function padLayout(y: Shape, before: readonly number[]): { first: number; strides: number[] } {
  const strides = stridesOf(y);
  return { first: strides.reduce((at, stride, i) => at + stride * before[i]!, 0), strides };
}

export const padOp: OpRecord<PadAttrs> = defineOp<PadAttrs>({
  name: 'pad',
  doc: 'y = x with `before` and `after` elements of `value` around each axis; any dtype. ONNX Pad (mode constant), torch.nn.functional.pad.',
  infer: ([x], { before, after, value }) => {
    require(x, 'takes one tensor');
    const rank = x.shape.length;
    require([before, after].every(
      (list) => list.length === rank && list.every((n) => Number.isInteger(n) && n >= 0),
    ), `before and after must hold ${rank} integers of at least 0, got [${before.join(', ')}] and [${after.join(', ')}]`);
    const number = Number(value);
    require(x.dtype === 'f32' ||
      (x.dtype === 'bool' && (number === 0 || number === 1)) ||
      (x.dtype === 'i32' && number === (number | 0)), `the value ${value} is not of dtype ${x.dtype}`);
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => before[i]! + d + after[i]!) }];
  },
  reference: ([x], { before, value }, [out]) => {
    const y = new Float64Array(elementCount(out!.shape)).fill(Number(value));
    const { first, strides } = padLayout(out!.shape, before);
    for (const [i, at] of indexMap(x!.type.shape, strides, first).entries()) y[at] = x!.data[i]!;
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { before }, grads }) => [
      slice(
        grads[0]!,
        Object.fromEntries(inputs[0]!.shape.map((d, axis) => [axis, [before[axis]!, before[axis]! + d]] as const)),
      ),
    ],
  },
  cost: (inputs, outputs) => ({ flops: 0, bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    { name: 'matrix', inputs: [{ shape: [3, 2] }], attrs: { before: [1, 0], after: [0, 2], value: 1.5 } },
    {
      name: 'images',
      inputs: [{ shape: [1, 2, 3, 3] }],
      attrs: { before: [0, 0, 1, 2], after: [0, 0, 2, 1], value: -3 },
    },
    { name: 'vector', inputs: [{ shape: [5] }], attrs: { before: [2], after: [3], value: 0 } },
    { name: 'nothing', inputs: [{ shape: [2, 3] }], attrs: { before: [0, 0], after: [0, 0], value: 1 } },
    { name: '−∞', inputs: [{ shape: [3] }], attrs: { before: [1], after: [1], value: '-Infinity' }, gradientOf: [] },
    {
      name: 'i32',
      inputs: [{ shape: [2, 2], dtype: 'i32', low: -9, high: 9 }],
      attrs: { before: [1, 1], after: [0, 1], value: -7 },
    },
    { name: 'bool', inputs: [{ shape: [3], dtype: 'bool' }], attrs: { before: [2], after: [1], value: 1 } },
  ],
  badSamples: [
    {
      inputs: [f32(2, 3)],
      attrs: { before: [1], after: [0, 0], value: 0 },
      message: 'must hold 2 integers of at least 0',
    },
    { inputs: [f32(2)], attrs: { before: [-1], after: [0], value: 0 }, message: 'must hold 1 integers of at least 0' },
    {
      inputs: [{ dtype: 'i32', shape: [2] }],
      attrs: { before: [1], after: [0], value: 0.5 },
      message: 'the value 0.5 is not of dtype i32',
    },
  ],
});

export type PadMode = 'constant' | 'reflect' | 'edge' | 'wrap';

export interface PadOptions {
  /** What lies outside: `value`, the mirror image without its edge, the edge element, the other end; default constant. */
  readonly mode?: PadMode;
  /** Of mode constant; default 0. */
  readonly value?: number;
}

/** The place of the axis that stands at position `at` outside it, as NumPy's `pad` repeats it. */
const outside: Readonly<Record<Exclude<PadMode, 'constant'>, (at: number, size: number) => number>> = {
  edge: (at, size) => Math.min(Math.max(at, 0), size - 1),
  wrap: (at, size) => ((at % size) + size) % size,
  reflect: (at, size) => {
    const period = Math.max(1, 2 * (size - 1)); // an axis of one mirrors itself
    const folded = ((at % period) + period) % period;
    return Math.min(folded, period - folded) % size;
  },
};

const finite = (value: number): number | string => (Number.isFinite(value) ? value : String(value));

/**
 * x with elements before and behind its axes: `pad(x, { [-1]: [1, 2] }, { mode: 'edge' })`. Negative amounts crop, and crop
 * first.
 */
export function pad(
  x: Tensor,
  amounts: { readonly [axis: number]: readonly [before: number, after: number] },
  options: PadOptions = {},
): Tensor {
  const before = x.shape.map(() => 0);
  const after = x.shape.map(() => 0);
  for (const [key, [front, behind]] of Object.entries(amounts)) {
    const axis = normalAxis(Number(key), x.rank);
    if (!(axis >= 0 && axis < x.rank)) {
      throw new GraphError('pad-axis', `pad: axis ${key} is out of range for rank ${x.rank}${callerLine()}`, {
        fields: { axis: key, shape: x.shape },
        remedy: 'pad(x, { [-1]: [1, 1] })',
      });
    }
    before[axis] = front;
    after[axis] = behind;
  }
  const crops = x.shape.flatMap((size, axis) =>
    before[axis]! < 0 || after[axis]! < 0
      ? [[axis, [Math.max(0, -before[axis]!), Math.max(0, size + Math.min(0, after[axis]!))]] as const]
      : [],
  );
  const cropped = crops.length > 0 ? slice(x, Object.fromEntries(crops)) : x;
  const [front, behind] = [before.map((n) => Math.max(0, n)), after.map((n) => Math.max(0, n))];
  const mode = options.mode ?? 'constant';
  requireWord('pad', x, 'mode', mode, ['constant', ...Object.keys(outside)]);
  if (mode === 'constant') {
    return x.graph.add(padOp, [cropped], { before: front, after: behind, value: finite(options.value ?? 0) })[0]!;
  }
  return cropped.shape.reduce((y, size, axis) => {
    const [from, to] = [-front[axis]!, size + behind[axis]!];
    if (from === 0 && to === size) return y;
    const index = Array.from({ length: to - from }, (_, i) => outside[mode](from + i, size));
    return takeBy(y, axis, index);
  }, cropped);
}
