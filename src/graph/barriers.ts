import type { Graph, Node } from './graph.ts';
import { isStepValue } from './values.ts';

/**
 * Where a node stands between barriers. A micro node that reads a total over microbatches (batch statistics of the whole
 * batch) waits for all microbatches: it is one level behind what the total adds. Nodes of level k + 1 run when all
 * microbatches have run level k.
 *
 *     micro, level 0   x@0 ─► moments@0 ─┐   x@1 ─► moments@1 ─┐
 *     step                               └────► total ◄────────┘        ── barrier ──
 *     micro, level 1   normalise@0 ◄───────────────┴───────────► normalise@1
 */
export interface BarrierLevels {
  /** Level of each node, by id; of a step node, that of the last micro node it depends on. */
  readonly of: readonly number[];
  /** How many barriers there are: the highest level. */
  readonly barriers: number;
  /** Step nodes that a micro node depends on, so that they run between levels and not behind all of them. */
  readonly early: ReadonlySet<Node>;
}

export function barrierLevels(graph: Graph): BarrierLevels {
  const of = new Array<number>(graph.nodes.length).fill(0);
  const early = new Set<Node>();
  for (const node of graph.nodes) {
    let level = 0;
    for (const t of node.inputs) {
      const waits = runsInChunks(node) && isTotal(t.node);
      level = Math.max(level, of[t.node.id]! + (waits ? 1 : 0));
      if (waits && t.node.region === 'step') early.add(t.node);
    }
    of[node.id] = level;
  }
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    if (!early.has(node)) continue;
    for (const t of node.inputs) if (t.node.op && t.node.region === 'step') early.add(t.node);
  }
  sinkRecomputed(graph, of);
  return { of, barriers: of.reduce((a, b) => Math.max(a, b), 0), early };
}

/**
 * What is computed once more waits for the first of its readers: at its own level it would be made for all microbatches
 * before any of them is used.
 */
function sinkRecomputed(graph: Graph, of: number[]): void {
  const asked = new Map<Node, number>();
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    if (node.recomputes) of[id] = Math.max(of[id]!, asked.get(node) ?? 0);
    for (const t of node.inputs) {
      const from = t.node;
      if (from.recomputes) asked.set(from, Math.min(asked.get(from) ?? Number.POSITIVE_INFINITY, of[id]!));
    }
  }
}

/** A node that runs once a microbatch; what accumulates does too, though its output is a step value. */
const runsInChunks = (node: Node): boolean => node.op !== undefined && node.region === 'micro';

/** An op's output that is complete only behind the last microbatch. */
const isTotal = (node: Node): boolean => node.op !== undefined && isStepValue(node.outputs[0]!);
