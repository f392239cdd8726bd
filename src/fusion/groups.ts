import { elementCount, type Shape, sameShape } from '../core/types.ts';
import { barrierLevels } from '../graph/barriers.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { consumersOf, leadingOut } from '../graph/leading-out.ts';
import { varyingNodes } from '../graph/varying.ts';
import { fusedWalk, mostFusedDims } from '../lower/wasm/fused.ts';
import { isFusible } from '../ops/fused.ts';

/** An input, as the chain reads it. */
export interface FusionInput {
  readonly tensor: Tensor;
  readonly view: Shape;
}

/** Nodes that become one. */
export interface FusionGroup {
  /** In graph order. */
  readonly members: readonly Node[];
  readonly inputs: readonly FusionInput[];
  /** By member: values that it reads, those of the inputs first, then those of the members. */
  readonly args: readonly (readonly number[])[];
  /** Values that are written. */
  readonly outputs: readonly Tensor[];
  /** Reshapes of these values that stood before the last member: they stand behind it. */
  readonly aliases: readonly Node[];
}

/** A pass keeps so many operands and results in registers; longer chains are several passes. */
const MOST_INPUTS = 8;
const MOST_OUTPUTS = 4;
const MOST_STEPS = 24;

/**
 * Elementwise nodes of one size, each reading another one of its group, perhaps under another shape, so that a value less is
 * read, and one that nobody else needs is never written.
 *
 *     matmul ─► add ─► reshape ─► gelu ─► matmul      add, gelu: one pass that writes both, for geluGrad reads add's value
 *                         └──────► geluGrad
 *
 * A group runs where its last node stands, as one node of one task, and never makes anybody wait:
 * [1] its nodes run together whatever the schedule: same stage, region, pass, order of derivative, barrier level, task
 *     (B or W), and once a sample or not where samples are computed one by one;
 * [2] who reads one of its values, or follows one of its nodes as derivative, stands behind the last; reshapes, which take no
 *     time, are moved there;
 * [3] no parameter or state is updated between its first and its last node;
 * [4] it is walked in a few dimensions, with a few operands and results.
 */
export function fusionGroups(graph: Graph, stageOf: (node: Node) => number): FusionGroup[] {
  const survey = new Survey(graph, stageOf);
  const groupOf = new Map<Node, FusionGroup | undefined>();
  const membersOf = new Map<Node, readonly Node[]>();
  for (const node of graph.nodes) {
    const key = survey.keyOf(node);
    if (key === undefined) continue;
    let members: readonly Node[] = [node];
    let group: FusionGroup | undefined;
    for (const before of new Set(node.inputs.map((t) => membersOf.get(aliased(t).node)))) {
      if (!before || survey.keyOf(before[0]!) !== key) continue;
      const joined = [...before, ...members].sort((a, b) => a.id - b.id);
      const found = survey.groupOf(joined);
      if (found) [members, group] = [joined, found];
    }
    for (const member of members) {
      membersOf.set(member, members);
      groupOf.set(member, group);
    }
  }
  return [...new Set(groupOf.values())].filter((group) => group !== undefined);
}

/** Nodes that some partition may fuse with a neighbour: what they take by themselves bounds no plan. */
export function mayFuse(graph: Graph): ReadonlySet<Node> {
  return new Set(fusionGroups(graph, () => 0).flatMap(({ members }) => members));
}

/** What a tensor is a reshape of; itself, where it is none. */
function aliased(tensor: Tensor): Tensor {
  let t = tensor;
  while (t.node.op?.alias) t = t.node.inputs[0]!;
  return t;
}

/** What is asked of a graph again and again. */
class Survey {
  readonly #readers: readonly (readonly Node[])[];
  /** Nodes whose origin a node is, by its id. */
  readonly #derivatives: readonly (readonly Node[])[];
  readonly #results: ReadonlySet<Tensor>;
  readonly #updates: readonly number[];
  readonly #keys: readonly (string | undefined)[];

  constructor(graph: Graph, stageOf: (node: Node) => number) {
    this.#readers = consumersOf(graph);
    const derivatives: Node[][] = graph.nodes.map(() => []);
    for (const node of graph.nodes) if (node.origin) derivatives[node.origin.id]!.push(node);
    this.#derivatives = derivatives;
    this.#results = new Set([...graph.outputs.values(), ...graph.assignments.map((a) => a.value)]);
    this.#updates = graph.nodes.filter((n) => n.op?.inPlace).map((n) => n.id);
    this.#keys = placeKeys(graph, stageOf);
  }

  /** What the nodes of a group have in common [1]; undefined for a node that is in none. */
  keyOf(node: Node): string | undefined {
    return this.#keys[node.id];
  }

  /** The group of these nodes; undefined where they cannot be one. */
  groupOf(members: readonly Node[]): FusionGroup | undefined {
    if (members.length > MOST_STEPS) return undefined;
    const own = new Set(members);
    const [first, last] = [members[0]!, members.at(-1)!];
    if (this.#updates.some((id) => id > first.id && id < last.id)) return undefined; // [3]
    const aliases: Node[] = [];
    const mayWait = (node: Node): boolean =>
      [...this.#readers[node.id]!, ...this.#derivatives[node.id]!].every((f) => {
        if (f.id > last.id || own.has(f)) return true;
        if (!f.op?.alias || aliased(f.outputs[0]!).node !== aliased(node.outputs[0]!).node) return false;
        aliases.push(f);
        return mayWait(f);
      });
    if (!members.every((m) => m === last || mayWait(m))) return undefined; // [2]

    const outputs = this.#outputsOf(members, own);
    if (outputs.length === 0 || outputs.length > MOST_OUTPUTS) return undefined;
    for (const shape of new Map(members.map((m) => [m.outputs[0]!.shape.join(), m.outputs[0]!.shape])).values()) {
      const read = operandsUnder(shape, members, own);
      if (!read || read.inputs.length > MOST_INPUTS) continue;
      const types = read.inputs.map(({ tensor, view }) => ({ dtype: tensor.dtype, shape: view }));
      if (fusedWalk(shape, types).dims.length > mostFusedDims) continue; // [4]
      const needed = aliases.filter((a) => this.#isNeeded(a.outputs[0]!, own));
      return { members, ...read, outputs, aliases: needed };
    }
    return undefined;
  }

  /** Masks last, for the first output may lie over an input that dies. */
  #outputsOf(members: readonly Node[], own: ReadonlySet<Node>): Tensor[] {
    const outputs = members.map((m) => m.outputs[0]!).filter((t) => this.#isNeeded(t, own));
    const isMask = (t: Tensor): number => (t.dtype === 'bool' ? 1 : 0);
    return outputs.sort((a, b) => isMask(a) - isMask(b));
  }

  /** Whether a value, under whatever shape, is a result, or nodes beside some read it. */
  #isNeeded(tensor: Tensor, own: ReadonlySet<Node>): boolean {
    if (this.#results.has(tensor)) return true;
    return this.#readers[tensor.node.id]!.some((r) => (r.op?.alias ? this.#isNeeded(r.outputs[0]!, own) : !own.has(r)));
  }
}

/** What a group reads, each view once, if all its nodes can be computed under one shape. */
function operandsUnder(
  shape: Shape,
  members: readonly Node[],
  own: ReadonlySet<Node>,
): Pick<FusionGroup, 'inputs' | 'args'> | undefined {
  const inputs: FusionInput[] = [];
  const places = members.map((m) =>
    m.inputs.map((tensor) => {
      const root = aliased(tensor);
      if (own.has(root.node)) return { member: members.indexOf(root.node) };
      const view = viewUnder(shape, tensor.shape, m.outputs[0]!.shape);
      if (!view) return undefined;
      const known = inputs.findIndex((input) => input.tensor === tensor && sameShape(input.view, view));
      return { input: known >= 0 ? known : inputs.push({ tensor, view }) - 1 };
    }),
  );
  if (places.some((list) => list.includes(undefined))) return undefined;
  const args = places.map((list) =>
    list.map((place) => ('input' in place! ? place.input! : inputs.length + place!.member)),
  );
  return { inputs, args };
}

/**
 * The shape under which an operand that repeats to `to` repeats in the same way to `shape`, of as many elements: itself where
 * the two are one, and where it is whole, one number, or `to` but for its first dimensions; undefined where there is none.
 */
function viewUnder(shape: Shape, operand: Shape, to: Shape): Shape | undefined {
  if (sameShape(shape, to)) return operand;
  const size = elementCount(operand);
  if (size === elementCount(to)) return shape;
  const inner = operand.slice(operand.findIndex((d) => d !== 1));
  if (size > 1 && !sameShape(inner, to.slice(to.length - inner.length))) return undefined;
  for (let from = shape.length; from >= 0; from--) {
    if (elementCount(shape.slice(from)) === size) return shape.slice(from);
  }
  return undefined;
}

function placeKeys(graph: Graph, stageOf: (node: Node) => number): (string | undefined)[] {
  const { of, early } = barrierLevels(graph);
  const leading = leadingOut(graph, stageOf);
  const varying = varyingNodes(graph);
  /** Step nodes behind an update: they run behind the barrier of all devices. */
  const updated = new Set<Node>();
  return graph.nodes.map((node) => {
    const { op, region, pass, order, inputs, outputs } = node;
    if (!op) return undefined;
    if (region === 'step' && (op.inPlace || inputs.some((t) => updated.has(t.node)))) updated.add(node);
    if (updated.has(node) || early.has(node)) return undefined;
    if (
      !isFusible(
        op.name,
        inputs.map((t) => t.type),
      )
    )
      return undefined;
    const task = leading.has(node) ? 'B' : 'W';
    const flags = `${node.recomputes ? 'again' : ''} ${varying.has(node) ? 'varies' : ''}`;
    return `${stageOf(node)} ${region} ${pass} ${order} ${of[node.id]} ${task} ${flags} ${elementCount(outputs[0]!.shape)}`;
  });
}
