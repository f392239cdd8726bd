/** The nodes of one ONNX graph in an order they can be computed in, and those that anybody needs. */
import { FormatError } from '../../core/errors.ts';
import type { OnnxGraph, OnnxNode } from './model.ts';
import { describeNode } from './problems.ts';

/** Names of values that a node reads: its inputs, what its subgraphs take from outside, what its attributes name. */
export function reads(node: OnnxNode): string[] {
  const names = node.inputs.filter((name) => name !== '');
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'graph') for (const name of outerNames(attribute.value)) names.push(name);
  }
  // Gradient (ai.onnx.preview.training) names what it differentiates.
  if (node.opType === 'Gradient') {
    const y = node.attributes.get('y');
    if (y?.kind === 'string') names.push(y.value);
  }
  return names;
}

const outer = new WeakMap<OnnxGraph, readonly string[]>();

/** Values of the surrounding graphs that a subgraph uses. */
function outerNames(graph: OnnxGraph): readonly string[] {
  const known = outer.get(graph);
  if (known) return known;
  const own = new Set([...graph.inputs, ...graph.initializers].map((v) => v.name));
  for (const node of graph.nodes) for (const name of node.outputs) own.add(name);
  const used = new Set([...graph.nodes.flatMap(reads), ...graph.outputs.map((o) => o.name)]);
  const names = [...used].filter((name) => !own.has(name));
  outer.set(graph, names);
  return names;
}

export interface OrderedNodes {
  /** What the outputs depend on, each node behind those it reads from; in the file's order where that is one. */
  readonly nodes: readonly OnnxNode[];
  /** Values that one of them, or an output, reads. */
  readonly used: ReadonlySet<string>;
}

/**
 * Orders nodes and drops those no output needs. `given`: names that have a value before any node; `isOuter` tells those of
 * the surrounding graphs. Throws FormatError for a value made twice, a value that nobody makes, and a cycle.
 */
export function orderNodes(
  nodes: readonly OnnxNode[],
  outputs: readonly string[],
  given: ReadonlySet<string>,
  isOuter: (name: string) => boolean,
): OrderedNodes {
  const makers = new Map<string, OnnxNode>();
  for (const node of nodes) {
    for (const name of node.outputs) {
      if (name === '') continue;
      const first = makers.get(name);
      if (first || given.has(name)) {
        const by = first ? describeNode(first) : 'an input or initialiser';
        throw new FormatError(
          'onnx-duplicate-value',
          `value "${name}" is made twice: by ${by} and by ${describeNode(node)}`,
          {
            fields: { value: name, node: node.name },
          },
        );
      }
      makers.set(name, node);
    }
  }
  const sources = new Map<OnnxNode, OnnxNode[]>();
  for (const node of nodes) {
    const before: OnnxNode[] = [];
    for (const name of reads(node)) {
      const maker = makers.get(name);
      if (maker) before.push(maker);
      else if (!given.has(name) && !isOuter(name)) throw missing(name, `${describeNode(node)} reads`);
    }
    sources.set(node, before);
  }
  const roots: OnnxNode[] = [];
  for (const name of outputs) {
    const maker = makers.get(name);
    if (maker) roots.push(maker);
    else if (!given.has(name) && !isOuter(name)) throw missing(name, 'the outputs list');
  }
  const needed = reachable(roots, sources);
  const ordered = sort(
    nodes.filter((n) => needed.has(n)),
    sources,
  );
  return { nodes: ordered, used: new Set([...ordered.flatMap(reads), ...outputs]) };
}

const missing = (name: string, who: string): FormatError =>
  new FormatError('onnx-missing-value', `${who} "${name}", which no node, input or initialiser makes`, {
    fields: { value: name },
  });

function reachable(roots: readonly OnnxNode[], sources: ReadonlyMap<OnnxNode, readonly OnnxNode[]>): Set<OnnxNode> {
  const seen = new Set<OnnxNode>();
  const stack = [...roots];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const before of sources.get(node)!) stack.push(before);
  }
  return seen;
}

/** Depth first, without recursion: graphs are deeper than the stack. */
function sort(nodes: readonly OnnxNode[], sources: ReadonlyMap<OnnxNode, readonly OnnxNode[]>): OnnxNode[] {
  const sorted: OnnxNode[] = [];
  const state = new Map<OnnxNode, 'open' | 'done'>();
  for (const start of nodes) {
    if (state.has(start)) continue;
    const path: { node: OnnxNode; next: number }[] = [{ node: start, next: 0 }];
    state.set(start, 'open');
    while (path.length > 0) {
      const top = path.at(-1)!;
      const before = sources.get(top.node)![top.next++];
      if (!before) {
        state.set(top.node, 'done');
        sorted.push(top.node);
        path.pop();
      } else if (state.get(before) === 'open') {
        throw cycle(path.slice(path.findIndex((p) => p.node === before)).map((p) => p.node));
      } else if (!state.has(before)) {
        state.set(before, 'open');
        path.push({ node: before, next: 0 });
      }
    }
  }
  return sorted;
}

function cycle(nodes: readonly OnnxNode[]): FormatError {
  // Each reads from the next: the data flow the other way.
  const flow = [...nodes].reverse();
  const shown = [...flow, flow[0]!].map(describeNode);
  const text = shown.length > 12 ? [...shown.slice(0, 6), '…', ...shown.slice(-3)] : shown;
  return new FormatError('onnx-cycle', `the graph has a cycle: ${text.join(' → ')}`, {
    fields: { nodes: flow.map((n) => n.name || n.outputs[0] || n.opType) },
  });
}
