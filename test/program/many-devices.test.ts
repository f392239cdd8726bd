import { expect, it } from 'vitest';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { buildProgram } from '../../src/program/build.ts';
import { planOf, squaredError } from '../support/models.ts';

/** As many layers as devices, a parameter each, and every layer a result. */
const deep = (layers: number): Model => ({
  name: 'deep',
  build: (batch) => {
    const graph = new Graph();
    const t = graph.input('t', { shape: [batch, 2] });
    let h: Tensor = graph.input('x', { shape: [batch, 2] });
    for (let i = 0; i < layers; i++) {
      const w = graph.parameter(`w${i}`, [2, 2], { kind: 'uniform', low: -1, high: 1 });
      h = graph.output(`h${i}`, tanh(matmul(h, w)));
    }
    return { graph, objective: [{ loss: squaredError(h, t), weight: 1 }] };
  },
});

/** How often a program's making asks where a node lies, for each node. */
function questionsPerNode(devices: number): number {
  const plan = planOf(deep(devices), { devices, batch: 1, microbatches: 1 });
  const [name, graph] = Object.entries(plan.graphs)[0]!;
  const stageOf = stageMap(graph, plan.partition);
  let questions = 0;
  buildProgram({
    chunks: [1],
    graphs: new Map([[1, graph]]),
    stageOf: (node) => {
      questions++;
      return stageOf(node);
    },
    schedule: plan.schedules[name]!,
    backends: plan.request.devices.map((d) => d.backend),
  });
  return questions / graph.nodes.length;
}

it('a device looks for what is its own among its own, not among all nodes', () => {
  const [few, many] = [questionsPerNode(6), questionsPerNode(24)];
  expect(many).toBeLessThan(1.25 * few);
});
