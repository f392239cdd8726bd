import { byteSize } from '../core/types.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import { asksForward } from './stage-forward.ts';

/** What a stage keeps of each microbatch for its backward pass, and what it computes again. */
export interface StageReport {
  readonly stage: number;
  /** Nodes that run again, each as often as it does; reshapes do not count. */
  readonly nodes: number;
  readonly keptBytes: number;
  /** What it would keep if it computed nothing again. */
  readonly fullBytes: number;
}

/** Of every stage that computes something again, in order. */
export function recomputedStages(graph: Graph, stageOf: (node: Node) => number): StageReport[] {
  requireGraph('recomputedStages', graph);
  const stages = new Map<number, { nodes: number; kept: Set<Tensor>; full: Set<Tensor> }>();
  for (const node of graph.nodes) {
    if (!asksForward(node) || node.op!.alias) continue;
    const stage = stageOf(node);
    let own = stages.get(stage);
    if (!own) stages.set(stage, (own = { nodes: 0, kept: new Set(), full: new Set() }));
    if (node.recomputes) own.nodes++;
    for (const t of node.inputs) {
      const root = rootOf(t);
      const original = root.node.recomputes ? root.node.origin!.outputs[root.index]! : root;
      if (original.node.pass > 0 || isStepValue(original) || original.node.source?.kind === 'constant') continue;
      if (original === root) own.kept.add(root);
      if (!node.recomputes) own.full.add(original);
    }
  }
  const bytes = (of: ReadonlySet<Tensor>): number => [...of].reduce((sum, t) => sum + byteSize(t.type), 0);
  return [...stages]
    .filter(([, { nodes }]) => nodes > 0)
    .sort(([a], [b]) => a - b)
    .map(([stage, { nodes, kept, full }]) => ({ stage, nodes, keptBytes: bytes(kept), fullBytes: bytes(full) }));
}
