import { UsageError } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import { requireKinds, shown } from '../core/options.ts';
import { byteSize } from '../core/types.ts';
import { analyticCosts, type CostModel, nodeSeconds } from '../cost/model.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { isForward, isStepValue, rootOf } from '../graph/values.ts';
import { leaders } from './stage-of.ts';

/**
 * A forward node with all that follows it: the smallest part a partition moves. Reshapes take no instruction and no
 * memory; they belong to the unit before them, so that no stage consists of nothing.
 */
export interface Unit {
  readonly name: string;
  /** Its forward nodes: the named one and the reshapes with it. */
  readonly nodes: readonly string[];
  /** Seconds a microbatch. */
  readonly forwardSeconds: number;
  /** Seconds a microbatch of the nodes that are its derivatives, of any order. */
  readonly backwardSeconds: number;
  /** Seconds a step: totals and updates. */
  readonly stepSeconds: number;
  /** Trainable and frozen parameters whose first user this is. */
  readonly parameterBytes: number;
  /** Sums of gradients over microbatches, one for each use of a parameter in this unit. */
  readonly gradientBytes: number;
  /** Optimizer state of its parameters. */
  readonly stateBytes: number;
  /** Forward values that its derivatives read. */
  readonly saved: readonly SavedValue[];
}

/** A forward value kept for the backward pass: once on every stage with a reader. */
export interface SavedValue {
  readonly bytes: number;
  /** The next unit after this one whose derivatives read the same value; Infinity where there is none. */
  readonly nextReader: number;
}

/** Traffic of one kind over one boundary; values that share memory (reshapes) are one message. */
export interface Traffic {
  readonly bytes: number;
  readonly messages: number;
}

/** What crosses the boundary in front of a unit, each value once however many readers lie behind it. */
export interface Boundary {
  /** To later units, a microbatch. */
  readonly forward: Traffic;
  /** To earlier units, a microbatch. */
  readonly backward: Traffic;
  /** Both ways, once a step: shared parameters, their gradients, totals. */
  readonly step: Traffic;
}

export interface ChainUnits {
  /** In the graph's topological order. */
  readonly units: readonly Unit[];
  /** `boundaries[i]` lies in front of unit i; the first, and one behind the last unit, carry nothing. */
  readonly boundaries: readonly Boundary[];
}

/** A cost model may be anyone's: what it cannot say of a node would be told far from here, of whole stages. */
function requireSeconds(node: Node, seconds: number, costs: CostModel): void {
  if (isOfKind('notNegative', seconds) && isOfKind('finite', seconds)) return;
  throw new UsageError(
    'cost-seconds',
    `the cost model ${shown(costs.source)} gives ${node.name} ${shown(seconds)} seconds; they are a finite number of 0 or more`,
    {
      fields: { node: node.name, seconds, source: costs.source },
      remedy:
        'let kernelSeconds answer with a number for every run; analyticCosts({ device }) needs all figures of a device',
    },
  );
}

/**
 * The training graph as a chain of units with the costs of every unit and of every boundary between two of them.
 * Fed inputs and constants are given to every device and cross nothing.
 */
export function chainUnits(graph: Graph, costs: CostModel = analyticCosts()): ChainUnits {
  requireGraph('chainUnits', graph);
  requireKinds('chainUnits', { kernelSeconds: ['function', costs?.kernelSeconds] });
  const groups = withTheirReshapes(graph.nodes.filter(isForward));
  const position = new Map(groups.flatMap((group, i) => group.map((n) => [n, i] as const)));
  const leader = leaders(graph);
  /** Unit of a node; what follows nothing is on stage 0, hence with unit 0. */
  const unitOf = (node: Node): number => {
    const followed = leader[node.id];
    return followed ? position.get(followed)! : 0;
  };
  const units = groups.map((group) => ({
    name: (group.find((n) => !n.op!.alias) ?? group[0]!).name,
    nodes: group.map((n) => n.name),
    forwardSeconds: 0,
    backwardSeconds: 0,
    stepSeconds: 0,
    parameterBytes: 0,
    gradientBytes: 0,
    stateBytes: 0,
    saved: [] as SavedValue[],
  }));
  if (units.length === 0) return { units, boundaries: [empty] };

  for (const node of graph.nodes) {
    const unit = units[unitOf(node)]!;
    const bytes = byteSize(node.outputs[0]!.type);
    if (node.source?.kind === 'parameter') unit.parameterBytes += bytes;
    else if (node.source?.kind === 'state') unit.stateBytes += bytes;
    else if (node.op?.accumulates) unit.gradientBytes += bytes;
    const seconds = nodeSeconds(node, costs);
    requireSeconds(node, seconds, costs);
    if (node.region === 'step') unit.stepSeconds += seconds;
    else if (isForward(node)) unit.forwardSeconds += seconds;
    else unit.backwardSeconds += seconds;
  }
  const spans = new Map<Tensor, { first: number; last: number; readers: Set<number> }>();
  for (const node of graph.nodes) {
    // A reshape reads nothing; who reads the reshape reads its root.
    if (node.source || node.op!.alias) continue;
    const reader = unitOf(node);
    for (const t of node.inputs) {
      const root = rootOf(t);
      let span = spans.get(root);
      if (!span) spans.set(root, (span = { first: reader, last: reader, readers: new Set() }));
      span.first = Math.min(span.first, reader);
      span.last = Math.max(span.last, reader);
      if (node.pass > 0 && node.region === 'micro') span.readers.add(reader);
    }
  }
  const crossings = new Crossings(units.length);
  for (const [root, { first, last, readers }] of spans) {
    const bytes = byteSize(root.type);
    if (isSaved(root)) {
      const order = [...readers].sort((a, b) => a - b);
      order.forEach(
        (u, i) => void units[u]!.saved.push({ bytes, nextReader: order[i + 1] ?? Number.POSITIVE_INFINITY }),
      );
    }
    const kind = root.node.source?.kind;
    if (kind === 'input' || kind === 'constant') continue;
    const from = unitOf(root.node);
    const step = isStepValue(root);
    crossings.add(step ? 'step' : 'forward', from, last, bytes);
    crossings.add(step ? 'step' : 'backward', first, from, bytes);
  }
  return { units, boundaries: crossings.boundaries() };
}

/** Forward nodes in order, each reshape grouped with the node in front of it (those in front of all, with the first). */
function withTheirReshapes(nodes: readonly Node[]): Node[][] {
  const groups: Node[][] = [];
  for (const node of nodes) {
    const last = groups.at(-1);
    const open = last && (node.op!.alias || last.every((n) => n.op!.alias));
    if (open) last.push(node);
    else groups.push([node]);
  }
  return groups;
}

/** Values of one microbatch that are not derivatives themselves. */
const isSaved = (root: Tensor): boolean => !isStepValue(root) && root.node.pass === 0;

const nothing: Traffic = { bytes: 0, messages: 0 };
const empty: Boundary = { forward: nothing, backward: nothing, step: nothing };

/** Sums of values over the boundaries they cross, by differences: O(values + boundaries). */
class Crossings {
  readonly #n: number;
  readonly #changes: Record<keyof Boundary, { bytes: Float64Array; messages: Float64Array }>;

  constructor(n: number) {
    this.#n = n;
    const make = () => ({ bytes: new Float64Array(n + 2), messages: new Float64Array(n + 2) });
    this.#changes = { forward: make(), backward: make(), step: make() };
  }

  /** A value that lies on unit `low` and unit `high` crosses the boundaries low + 1 … high. */
  add(kind: keyof Boundary, low: number, high: number, bytes: number): void {
    if (high <= low) return;
    const change = this.#changes[kind];
    change.bytes[low + 1]! += bytes;
    change.bytes[high + 1]! -= bytes;
    change.messages[low + 1]!++;
    change.messages[high + 1]!--;
  }

  boundaries(): Boundary[] {
    const sums = { forward: nothing, backward: nothing, step: nothing };
    return Array.from({ length: this.#n + 1 }, (_, i) => {
      for (const kind of ['forward', 'backward', 'step'] as const) {
        const { bytes, messages } = this.#changes[kind];
        sums[kind] = { bytes: sums[kind].bytes + bytes[i]!, messages: sums[kind].messages + messages[i]! };
      }
      return { ...sums };
    });
  }
}
