import { FormatError, joinProblems } from '../core/errors.ts';
import { JsonError, parseJson } from '../core/json.ts';
import { isRecord } from '../core/kinds.ts';
import { requireKinds } from '../core/options.ts';
import { circles, components } from './components.ts';
import type { ForeignGraph, ForeignRequest } from './foreign-graph.ts';
import { assignmentBy, deviceList } from './foreign-graph.ts';
import { fusedName, Groups } from './groups.ts';
import type { Part, Value } from './problem.ts';

/**
 * Operator graphs of Tarnawski et al. (NeurIPS 2020):
 *
 *     {"maxFPGAs": k, "maxCPUs": n, "maxSizePerFPGA": bytes,
 *      "nodes": [{"id", "fpgaLatency", "cpuLatency", "size", "supportedOnFpga", "isBackwardNode", "colorClass"?, "name"?}],
 *      "edges": [{"sourceId", "destId", "cost"}]}
 *
 * Nodes of one colour class share a device: a part is a class, or several. What contiguous stages keep is the order of the
 * forward nodes: classes that lead to each other in a circle become one part; a class without forward nodes gets one, with
 * its edges to and from other backward nodes mirrored; and a class whose forward node takes no time and has one neighbour,
 * none of them backward, goes with that neighbour.
 */
export function readOperatorGraph(text: string, where: string, request: ForeignRequest = {}): ForeignGraph {
  requireKinds('readOperatorGraph', { text: ['text', text], where: ['text', where] });
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new FormatError('operator-graph', `${where} ${cause.message}`, {
      fields: { where, ...cause.twice },
      remedy: cause.remedy('docs/partition.md describes the format'),
      cause,
    });
  }
  return operatorGraphOf(json, where, request);
}

/** The same from what the file's JSON stands for. */
export function operatorGraphOf(json: unknown, where: string, request: ForeignRequest = {}): ForeignGraph {
  const file = parse(json, where);
  const { nodes, edges } = file;
  const count = nodes.length;
  const index = new Map(nodes.map((node, i) => [node.id, i]));
  const classes = new Groups(count);
  const firstOfColor = new Map<string | number, number>();
  nodes.forEach(({ color }, i) => {
    if (color === undefined) return;
    if (firstOfColor.has(color)) classes.join(firstOfColor.get(color)!, i);
    else firstOfColor.set(color, i);
  });
  const links = edges.map(({ from, to }) => [index.get(from)!, index.get(to)!] as const);
  refuseCircle(nodes, links, where);

  const contiguous = request.contiguous ?? true;
  const devices = deviceList(request, { accelerators: file.accelerators, capacity: file.capacity }, where);
  const order = forwardOrder(nodes, links, classes);
  if (contiguous) {
    for (const circle of circles(count, order.of(classes))) {
      for (const other of circle) classes.join(circle[0]!, other);
    }
  }
  // Beyond contiguity it is no part of the problem, but loses nothing where memory does not bind.
  const ample = nodes.every((n) => n.supported) && sizeOf(nodes) <= Math.min(...devices.map((d) => d.capacity));
  if (contiguous || ample) joinIdle(nodes, links, order.of(classes), classes);

  const members = classes.members();
  const partOf = new Int32Array(count);
  members.forEach((group, part) => {
    for (const node of group) partOf[node] = part;
  });
  const sum = (group: readonly number[], of: (node: OperatorNode) => number): number =>
    group.reduce((total, i) => total + of(nodes[i]!), 0);
  const parts = members.map(
    (group): Part => ({
      name: fusedName(group.map((i) => nodes[i]!.name)),
      work: sum(group, (n) => (n.supported ? n.fpgaLatency : Number.POSITIVE_INFINITY)),
      cpuWork: sum(group, (n) => n.cpuLatency),
      bytes: sum(group, (n) => n.size),
    }),
  );
  const pairs = new Set(order.of(classes).map(([a, b]) => partOf[a]! * members.length + partOf[b]!));
  const partEdges = [...pairs].map((key) => [Math.floor(key / members.length), key % members.length] as const);
  return {
    problem: {
      parts,
      values: valuesOf(links, partOf, count, file.costs),
      // Circles bind contiguous stages only; elsewhere edges are an order to start from, and each circle has one of its own.
      edges: contiguous ? partEdges : withoutCircles(members.length, partEdges),
      devices,
      deviceOrder: 'any',
      load: 'sum',
      unit: '',
    },
    assignmentOf: assignmentBy(members.map((group) => group.map((i) => String(nodes[i]!.id)))),
    format: 'operator graph',
  };
}

interface OperatorNode {
  readonly id: string | number;
  readonly name: string;
  readonly fpgaLatency: number;
  readonly cpuLatency: number;
  readonly size: number;
  readonly supported: boolean;
  readonly backward: boolean;
  readonly color: string | number | undefined;
}

interface OperatorFile {
  readonly nodes: readonly OperatorNode[];
  readonly edges: readonly { readonly from: string | number; readonly to: string | number }[];
  /** Cost of each node's output, by index; 0 where it has no edge. */
  readonly costs: Float64Array;
  readonly accelerators: number | undefined;
  readonly capacity: number;
}

type Links = readonly (readonly [number, number])[];

/** Edges of the forward part between classes, as pairs of any of their nodes. */
function forwardOrder(nodes: readonly OperatorNode[], links: Links, classes: Groups) {
  const forward = links.filter(([a, b]) => !nodes[a]!.backward && !nodes[b]!.backward);
  const orphans = new Set(classes.members().flatMap((g) => (g.every((i) => nodes[i]!.backward) ? g : [])));
  const mirrored = links
    .filter(([a, b]) => nodes[a]!.backward && nodes[b]!.backward && (orphans.has(a) || orphans.has(b)))
    .map(([a, b]) => [b, a] as const);
  const all = [...forward, ...mirrored];
  return {
    /** Between different groups, as pairs of their first nodes, each once. */
    of: (groups: Groups): Links => {
      const seen = new Set<number>();
      const pairs: (readonly [number, number])[] = [];
      for (const [a, b] of all) {
        const [from, to] = [groups.find(a), groups.find(b)];
        if (from === to || seen.has(from * nodes.length + to)) continue;
        seen.add(from * nodes.length + to);
        pairs.push([from, to]);
      }
      return pairs;
    },
  };
}

/**
 * Joins every class that takes no time and hangs on one other with that one, until there is none. A class that goes leaves
 * the other one neighbour fewer, which may make that one such a class: each edge is looked at a constant number of times.
 */
function joinIdle(nodes: readonly OperatorNode[], links: Links, order: Links, classes: Groups): void {
  const neighbours = new Map<number, Set<number>>();
  const meet = (a: number, b: number) => {
    const others = neighbours.get(a);
    if (others) others.add(b);
    else neighbours.set(a, new Set([b]));
  };
  for (const [a, b] of order) {
    meet(a, b);
    meet(b, a);
  }
  const bound = new Set<number>();
  for (const [a, b] of links) {
    if (nodes[a]!.backward === nodes[b]!.backward) continue;
    bound.add(classes.find(nodes[a]!.backward ? b : a));
  }
  const idle = new Set<number>();
  for (const group of classes.members()) {
    const first = classes.find(group[0]!);
    const takesTime = group.some((i) => nodes[i]!.fpgaLatency > 0 || nodes[i]!.cpuLatency > 0);
    if (!takesTime && !bound.has(first)) idle.add(first);
  }
  const leaves = [...idle];
  for (let leaf = leaves.pop(); leaf !== undefined; leaf = leaves.pop()) {
    const others = neighbours.get(leaf);
    if (others?.size !== 1) continue;
    const [other] = others;
    classes.join(other!, leaf);
    neighbours.delete(leaf);
    const left = neighbours.get(other!)!;
    left.delete(leaf);
    if (left.size === 1 && idle.has(other!)) leaves.push(other!);
  }
}

/** A node's output with all its readers in other parts. Values of equal producer and readers are one. */
function valuesOf(links: Links, partOf: Int32Array, count: number, costs: Float64Array): Value[] {
  const readers: Set<number>[] = Array.from({ length: count }, () => new Set());
  for (const [a, b] of links) if (partOf[a] !== partOf[b]) readers[a]!.add(partOf[b]!);
  const values = new Map<string, { producer: number; consumers: number[]; cost: number }>();
  readers.forEach((set, node) => {
    if (set.size === 0 || costs[node] === 0) return;
    const consumers = [...set].sort((a, b) => a - b);
    const key = `${partOf[node]}:${consumers.join(' ')}`;
    const same = values.get(key);
    if (same) same.cost += costs[node]!;
    else values.set(key, { producer: partOf[node]!, consumers, cost: costs[node]! });
  });
  return [...values.values()];
}

const sizeOf = (nodes: readonly OperatorNode[]): number => nodes.reduce((sum, n) => sum + n.size, 0);

/** Edges between different circles, and each circle's parts in a row. */
function withoutCircles(parts: number, edges: Links): Links {
  const together = components(parts, edges);
  const circleOf = new Int32Array(parts);
  together.forEach((circle, c) => {
    for (const part of circle) circleOf[part] = c;
  });
  return [
    ...edges.filter(([a, b]) => circleOf[a] !== circleOf[b]),
    ...together.flatMap((circle) => circle.slice(1).map((part, i) => [circle[i]!, part] as const)),
  ];
}

function refuseCircle(nodes: readonly OperatorNode[], links: Links, where: string): void {
  const [circle] = circles(nodes.length, links);
  if (!circle) return;
  const ids = circle.map((i) => nodes[i]!.id);
  throw new FormatError('operator-graph', `${where}: the edges lead in a circle among nodes ${listed(ids)}`, {
    fields: { where, nodes: ids },
    remedy: 'a graph of operators has no circles; unroll its loops',
  });
}

const listed = (ids: readonly (string | number)[]): string =>
  ids.length > 8 ? `${ids.slice(0, 8).join(', ')}, … (${ids.length})` : ids.join(', ');

// --- the file ---

function parse(json: unknown, where: string): OperatorFile {
  const problems: string[] = [];
  const root = isRecord(json) ? json : {};
  if (!Array.isArray(root.nodes) || root.nodes.length === 0) problems.push('"nodes" must be a list with at least one');
  if (!Array.isArray(root.edges)) problems.push('"edges" must be a list');
  const accelerators = optionalNumber(root, 'maxFPGAs', problems);
  if (accelerators !== undefined && !Number.isInteger(accelerators)) problems.push('"maxFPGAs" must be a whole number');
  const capacity = optionalNumber(root, 'maxSizePerFPGA', problems) ?? Number.POSITIVE_INFINITY;
  const nodes = (Array.isArray(root.nodes) ? root.nodes : []).map((n, i) => parseNode(n, i, problems));
  const ids = new Set<string | number>();
  const names = new Set<string>();
  for (const { id } of nodes) {
    if (names.has(String(id))) problems.push(`two nodes have the id ${id}`);
    ids.add(id);
    names.add(String(id));
  }
  const costs = new Map<string | number, number>();
  const edges: { from: string | number; to: string | number }[] = [];
  (Array.isArray(root.edges) ? root.edges : []).forEach((e: unknown, i: number) => {
    const edge = isRecord(e) ? e : {};
    const at = `edges[${i}]`;
    const from = edge.sourceId as string | number;
    const to = edge.destId as string | number;
    for (const [key, id] of [
      ['sourceId', from],
      ['destId', to],
    ] as const) {
      if (!ids.has(id)) problems.push(`${at}: "${key}" ${JSON.stringify(id) ?? 'is missing and'} is no node's id`);
    }
    if (from === to && ids.has(from)) problems.push(`${at} leads from node ${from} to itself`);
    const cost = amount(edge, 'cost', at, problems);
    const before = costs.get(from);
    if (before !== undefined && Math.abs(before - cost) > 1e-6 * Math.max(1e-6, before, cost)) {
      problems.push(`${at}: the output of node ${from} costs ${cost} here and ${before} on another edge`);
    }
    costs.set(from, cost);
    edges.push({ from, to });
  });
  const backward = new Map(nodes.map((n) => [n.id, n.backward]));
  for (const { from, to } of edges) {
    if (backward.get(from) && backward.get(to) === false) {
      problems.push(`an edge leads from backward node ${from} to forward node ${to}`);
    }
  }
  if (problems.length > 0) {
    const shown = problems.length > 10 ? [...problems.slice(0, 10), `${problems.length - 10} more`] : problems;
    throw new FormatError('operator-graph', `${where}: ${joinProblems(shown)}`, {
      fields: { where, problems },
      remedy: 'docs/partition.md describes the format',
    });
  }
  return { nodes, edges, costs: Float64Array.from(nodes, (n) => costs.get(n.id) ?? 0), accelerators, capacity };
}

function parseNode(value: unknown, i: number, problems: string[]): OperatorNode {
  const node = isRecord(value) ? value : {};
  const id = node.id as string | number;
  const named = typeof id === 'number' ? Number.isFinite(id) : typeof id === 'string';
  if (!named) problems.push(`nodes[${i}]: "id" must be a number or a text`);
  const at = named ? `node ${id}` : `nodes[${i}]`;
  const color = (node.colorClass ?? undefined) as string | number | undefined;
  if (color !== undefined && typeof color !== 'number' && typeof color !== 'string') {
    problems.push(`${at}: "colorClass" must be a number or a text`);
  }
  const flag = (key: string, missing: boolean): boolean => {
    const x = node[key];
    if (x === undefined) return missing;
    if (x !== true && x !== false && x !== 0 && x !== 1) problems.push(`${at}: "${key}" must be true, false, 1 or 0`);
    return x === true || x === 1;
  };
  const supported = flag('supportedOnFpga', true);
  return {
    id,
    name: typeof node.name === 'string' ? node.name : String(id),
    fpgaLatency: supported ? latency(node, 'fpgaLatency', at, problems) : 0,
    cpuLatency: latency(node, 'cpuLatency', at, problems),
    size: node.size === undefined ? 0 : amount(node, 'size', at, problems),
    supported,
    backward: flag('isBackwardNode', false),
    color,
  };
}

/** A number that is there, finite and not negative. What JSON has no number for is named as it stands. */
function amount(object: Record<string, unknown>, key: string, at: string, problems: string[]): number {
  const x = object[key];
  if (typeof x === 'number' && x >= 0 && Number.isFinite(x)) return x;
  problems.push(
    `${at}: "${key}" must be a number of at least 0, got ${typeof x === 'number' ? x : (JSON.stringify(x) ?? 'nothing')}`,
  );
  return 0;
}

/** A time, Infinity (1e999 in JSON) where the device cannot run the node. */
const latency = (node: Record<string, unknown>, key: string, at: string, problems: string[]): number =>
  node[key] === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : amount(node, key, at, problems);

function optionalNumber(object: Record<string, unknown>, key: string, problems: string[]): number | undefined {
  return object[key] === undefined ? undefined : amount(object, key, 'the file', problems);
}
