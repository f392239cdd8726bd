/** The same elements in another shape, order or number. All take f32, i32 and bool. */
import { elementCount, formatShape, type Shape, sameShape, stridesOf, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type OpRecord, require } from '../graph/op-record.ts';
import { normalAxes, normalAxis } from './axes.ts';
import { broadcastMap, indexMap } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { refuseOptions } from './options.ts';
import { sum } from './reduce.ts';

const moves = (inputs: readonly TensorType[], outputs: readonly TensorType[]) => ({
  flops: 0,
  bytes: elementwiseBytes(inputs, outputs),
});

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

function checkShape(shape: Shape): void {
  require(shape.every((d) => Number.isInteger(d) && d > 0), `shape ${formatShape(shape)} must hold positive integers`);
}

type ShapeAttrs = { readonly shape: readonly number[] };

export const reshapeOp: OpRecord<ShapeAttrs> = defineOp<ShapeAttrs>({
  name: 'reshape',
  doc: 'y = x in row-major order under another shape; no bytes move. ONNX Reshape, torch.reshape.',
  infer: ([x], { shape }) => {
    require(x, 'takes one tensor');
    checkShape(shape);
    const [have, want] = [elementCount(x.shape), elementCount(shape)];
    require(have === want, `${have} elements do not fit ${formatShape(shape)}, which holds ${want}`);
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x]) => [x!.data.slice()],
  gradient: { kind: 'rule', rule: ({ inputs, grads }) => [view(grads[0]!, inputs[0]!.shape)] },
  cost: () => ({ flops: 0, bytes: 0 }),
  samples: [
    { name: 'split and join', inputs: [{ shape: [3, 4] }], attrs: { shape: [2, 2, 3] } },
    { name: 'scalar', inputs: [{ shape: [1, 1] }], attrs: { shape: [] } },
    { name: 'bool', inputs: [{ shape: [6], dtype: 'bool' }], attrs: { shape: [2, 3] } },
  ],
  badSamples: [
    { inputs: [f32(2, 3)], attrs: { shape: [4] }, message: '6 elements do not fit [4], which holds 4' },
    { inputs: [f32(2, 3)], attrs: { shape: [6, 0] }, message: 'must hold positive integers' },
  ],
  alias: true,
});

type PermAttrs = { readonly perm: readonly number[] };

export const transposeOp: OpRecord<PermAttrs> = defineOp<PermAttrs>({
  name: 'transpose',
  doc: 'Axis i of y is axis perm[i] of x. ONNX Transpose, torch.permute.',
  infer: ([x], { perm }) => {
    require(x, 'takes one tensor');
    const rank = x.shape.length;
    const sorted = [...perm].sort((a, b) => a - b);
    require(perm.length === rank &&
      sorted.every((axis, i) => axis === i), `perm ${formatShape(perm)} must name each of the ${rank} axes once`);
    return [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis]!) }];
  },
  reference: ([x], { perm }, [y]) => {
    const strides = stridesOf(x!.type.shape);
    const from = indexMap(
      y!.shape,
      perm.map((axis) => strides[axis]!),
    );
    return [Float64Array.from(from, (at) => x!.data[at]!)];
  },
  gradient: {
    kind: 'rule',
    rule: ({ attrs, grads }) => [
      transpose(
        grads[0]!,
        attrs.perm.map((_, i) => attrs.perm.indexOf(i)),
      ),
    ],
  },
  cost: moves,
  samples: [
    { name: 'matrix', inputs: [{ shape: [3, 5] }], attrs: { perm: [1, 0] } },
    { name: 'cycle of three', inputs: [{ shape: [2, 3, 5] }], attrs: { perm: [2, 0, 1] } },
    { name: 'heads', inputs: [{ shape: [2, 3, 4, 5] }], attrs: { perm: [0, 2, 1, 3] } },
    { name: 'identity', inputs: [{ shape: [2, 3] }], attrs: { perm: [0, 1] } },
    { name: 'scalar', inputs: [{ shape: [] }], attrs: { perm: [] } },
    {
      name: 'reversed, seven axes',
      inputs: [{ shape: [2, 1, 3, 2, 2, 2, 2] }],
      attrs: { perm: [6, 5, 4, 3, 2, 1, 0] },
    },
    { name: 'eight axes', inputs: [{ shape: [2, 2, 2, 2, 2, 2, 2, 3] }], attrs: { perm: [7, 6, 5, 4, 3, 2, 1, 0] } },
    { name: 'bool', inputs: [{ shape: [3, 5], dtype: 'bool' }], attrs: { perm: [1, 0] } },
    { name: 'i32', inputs: [{ shape: [3, 5], dtype: 'i32', low: -9, high: 9 }], attrs: { perm: [1, 0] } },
  ],
  badSamples: [
    { inputs: [f32(2, 3)], attrs: { perm: [0, 0] }, message: 'perm [0, 0] must name each of the 2 axes once' },
    { inputs: [f32(2, 3)], attrs: { perm: [1] }, message: 'must name each of the 2 axes once' },
  ],
});

export const broadcastToOp: OpRecord<ShapeAttrs> = defineOp<ShapeAttrs>({
  name: 'broadcastTo',
  doc: 'y = x repeated along new and size-1 axes. ONNX Expand, torch.broadcast_to.',
  infer: ([x], { shape }) => {
    require(x, 'takes one tensor');
    checkShape(shape);
    const lead = shape.length - x.shape.length;
    require(lead >= 0 &&
      x.shape.every(
        (d, i) => d === 1 || d === shape[lead + i],
      ), `${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x], _, [y]) => [Float64Array.from(broadcastMap(x!.type.shape, y!.shape), (at) => x!.data[at]!)],
  gradient: { kind: 'rule', rule: ({ inputs, grads }) => [sumRepeated(grads[0]!, inputs[0]!.shape)] },
  cost: moves,
  samples: [
    { name: 'row', inputs: [{ shape: [3] }], attrs: { shape: [5, 3] } },
    { name: 'column', inputs: [{ shape: [3, 1] }], attrs: { shape: [3, 7] } },
    { name: 'scalar', inputs: [{ shape: [] }], attrs: { shape: [2, 3] } },
    { name: 'alternating', inputs: [{ shape: [2, 1, 3, 1] }], attrs: { shape: [5, 2, 4, 3, 2] } },
    { name: 'same shape', inputs: [{ shape: [2, 3] }], attrs: { shape: [2, 3] } },
    { name: 'bool', inputs: [{ shape: [3, 1], dtype: 'bool' }], attrs: { shape: [3, 5] } },
  ],
  badSamples: [
    { inputs: [f32(3)], attrs: { shape: [3, 2] }, message: '[3] does not broadcast to [3, 2]' },
    { inputs: [f32(2, 3)], attrs: { shape: [3] }, message: '[2, 3] does not broadcast to [3]' },
  ],
});

/**
 * `sumTo` of what `broadcastTo` may have repeated, all of it: an axis is summed also where it holds one entry, so that a
 * chunk of one sample builds the same nodes as a larger one.
 */
function sumRepeated(dy: Tensor, shape: Shape): Tensor {
  const lead = dy.rank - shape.length;
  const axes = dy.shape.flatMap((_, i) => (i < lead || shape[i - lead] === 1 ? [i] : []));
  return reshape(sum(dy, { axes, keepDims: lead === 0 }), shape);
}

type SliceAttrs = {
  readonly starts: readonly number[];
  /** Exclusive. */
  readonly ends: readonly number[];
  readonly steps: readonly number[];
};

const sliceLength = (start: number, end: number, step: number): number => Math.ceil((end - start) / step);

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

export const sliceOp: OpRecord<SliceAttrs> = defineOp<SliceAttrs>({
  name: 'slice',
  doc: 'y = x[start:end:step] on every axis, 0 ≤ start < end ≤ size, or, with a negative step, size > start > end ≥ −1. ONNX Slice, x[a:b:c] and flip in PyTorch.',
  infer: ([x], { starts, ends, steps }) => {
    require(x, 'takes one tensor');
    const rank = x.shape.length;
    require([starts, ends, steps].every(
      (list) => list.length === rank && list.every(Number.isInteger),
    ), `starts, ends and steps must hold ${rank} integers`);
    const shape = x.shape.map((size, axis) => {
      const [start, end, step] = [starts[axis]!, ends[axis]!, steps[axis]!];
      require(step !== 0, `axis ${axis}: the step must not be 0`);
      if (step > 0) {
        require(0 <= start &&
          start < end &&
          end <= size, `axis ${axis}: ${start}:${end} is empty or outside 0:${size}`);
      } else {
        require(size > start &&
          start > end &&
          end >= -1, `axis ${axis}: ${start}:${end} is empty or outside ${size - 1}:-1, backwards`);
      }
      return sliceLength(start, end, step);
    });
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x], { starts, steps }, [y]) => {
    const strides = stridesOf(x!.type.shape);
    const from = indexMap(
      y!.shape,
      strides.map((s, i) => s * steps[i]!),
      dot(strides, starts),
    );
    return [Float64Array.from(from, (at) => x!.data[at]!)];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads }) => [
      sliceScatter(grads[0]!, { shape: inputs[0]!.shape, starts: attrs.starts, steps: attrs.steps }),
    ],
  },
  cost: (_, outputs) => moves(outputs, outputs),
  samples: [
    { name: 'rows', inputs: [{ shape: [5, 3] }], attrs: { starts: [1, 0], ends: [4, 3], steps: [1, 1] } },
    { name: 'steps', inputs: [{ shape: [7, 5] }], attrs: { starts: [1, 0], ends: [7, 5], steps: [3, 2] } },
    { name: 'backwards', inputs: [{ shape: [5, 3] }], attrs: { starts: [4, 2], ends: [-1, 0], steps: [-2, -1] } },
    {
      name: 'backwards, mixed',
      inputs: [{ shape: [3, 4, 5] }],
      attrs: { starts: [2, 0, 3], ends: [-1, 4, 0], steps: [-1, 3, -1] },
    },
    {
      name: 'flipped bool',
      inputs: [{ shape: [3, 7], dtype: 'bool' }],
      attrs: { starts: [2, 6], ends: [-1, -1], steps: [-1, -1] },
    },
    {
      name: 'three axes',
      inputs: [{ shape: [2, 4, 5] }],
      attrs: { starts: [1, 0, 2], ends: [2, 3, 5], steps: [1, 2, 1] },
    },
    {
      name: 'seven axes',
      inputs: [{ shape: [2, 3, 2, 3, 2, 3, 3] }],
      attrs: { starts: [0, 1, 0, 1, 0, 0, 1], ends: [2, 3, 2, 3, 2, 2, 3], steps: [1, 1, 1, 1, 1, 1, 1] },
    },
    {
      name: 'bool',
      inputs: [{ shape: [5, 3], dtype: 'bool' }],
      attrs: { starts: [0, 1], ends: [5, 3], steps: [2, 1] },
    },
  ],
  badSamples: [
    { inputs: [f32(4)], attrs: { starts: [2], ends: [5], steps: [1] }, message: '2:5 is empty or outside 0:4' },
    { inputs: [f32(4)], attrs: { starts: [2], ends: [2], steps: [1] }, message: '2:2 is empty' },
    { inputs: [f32(4)], attrs: { starts: [0], ends: [4], steps: [0] }, message: 'the step must not be 0' },
    {
      inputs: [f32(4)],
      attrs: { starts: [4], ends: [-1], steps: [-1] },
      message: '4:-1 is empty or outside 3:-1, backwards',
    },
    { inputs: [f32(4, 4)], attrs: { starts: [0], ends: [4], steps: [1] }, message: 'must hold 2 integers' },
  ],
});

type ScatterAttrs = {
  readonly shape: readonly number[];
  readonly starts: readonly number[];
  readonly steps: readonly number[];
};

export const sliceScatterOp: OpRecord<ScatterAttrs> = defineOp<ScatterAttrs>({
  name: 'sliceScatter',
  doc: 'y = zeros(shape) with y[start::step] = x on every axis: the adjoint of slice, and zero padding. ONNX Pad (where steps are 1), torch.slice_scatter into zeros.',
  infer: ([x], { shape, starts, steps }) => {
    require(x, 'takes one tensor');
    checkShape(shape);
    const rank = x.shape.length;
    require([shape, starts, steps].every(
      (list) => list.length === rank && list.every(Number.isInteger),
    ), `shape, starts and steps must hold ${rank} integers`);
    x.shape.forEach((size, axis) => {
      const [start, step] = [starts[axis]!, steps[axis]!];
      require(step !== 0, `axis ${axis}: the step must not be 0`);
      const last = start + (size - 1) * step;
      require(Math.min(start, last) >= 0 &&
        Math.max(start, last) <
          shape[axis]!, `axis ${axis}: elements ${start} to ${last} do not fit size ${shape[axis]}`);
    });
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x], { shape, starts, steps }) => {
    const strides = stridesOf(shape);
    const into = indexMap(
      x!.type.shape,
      strides.map((s, i) => s * steps[i]!),
      dot(strides, starts),
    );
    const y = new Float64Array(elementCount(shape));
    for (const [i, at] of into.entries()) y[at] = x!.data[i]!;
    return [y];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { starts, steps }, grads }) => {
      const ends = inputs[0]!.shape.map((size, i) => starts[i]! + (size - 1) * steps[i]! + Math.sign(steps[i]!));
      return [grads[0]!.graph.add(sliceOp, [grads[0]!], { starts, ends, steps })[0]!];
    },
  },
  cost: moves,
  samples: [
    { name: 'padding', inputs: [{ shape: [3, 2] }], attrs: { shape: [5, 3], starts: [1, 0], steps: [1, 1] } },
    { name: 'steps', inputs: [{ shape: [2, 3] }], attrs: { shape: [7, 5], starts: [1, 0], steps: [3, 2] } },
    { name: 'backwards', inputs: [{ shape: [2, 3] }], attrs: { shape: [4, 5], starts: [3, 4], steps: [-3, -1] } },
    {
      name: 'seven axes',
      inputs: [{ shape: [2, 2, 2, 2, 2, 2, 2] }],
      attrs: { shape: [3, 2, 3, 2, 3, 2, 3], starts: [1, 0, 0, 0, 1, 0, 1], steps: [1, 1, 2, 1, 1, 1, 1] },
    },
    { name: 'bool', inputs: [{ shape: [3], dtype: 'bool' }], attrs: { shape: [6], starts: [1], steps: [2] } },
  ],
  badSamples: [
    {
      inputs: [f32(3)],
      attrs: { shape: [5], starts: [1], steps: [2] },
      message: 'elements 1 to 5 do not fit size 5',
    },
    {
      inputs: [f32(3)],
      attrs: { shape: [5], starts: [1], steps: [-1] },
      message: 'elements 1 to -1 do not fit size 5',
    },
    { inputs: [f32(3)], attrs: { shape: [5, 5], starts: [1], steps: [1] }, message: 'must hold 1 integers' },
  ],
});

type ConcatAttrs = { readonly axis: number };

export const concatOp: OpRecord<ConcatAttrs> = defineOp<ConcatAttrs>({
  name: 'concat',
  doc: 'y = the inputs one after the other along an axis; all other axes agree. ONNX Concat, torch.cat.',
  infer: (inputs, { axis }) => {
    const first = inputs[0];
    require(first, 'takes at least one tensor');
    const rank = first.shape.length;
    require(axis >= 0 && axis < rank, `axis ${axis < 0 ? axis - rank : axis} is out of range for rank ${rank}`);
    for (const t of inputs) {
      require(t.dtype === first.dtype, `dtypes ${first.dtype} and ${t.dtype} differ`);
      require(t.shape.length === rank &&
        t.shape.every(
          (d, i) => i === axis || d === first.shape[i],
        ), `shapes ${formatShape(first.shape)} and ${formatShape(t.shape)} may differ along axis ${axis} only`);
    }
    const size = inputs.reduce((n, t) => n + t.shape[axis]!, 0);
    return [{ dtype: first.dtype, shape: first.shape.map((d, i) => (i === axis ? size : d)) }];
  },
  reference: (inputs, { axis }, [y]) => {
    const strides = stridesOf(y!.shape);
    const out = new Float64Array(elementCount(y!.shape));
    let at = 0;
    for (const x of inputs) {
      const into = indexMap(x.type.shape, strides, at * strides[axis]!);
      for (const [i, target] of into.entries()) out[target] = x.data[i]!;
      at += x.type.shape[axis]!;
    }
    return [out];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs: { axis }, grads, needs }) => {
      let start = 0;
      return inputs.map((x, i) => {
        const end = start + x.shape[axis]!;
        const part = needs(i) ? slice(grads[0]!, { [axis]: [start, end] }) : undefined;
        start = end;
        return part;
      });
    },
  },
  cost: moves,
  samples: [
    { name: 'rows', inputs: [{ shape: [2, 3] }, { shape: [1, 3] }], attrs: { axis: 0 } },
    { name: 'columns of three', inputs: [{ shape: [3, 1] }, { shape: [3, 4] }, { shape: [3, 2] }], attrs: { axis: 1 } },
    { name: 'middle axis', inputs: [{ shape: [2, 1, 3] }, { shape: [2, 2, 3] }], attrs: { axis: 1 } },
    { name: 'one input', inputs: [{ shape: [5] }], attrs: { axis: 0 } },
    {
      name: 'bool',
      inputs: [
        { shape: [3, 2], dtype: 'bool' },
        { shape: [3, 1], dtype: 'bool' },
      ],
      attrs: { axis: 1 },
    },
  ],
  badSamples: [
    { inputs: [f32(2, 3), f32(2, 4)], attrs: { axis: 0 }, message: 'may differ along axis 0 only' },
    { inputs: [f32(2), { dtype: 'i32', shape: [2] }], attrs: { axis: 0 }, message: 'dtypes f32 and i32 differ' },
    { inputs: [f32(2)], attrs: { axis: 1 }, message: 'axis 1 is out of range for rank 1' },
  ],
});

/** Another shape of as many elements; one size may be −1 and follows from the others. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  const total = elementCount(x.shape);
  const free = shape.indexOf(-1);
  const whole = free >= 0 && known > 0 && total % known === 0;
  const resolved = whole ? shape.map((d, i) => (i === free ? total / known : d)) : shape;
  if (sameShape(resolved, x.shape)) return x;
  return x.graph.add(reshapeOp, [x], { shape: resolved })[0]!;
}

/**
 * `reshape` that is a node also where the shape is x's already: for shapes that follow from a chunk's size, so that every
 * size builds the same nodes.
 */
export const view = (x: Tensor, shape: Shape): Tensor => x.graph.add(reshapeOp, [x], { shape })[0]!;

/** Axes in another order; default: reversed. Negative axes count from the end. */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  const axes = perm?.map((axis) => normalAxis(axis, x.rank)) ?? x.shape.map((_, i) => x.rank - 1 - i);
  return x.graph.add(transposeOp, [x], { perm: axes })[0]!;
}

/** x repeated along new and size-1 axes; a node even where nothing repeats (a chunk of one sample), for equal graphs. */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return x.graph.add(broadcastToOp, [x], { shape })[0]!;
}

/**
 * `[start, end, step]`; `null` and what is left out: the whole axis, from its end where the step is negative. Negative
 * positions count from the end.
 */
export type SliceRange = readonly [start?: number | null, end?: number | null, step?: number];

/**
 * x[start:end:step] by axis: `slice(x, { 0: [1, 3], [-1]: [0, null, 2] })`. Ends beyond the axis are cut off, as in
 * NumPy; an empty slice is an error.
 */
export function slice(x: Tensor, ranges: { readonly [axis: number]: SliceRange }): Tensor {
  const starts = x.shape.map(() => 0);
  const ends = [...x.shape];
  const steps = x.shape.map(() => 1);
  for (const [key, [start, end, step]] of Object.entries(ranges)) {
    const axis = normalAxis(Number(key), x.rank);
    const size = x.shape[axis];
    if (size === undefined) {
      // Lists longer than the rank are what the type rule refuses, with the user's line.
      starts.push(0);
      continue;
    }
    const back = step !== undefined && step < 0;
    // Where positions end: [0, size] forwards, [−1, size − 1] backwards.
    const [low, high] = back ? [-1, size - 1] : [0, size];
    const position = (p: number) => Math.min(Math.max(p < 0 ? p + size : p, low), high);
    starts[axis] = start == null ? (back ? high : low) : position(start);
    ends[axis] = end == null ? (back ? low : high) : position(end);
    steps[axis] = step ?? 1;
  }
  return x.graph.add(sliceOp, [x], { starts, ends, steps })[0]!;
}

/** x backwards along axes (default all). torch.flip. */
export function flip(x: Tensor, options: { readonly axes?: number | readonly number[] } = {}): Tensor {
  const ranges = normalAxes(options.axes, x.rank).map((axis) => [axis, [null, null, -1]] as const);
  return slice(x, Object.fromEntries(ranges));
}

/** Zeros of a shape with x at start, start + step … of each axis: the adjoint of `slice`. */
export function sliceScatter(
  x: Tensor,
  options: { readonly shape: Shape; readonly starts: readonly number[]; readonly steps?: readonly number[] },
): Tensor {
  const steps = options.steps ?? options.starts.map(() => 1);
  return x.graph.add(sliceScatterOp, [x], { shape: options.shape, starts: options.starts, steps })[0]!;
}

/** Tensors one after the other along an axis (default 0). */
export function concat(tensors: readonly Tensor[], options: { readonly axis?: number } = {}): Tensor {
  const first = tensors[0];
  if (!first) refuseOptions('concat', undefined, 'takes at least one tensor', 'concat([a, b], { axis: 0 })');
  return first.graph.add(concatOp, tensors, { axis: normalAxis(options.axis ?? 0, first.rank) })[0]!;
}

/** Without the axes of size 1, or without those named. */
export function squeeze(x: Tensor, options: { readonly axes?: number | readonly number[] } = {}): Tensor {
  const { axes } = options;
  const named =
    axes === undefined ? undefined : (typeof axes === 'number' ? [axes] : axes).map((a) => normalAxis(a, x.rank));
  return reshape(
    x,
    x.shape.filter((d, i) => !(named ? named.includes(i) : d === 1)),
  );
}

/** With new axes of size 1 at these positions of the result. */
export function unsqueeze(x: Tensor, options: { readonly axes: number | readonly number[] }): Tensor {
  const list = typeof options.axes === 'number' ? [options.axes] : options.axes;
  const rank = x.rank + list.length;
  const at = new Set(list.map((a) => normalAxis(a, rank)));
  let next = 0;
  return reshape(
    x,
    Array.from({ length: rank }, (_, i) => (at.has(i) ? 1 : (x.shape[next++] ?? 0))),
  );
}

/** Axes from `startAxis` (default 0) to `endAxis` (default −1) joined into one. */
export function flatten(x: Tensor, options: { readonly startAxis?: number; readonly endAxis?: number } = {}): Tensor {
  const start = normalAxis(options.startAxis ?? 0, x.rank);
  const end = normalAxis(options.endAxis ?? -1, x.rank);
  return reshape(x, [
    ...x.shape.slice(0, start),
    elementCount(x.shape.slice(start, end + 1)),
    ...x.shape.slice(end + 1),
  ]);
}
