// A training graph is built once a chunk size and the builds must differ in sizes only, down to chunks of one sample.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { batchNorm, batchNormInference } from '../../src/ops/batch-norm.ts';
import { crossEntropyLoss, nllLoss } from '../../src/ops/class-loss.ts';
import { dropout } from '../../src/ops/dropout.ts';
import { add, mul, pow, sub, tanh } from '../../src/ops/elementwise.ts';
import { groupNorm, instanceNorm } from '../../src/ops/group-norm.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { layerNorm } from '../../src/ops/norm.ts';
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
/** [batch, 4, places…], and weights of the channels; also where a channel has one value only. */
const channels =
  (places: number[], build: (x: Tensor, gamma: Tensor, beta: Tensor) => Tensor): Model =>
  (graph, batch) => {
    const x = graph.input('x', { shape: [batch, 4, ...places] });
    const [gamma, beta] = ['gamma', 'beta'].map((name) => graph.input(name, { shape: [4], batchAxis: null }));
    return { y: build(x, gamma!, beta!), by: [x, gamma!, beta!] };
  };
/** Statistics are differentiated too. */
const batchNormed = (x: Tensor, gamma: Tensor, beta: Tensor): Tensor => {
  const { y, mean: m, variance } = batchNorm(x, gamma, beta);
  return batchNormInference(y, m, variance, beta, gamma);
};
const classes = (loss: (x: Tensor, target: Tensor, weight: Tensor) => Tensor): Model =>
  channels([3], (x, gamma, beta) => {
    const target = x.graph.input('target', { dtype: 'i32', shape: [x.shape[0]!, 3] });
    return loss(mul(tanh(x), reshape(beta, [4, 1])), target, gamma);
  });
const norms: Record<string, Model> = {
  batchNorm: channels([2, 3], batchNormed),
  'batchNorm of vectors': channels([], batchNormed),
  groupNorm: channels([3], (x, gamma, beta) => groupNorm(x, 2, gamma, beta)),
  'groupNorm of vectors': channels([], (x, gamma, beta) => groupNorm(x, 2, gamma, beta)),
  instanceNorm: channels([5], instanceNorm),
  layerNorm: channels([2], (x, gamma, beta) => {
    const [g, b] = [gamma, beta].map((t) => broadcastTo(reshape(t, [4, 1]), [4, 2]));
    return layerNorm(x, g, b);
  }),
  dropout: channels([2], (x, gamma, beta) => mul(dropout(x), mul(reshape(gamma, [4, 1]), reshape(beta, [4, 1])))),
  nllLoss: classes((x, target, weight) => nllLoss(x, target, { weight, ignoreIndex: 1, reduction: 'none' })),
  'nllLoss, weighted mean': classes((x, target, weight) => nllLoss(x, target, { weight, ignoreIndex: 1 })),
  crossEntropyLoss: classes((x, target, weight) => mul(crossEntropyLoss(x, target, { ignoreIndex: -1 }), sum(weight))),
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

it.each(Object.entries(norms))('%s', (_, model) => {
  const objective = objectives['sum of squares']!;
  expect(skeleton(model, objective, 1)).toEqual(skeleton(model, objective, 4));
});
