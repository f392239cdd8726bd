import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import { add, neg } from '../../src/ops/elementwise.ts';
import { convexStages, forwardNodes, partitionByDevices } from '../../src/partition/index.ts';
import { mlp, trained } from '../graph/models.ts';
import { Choices } from '../support/random-model.ts';

/** A chain of nodes n0, n1, …; each device is a letter's place in the alphabet. */
function chain(devices: string): { graph: Graph; deviceOf: (node: Node) => number } {
  const graph = new Graph();
  let t: Tensor = graph.input('x', { shape: [1] });
  const of = new Map<Node, number>();
  for (const letter of devices) {
    t = neg(t);
    of.set(t.node, letter.charCodeAt(0) - 97);
  }
  return { graph, deviceOf: (node) => of.get(node)! };
}

function randomGraph(nodes: number, seed: number): Graph {
  const choices = new Choices(seed);
  const graph = new Graph();
  const pool: Tensor[] = [graph.input('x', { shape: [1] }), graph.input('z', { shape: [1] })];
  for (let i = 0; i < nodes; i++)
    pool.push(choices.below(2) ? neg(choices.pick(pool)) : add(choices.pick(pool), choices.pick(pool)));
  return graph;
}

/** The fewest stages, by trying every sequence of devices, shortest first. */
function fewest(graph: Graph, deviceOf: (node: Node) => number): number {
  const nodes = forwardNodes(graph);
  const run = (done: ReadonlySet<Node>, device: number): Set<Node> => {
    const after = new Set(done);
    for (const node of nodes) {
      if (deviceOf(node) === device && node.inputs.every((t) => t.node.source || after.has(t.node))) after.add(node);
    }
    return after;
  };
  const devices = [...new Set(nodes.map(deviceOf))];
  let states: ReadonlySet<Node>[] = [new Set()];
  for (let stages = 0; ; stages++) {
    if (states.some((done) => done.size === nodes.length)) return stages;
    const next = new Map(
      states
        .flatMap((done) => devices.map((d) => run(done, d)))
        .map((done) => [[...done].map((n) => n.id).join(), done]),
    );
    states = [...next.values()];
  }
}

function checkLegal(graph: Graph, deviceOf: (node: Node) => number) {
  const { partition, placement } = convexStages(graph, deviceOf);
  expect(placement.length).toBe(partition.stages);
  const used = new Set<number>();
  for (const node of forwardNodes(graph)) {
    const stage = partition.assignment[node.name]!;
    used.add(stage);
    expect(placement[stage]).toBe(deviceOf(node));
    for (const t of node.inputs) {
      if (!t.node.source) expect(partition.assignment[t.node.name]).toBeLessThanOrEqual(stage);
    }
  }
  expect(used.size).toBe(partition.stages);
  return partition.stages;
}

describe('convexStages', () => {
  it.each([
    ['aaa', [0]],
    ['aab', [0, 1]],
    ['ba', [1, 0]],
    ['aabba', [0, 1, 0]],
    ['abab', [0, 1, 0, 1]],
    ['abcacb', [0, 1, 2, 0, 2, 1]],
  ])('gives the chain %s stages on devices %j', (devices, expected) => {
    const { graph, deviceOf } = chain(devices);
    expect(convexStages(graph, deviceOf).placement).toEqual(expected);
  });

  it('joins branches: what can run in a stage of its device does', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [1] });
    // Two towers a b, one of them begun by b, that meet on a: b a b a, not two stages for each tower.
    const [left, right] = [neg(neg(x)), neg(neg(neg(x)))];
    add(left, right);
    const devices = [0, 1, 1, 0, 1, 0];
    const deviceOf = (node: Node) => devices[forwardNodes(graph).indexOf(node)]!;
    expect(convexStages(graph, deviceOf).placement).toEqual([1, 0, 1, 0]);
  });

  it('needs as few stages as any sequence of devices', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 1, max: 14 }),
        fc.integer({ min: 1, max: 4 }),
        (seed, nodes, devices) => {
          const graph = randomGraph(nodes, seed);
          const choices = new Choices(seed + 1);
          const of = new Map(forwardNodes(graph).map((n) => [n, choices.below(devices)]));
          const deviceOf = (node: Node) => of.get(node)!;
          expect(checkLegal(graph, deviceOf)).toBe(fewest(graph, deviceOf));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('is legal for graphs of thousands of nodes', { timeout: 60_000 }, () => {
    const graph = randomGraph(3000, 5);
    const choices = new Choices(9);
    const of = new Map(forwardNodes(graph).map((n) => [n, choices.below(5)]));
    checkLegal(graph, (node) => of.get(node)!);
  });

  it.each([-1, 0.5, Number.NaN])('refuses %d, which is no device, and names the node', (device) => {
    const { graph } = chain('ab');
    const [, second] = forwardNodes(graph);
    const fields = { node: second!.name, device };
    expect(() => convexStages(graph, (node) => (node === second ? device : 0))).toThrow(
      expect.objectContaining({ code: 'device-of-node', fields }),
    );
  });
});

describe('devices by pattern', () => {
  const graph = trained(mlp(4));
  const of = (patterns: Record<string, number>) => {
    const { partition, placement } = partitionByDevices(graph, patterns);
    return Object.values(partition.assignment)
      .map((stage) => placement[stage])
      .join('');
  };

  it('gives each node the first pattern that matches, else the device of the one before', () => {
    expect(of({ 'block.0.relu': 1, 'block.0': 0, 'block.2': 2 })).toBe('011122222');
    expect(of({ 'block.1': 1 })).toBe('111111111');
    expect(of({ 'block.1': 1, '*': 0 })).toBe('001100000');
  });

  it('names unknown layers, and numbers that are none', () => {
    expect(() => of({ 'bolck.1': 0 })).toThrow(/did you mean block.1/);
    expect(() => of({ 'block.1': 0.5 })).toThrow(/whole number/);
    expect(() => of({})).toThrow(/names no node/);
  });
});
