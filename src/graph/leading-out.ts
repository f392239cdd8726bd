import type { Graph, Node } from './graph.ts';

/**
 * Derivative nodes that a derivative node of another stage depends on: the backward pass for activations (B). What only leads
 * to accumulators and results is that for weights (W), and may wait.
 */
export function leadingOut(graph: Graph, stageOf: (node: Node) => number): ReadonlySet<Node> {
  const consumers = consumersOf(graph);
  const found = new Set<Node>();
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    if (node.source || node.region === 'step' || node.pass === 0) continue;
    const leadsOut = consumers[id]!.some((c) => c.region === 'micro' && (stageOf(c) !== stageOf(node) || found.has(c)));
    if (leadsOut) found.add(node);
  }
  return found;
}

/** Nodes that read each node's outputs, by its id. */
export function consumersOf(graph: Graph): readonly (readonly Node[])[] {
  const consumers: Node[][] = graph.nodes.map(() => []);
  for (const node of graph.nodes) for (const t of node.inputs) consumers[t.node.id]!.push(node);
  return consumers;
}
