import { joinProblems, nearest, PlanError, UsageError } from '../core/errors.ts';
import { requireKinds, shown } from '../core/options.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { convexStages, type PlacedPartition } from './convex.ts';
import type { Partition } from './partition.ts';
import { forwardNodes, stageMap } from './stage-of.ts';

/**
 * Each name begins a new stage, at the first forward node in graph order that it matches. A name is a node's (`conv_1`),
 * a layer's (`block.1`; of an ONNX file also `/block.1`), or a pattern of either in which `*` stands for any characters.
 */
export function partitionByCuts(graph: Graph, cuts: readonly string[]): Partition {
  requireGraph('partitionByCuts', graph);
  requireKinds('partitionByCuts', { cuts: ['texts', cuts] });
  const nodes = forwardNodes(graph);
  checkCount(nodes, cuts.length + 1);
  const at = cuts.map((name) => ({ name, index: nodes.findIndex(matcher(name)) }));
  checkKnown(
    nodes,
    at.filter((c) => c.index < 0).map((c) => c.name),
  );
  at.sort((a, b) => a.index - b.index);
  at.forEach(({ name, index }, i) => {
    const before = at[i - 1];
    if (index > (before?.index ?? 0)) return;
    const what = before
      ? `cuts ${before.name} and ${name} both begin at ${nodes[index]!.name}, so the stage between them is empty`
      : `the cut at ${name} lies in front of the first node, ${nodes[index]!.name}, so stage 0 is empty`;
    throw new PlanError('partition-empty-stage', what, {
      fields: { cut: name, node: nodes[index]!.name },
      remedy: `leave out the cut at ${name}`,
    });
  });
  let stage = 0;
  const stages = nodes.map((_, i) => (i === at[stage]?.index ? ++stage : stage));
  return { stages: cuts.length + 1, assignment: toAssignment(nodes, stages), method: 'cuts' };
}

/**
 * Stages by name: of the patterns (names of nodes or layers, `*` for any characters) the first in the object's order that
 * matches a node gives its stage. A node that none matches takes the stage of the latest matched node before it in graph
 * order, or, where that is out of its inputs' or its users' order, the nearest stage that is not.
 */
export function partitionByStages(graph: Graph, patterns: Readonly<Record<string, number>>): Partition {
  requireGraph('partitionByStages', graph);
  requireKinds('partitionByStages', { patterns: ['record', patterns] });
  const nodes = forwardNodes(graph);
  const rules = Object.entries(patterns).map(([pattern, stage]) => ({ pattern, stage, matches: matcher(pattern) }));
  const wrong = rules.find((r) => !Number.isInteger(r.stage) || r.stage < 0);
  if (wrong) {
    throw new UsageError(
      'partition-bad-stage',
      `stage of ${wrong.pattern} is ${shown(wrong.stage)}: it must be a whole number from 0`,
      {
        fields: { pattern: wrong.pattern, stage: wrong.stage },
        remedy: '{"stages": {"*": 0}}',
      },
    );
  }
  checkKnown(
    nodes,
    rules.filter((r) => !nodes.some(r.matches)).map((r) => r.pattern),
  );
  const count = rules.reduce((most, r) => Math.max(most, r.stage + 1), 1);
  checkCount(nodes, count);
  const given = nodes.map((node) => rules.find((r) => r.matches(node))?.stage);
  const stages = fillGaps(nodes, given);
  checkOrder(nodes, stages);
  checkNoneEmpty(stages, count);
  return { stages: count, assignment: toAssignment(nodes, stages), method: 'stages' };
}

/**
 * Devices by name, with the patterns of `partitionByStages`; a node that none matches lies with the latest matched node before
 * it in graph order (before the first: with the first). The stages follow from the devices (`convexStages`).
 */
export function partitionByDevices(graph: Graph, patterns: Readonly<Record<string, number>>): PlacedPartition {
  requireGraph('partitionByDevices', graph);
  requireKinds('partitionByDevices', { patterns: ['record', patterns] });
  const nodes = forwardNodes(graph);
  const rules = Object.entries(patterns).map(([pattern, device]) => ({ pattern, device, matches: matcher(pattern) }));
  const wrong = rules.find((r) => !Number.isInteger(r.device) || r.device < 0);
  if (wrong || rules.length === 0) {
    throw new UsageError(
      'partition-bad-device',
      wrong
        ? `device of ${wrong.pattern} is ${shown(wrong.device)}: it must be a whole number from 0`
        : 'devices names no node: it must give a device to one pattern at least',
      { fields: wrong ? { pattern: wrong.pattern, device: wrong.device } : {}, remedy: '{"devices": {"*": 0}}' },
    );
  }
  checkKnown(
    nodes,
    rules.filter((r) => !nodes.some(r.matches)).map((r) => r.pattern),
  );
  const given = nodes.map((node) => rules.find((r) => r.matches(node))?.device);
  let latest = given.find((device) => device !== undefined)!;
  const devices = new Map(nodes.map((node, i) => [node, (latest = given[i] ?? latest)]));
  return convexStages(graph, (node) => devices.get(node)!);
}

/**
 * A partition that was made for this graph, checked: every node has a stage, none is empty, values flow to higher stages.
 * Names that the graph does not have are passed over: a training graph's partition serves its forward graph too. Throws
 * PlanError.
 */
export function checkReady(graph: Graph, partition: Partition): Partition {
  const nodes = forwardNodes(graph);
  const stageOf = stageMap(graph, partition);
  const stages = nodes.map(stageOf);
  checkOrder(nodes, stages);
  checkNoneEmpty(stages, partition.stages);
  return partition;
}

function checkNoneEmpty(stages: readonly number[], count: number): void {
  const used = new Set(stages);
  const empty = Array.from({ length: count }, (_, s) => s).filter((s) => !used.has(s));
  if (empty.length === 0) return;
  throw new PlanError('partition-empty-stage', `no node is on stage ${empty.join(', ')} of ${count}`, {
    fields: { empty, stages: count },
    remedy: 'number the stages from 0 without gaps, specific patterns before general ones',
  });
}

const toAssignment = (nodes: readonly Node[], stages: readonly number[]): Record<string, number> =>
  Object.fromEntries(nodes.map((n, i) => [n.name, stages[i]!]));

/**
 * Whether a node is the one named, or part of the layer named. Exporters write the layer `blocks.1.ln1` as `/blocks.1/ln1`: both
 * name it.
 */
function matcher(pattern: string): (node: Node) => boolean {
  const text = pattern
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('\\.', '[./]')
    .replaceAll('*', '.*');
  const expression = new RegExp(`^/?${text}([./].*)?$`);
  return (node) => expression.test(node.name);
}

function checkCount(nodes: readonly Node[], stages: number): void {
  if (stages <= nodes.length) return;
  throw new PlanError(
    'partition-too-many-stages',
    `${stages} stages are asked for and the graph has ${nodes.length} nodes to place`,
    {
      fields: { stages, nodes: nodes.length },
      remedy: `use at most ${nodes.length} stages`,
    },
  );
}

/** Unknown names that a message lists. */
const NAMED = 5;

function checkKnown(nodes: readonly Node[], unknown: readonly string[]): void {
  if (unknown.length === 0) return;
  const names = [...new Set([...layerNames(nodes), ...nodes.map((n) => n.name)])];
  const near = unknown.map((name) => nearest(name, names));
  const problems = unknown.map(
    (name, i) => `no node or layer is named ${name}${near[i] ? `; did you mean ${near[i]}?` : ''}`,
  );
  const more = problems.length - NAMED;
  if (more > 0) problems.splice(NAMED, more, `and ${more} more names are unknown`);
  throw new UsageError('partition-unknown-name', `partition: ${joinProblems(problems)}`, {
    fields: { names: unknown, nearest: near.map((n) => n ?? null), layers: layerNames(nodes).slice(0, 50) },
    remedy: near[0] ? `use ${near[0]}` : `use one of: ${names.slice(0, 20).join(', ')}`,
  });
}

/** The scopes that nodes lie in: `a` and `a.b` for `a.b.matmul`, `/a` and `/a/b` for `/a/b/MatMul`. */
function layerNames(nodes: readonly Node[]): string[] {
  const names = new Set<string>();
  for (const { name } of nodes) {
    for (const { index } of name.matchAll(/(?<!^)[./]/g)) names.add(name.slice(0, index));
  }
  return [...names];
}

/** Stages of the nodes without one, between the highest of what they depend on and the lowest of what depends on them. */
function fillGaps(nodes: readonly Node[], given: readonly (number | undefined)[]): number[] {
  const index = new Map(nodes.map((n, i) => [n, i]));
  const producers = nodes.map((n) => n.inputs.flatMap((t) => index.get(t.node) ?? []));
  const highest = given.map((stage) => stage ?? Number.POSITIVE_INFINITY);
  for (let i = nodes.length - 1; i >= 0; i--) {
    for (const p of producers[i]!) if (given[p] === undefined) highest[p] = Math.min(highest[p]!, highest[i]!);
  }
  const stages: number[] = [];
  let latest = 0;
  nodes.forEach((_, i) => {
    const lowest = producers[i]!.reduce((most, p) => Math.max(most, stages[p]!), 0);
    stages.push(given[i] ?? Math.max(lowest, Math.min(latest, highest[i]!)));
    latest = given[i] ?? latest;
  });
  return stages;
}

/** Fails where an edge leads to a lower stage, with the edges: a cycle of stages, or numbers that are out of order. */
function checkOrder(nodes: readonly Node[], stages: readonly number[]): void {
  const index = new Map(nodes.map((n, i) => [n, i]));
  /** Between two stages, the first edge. */
  const edges = new Map<string, StageEdge>();
  nodes.forEach((node, i) => {
    for (const t of node.inputs) {
      const p = index.get(t.node);
      if (p === undefined || stages[p] === stages[i]) continue;
      const key = `${stages[p]} ${stages[i]}`;
      if (!edges.has(key))
        edges.set(key, { from: stages[p]!, to: stages[i]!, producer: t.node.name, consumer: node.name });
    }
  });
  const list = [...edges.values()];
  const downward = list.filter((e) => e.to < e.from);
  if (downward.length === 0) return;
  const cycle = findCycle(list, downward[0]!);
  const shown = cycle ?? downward;
  const lines = shown.map((e) => `\n  stage ${e.from} -> stage ${e.to}: ${e.producer} -> ${e.consumer}`).join('');
  if (cycle) {
    throw new PlanError('partition-cycle', `stages need each other's results:${lines}`, {
      fields: { edges: cycle },
      remedy: `put ${cycle[0]!.consumer} and ${cycle[0]!.producer} on stages that no value returns to`,
    });
  }
  throw new PlanError('partition-stage-order', `values must flow to higher stages:${lines}`, {
    fields: { edges: downward },
    remedy: `number the stages in the order ${topologicalOrder(list).join(', ')} from 0; "placement" puts them on the devices you mean`,
  });
}

interface StageEdge {
  readonly from: number;
  readonly to: number;
  readonly producer: string;
  readonly consumer: string;
}

/** A shortest cycle through any of the edges that lead downward, `hint` first. */
function findCycle(edges: readonly StageEdge[], hint: StageEdge): StageEdge[] | undefined {
  const starts = [hint, ...edges.filter((e) => e !== hint && e.to < e.from)];
  for (const start of starts) {
    const reached = new Map<number, StageEdge[]>([[start.to, [start]]]);
    const queue = [start.to];
    for (let stage = queue.shift(); stage !== undefined; stage = queue.shift()) {
      if (stage === start.from) return reached.get(stage)!;
      for (const e of edges) {
        if (e.from !== stage || reached.has(e.to)) continue;
        reached.set(e.to, [...reached.get(stage)!, e]);
        queue.push(e.to);
      }
    }
  }
  return undefined;
}

/** The stages of an acyclic graph, each behind all that lead to it. */
function topologicalOrder(edges: readonly StageEdge[]): number[] {
  const left = new Set(edges.flatMap((e) => [e.from, e.to]));
  const order: number[] = [];
  while (left.size > 0) {
    const next = [...left].sort((a, b) => a - b).find((s) => !edges.some((e) => e.to === s && left.has(e.from)))!;
    left.delete(next);
    order.push(next);
  }
  return order;
}
