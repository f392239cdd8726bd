import type { Graph, Tensor } from '../graph/graph.ts';
import { MOST_PLACES, normalAxis } from './axes.ts';
import { cast, equal, or } from './compare.ts';
import { refuseOptions } from './options.ts';
import { reshape, unsqueeze } from './shape.ts';

export interface OneHotOptions {
  /** Number of classes. */
  readonly depth: number;
  /** Place of the new axis in the result; default: the last. */
  readonly axis?: number;
}

/** bool of shape [A…, depth, B…]: true at the class of each i32 index, nowhere for an index outside −depth … depth − 1. */
export function oneHotMask(indices: Tensor, { depth, axis = -1 }: OneHotOptions): Tensor {
  if (!Number.isInteger(depth) || depth < 1 || depth > MOST_PLACES) {
    const expected = `depth must be a positive integer, at most ${MOST_PLACES}`;
    refuseOptions('oneHot', indices, `${expected}, got ${depth}`, 'depth: 10');
  }
  const at = normalAxis(axis, indices.rank + 1);
  const column = unsqueeze(indices, { axes: at });
  const classes = (from: number) =>
    reshape(
      range(indices.graph, from, depth),
      column.shape.map((_, i) => (i === at ? depth : 1)),
    );
  return or(equal(column, classes(0)), equal(column, classes(-depth)));
}

/** f32 1 at the class of each i32 index along a new axis, else 0. ONNX OneHot, torch.nn.functional.one_hot. */
export const oneHot = (indices: Tensor, options: OneHotOptions): Tensor => cast(oneHotMask(indices, options), 'f32');

/** i32 [from, from + 1, …] of `count` entries, a constant. */
function range(graph: Graph, from: number, count: number): Tensor {
  const type = { dtype: 'i32', shape: [count] } as const;
  return graph.constant({ type, data: Int32Array.from({ length: count }, (_, i) => from + i) }, 'classes');
}
