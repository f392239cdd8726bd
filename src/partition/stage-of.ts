import { nearest, PlanError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isForward, rootOf } from '../graph/values.ts';
import { mirrored } from './fold.ts';
import type { Partition } from './partition.ts';

/** The graph's forward nodes in topological order: what a partition assigns. */
export function forwardNodes(graph: Graph): Node[] {
  requireGraph('forwardNodes', graph);
  return graph.nodes.filter(isForward);
}

/**
 * The forward node that each node follows, by node id; undefined where there is none.
 *
 * - A forward node follows itself, a derivative or update node its origin, along the chain.
 * - A source follows the first forward node that reads it, through reshapes, which take no instruction. A buffer that
 *   none reads (running statistics, in training) follows what it averages. What is left (optimizer state) follows its
 *   origin.
 * - What is left (an op outside all of these) follows the latest of its inputs.
 */
export function leaders(graph: Graph): (Node | undefined)[] {
  requireGraph('leaders', graph);
  const leader = new Array<Node | undefined>(graph.nodes.length);
  const readers = firstForwardReaders(graph);
  for (const node of graph.nodes) if (node.source) leader[node.id] = readers.get(node.outputs[0]!);
  for (const node of graph.nodes) {
    if (isForward(node)) leader[node.id] = node;
    else if (leader[node.id] === undefined) {
      const followed = node.origin && leader[node.origin.id];
      leader[node.id] = followed ?? latest(node.inputs.map((t) => leader[t.node.id]));
    }
    if (!node.op?.accumulates && node.region !== 'step') continue;
    for (const t of node.inputs) if (t.node.source?.kind === 'buffer') leader[t.node.id] ??= leader[node.id];
  }
  return leader;
}

function firstForwardReaders(graph: Graph): Map<Tensor, Node> {
  const readers = new Map<Tensor, Node>();
  for (const node of graph.nodes) {
    if (!isForward(node)) continue;
    for (const t of node.inputs) {
      const root = rootOf(t);
      const known = readers.get(root);
      if (!known || (known.op!.alias && !node.op!.alias)) readers.set(root, node);
    }
  }
  return readers;
}

const latest = (nodes: readonly (Node | undefined)[]): Node | undefined =>
  nodes.reduce((a, b) => (a && b ? (b.id > a.id ? b : a) : (a ?? b)), undefined);

/**
 * The stage of any node of a training graph. Nodes that follow no forward node (an unused parameter) are on stage 0.
 * Names of the partition that the graph does not have are passed over, so that a training graph's partition serves its
 * forward graph too. Throws PlanError where a forward node is not assigned.
 *
 * With `fill`, a forward node that the partition does not know takes the highest stage of its inputs: graphs of other
 * batch sizes may need a node more (a broadcast that one sample does without), which changes no edge's direction.
 */
export function stageMap(
  graph: Graph,
  partition: Partition,
  options: { readonly fill?: boolean } = {},
): (node: Node) => number {
  requireGraph('stageMap', graph);
  requireKinds('stageMap', { partition: ['object', partition], options: ['record', options] });
  const assignment = options.fill ? filled(graph, partition.assignment) : partition.assignment;
  const missing = forwardNodes(graph).filter((n) => !Object.hasOwn(assignment, n.name));
  if (missing.length > 0) {
    const name = missing[0]!.name;
    const near = nearest(name, Object.keys(assignment));
    throw new PlanError(
      'partition-mismatch',
      `the partition assigns no stage to ${missing.length} of the graph's nodes, first ${name}${near ? ` (it has ${near})` : ''}`,
      {
        fields: { nodes: missing.slice(0, 20).map((n) => n.name), nearest: near ?? null },
        remedy: 'make the partition again from this model',
      },
    );
  }
  const stages = stagesOf(graph, partition.stages, (node) => assignment[node.name]!);
  return (node) => stages[node.id]!;
}

/**
 * Stages of all nodes from those of the forward nodes. What has an origin stands where its origin does, or, where it is a
 * gradient within the model, at the mirrored place of the folded chain; what is computed from gradients without being one
 * (their squares' sum) stands at the latest of its inputs. What joins derivatives stands at the earliest of its inputs.
 * The update of a parameter that nothing reads stands where the parameter does, whatever it reads from elsewhere (the
 * factor of clipping).
 */
function stagesOf(graph: Graph, stages: number, own: (node: Node) => number): number[] {
  const leader = leaders(graph);
  const found = new Array<number>(graph.nodes.length).fill(0);
  for (const node of graph.nodes) {
    const { origin, order } = node;
    if (isForward(node)) found[node.id] = own(node);
    else if (node.joins) found[node.id] = earliest(node, found);
    else if (node.source) found[node.id] = leader[node.id] ? own(leader[node.id]!) : 0;
    else if (origin && order > origin.order) found[node.id] = mirrored(found[origin.id]!, stages, order);
    else if (origin && (!origin.source || leader[origin.id] || node.region === 'step'))
      found[node.id] = found[origin.id]!;
    else found[node.id] = Math.max(0, ...node.inputs.map((t) => (t.node.source ? 0 : found[t.node.id]!)));
  }
  return found;
}

/** Constants and parameters stand wherever they are read. */
const earliest = (node: Node, stages: readonly number[]): number =>
  Math.min(...node.inputs.flatMap((t) => (t.node.source ? [] : [stages[t.node.id]!])));

function filled(graph: Graph, known: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const all: Record<string, number> = { ...known };
  for (const node of forwardNodes(graph)) {
    all[node.name] ??= Math.max(0, ...node.inputs.map((t) => all[t.node.name] ?? 0));
  }
  return all;
}
