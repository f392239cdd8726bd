// A training graph is built once a chunk size and the builds must differ in sizes only, down to chunks of one sample.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul, pow, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { max, mean, sum } from '../../src/ops/reduce.ts';
import { broadcastTo, concat, reshape, slice } from '../../src/ops/shape.ts';

type Model = (graph: Graph, batch: number) => { y: Tensor; by: Tensor[] };
const linear: Model = (graph, batch) => {
  const x = graph.input('x', { shape: [batch, 3] });
  const w = graph.input('w', { shape: [3, 1], batchAxis: null });
  const b = graph.input('b', { shape: [1], batchAxis: null });
  return { y: add(matmul(x, w), b), by: [x, w, b] };
};
const sequence: Model = (graph, batch) => {
  const x = graph.input('x', { shape: [batch, 1, 3] });
  const w = graph.input('w', { shape: [2, 3], batchAxis: null });
  return { y: tanh(matmul(x, w, { transB: true })), by: [x, w] };
};
const moved: Model = (graph, batch) => {
  const x = graph.input('x', { shape: [batch, 4] });
  const row = graph.input('row', { shape: [1, 4], batchAxis: null });
  const parts = concat([slice(x, { 1: [2] }), broadcastTo(slice(row, { 1: [0, 2] }), [batch, 2])], { axis: 1 });
  return { y: reshape(parts, [batch, 2, 2]), by: [x, row] };
};

const objectives: Record<string, (y: Tensor) => Tensor> = {
  'sum of squares': (y) => sum(pow(y, 2)),
  'mean of cubes': (y) => mean(mul(y, mul(y, y))),
  // With keepDims this would broadcast [1, …] against [batch, …], which for one sample cannot be told from equal shapes.
  'centred over the batch': (y) => sum(pow(sub(y, mean(y, { axes: 0 })), 2)),
  'maximum over an axis': (y) => sum(tanh(max(y, { axes: -1 }))),
};

/** Names and ops of a graph with first and second derivatives. */
function skeleton(model: Model, objective: (y: Tensor) => Tensor, batch: number): string[] {
  const graph = new Graph();
  const { y, by } = model(graph, batch);
  const first = gradients([{ tensor: objective(y), cotangent: graph.scalar(1) }], by);
  const penalty = first.map((g) => sum(mul(g!, g!))).reduce(add);
  gradients([{ tensor: penalty, cotangent: graph.scalar(1) }], by);
  return graph.nodes.map((n) => `${n.name}: ${n.op?.name}(${n.inputs.map((t) => t.name).join(', ')})`);
}

describe.each(Object.entries({ linear, sequence, moved }))('%s', (_, model) => {
  it.each(Object.entries(objectives))('%s', (__, objective) => {
    expect(skeleton(model, objective, 1)).toEqual(skeleton(model, objective, 4));
  });
});
