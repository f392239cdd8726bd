/**
 * Where the batch is in the values of a model, by looking: the same model is built for two batch sizes, and the axis whose
 * size follows the batch is the batch's. Nothing needs to be known of any operator.
 *
 * An axis may hold the batch together with others (a Reshape to [B·T, C]). Then the samples lie in its order only while
 * the batch was the outer one of what was joined; [T·B, C] has them interleaved, and cutting it into microbatches would
 * mix samples. So along the graph we keep for each tensor the number of elements that lie *before* the batch in
 * row-major order, which no Reshape changes:
 *
 *     [T, B, C]  outer T   ─ Reshape ─►  [T·B, C]  outer T: interleaved   ─ Reshape ─►  [T, B, C]  outer T
 *     [B, T, C]  outer 1   ─ Reshape ─►  [B·T, C]  outer 1: in order
 *     [4, 6]     outer 1   ─ Reshape to [4, −1] ─►  the axis with −1 would have outer 4: the 4 was the batch, baked in
 */
import { GraphError } from '../../core/errors.ts';
import { elementCount } from '../../core/types.ts';
import type { Graph, Tensor } from '../../graph/graph.ts';

/** Axis of the batch by name; null: there is none, or none that microbatches could be put together along. */
export interface BatchAxes {
  /** Of values by their names in the file. */
  readonly labels: ReadonlyMap<string, number | null>;
  /** Of tensors by their names in the graph. */
  readonly tensors: ReadonlyMap<string, number | null>;
}

interface Place {
  readonly axis: number;
  /** Size of the axis over the batch. */
  readonly perSample: number;
  /** Elements before the batch in row-major order. */
  readonly outer: number;
}

const before = (shape: readonly number[], axis: number): number => elementCount(shape.slice(0, axis));

/** Compares the graphs of one model for two batch sizes. Throws GraphError where a Reshape has the batch size baked in. */
export function compareBatches(a: Graph, batchA: number, b: Graph, batchB: number): BatchAxes {
  const others = new Map(b.nodes.map((node) => [node.name, node]));
  const places = new Map<Tensor, Place | null>();
  for (const node of a.nodes) {
    const other = others.get(node.name);
    if (!other) continue;
    for (const [i, tensor] of node.outputs.entries()) {
      const shapeB = other.outputs[i]?.shape;
      const axis = shapeB?.length === tensor.rank ? followingAxis(tensor.shape, batchA, shapeB, batchB) : null;
      places.set(tensor, axis === null ? null : placeOf(tensor, axis, batchA, places));
    }
  }
  const axisOf = (tensor: Tensor): number | null => {
    const place = places.get(tensor);
    return place && place.outer === before(tensor.shape, place.axis) ? place.axis : null;
  };
  return {
    labels: new Map([...a.labels].map(([name, tensor]) => [name, axisOf(tensor)])),
    tensors: new Map([...places.keys()].map((tensor) => [tensor.name, axisOf(tensor)])),
  };
}

/** The one axis whose size is a multiple of the batch in both. */
function followingAxis(
  shapeA: readonly number[],
  batchA: number,
  shapeB: readonly number[],
  batchB: number,
): number | null {
  const differing = shapeA.flatMap((size, axis) => (size === shapeB[axis] ? [] : [axis]));
  const [axis] = differing;
  if (axis === undefined || differing.length > 1) return null;
  return shapeA[axis]! % batchA === 0 &&
    shapeB[axis]! % batchB === 0 &&
    shapeA[axis]! / batchA === shapeB[axis]! / batchB
    ? axis
    : null;
}

function placeOf(tensor: Tensor, axis: number, batch: number, places: ReadonlyMap<Tensor, Place | null>): Place {
  const { node, shape } = tensor;
  const perSample = shape[axis]! / batch;
  const own = before(shape, axis);
  if (node.op?.name === 'reshape') {
    const input = node.inputs[0]!;
    const place = places.get(input);
    if (!place) return { axis, perSample, outer: own };
    if (place.outer % own === 0 && perSample % (place.outer / own) === 0)
      return { axis, perSample, outer: place.outer };
    throw new GraphError(
      'onnx-batch-size',
      `${node.name}: a Reshape from [${input.shape.join(', ')}] to [${shape.join(', ')}] has the batch size (${batch}) baked in`,
      { fields: { node: node.name, batch, from: input.shape, to: shape } },
    );
  }
  // Joined axes keep their inner order through every other op that keeps them.
  const joined = node.inputs.find((t) => perSample > 1 && places.get(t)?.perSample === perSample);
  const place = joined && places.get(joined);
  return { axis, perSample, outer: place ? own * (place.outer / before(joined.shape, place.axis)) : own };
}
