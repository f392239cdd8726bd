import { describe, expect, it } from 'vitest';
import type { PlanError } from '../../src/core/errors.ts';
import { analyticCosts } from '../../src/cost/model.ts';
import { Graph, type Node } from '../../src/graph/graph.ts';
import { isForward, isStepValue, rootOf } from '../../src/graph/values.ts';
import { neg } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { reshape } from '../../src/ops/shape.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { chainUnits, makePartition, type Partition, stageMap } from '../../src/partition/index.ts';
import { mlp, tied, trained, zeros } from '../graph/models.ts';

describe('stageMap', () => {
  it('lets derivatives, parameters, states and updates follow their forward nodes', () => {
    const graph = trained(mlp(3));
    const stageOf = stageMap(graph, makePartition(graph, { cuts: ['block.1', 'loss'] }, { stages: 3 }));
    const where = (name: string) => stageOf(graph.node(name));
    expect(['block.0.weight', 'block.1.weight', 'block.2.weight'].map(where)).toEqual([0, 1, 1]);
    expect(['momentum/block.0.weight', 'momentum/block.2.weight'].map(where)).toEqual([0, 1]);
    for (const node of graph.nodes) {
      const layer = /^(?:grad|update)\.(block\.\d|loss)/.exec(node.name)?.[1];
      if (layer) expect([node.name, stageOf(node)]).toEqual([node.name, { 'block.0': 0, loss: 2 }[layer] ?? 1]);
    }
  });

  it('places a shared parameter with its first user, its gradients with each use', () => {
    const graph = trained(tied());
    const stageOf = stageMap(graph, makePartition(graph, { cuts: ['last'] }, { stages: 2 }));
    expect(stageOf(graph.node('w'))).toBe(0);
    const sums = graph.nodes.filter((n) => n.op?.name === 'accumulate' && n.name.includes('matmul'));
    expect(sums.map(stageOf).sort()).toEqual([0, 1]);
    const updates = graph.nodes.filter((n) => n.region === 'step' && n.op);
    expect(new Set(updates.map(stageOf))).toEqual(new Set([0]));
  });

  it('looks through reshapes for the first user, and puts unused parameters on stage 0', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3] });
    const flat = graph.parameter('flat', [9], zeros);
    graph.parameter('unused', [5], zeros);
    const w = reshape(flat, [3, 3]);
    const h = neg(x);
    graph.output('y', matmul(h, w));
    const partition = { stages: 2, assignment: { reshape: 0, neg: 0, matmul: 1 }, method: 'test' };
    const stageOf = stageMap(graph, partition);
    expect(['flat', 'unused', 'x'].map((n) => stageOf(graph.node(n)))).toEqual([1, 0, 0]);
  });

  it('serves the forward graph too, and refuses a graph it does not know', () => {
    const training = trained(mlp(3));
    const partition = makePartition(training, { cuts: ['block.1'] }, { stages: 2 });
    const { graph } = mlp(3);
    expect(stageMap(graph, partition)(graph.node('block.1.relu'))).toBe(1);
    const { graph: deeper } = mlp(4);
    let error: PlanError | undefined;
    try {
      stageMap(deeper, partition);
    } catch (e) {
      error = e as PlanError;
    }
    expect(error!.code).toBe('partition-mismatch');
    expect(error!.fields.nodes).toEqual(['block.2.relu', 'block.3.matmul']);
  });
});

/** Bytes that the boundary between the first `cut` units and the rest must carry, from the definition. */
function crossing(graph: Graph, cut: number): { forward: number; backward: number; step: number } {
  const forward = graph.nodes.filter(isForward);
  const assignment = Object.fromEntries(forward.map((n, i) => [n.name, i < cut ? 0 : 1]));
  const stageOf = stageMap(graph, { stages: 2, assignment, method: 'test' });
  const sum = { forward: 0, backward: 0, step: 0 };
  const seen = new Set<unknown>();
  for (const node of graph.nodes) {
    if (node.op?.alias) continue;
    for (const t of node.inputs) {
      const root = rootOf(t);
      const kind = root.node.source?.kind;
      const [from, to] = [stageOf(root.node), stageOf(node)];
      if (kind === 'input' || kind === 'constant' || from === to || seen.has(root)) continue;
      seen.add(root);
      const bytes = 4 * root.shape.reduce((a, b) => a * b, 1);
      sum[isStepValue(root) ? 'step' : from < to ? 'forward' : 'backward'] += bytes;
    }
  }
  return sum;
}

describe('chainUnits', () => {
  it('counts each value once that crosses a boundary', () => {
    const optimizer = makeOptimizer({ kind: 'adam' });
    for (const graph of [
      trained(mlp(3)),
      trained(tied(), { optimizer }),
      trained(tied(), { optimizer, clip: { globalNorm: 1 } }),
    ]) {
      const { units, boundaries } = chainUnits(graph);
      expect(boundaries.length).toBe(units.length + 1);
      boundaries.forEach((b, cut) => {
        const bytes = { forward: b.forward.bytes, backward: b.backward.bytes, step: b.step.bytes };
        expect([cut, bytes]).toEqual([cut, crossing(graph, cut)]);
      });
    }
  });

  it('charges a boundary between the uses of a shared weight with the weight and its gradient', () => {
    const graph = trained(tied());
    const { units, boundaries } = chainUnits(graph);
    const last = units.findIndex((u) => u.name === 'last.matmul');
    expect(boundaries[last]!.step).toEqual({ bytes: 2 * 4 * 9, messages: 2 });
    expect(units.map((u) => u.parameterBytes).filter(Boolean)).toEqual([36, 12]);
    expect(units.map((u) => u.gradientBytes).filter((b) => b > 4)).toEqual([36, 12, 36]);
  });

  it('adds parameters, states and saved activations up', () => {
    const graph = trained(mlp(2), { optimizer: makeOptimizer({ kind: 'adam' }) });
    const { units } = chainUnits(graph);
    expect(units.map((u) => u.parameterBytes)).toEqual([36, 0, 36, 0, 0]);
    expect(units.map((u) => u.stateBytes)).toEqual([72, 0, 72, 0, 0]);
    // x for the first weight, relu's result for its own derivative and the second weight, y for the square's; the loss for its sum.
    expect(units.map((u) => u.saved)).toEqual([
      [{ bytes: 48, nextReader: Infinity }],
      [{ bytes: 48, nextReader: 2 }],
      [{ bytes: 48, nextReader: Infinity }],
      [{ bytes: 48, nextReader: Infinity }],
      [{ bytes: 4, nextReader: Infinity }],
    ]);
    for (const u of units) expect(u.forwardSeconds).toBeGreaterThan(0);
    expect(units[0]!.backwardSeconds).toBeGreaterThan(0);
    expect(units[0]!.stepSeconds).toBeGreaterThan(0);
  });
});

describe('makePartition', () => {
  const slow = { flopsPerSecond: 1e6, bytesPerSecond: 1e6, secondsPerKernel: 1e-6, speed: 1 };
  const loadsOf = (p: Partition) => p.objective!.loads;

  it('balances time by default, within the bound', () => {
    const graph = trained(mlp(8, 16));
    const auto = makePartition(graph, 'auto', { stages: 4, costs: analyticCosts({ device: slow }) });
    expect(auto).toMatchObject({ stages: 4, method: 'chain-time', objective: { kind: 'time', unit: 'seconds' } });
    expect(auto.objective!.lowerBound).toBe(auto.objective!.value);
    expect(Math.max(...loadsOf(auto))).toBe(auto.objective!.value);
    const one = makePartition(graph, 'auto', { stages: 1, costs: analyticCosts({ device: slow }) });
    expect(auto.objective!.value).toBeLessThan(one.objective!.value / 2);
    expect(Object.keys(auto.assignment)).toEqual(graph.nodes.filter(isForward).map((n: Node) => n.name));
  });

  it('leaves devices empty where a link costs more than it saves, unless told to use them', () => {
    const graph = trained(mlp(2));
    const costs = analyticCosts({ link: { bytesPerSecond: 1e9, secondsLatency: 1 } });
    expect(makePartition(graph, 'auto', { stages: 2, costs }).stages).toBe(1);
    expect(makePartition(graph, 'auto', { stages: 2, costs, exactly: true }).stages).toBe(2);
    expect(makePartition(graph, { balance: 'parameters' }, { stages: 99 }).stages).toBe(5);
  });

  it('balances parameters and memory', () => {
    const graph = trained(mlp(4));
    const parameters = makePartition(graph, { balance: 'parameters' }, { stages: 2 });
    expect(loadsOf(parameters)).toEqual([72, 72]);
    const memory = makePartition(graph, { balance: 'memory' }, { stages: 2, microbatches: 8 });
    // The first stage holds two microbatches, the last one.
    expect(memory.objective!.value).toBe(Math.max(...loadsOf(memory)));
    expect(memory.stages).toBe(2);
    const alike = makePartition(graph, { balance: 'memory' }, { stages: 2, microbatches: 8, inFlight: () => 8 });
    expect(alike.objective!.value).toBeGreaterThan(memory.objective!.value);
  });

  it('counts what happens once a step by its share of each microbatch', () => {
    const graph = trained(tied(), { clip: { globalNorm: 1 } });
    const costs = analyticCosts({ device: slow, link: { bytesPerSecond: 1e5, secondsLatency: 1e-3 } });
    const { units, boundaries } = chainUnits(graph, costs);
    expect(boundaries.some(({ step }) => step.bytes > 0)).toBe(true);
    const seconds = ({ bytes, messages }: { bytes: number; messages: number }) => bytes / 1e5 + messages * 1e-3;
    for (const microbatches of [1, 3]) {
      const request = { stages: units.length, exactly: true, microbatches, costs };
      const over = boundaries.map((b) => seconds(b.forward) + seconds(b.backward) + seconds(b.step) / microbatches);
      const loads = units.map((u, i) => {
        const own = u.forwardSeconds + u.backwardSeconds + u.stepSeconds / microbatches;
        return expect.closeTo(over[i]! + own + over[i + 1]!, 12);
      });
      expect(loadsOf(makePartition(graph, 'auto', request))).toEqual(loads);
    }
  });

  it('gives a faster device more', () => {
    const graph = trained(mlp(8, 16));
    const count = (speeds: number[]) =>
      Object.values(
        makePartition(graph, 'auto', { stages: 2, costs: analyticCosts({ device: slow }), speeds }).assignment,
      ).filter((s) => s === 0).length;
    expect(count([4, 1])).toBeGreaterThan(count([1, 1]));
    expect(count([1, 4])).toBeLessThan(count([1, 1]));
  });

  it('is plain data', () => {
    const graph = trained(mlp(3));
    const partition = makePartition(graph, 'auto', { stages: 2 });
    expect(JSON.parse(JSON.stringify(partition))).toEqual(partition);
  });
});
