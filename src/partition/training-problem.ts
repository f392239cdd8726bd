/**
 * A training graph as a placement problem: its forward nodes with all that follows them are the parts, what passes between
 * them a microbatch, forward and backward, are the values.
 */

import { requireKinds } from '../core/options.ts';
import { byteSize } from '../core/types.ts';
import { transferSeconds } from '../cost/analytic.ts';
import { type CostModel, devicesOfLinks, nodeSeconds, slowestLink } from '../cost/model.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isForward, isStepValue, rootOf } from '../graph/values.ts';
import { gatherHanging, together } from './gather.ts';
import type { Part, PlacementDevice, PlacementProblem, Value } from './problem.ts';
import { forwardNodes, leaders } from './stage-of.ts';

export interface TrainingProblemOptions {
  readonly costs: CostModel;
  /** Devices that the parts may lie on. */
  readonly devices: readonly TrainingDevice[];
  /** What happens once a step is shared by them. */
  readonly microbatches: number;
}

export interface TrainingDevice {
  /** As a factor on that of a wasm core. */
  readonly speed: number;
  /** Bytes; null: as much as needed. */
  readonly memory: number | null;
  /** Microbatches whose activations it holds at once. Default 1. */
  readonly inFlight?: number;
}

export interface TrainingProblem {
  /** Times in seconds a microbatch. */
  readonly problem: PlacementProblem;
  /** Device of every forward node, from the device of every part. */
  readonly assignmentOf: (deviceOf: readonly number[]) => Record<string, number>;
}

/**
 * Parts are the forward nodes that run something, in the graph's topological order; a reshape lies where its input is made,
 * or, of what is fed or a parameter, on the first device that reads it. A part's work is that of the node, of its
 * derivatives of any order and of its share of the step's totals and updates; its bytes are parameters, gradients and
 * optimizer state; it holds the forward values that derivatives read and that it makes (or reads first). Fed inputs and
 * constants are given to every device and move nowhere. Light nodes that hang on one other (running statistics) are part of
 * it.
 */
export function trainingProblem(graph: Graph, options: TrainingProblemOptions): TrainingProblem {
  requireGraph('trainingProblem', graph);
  requireKinds('trainingProblem', { options: ['record', options], devices: ['list', options?.devices] });
  requireKinds('trainingProblem', { costs: ['object', options.costs] });
  const { costs, devices, microbatches: M } = options;
  const link = slowestLink(
    costs,
    devices.map((_, d) => d),
  );
  const nodes = forwardNodes(graph);
  const runs = nodes.filter((n) => !n.op!.alias);
  const partsOfNode = partsOf(nodes, runs);
  const leader = leaders(graph);
  /** Part of any node; what follows nothing is on part 0, as it is on stage 0. */
  const partOf = (node: Node): number => {
    const followed = isForward(node) ? node : leader[node.id];
    return followed ? partsOfNode.get(followed)![0]! : 0;
  };
  const parts = runs.map(({ name }) => ({ name, work: 0, bytes: 0, heldBytes: 0 }));
  const problem = (values: Value[], edges: [number, number][]): TrainingProblem => {
    const { problem: smaller, into } = gatherHanging({
      parts: parts satisfies Part[],
      values: together(values),
      edges,
      devices: placementDevices(options),
      load: 'sum',
      unit: 's',
    });
    const deviceIn = (deviceOf: readonly number[]) => (part: number) => deviceOf[into[part] ?? 0] ?? 0;
    return {
      problem: smaller,
      assignmentOf: (deviceOf) =>
        Object.fromEntries(nodes.map((n) => [n.name, Math.min(...partsOfNode.get(n)!.map(deviceIn(deviceOf)))])),
    };
  };
  if (parts.length === 0) return problem([], []);

  const edges = new Map<number, [number, number]>();
  const readers = new Map<ReturnType<typeof rootOf>, { parts: Set<number>; saved: boolean }>();
  for (const node of graph.nodes) {
    const part = partOf(node);
    if (node.source) {
      const bytes = byteSize(node.outputs[0]!.type);
      if (node.source.kind === 'parameter' || node.source.kind === 'state') parts[part]!.bytes += bytes;
      continue;
    }
    if (node.op!.alias) continue;
    if (node.op!.accumulates) parts[part]!.bytes += byteSize(node.outputs[0]!.type);
    parts[part]!.work += nodeSeconds(node, costs) / (node.region === 'step' ? M : 1);
    for (const t of node.inputs) {
      const root = rootOf(t);
      let known = readers.get(root);
      if (!known) readers.set(root, (known = { parts: new Set(), saved: false }));
      known.parts.add(part);
      if (node.pass > 0 && node.region === 'micro' && root.node.pass === 0 && !isStepValue(root)) known.saved = true;
      if (!isForward(node) || !isForward(root.node)) continue;
      const from = partOf(root.node);
      if (from !== part) edges.set(from * parts.length + part, [from, part]);
    }
  }

  const values: Value[] = [];
  for (const [root, { parts: reading, saved }] of readers) {
    const bytes = byteSize(root.type);
    const kind = root.node.source?.kind;
    const isGiven = kind === 'input' || kind === 'constant';
    const producer = isGiven ? Math.min(...reading) : partOf(root.node);
    if (saved) parts[producer]!.heldBytes += bytes;
    if (isGiven) continue;
    values.push({
      producer,
      consumers: [...reading],
      cost: transferSeconds(bytes, 1, link) / (isStepValue(root) ? M : 1),
    });
  }
  return problem(values, [...edges.values()]);
}

/**
 * Parts by forward node: its own, that of the value it reshapes, or, for a reshape of something fed, of all that read it,
 * in ascending order.
 */
function partsOf(nodes: readonly Node[], runs: readonly Node[]): Map<Node, readonly number[]> {
  const parts = new Map(runs.map((n, i) => [n, [i] as readonly number[]]));
  const readers = new Map<Node, Set<number>>();
  // Readers come later in the order, so this goes from the end.
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    for (const { node: from } of node.inputs) {
      if (!isForward(from) || !from.op!.alias) continue;
      const known = readers.get(from) ?? new Set();
      for (const part of parts.get(node) ?? readers.get(node) ?? []) known.add(part);
      readers.set(from, known);
    }
  }
  for (const node of nodes) {
    if (!node.op!.alias) continue;
    const all = [...(readers.get(node) ?? [0])].sort((a, b) => a - b);
    parts.set(node, parts.get(rootOf(node.outputs[0]!).node) ?? (all.length > 0 ? all : [0]));
  }
  return parts;
}

/** Costs of transfers are stated for the slowest link; each device counts its own slowest. */
function placementDevices({ costs, devices }: TrainingProblemOptions): PlacementDevice[] {
  const all = devices.map((_, d) => d);
  const bytes = 64 * 1024;
  const slowest = transferSeconds(bytes, 1, slowestLink(costs, all));
  const others = devicesOfLinks(costs, all);
  return devices.map(({ speed, memory, inFlight = 1 }, d) => {
    let own = 0;
    for (const e of others) {
      if (e === d) continue;
      for (const l of [costs.link(d, e), costs.link(e, d)]) own = Math.max(own, transferSeconds(bytes, 1, l));
    }
    return {
      kind: 'accelerator',
      speed,
      capacity: memory ?? Number.POSITIVE_INFINITY,
      linkSpeed: own > 0 ? slowest / own : 1,
      inFlight,
    };
  });
}
