import type { Graph, Node } from './graph.ts';
import { isStepValue } from './values.ts';

/**
 * Nodes that differ from sample to sample: what depends on a batched input, and derivatives of such nodes, also where they
 * are the same for all samples (the gradient of a mean): each sample adds its own.
 */
export function varyingNodes(graph: Graph): Set<Node> {
  const found = new Set<Node>();
  for (const node of graph.nodes) {
    const varies = node.source
      ? !isStepValue(node.outputs[0]!) && node.source.kind === 'input'
      : node.region === 'micro' &&
        ((node.origin !== undefined && node.pass > 0 && found.has(node.origin)) ||
          node.inputs.some((t) => !isStepValue(t) && found.has(t.node)));
    if (varies) found.add(node);
  }
  return found;
}
