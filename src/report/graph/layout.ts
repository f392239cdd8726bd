import { type Edge, Graph as LayoutGraph, layout as place } from '@dagrejs/dagre';
import type { DrawnView } from './copies.ts';
import { besideCurve, type Curve, curveOf } from './curve.ts';
import type { ViewPhase } from './view.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Centres of nodes and labels, and edges from their tail to their head; in pixels, y downwards. */
export interface GraphLayout extends Size {
  readonly nodes: readonly Point[];
  readonly edges: readonly { readonly curve: Curve; readonly label: Point | undefined }[];
}

/**
 * Places a graph in rows (Sugiyama's layered drawing; order within rows and coordinates by dagre). The rows are our own,
 * since they tell what the picture is about:
 *
 *     stage 0 │ x ─► matmul ─► relu          the model runs down, and the backward pass of a row runs up beside it, so that
 *             │        ▲ grad    ▲ grad      what the derivative reads of the model is near
 *     ────────┼────────┼─────────┼──────
 *     stage 1 │      matmul ─► loss          a stage has rows of its own: only cut edges cross the line
 *
 * Sources with a single reader stand beside it in its row (`beside`).
 */
export function layoutGraph(view: DrawnView, sizes: readonly Size[], labels: readonly Size[]): GraphLayout {
  const rows = rowsOf(view);
  const groups = groupsOf(view, sizes);
  const graph = new LayoutGraph({ multigraph: true });
  graph.setGraph({
    nodesep: 24,
    edgesep: 14,
    ranksep: 40,
    // dagre counts two ranks a row, the second for labels, and has a root of its own meanwhile.
    ranker: ((g: LayoutGraph) => {
      for (const id of g.nodes()) g.node(id).rank = id.startsWith('n') ? 2 * (rows[Number(id.slice(1))]! + 1) : 0;
    }) as never,
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const [i, { width, height }] of groups) graph.setNode(`n${i}`, { width, height });
  const standing = view.edges.map(({ from }) => view.beside[from] === undefined);
  const upwards = view.edges.map(({ from, to }) => rows[from]! > rows[to]!);
  const ends = view.edges.map(({ from, to }, i) => (upwards[i] ? [to, from] : [from, to]) as [number, number]);
  view.edges.forEach(({ from, to }, i) => {
    if (!standing[i]) return;
    const samePhase = view.nodes[from]!.phase === view.nodes[to]!.phase;
    const label = { ...labels[i]!, labelpos: 'r' as const, labeloffset: 3, minlen: 1, weight: samePhase ? 4 : 1 };
    graph.setEdge(`n${ends[i]![0]}`, `n${ends[i]![1]}`, label, `e${i}`);
  });
  place(graph, {
    customOrder: (g: LayoutGraph, order: (g: LayoutGraph) => void) => inLanes(g, order, view),
  });

  const nodes: Point[] = view.nodes.map(() => ({ x: 0, y: 0 }));
  for (const [i, { members }] of groups) {
    const { x, y } = graph.node(`n${i}`) as Point;
    for (const { node, dx, dy } of members) nodes[node] = { x: x + dx, y: y + dy };
  }
  const routes = view.edges.map((_, i) => {
    if (!standing[i]) return undefined;
    const [top, bottom] = ends[i]!;
    const { points, x, y } = graph.edge(`n${top}`, `n${bottom}`, `e${i}`) as { points: Point[] } & Partial<Point>;
    return { inner: points.slice(1, -1), label: x === undefined || y === undefined ? undefined : { x, y } };
  });
  const ports = portsOf(ends, routes, nodes, sizes);
  const size = graph.graph() as Partial<Size>;
  return {
    width: size.width ?? 0,
    height: size.height ?? 0,
    nodes,
    edges: view.edges.map(({ from, to }, i) => {
      const route = routes[i];
      if (!route) return { curve: sideways(nodes[from]!, sizes[from]!, nodes[to]!, sizes[to]!), label: undefined };
      const points = [ports.top[i]!, ...route.inner, ports.bottom[i]!];
      const curve = curveOf(upwards[i] ? points.reverse() : points);
      return { curve, label: route.label && besideCurve(curve, route.label, labels[i]!) };
    }),
  };
}

const lanes: readonly ViewPhase[] = ['forward', 'backward', 'step'];

/** A node, or an edge on its way, in its row: what lane it keeps to, and where its neighbours draw it. */
interface Place {
  readonly id: string;
  readonly lane: number;
  towards: number;
}

/**
 * dagre's order with few crossings; then the phases side by side (model, derivative, update, from left to right), and
 * within each of these lanes again the order that follows the neighbours' (barycentre sweeps, Sugiyama et al., 1981).
 */
function inLanes(graph: LayoutGraph, order: (graph: LayoutGraph) => void, { nodes }: DrawnView): void {
  order(graph);
  const lane = (id: string): number => lanes.indexOf(nodes[Number(id.slice(1))]!.phase);
  const rows: Place[][] = [];
  const labelOf = (id: string) => graph.node(id) as { rank: number; order: number; edgeObj?: Edge };
  for (const id of graph.nodes()) {
    const { rank, order, edgeObj: edge } = labelOf(id);
    // An edge on its way between rows runs between the lanes of its ends.
    (rows[rank] ??= []).push({ id, lane: edge ? (lane(edge.v) + lane(edge.w)) / 2 : lane(id), towards: order });
  }
  const settle = (row: Place[]): void => {
    row.sort((a, b) => a.lane - b.lane || a.towards - b.towards || labelOf(a.id).order - labelOf(b.id).order);
    row.forEach(({ id }, i) => {
      labelOf(id).order = i;
    });
  };
  rows.forEach(settle);
  const sweeps = 6;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      for (const place of row ?? []) {
        const near: string[] = (down ? graph.predecessors(place.id) : graph.successors(place.id)) ?? [];
        // Rows differ in length: places are shares of their row.
        const shares = (near.length > 0 ? near : [place.id]).map((id) => {
          const { rank, order } = labelOf(id);
          return order / rows[rank]!.length;
        });
        place.towards = shares.reduce((x, y) => x + y) / shares.length;
      }
      if (row) settle(row);
    }
  }
}

interface Group extends Size {
  /** The node and the sources beside it, each from the group's centre. */
  readonly members: readonly { readonly node: number; readonly dx: number; readonly dy: number }[];
}

const sideGap = 28;
const stackGap = 8;

/**
 * Nodes in rows, each with the sources beside it. In the model, the first stands at the left, the next at the right, and
 * so on; both sides are as wide as the wider one, so that the nodes of one column stand straight below each other.
 * Elsewhere all stand at the left, which takes less room.
 */
function groupsOf({ nodes, beside }: DrawnView, sizes: readonly Size[]): Map<number, Group> {
  const sources = new Map<number, number[]>();
  beside.forEach((reader, i) => {
    if (reader !== undefined) sources.set(reader, [...(sources.get(reader) ?? []), i]);
  });
  const groups = new Map<number, Group>();
  nodes.forEach(({ phase }, i) => {
    if (beside[i] !== undefined) return;
    const own = sizes[i]!;
    const all = sources.get(i) ?? [];
    const bothSides = phase === 'forward';
    const columns = bothSides ? [0, 1].map((side) => all.filter((_, k) => k % 2 === side)) : [all];
    const room = all.length > 0 ? Math.max(...all.map((s) => sizes[s]!.width)) + sideGap : 0;
    const x = bothSides ? 0 : room / 2;
    const members = columns.flatMap((column, side) => {
      let y = -stackHeight(column, sizes) / 2;
      return column.map((node) => {
        const { width, height } = sizes[node]!;
        const dx = x + (side === 0 ? -1 : 1) * (own.width / 2 + sideGap + width / 2);
        const dy = y + height / 2;
        y += height + stackGap;
        return { node, dx, dy };
      });
    });
    groups.set(i, {
      width: own.width + (bothSides ? 2 : 1) * room,
      height: Math.max(own.height, ...columns.map((column) => stackHeight(column, sizes))),
      members: [{ node: i, dx: x, dy: 0 }, ...members],
    });
  });
  return groups;
}

const stackHeight = (column: readonly number[], sizes: readonly Size[]): number =>
  column.reduce((sum, node) => sum + sizes[node]!.height, 0) + stackGap * Math.max(0, column.length - 1);

/** A straight arrow between neighbours of one row. */
function sideways(from: Point, fromSize: Size, to: Point, toSize: Size): Curve {
  const direction = Math.sign(to.x - from.x);
  const reach = Math.max(-toSize.height / 2 + 6, Math.min(toSize.height / 2 - 6, from.y - to.y));
  return curveOf([
    { x: from.x + (direction * fromSize.width) / 2, y: from.y },
    { x: to.x - (direction * toSize.width) / 2, y: to.y + reach },
  ]);
}

/** Where edges meet the lower side of their upper node and the upper side of their lower one: next to each other, in order. */
function portsOf(
  ends: readonly (readonly [number, number])[],
  routes: readonly ({ readonly inner: readonly Point[] } | undefined)[],
  nodes: readonly Point[],
  sizes: readonly Size[],
): { top: Point[]; bottom: Point[] } {
  const spread = (end: 0 | 1): Point[] => {
    const ports: Point[] = [];
    const atNode = new Map<number, { edge: number; towards: number }[]>();
    routes.forEach((route, edge) => {
      if (!route) return;
      const node = ends[edge]![end];
      const next = (end === 0 ? route.inner[0] : route.inner.at(-1)) ?? nodes[ends[edge]![1 - end]!]!;
      atNode.set(node, [...(atNode.get(node) ?? []), { edge, towards: next.x }]);
    });
    for (const [node, list] of atNode) {
      const { x, y } = nodes[node]!;
      const { width, height } = sizes[node]!;
      const step = Math.min(22, (width * 0.7) / list.length);
      list
        .sort((a, b) => a.towards - b.towards || a.edge - b.edge)
        .forEach(({ edge }, k) => {
          ports[edge] = { x: x + (k - (list.length - 1) / 2) * step, y: y + ((end === 0 ? 1 : -1) * height) / 2 };
        });
    }
    return ports;
  };
  return { top: spread(0), bottom: spread(1) };
}

/** Row of every node, from 0. The ends of an edge are on different rows, unless one stands beside the other. */
export function rowsOf({ nodes, edges, beside }: DrawnView): number[] {
  // Edges as the drawing runs: those within the derivative are turned round. An edge back to an earlier stage (the shares
  // of a tied weight meet at its first use) asks for nothing: the stages' rows already part its ends.
  const stage = (i: number): number => nodes[i]!.stage ?? 0;
  const backward = (i: number): boolean => nodes[i]!.phase === 'backward' && nodes[i]!.kind !== 'output';
  const below: number[][] = nodes.map(() => []);
  const above: number[][] = nodes.map(() => []);
  for (const { from, to } of edges) {
    const [top, bottom] = backward(from) && backward(to) ? [to, from] : [from, to];
    if (stage(top) > stage(bottom) || beside[from] !== undefined) continue;
    below[top]!.push(bottom);
    above[bottom]!.push(top);
  }
  const order = topological(above, below)
    .filter((i) => beside[i] === undefined)
    .sort((a, b) => stage(a) - stage(b));

  const rows = new Array<number>(nodes.length).fill(0);
  const first = new Map<number, number>();
  let next = 0;
  let current: number | undefined;
  for (const i of order) {
    if (stage(i) !== current) first.set((current = stage(i)), next);
    rows[i] = Math.max(first.get(current)!, ...above[i]!.map((a) => rows[a]! + 1));
    next = Math.max(next, rows[i]! + 1);
  }
  // Every node is as high as it can be. Let each settle at the median row next to its neighbours; a stage keeps its rows.
  const last = new Map<number, number>();
  for (const i of order) last.set(stage(i), Math.max(last.get(stage(i)) ?? 0, rows[i]!));
  const sweeps = 6;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (const i of sweep % 2 === 0 ? [...order].reverse() : order) {
      const low = Math.max(first.get(stage(i))!, ...above[i]!.map((a) => rows[a]! + 1));
      const high = Math.min(last.get(stage(i))!, ...below[i]!.map((b) => rows[b]! - 1));
      const near = [...above[i]!.map((a) => rows[a]! + 1), ...below[i]!.map((b) => rows[b]! - 1)];
      rows[i] = Math.min(high, Math.max(low, median(near, rows[i]!)));
    }
  }
  const compact = new Map([...new Set(order.map((i) => rows[i]!))].sort((a, b) => a - b).map((row, i) => [row, i]));
  return rows.map((row, i) => compact.get(beside[i] === undefined ? row : rows[beside[i]]!)!);
}

/** Kahn's algorithm in rounds: of nodes that get free together, the lower number comes first. */
function topological(above: readonly number[][], below: readonly number[][]): number[] {
  const waiting = above.map((list) => list.length);
  const order: number[] = [];
  let free = waiting.flatMap((n, i) => (n === 0 ? [i] : []));
  while (free.length > 0) {
    order.push(...free);
    free = free.flatMap((i) => below[i]!.filter((b) => --waiting[b]! === 0)).sort((a, b) => a - b);
  }
  return order;
}

/** The lower median; `otherwise` where there is nothing to take it of. */
function median(values: readonly number[], otherwise: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? otherwise;
}
