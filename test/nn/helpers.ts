import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';

/** A small generator (xorshift32) for values in [-1, 1): tests need repeatable numbers, not good ones. */
export function generator(seed: number): () => number {
  let state = seed * 2654435761 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 31;
  };
}

export const ref = (t: Tensor, values: ArrayLike<number>): RefTensor => ({
  type: t.type,
  data: Float64Array.from(values),
});

/** Values for every parameter and buffer of a graph, the same for one seed and layout. Variances are positive. */
export function fillParameters(graph: Graph, seed = 1): Map<Tensor, RefTensor> {
  const next = generator(seed);
  return new Map(
    [...graph.parameters, ...graph.sources('buffer')].map((t) => [
      t,
      ref(
        t,
        Array.from({ length: elementCount(t.shape) }, () => 0.5 * next() + (t.name.endsWith('var') ? 1 : 0)),
      ),
    ]),
  );
}

/** The input of this name. */
export function inputOf(graph: Graph, name: string): Tensor {
  const found = graph.sources('input').find((t) => t.node.source!.name === name);
  if (!found) throw new Error(`no input ${name}`);
  return found;
}

/** Values of tensors, inputs given by name. */
export function valuesOf(
  wanted: readonly Tensor[],
  inputs: Readonly<Record<string, ArrayLike<number>>>,
  parameters: ReadonlyMap<Tensor, RefTensor> = new Map(),
): Float64Array[] {
  const feeds = new Map(parameters);
  for (const [name, values] of Object.entries(inputs)) {
    const t = inputOf(wanted[0]!.graph, name);
    if (values.length !== elementCount(t.shape)) throw new Error(`${name}: ${values.length} values for ${t}`);
    feeds.set(t, ref(t, values));
  }
  return evaluate(wanted, feeds).map((v) => v.data);
}

/** A graph with one unbatched f32 input `x`. */
export function withInput(...shape: number[]): { graph: Graph; x: Tensor } {
  const graph = new Graph();
  return { graph, x: graph.input('x', { shape }) };
}

/** What must agree between graphs of one model at different batch sizes. */
export const nodeList = (graph: Graph): string[] =>
  graph.nodes.map((n) => `${n.name}: ${n.op?.name ?? n.source!.kind}(${n.inputs.map((t) => t.name).join(', ')})`);
