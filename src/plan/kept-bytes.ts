/** What no plan of a model does without. */
import { byteSize } from '../core/types.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { Plan } from './plan.ts';

/**
 * What all devices hold together when the updates begin, on any partition: parameters, constants and optimizer state, each once,
 * and what is made in front of the barrier and read behind it, which are the gradients.
 */
export function keptBytes({ memory, graphs, programs }: Plan): number {
  const kept = new Map<string, number>();
  for (const { name, bytes, category } of memory.flatMap((m) => m.persistent)) {
    // A constant lies on every device that reads it: one of them at least.
    if (category === 'parameters' || category === 'optimizerState') kept.set(name, bytes);
  }
  const gradients = Object.keys(programs).map((name) => gradientBytes(graphs[name]!));
  return [...kept.values()].reduce((sum, bytes) => sum + bytes, Math.max(...gradients));
}

/** Bytes that the updates of a graph wait for (`program/context.ts` has them behind the barrier). */
function gradientBytes(graph: Graph): number {
  const updates = new Set<Node>();
  const held = new Set<Tensor>();
  for (const node of graph.nodes) {
    if (node.region !== 'step' || !node.op || node.op.alias) continue;
    if (!node.op.inPlace && !node.inputs.some((t) => updates.has(t.node))) continue;
    updates.add(node);
    for (const t of node.inputs) {
      const root = rootOf(t);
      if (!root.node.source && !updates.has(root.node)) held.add(root);
    }
  }
  return [...held].reduce((sum, t) => sum + byteSize(t.type), 0);
}
