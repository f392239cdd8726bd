import { byteSize } from '../core/types.ts';
import { analyticCosts, nodeSeconds } from '../cost/model.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isStepValue, rootOf } from '../graph/values.ts';

/** Whether a node may run once more: not what leaves something behind (running statistics, sums, updates in place). */
export const isRecomputable = (node: Node): boolean =>
  node.op !== undefined &&
  node.region === 'micro' &&
  node.pass === 0 &&
  node.op.accumulates === undefined &&
  node.op.inPlace === undefined;

/** Whether a node of the backward pass may read a clone. A sum over microbatches (the loss) reads what the forward pass made. */
export const asksForward = (node: Node): boolean =>
  node.op !== undefined && node.region === 'micro' && node.pass > 0 && node.op.accumulates === undefined;

/** The forward node that a backward node is a derivative of; undefined where that is a source. */
export function blockLeader(backward: Node): Node | undefined {
  let node: Node | undefined = backward;
  while (node && node.pass > 0) node = node.origin;
  return node?.op ? node : undefined;
}

/** A value that the forward pass of a stage makes, or reads from elsewhere. */
export interface ForwardValue {
  readonly root: Tensor;
  readonly bytes: number;
  /** Comes from another stage or is fed. */
  readonly arrives: boolean;
  /** Backward nodes of the stage that read it. */
  readonly backward: Node[];
}

/** The part of a stage's forward pass that its backward pass depends on. */
export interface StageForward {
  readonly stage: number;
  /** In graph order, reshapes included. */
  readonly nodes: readonly Node[];
  /** The stage's backward nodes, in graph order; reshapes included, sums over microbatches not. */
  readonly asking: readonly Node[];
  /** By root; those once a step (parameters, constants) cost nothing to keep and are not among them. */
  readonly values: ReadonlyMap<Tensor, ForwardValue>;
  readonly seconds: (node: Node) => number;
}

/**
 * The forward parts of all stages that have a backward pass, by stage. Times are those of rooflines whatever was measured:
 * else the program, and its memory, would depend on it.
 */
export function stageForwards(graph: Graph, stageOf: (node: Node) => number): Map<number, StageForward> {
  requireGraph('stageForwards', graph);
  const costs = analyticCosts();
  const seconds = (node: Node): number => nodeSeconds(node, costs);
  const drafts = new Map<number, { wanted: Set<Node>; asking: Node[]; values: Map<Tensor, ForwardValue> }>();
  const valueIn = (stage: number, values: Map<Tensor, ForwardValue>, root: Tensor): ForwardValue | undefined => {
    if (isStepValue(root) || root.node.source?.kind === 'constant' || root.node.pass > 0) return undefined;
    let known = values.get(root);
    if (!known) {
      const arrives = !isRecomputable(root.node) || stageOf(root.node) !== stage;
      values.set(root, (known = { root, bytes: byteSize(root.type), arrives, backward: [] }));
    }
    return known;
  };
  // Backward readers stand behind all forward nodes that they ask for.
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    if (node.source) continue;
    const stage = stageOf(node);
    const asks = asksForward(node);
    let draft = drafts.get(stage);
    if (!draft) {
      if (!asks) continue;
      drafts.set(stage, (draft = { wanted: new Set(), asking: [], values: new Map() }));
    }
    if (!asks && !draft.wanted.has(node)) continue;
    for (const t of node.inputs) {
      const root = rootOf(t);
      const value = valueIn(stage, draft.values, root);
      if (!value) continue;
      if (asks && !node.op!.alias) value.backward.push(node);
      if (value.arrives) continue;
      draft.wanted.add(root.node);
      for (let n = t.node; n !== root.node; n = n.inputs[0]!.node) if (isRecomputable(n)) draft.wanted.add(n);
    }
    if (asks) draft.asking.push(node);
  }
  return new Map(
    [...drafts].map(([stage, { wanted, asking, values }]) => [
      stage,
      { stage, nodes: [...wanted].sort((a, b) => a.id - b.id), asking: asking.reverse(), values, seconds },
    ]),
  );
}
