// The rewriting of a model into another mode of batch normalisation: what it keeps, what it makes, what it refuses.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { barrierLevels } from '../../src/graph/barriers.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { verify } from '../../src/graph/verify.ts';
import { batchNorm } from '../../src/ops/batch-norm.ts';
import { add, exp, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import { inBatchNormMode, withBatchNorm } from '../../src/optim/batch-norm.ts';
import { hessianVectorModel } from '../../src/optim/higher-order.ts';
import type { ModelGraph } from '../../src/optim/model.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';
import { gradientPenalty, hessianVectorProduct, perExampleGradients } from '../../src/train/derivatives.ts';
import { f32, threeLayers } from '../support/models.ts';
import { normedModel } from '../support/norm-model.ts';

const names = (graph: Graph): string[] => graph.nodes.map((n) => n.name);
const opsOf = (graph: Graph): string[] => graph.nodes.flatMap((n) => n.op?.name ?? []);
/** Constants are known by their values: equal ones are one, whichever they are. */
const line = (n: Node): string =>
  `${n.name}: ${n.op!.name}(${n.inputs.map((t) => (t.node.source?.kind === 'constant' ? 'constant' : t.name)).join(', ')}) ${n.region}`;

describe.each(['deferred', 'exact'] as const)('%s', (mode) => {
  it('keeps names, order, outputs, labels, objective and assignments', () => {
    const before = normedModel.build(3);
    before.graph.label('Y of the first', before.graph.node('first.batchNorm').outputs[0]!);
    const { graph, objective } = inBatchNormMode(before, mode);
    verify(graph);
    const kept = new Set(names(before.graph));
    expect(names(graph).filter((name) => kept.has(name))).toEqual(names(before.graph));
    expect([...graph.outputs].map(([name, t]) => [name, t.name])).toEqual(
      [...before.graph.outputs].map(([name, t]) => [name, t.name]),
    );
    expect(graph.labels.get('Y of the first')).toBe(graph.node('first.batchNorm').outputs[0]);
    expect(objective.map(({ loss, weight }) => [loss.name, loss.graph === graph, weight])).toEqual([
      ['mul_2', true, 1],
    ]);
    expect(graph.assignments.map(({ target, value }) => [target.name, value.node.op!.name])).toEqual([
      ['first.running_mean', 'runningMoments'],
      ['first.running_var', 'runningMoments'],
      ['second.running_mean', 'runningMoments'],
      ['second.running_var', 'runningMoments'],
    ]);
    expect(graph.assignments.map(({ value }) => value.node.attrs.statistic)).toEqual([
      'mean',
      'unbiasedVariance',
      'mean',
      'unbiasedVariance',
    ]);
    expect(opsOf(graph)).not.toContain('runningAverage');
  });

  it('builds the same nodes for every size of a chunk', () => {
    const skeleton = (batch: number) =>
      buildTrainingGraph(normedModel.build(batch), {
        batchNorm: mode,
        fetch: { outputs: true, gradients: true, buffers: true, inputGradients: true },
      }).nodes.flatMap((n) => (n.op ? [line(n)] : []));
    expect(skeleton(1)).toEqual(skeleton(4));
  });

  it('leaves models without batch normalisation, and graphs for evaluation, as they are', () => {
    const plain = threeLayers.build(2);
    expect(inBatchNormMode(plain, mode)).toBe(plain);
    const evaluation = normedModel.build(2, 'evaluation');
    expect(inBatchNormMode(evaluation, mode)).toBe(evaluation);
  });

  it('takes the variance of other forms: biased, or of one value a channel; factors in front', () => {
    const follow = (batch: number, sample: (variance: Tensor, mean: Tensor) => Tensor): string => {
      const graph = new Graph();
      const { y, mean, variance } = batchNorm(graph.input('x', { shape: [batch, 2] }));
      trackAverage(graph.buffer('running', [2], { kind: 'ones' }), sample(variance, mean), 0.1);
      const model = inBatchNormMode({ graph, objective: [{ loss: sum(y), weight: 1 }] }, mode);
      return String(model.graph.assignments[0]!.value.node.attrs.statistic);
    };
    expect(follow(4, (v) => v)).toBe('variance');
    expect(follow(4, (v) => mul(v, 4 / 3))).toBe('unbiasedVariance');
    expect(follow(4, (v) => mul(v.graph.scalar(4 / 3), v))).toBe('unbiasedVariance');
    expect(follow(1, (v) => mul(v, 1))).toBe('unbiasedVariance');
    expect(follow(4, (_, m) => m)).toBe('mean');
    for (const other of [(v: Tensor) => mul(v, 2), (v: Tensor) => exp(v), (v: Tensor, m: Tensor) => add(v, m)]) {
      expect(() => follow(4, other)).toThrow(
        /running follows something computed from the batch statistics of batchNorm/,
      );
    }
  });

  it('leaves other running averages to their microbatches', () => {
    const graph = new Graph();
    const { y } = batchNorm(graph.input('x', { shape: [4, 2] }));
    trackAverage(graph.buffer('running', [2], { kind: 'ones' }), sum(y, { axes: [0] }), 0.1);
    const model = inBatchNormMode({ graph, objective: [{ loss: sum(y), weight: 1 }] }, mode);
    expect(model.graph.assignments[0]!.value.node.op!.name).toBe('runningAverage');
  });

  it('is chosen before a model is differentiated', () => {
    const late = hessianVectorModel(normedModel);
    expect(() => inBatchNormMode(late.build(3), mode)).toThrow(/a model of gradients is built already/);
  });
});

describe('exact', () => {
  it('has a barrier a normalisation forwards, and backwards where a gradient by what is normalised is wanted', () => {
    const levels = (inputGradients: boolean) =>
      barrierLevels(
        buildTrainingGraph(normedModel.build(3), { batchNorm: 'exact', fetch: { gradients: true, inputGradients } }),
      ).barriers;
    expect(levels(true)).toBe(4);
    // The first one normalises the data.
    expect(levels(false)).toBe(3);
  });

  it('refuses a model that takes a gradient through a normalisation within itself', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4, 3] });
    const { y } = batchNorm(mul(x, x));
    const [slope] = gradients([{ tensor: sum(mul(y, y)), cotangent: graph.scalar(1) }], [x]);
    const model: ModelGraph = { graph, objective: [{ loss: sum(mul(slope!, slope!)), weight: 1 }] };
    expect(() => inBatchNormMode(model, 'exact')).toThrow(/takes a gradient through batch normalisation batchNorm/);
    verify(inBatchNormMode(model, 'deferred').graph);
  });

  it('refuses what differentiates it twice, and gradients of single samples', async () => {
    const data = { x: f32([4, 3, 4], 1), t: f32([4, 2], 2) };
    const options = { model: normedModel, data, transport: 'local' } as const;
    const direction = new Map(normedModel.build(1).graph.parameters.map((p) => [p.name, f32(p.shape, 3)]));
    const exact = { ...options, batchNorm: 'exact' } as const;
    await expect(hessianVectorProduct({ ...exact, direction })).rejects.toThrow(/first derivatives only/);
    await expect(gradientPenalty({ ...exact, at: 'x' })).rejects.toThrow(/first derivatives only/);
    await expect(perExampleGradients(exact)).rejects.toThrow(/a sample depends on all others/);
    // Deferred differs in the buffers alone.
    const [micro, deferred] = await Promise.all(
      (['micro', 'deferred'] as const).map((batchNorm) =>
        hessianVectorProduct({ ...options, batchNorm, direction, microbatches: 2 }),
      ),
    );
    expect(deferred).toEqual(micro);
  });

  it('gives ONNX’s further outputs those of the whole batch, as the node has them without microbatches', () => {
    const model = withBatchNorm(
      { name: 'onnx', build: (batch) => ({ graph: statisticsGraph(batch), objective: [] }) },
      'exact',
    );
    const { graph } = model.build(4);
    const [x] = graph.sources('input');
    const data = Float64Array.from({ length: 8 }, (_, i) => (i * 7) % 5);
    const feeds = new Map<Tensor, RefTensor>([[x!, { type: x!.type, data }]]);
    const wanted = [...graph.outputs.values()];
    const found = evaluate(wanted, feeds).map((v) => [...v.data]);
    const plain = statisticsGraph(4);
    const plainFeeds = new Map<Tensor, RefTensor>([[plain.sources('input')[0]!, { type: x!.type, data }]]);
    const expected = evaluate([...plain.outputs.values()], plainFeeds).map((v) => [...v.data]);
    found.forEach((t, i) => void t.forEach((v, k) => void expect(v).toBeCloseTo(expected[i]![k]!, 12)));
    expect(opsOf(graph)).toContain('batchNormWithMoments');
  });
});

/** y, mean and biased variance as results, as a BatchNormalization of version 9 has them. */
function statisticsGraph(batch: number): Graph {
  const graph = new Graph();
  const { y, mean, variance } = batchNorm(graph.input('x', { shape: [batch, 2] }));
  graph.output('y', y);
  graph.output('mean', mean, { batchAxis: null });
  graph.output('variance', variance, { batchAxis: null });
  return graph;
}
