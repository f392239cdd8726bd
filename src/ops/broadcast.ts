import { broadcastShapes, elementCount, formatShape, type Shape, sameShape, stridesOf } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { TypeRuleError } from '../graph/op-record.ts';
import { sum } from './reduce.ts';
import { reshape } from './shape.ts';

/** The broadcast shape, or a type error that names the first axis (from the end) that does not fit. */
export function broadcastOf(...shapes: Shape[]): number[] {
  const out = broadcastShapes(...shapes);
  if (out) return out;
  const rank = Math.max(...shapes.map((s) => s.length));
  for (let back = 1; back <= rank; back++) {
    const sizes = shapes.map((s) => s[s.length - back] ?? 1);
    if (new Set(sizes.filter((d) => d !== 1)).size > 1) {
      throw new TypeRuleError(
        `shapes ${shapes.map(formatShape).join(' and ')} do not broadcast: axis -${back} is ${sizes.join(' and ')}`,
      );
    }
  }
  throw new TypeRuleError(`shapes ${shapes.map(formatShape).join(' and ')} do not broadcast`);
}

/** Element strides of `shape` seen as `out`: 0 along repeated axes. */
export function broadcastStrides(shape: Shape, out: Shape): number[] {
  const own = stridesOf(shape);
  const lead = out.length - shape.length;
  return out.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]!));
}

/** For every element of `out` in order: the index of the element of a tensor with these strides. */
export function indexMap(out: Shape, strides: readonly number[], offset = 0): Int32Array {
  const map = new Int32Array(elementCount(out));
  const at = new Array<number>(out.length).fill(0);
  let index = offset;
  for (let i = 0; i < map.length; i++) {
    map[i] = index;
    for (let axis = out.length - 1; axis >= 0; axis--) {
      index += strides[axis]!;
      if (++at[axis]! < out[axis]!) break;
      index -= strides[axis]! * out[axis]!;
      at[axis] = 0;
    }
  }
  return map;
}

/** Index map of a broadcast operand. */
export const broadcastMap = (shape: Shape, out: Shape): Int32Array => indexMap(out, broadcastStrides(shape, out));

/** The adjoint of broadcasting: sums over the repeated axes, so that the result has `shape`. */
export function sumTo(tensor: Tensor, shape: Shape): Tensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  const lead = tensor.rank - shape.length;
  // Leading axes are summed also where they hold one entry, so that a chunk of one sample builds the same nodes.
  const axes = tensor.shape.flatMap((d, i) => (i < lead || (d !== 1 && shape[i - lead] === 1) ? [i] : []));
  return reshape(sum(tensor, { axes, keepDims: lead === 0 }), shape);
}
