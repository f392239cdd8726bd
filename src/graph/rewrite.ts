import { GraphError } from '../core/errors.ts';
import { Graph, type Node, type Tensor } from './graph.ts';

export interface RewriteHooks {
  /** Nodes to keep; nothing kept may read one that is not. Default: all. */
  readonly keep?: (node: Node) => boolean;
  /**
   * Tensors of the new graph that stand for the node's outputs; undefined: the node is copied. `inputs` and `origin` are
   * of the new graph already; a new node is made with `graph.adopt`.
   */
  readonly replace?: (
    node: Node,
    inputs: readonly Tensor[],
    graph: Graph,
    origin: Node | undefined,
  ) => readonly Tensor[] | undefined;
}

export interface Rewritten {
  readonly graph: Graph;
  /** What stands for a tensor of the source. Throws GraphError where it was dropped; `reader` says who asks. */
  readonly copyOf: (tensor: Tensor, reader: string) => Tensor;
}

/** `rewriteWithCopies` where only the graph is wanted. */
export const rewrite = (source: Graph, hooks: RewriteHooks): Graph => rewriteWithCopies(source, hooks).graph;

/**
 * Copies a graph node by node, in order, with its names, outputs and assignments.
 *
 * Origins are kept valid, for they say where a derivative runs: an origin that was replaced becomes the node of its
 * replacement, one that was dropped gives way to its own origin, whose stage it followed. Throws GraphError where a
 * chain of origins ends without a kept node, or where something kept reads something dropped.
 */
export function rewriteWithCopies(source: Graph, hooks: RewriteHooks): Rewritten {
  const graph = new Graph({ mode: source.mode });
  const copies = new Map<Tensor, Tensor>();
  const places = new Map<Node, Node>();

  const copyOf = (tensor: Tensor, reader: string): Tensor => {
    const copy = copies.get(tensor);
    if (copy) return copy;
    throw new GraphError('rewrite-dropped', `${reader} needs ${tensor}, which a pass has dropped`, {
      fields: { reader, tensor: tensor.name },
    });
  };
  const originOf = (node: Node): Node | undefined => {
    for (let origin = node.origin; origin; origin = origin.origin) {
      const place = places.get(origin);
      if (place) return place;
    }
    if (!node.origin) return undefined;
    throw new GraphError('rewrite-origin', `a pass has dropped ${node.origin.name}, whose stage ${node.name} follows`, {
      fields: { node: node.name, origin: node.origin.name },
    });
  };

  for (const node of source.nodes) {
    if (hooks.keep && !hooks.keep(node)) continue;
    const inputs = node.inputs.map((t) => copyOf(t, node.name));
    const origin = originOf(node);
    const outputs = hooks.replace?.(node, inputs, graph, origin) ?? graph.adopt(node, inputs, origin).outputs;
    node.outputs.forEach((t, i) => void copies.set(t, outputs[i]!));
    places.set(node, outputs[0]!.node);
  }
  carryOver(source, graph, copyOf, (t) => copies.get(t));
  return { graph, copyOf };
}

/** Declares in a copied graph what the source has declared: results, labels of what is left, assignments. */
export function carryOver(
  source: Graph,
  graph: Graph,
  copyOf: (tensor: Tensor, reader: string) => Tensor,
  copyIfLeft: (tensor: Tensor) => Tensor | undefined,
): void {
  for (const [name, tensor] of source.outputs) {
    const copy = copyOf(tensor, `output ${name}`);
    if (source.isPerMicrobatch(name)) graph.outputPerMicrobatch(name, copy);
    else graph.output(name, copy, { batchAxis: source.batchAxisOf(name) });
  }
  for (const [name, tensor] of source.labels) {
    const copy = copyIfLeft(tensor);
    if (copy) graph.label(name, copy);
  }
  for (const { target, value } of source.assignments) {
    graph.assign(copyOf(target, `assignment to ${target.name}`), copyOf(value, `assignment to ${target.name}`));
  }
  for (const name of source.gradientsOfWholeBatch) graph.gradientsOfWholeBatch.add(name);
}
