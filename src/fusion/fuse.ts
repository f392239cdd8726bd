import { sameShape } from '../core/types.ts';
import { Graph, type Node, type Tensor } from '../graph/graph.ts';
import { carryOver } from '../graph/rewrite.ts';
import { verify } from '../graph/verify.ts';
import { type FusedAttrs, fusedOp } from '../ops/fused.ts';
import { type FusionGroup, fusionGroups } from './groups.ts';

export interface Fused {
  readonly graph: Graph;
  /** The stages of its nodes. */
  readonly stageOf: (node: Node) => number;
}

/**
 * The graph with groups of elementwise nodes (`groups.ts`) as one node each, where the last of them stood and with its name;
 * values keep the names they had. Each element goes through the same operations as before, so that no bit changes, and what
 * is fused may follow the stages: no partition can cut a group, and none changes a result.
 */
export function fuseElementwise(source: Graph, stageOf: (node: Node) => number): Fused {
  const groups = fusionGroups(source, stageOf);
  if (groups.length === 0) return { graph: source, stageOf };
  const lastOf = new Map<Node, FusionGroup>(groups.map((g) => [g.members.at(-1)!, g]));
  const graph = new Graph({ mode: source.mode });
  const copies = new Map<Tensor, Tensor>();
  const places = new Map<Node, Node>();
  const stages = new Map<Node, number>();
  /** Members, and reshapes of their values: they have no place before their group has. */
  const waiting = new Set<Node>(groups.flatMap(({ members }) => members));

  const settle = (node: Node, copy: Node, outputs: readonly Tensor[]): void => {
    outputs.forEach((t, i) => void copies.set(t, copy.outputs[i]!));
    places.set(node, copy);
    stages.set(copy, stageOf(node));
  };
  const adopt = (node: Node): void => {
    const inputs = node.inputs.map((t) => copies.get(t)!);
    settle(node, graph.adopt(node, inputs, node.origin && places.get(node.origin)), node.outputs);
  };
  for (const node of source.nodes) {
    const group = lastOf.get(node);
    if (group) {
      const inputs = group.inputs.map(({ tensor }) => copies.get(tensor)!);
      const origin = node.origin && places.get(node.origin);
      const copy = graph.fuse(node, fusedOp, inputs, attrsOf(group), group.outputs, origin);
      for (const member of group.members) {
        settle(member, copy, group.outputs);
        waiting.delete(member);
      }
      for (const alias of source.nodes.slice(group.members[0]!.id, node.id)) {
        if (!waiting.has(alias) || waiting.has(alias.inputs[0]!.node) || !alias.op?.alias) continue;
        waiting.delete(alias);
        if (group.aliases.includes(alias)) adopt(alias);
        else places.set(alias, places.get(alias.inputs[0]!.node)!);
      }
    } else if (waiting.has(node)) continue;
    else if (node.op?.alias && waiting.has(node.inputs[0]!.node)) waiting.add(node);
    else if (node.op?.alias && !copies.has(node.inputs[0]!)) places.set(node, places.get(node.inputs[0]!.node)!);
    else adopt(node);
  }
  carryOver(
    source,
    graph,
    (t) => copies.get(t)!,
    (t) => copies.get(t),
  );
  verify(graph);
  return { graph, stageOf: (node) => stages.get(node)! };
}

function attrsOf({ members, inputs, args, outputs }: FusionGroup): FusedAttrs {
  const steps = members.map((m, s) => ({ op: m.op!.name, args: args[s]!, attrs: m.attrs }));
  const values = outputs.map((t) => inputs.length + members.indexOf(t.node));
  const reshapes = members.some((m) => !sameShape(m.outputs[0]!.shape, members[0]!.outputs[0]!.shape));
  if (!reshapes) return { steps, outputs: values };
  return { steps, outputs: values, views: inputs.map(({ view }) => view), shapes: outputs.map((t) => t.shape) };
}
