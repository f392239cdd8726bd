import type { GraphView, ViewEdge, ViewNode } from './view.ts';

/** A view with some sources drawn beside their only reader instead of in a row of their own. */
export interface DrawnView extends GraphView {
  /** By node: its only reader, which it is drawn beside; undefined for all others. */
  readonly beside: readonly (number | undefined)[];
}

/**
 * The view as it is drawn: what is read all over the graph (weights, scalars) is drawn again beside its readers, since a
 * line across the whole picture tells less than a name. Data inputs stand by themselves, and so does a weight that the
 * model uses several times: that it is shared is to be seen.
 */
export function drawnView(view: GraphView): DrawnView {
  const nodes: ViewNode[] = [...view.nodes];
  const edges: ViewEdge[] = [];
  const drawn = new Set<number>();
  const places = new Map<string, number>();
  for (const edge of view.edges) {
    const [source, reader] = [view.nodes[edge.from]!, view.nodes[edge.to]!];
    const key = `${edge.from} ${sharesDrawing(source, reader) ? '' : edge.to}`;
    if (!places.has(key)) {
      const first = !drawn.has(edge.from);
      drawn.add(edge.from);
      // Every device has a copy of its own of what it reads.
      const copy = isSource(source) && !sharesDrawing(source, reader) ? { ...source, stage: reader.stage } : source;
      places.set(key, first ? edge.from : nodes.push(copy) - 1);
      if (first) nodes[edge.from] = copy;
    }
    edges.push({ ...edge, from: places.get(key)! });
  }
  const readers: number[][] = nodes.map(() => []);
  for (const { from, to } of edges) readers[from]!.push(to);
  const beside = nodes.map((node, i) => {
    const [reader, ...others] = new Set(readers[i]);
    const tucked = isSource(node) && node.feed !== 'data' && others.length === 0;
    return tucked && reader !== undefined && nodes[reader]!.kind === 'op' ? reader : undefined;
  });
  return { ...view, nodes, edges, beside };
}

const isSource = ({ kind }: ViewNode): boolean => kind !== 'op' && kind !== 'output' && kind !== 'assignment';

/** Whether a reader is joined to the one drawing of the node that its readers share. */
function sharesDrawing(node: ViewNode, reader: ViewNode): boolean {
  if (!isSource(node)) return true;
  if (node.kind === 'constant' || (node.kind === 'input' && node.feed !== 'data')) return false;
  return node.kind === 'input' || reader.phase === 'forward';
}
