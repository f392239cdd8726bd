import type { Graph, Node } from '../graph.ts';
import { rewrite } from '../rewrite.ts';

/**
 * Drops what no output and no assignment depends on. Data inputs and parameters stay: they are the model's interface.
 *
 * Origins say where a derivative runs. A dead derivative gives way to its own origin, which it followed (`rewrite` does
 * so); a dead forward node stays alive, with its inputs, while a live node follows it, since no other node is sure to be
 * given the same stage.
 */
export function eliminateDeadCode(graph: Graph): Graph {
  const live = new Set<Node>();
  const stack: Node[] = [
    ...[...graph.outputs.values()].map((t) => t.node),
    ...graph.assignments.flatMap(({ target, value }) => [target.node, value.node]),
    ...graph.nodes.filter(isInterface),
  ];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (live.has(node)) continue;
    live.add(node);
    for (const t of node.inputs) stack.push(t.node);
    if (node.origin) stack.push(firstOrigin(node.origin));
  }
  return rewrite(graph, { keep: (node) => live.has(node) });
}

const isInterface = ({ source }: Node): boolean =>
  source?.kind === 'parameter' ||
  source?.kind === 'buffer' ||
  (source?.kind === 'input' && source.feed?.kind === 'data');

/**
 * The node that decides where a chain of derivatives runs: a source, or a value computed forward. A gradient within the
 * model is one too: it stands elsewhere than the node it is the gradient of.
 */
function firstOrigin(node: Node): Node {
  while (node.origin && !(node.region === 'micro' && node.pass === 0)) node = node.origin;
  return node;
}
