import { UsageError } from '../core/errors.ts';
import { elementCount } from '../core/types.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { dependsOnBatch, isForward } from '../graph/values.ts';

/**
 * Refuses a model whose samples see each other: its value for a sample depends on the others of its microbatch, so that it
 * cannot be the same for every number of microbatches. `single` is the model's graph for one sample, `double` for two.
 *
 * Recognised are batch normalisation by the microbatch's statistics, and what reduces over the batch and is read by values
 * of single samples again, or is a result. An op that mixes samples and keeps their number (a softmax along the batch)
 * does not show.
 */
export function refuseMixedSamples(single: Graph, double: Graph): void {
  const twice = new Map(double.nodes.map((n) => [n.name, n]));
  const grows = (node: Node): boolean => {
    const other = twice.get(node.name);
    return !other || size(other) > size(node);
  };
  const results = new Set([...single.outputs.values()].map((t) => t.node));
  for (const node of single.nodes) {
    if (!isForward(node)) continue;
    const joins =
      node.op!.name === 'batchNorm' ||
      (!grows(node) &&
        dependsOnBatch(node.outputs[0]!) &&
        (results.has(node) || readersOf(node).some((reader) => isForward(reader) && grows(reader))));
    if (!joins) continue;
    throw new UsageError(
      'invariant-mixed-samples',
      `${node.name} (${node.op!.name}) joins the samples of a microbatch, so results depend on the number of microbatches`,
      {
        fields: { node: node.name, op: node.op!.name },
        remedy: node.op!.name === 'batchNorm' ? '--batchNorm exact' : '--invariant false',
      },
    );
  }
}

const size = (node: Node): number => node.outputs.reduce((n, t) => n + elementCount(t.shape), 0);

const readersOf = (node: Node): Node[] => node.graph.nodes.filter((n) => n.inputs.some((t) => t.node === node));
