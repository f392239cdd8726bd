// The graph of a step, played in f64 without devices: what is computed of the objective, where, and under which name.
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { isForward } from '../../src/graph/values.ts';
import { cast } from '../../src/ops/compare.ts';
import { add, mul, tanh } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { ModelGraph } from '../../src/optim/model.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { buildTrainingGraph, type TrainingGraphOptions } from '../../src/optim/training-graph.ts';

const ones = { kind: 'ones' } as const;
const x = [1, -2, 3, 0.5, 4, -1];
const [w, idle, fixed] = [
  [2, 3, 5],
  [7, 11],
  [0.5, 1, 2],
];

/** Σ x·w·fixed, with whatever else `more` declares; `idle` is read by nothing. */
function linear(more: (graph: Graph, y: Tensor) => Partial<ModelGraph> = () => ({})): ModelGraph {
  const graph = new Graph();
  const data = graph.input('x', { shape: [2, 3] });
  const [a, c] = [graph.parameter('w', [3], ones), graph.parameter('fixed', [3], ones, { frozen: true })];
  graph.parameter('idle', [2], ones);
  const y = mul(mul(data, a), c);
  return { graph, objective: [{ loss: sum(y), weight: 1 }], ...more(graph, y) };
}

/** The results of a step in f64, by name. */
function play(model: ModelGraph, options: TrainingGraphOptions): Record<string, number[]> {
  const graph = buildTrainingGraph(model, options);
  const values: Record<string, readonly number[]> = { x, w: w!, idle: idle!, fixed: fixed!, z: [9, 9], mean: [4] };
  const feeds = new Map(
    (['input', 'parameter', 'buffer'] as const)
      .flatMap((kind) => graph.sources(kind))
      .flatMap((t) => {
        const data = values[t.node.source!.name];
        return data ? [[t, { type: t.type, data: Float64Array.from(data) }] as const] : [];
      }),
  );
  const names = [...graph.outputs.keys()];
  const results = evaluate([...graph.outputs.values()], feeds);
  return Object.fromEntries(results.map(({ data }, i) => [names[i]!, [...data]]));
}

/** Σ over the two samples of each column of x. */
const columns = [1.5, 2, 2];

describe('the objective', () => {
  it('is the sum of its terms, each times its weight', () => {
    const model = linear((_, y) => ({
      objective: [
        { loss: sum(y), weight: -0.5 },
        { loss: sum(mul(y, y)), weight: 2 },
      ],
    }));
    const y = x.map((v, i) => v * w![i % 3]! * fixed![i % 3]!);
    const expected = -0.5 * y.reduce((a, b) => a + b) + 2 * y.reduce((a, b) => a + b * b, 0);
    expect(play(model, {}).loss![0]).toBeCloseTo(expected, 9);
  });

  it('has terms that are f32 scalars with finite weights', () => {
    const refused = (term: (y: Tensor) => ModelGraph['objective'][number]) => () =>
      buildTrainingGraph(linear((_, y) => ({ objective: [{ loss: sum(y), weight: 1 }, term(y)] })));
    for (const weight of [Number.NaN, Number.POSITIVE_INFINITY, '2' as unknown as number]) {
      expect(refused((y) => ({ loss: sum(y), weight }))).toThrow(
        expect.objectContaining({ code: 'objective-weight', fields: { term: 1, weight: String(weight) } }),
      );
    }
    for (const loss of [(y: Tensor) => y, (y: Tensor) => cast(sum(y), 'i32'), () => 3 as unknown as Tensor]) {
      expect(refused((y) => ({ loss: loss(y), weight: 1 }))).toThrow(
        expect.objectContaining({ code: 'objective-scalar', fields: { term: 1 } }),
      );
    }
  });

  it('has λ/2 Σ‖w‖² added once, whose gradient is λw, for parameters that nothing else reads too', () => {
    const fetch = { gradients: true } as const;
    const plain = play(linear(), { fetch });
    const found = play(linear(), { fetch, l2: { lambda: 0.25, parameters: ['w', 'idle'] } });
    const squares = [...w!, ...idle!].reduce((sum, v) => sum + v * v, 0);
    expect(found.loss![0]! - plain.loss![0]!).toBeCloseTo(0.125 * squares, 9);
    expect(plain['grad/w']).toEqual(columns.map((c, i) => c * fixed![i]!));
    expect(found['grad/w']).toEqual(columns.map((c, i) => c * fixed![i]! + 0.25 * w![i]!));
    expect([plain['grad/idle'], found['grad/idle']]).toEqual([[0, 0], idle!.map((v) => 0.25 * v)]);
    // Frozen parameters have none.
    expect(Object.keys(found)).toEqual(['loss', 'grad/w', 'grad/idle']);
  });
});

describe('results', () => {
  it('are those that are asked for, with the axes they were declared with', () => {
    const model = () =>
      linear((graph, y) => {
        graph.output('y', y);
        graph.output('total', sum(mul(y, 2)), { batchAxis: null });
        return {};
      });
    expect(Object.keys(play(model(), {}))).toEqual(['loss']);
    const graph = buildTrainingGraph(model(), { fetch: { outputs: true } });
    expect([...graph.outputs.keys()]).toEqual(['output/y', 'output/total', 'loss']);
    expect([graph.batchAxisOf('output/y'), graph.batchAxisOf('output/total')]).toEqual([0, null]);
  });

  it('of buffers are what stands in them behind the step, and only training changes them', () => {
    const model = () =>
      linear((graph, y) => {
        const mean = graph.buffer('mean', [1], ones);
        graph.buffer('z', [2], ones);
        graph.assign(
          mean,
          graph.inStep(y.node, () => mul(mean, 0.5)),
        );
        return {};
      });
    const found = play(model(), { fetch: { buffers: true } });
    expect([found['buffer/mean'], found['buffer/z']]).toEqual([[2], [9, 9]]);
    const optimizer = makeOptimizer({ kind: 'sgd', lr: 1 });
    const targets = (options: TrainingGraphOptions) =>
      buildTrainingGraph(model(), options).assignments.map(({ target }) => target.name);
    expect(targets({})).toEqual([]);
    // As in PyTorch, a parameter without a gradient is left alone, unless it is penalised.
    expect(targets({ optimizer })).toEqual(['mean', 'w']);
    const l2 = { lambda: 1, parameters: ['idle'] };
    expect(targets({ optimizer, l2 })).toEqual(['mean', 'w', 'idle']);
  });

  it('of inputs are the gradients by the f32 data that outputs depend on', () => {
    const model = linear((graph, y) => {
      const z = graph.input('z', { shape: [2], batchAxis: null });
      const unread = graph.input('unread', { shape: [2, 2] });
      const target = graph.input('t', { shape: [2, 3] });
      const count = graph.input('n', { shape: [2, 3], dtype: 'i32' });
      const scale = graph.feed('scale', { dtype: 'f32', shape: [] }, { kind: 'inverseElements', perSample: 1 });
      graph.output('y', add(mul(tanh(mul(y, 0)), cast(count, 'f32')), mul(y, scale)));
      graph.output('z', mul(z, 2));
      graph.output('unread', mul(unread, 2));
      return { objective: [{ loss: add(sum(mul(y, target)), sum(mul(z, z))), weight: 1 }] };
    });
    const graph = buildTrainingGraph(model, { fetch: { inputGradients: true } });
    const names = ['x', 'z', 'unread'].map((name) => `grad_input/${name}`);
    expect([...graph.outputs.keys()]).toEqual(['loss', ...names]);
    expect(names.map((name) => graph.batchAxisOf(name))).toEqual([0, null, 0]);
    // What goes whole to every microbatch has one gradient a step.
    expect(names.map((name) => graph.outputs.get(name)!.node.region)).toEqual(['micro', 'step', 'micro']);
    const feeds = (tensor: Tensor, data: readonly number[]) =>
      [tensor, { type: tensor.type, data: Float64Array.from(data) }] as const;
    const byName = new Map([...graph.sources('input'), ...graph.parameters].map((t) => [t.node.source!.name, t]));
    const values = evaluate(
      names.map((name) => graph.outputs.get(name)!),
      new Map([
        feeds(byName.get('w')!, w!),
        feeds(byName.get('fixed')!, fixed!),
        feeds(byName.get('t')!, x),
        feeds(byName.get('z')!, [3, -4]),
      ]),
    ).map(({ data }) => [...data]);
    expect(values).toEqual([x.map((v, i) => v * w![i % 3]! * fixed![i % 3]!), [6, -8], [0, 0, 0, 0]]);
  });

  it('can be totals: each part summed by itself, then finished', () => {
    const model = linear((graph, y) => {
      const part = (tensor: Tensor) => ({ tensor, place: <T>(build: () => T) => graph.derivativeOf(y.node, build) });
      const parts = [part(sum(y)), part(sum(mul(y, y)))];
      return {
        totals: new Map([
          ['root', { parts, finish: (of: Tensor | undefined) => mul(of!, -1), at: y.node }],
          ['plain', { parts: parts.slice(0, 1), at: y.node }],
        ]),
      };
    });
    const y = x.map((v, i) => v * w![i % 3]! * fixed![i % 3]!);
    const [first, second] = [y.reduce((a, b) => a + b), y.reduce((a, b) => a + b * b, 0)];
    expect(play(model, {})).toMatchObject({ root: [-(first + second)], plain: [first] });
  });

  it('can be made of the gradients, in place of these', () => {
    const model = linear((graph) => ({
      fromGradients: (gradients) => {
        expect([...gradients.keys()]).toEqual(['w', 'idle']);
        const [g] = gradients.values();
        graph.output(
          'of w',
          graph.inStep(g!.node, () => mul(g!, 10)),
        );
      },
    }));
    expect(play(model, {})).toEqual({ loss: expect.anything(), 'of w': columns.map((c, i) => 10 * c * fixed![i]!) });
  });
});

describe('simplifying', () => {
  it('merges what the backward pass computes twice, and no forward nodes; folds forward constants alone', () => {
    const model = linear((graph, y) => ({
      objective: [
        { loss: sum(mul(tanh(y), tanh(y))), weight: 1 },
        // By either of its factors the square has the same derivative.
        { loss: sum(mul(mul(y, y), tanh(graph.scalar(1)))), weight: 1 },
      ],
    }));
    const graph = buildTrainingGraph(model, { fetch: { gradients: true } });
    const count = (forward: boolean) =>
      graph.nodes.filter((n) => n.op?.name === 'tanh' && isForward(n) === forward).length;
    expect(count(true)).toBe(2);
    const backward = graph.nodes.filter((n) => n.op && !isForward(n) && n.region === 'micro');
    const keys = backward.map((n) =>
      JSON.stringify([n.origin?.id, n.op!.name, n.inputs.map((t) => t.node.id), n.attrs]),
    );
    expect(keys.length).toBeGreaterThan(4);
    expect(new Set(keys).size).toBe(keys.length);
    // d(sum)/dy is a broadcast of 1: folded, it would take the memory of y for good.
    const constants = graph.nodes.filter((n) => n.source?.kind === 'constant' && n.region === 'micro');
    expect(constants.map((n) => n.outputs[0]!.shape).filter((shape) => shape.length > 0)).toEqual([]);
    expect(backward.map((n) => n.op!.name)).toContain('broadcastTo');
  });
});

it('places what each stage computes where its parameter is, and what joins them at the objective', () => {
  const model = linear();
  const optimizer = makeOptimizer({ kind: 'sgd', lr: 1 });
  const options = { optimizer, clip: { globalNorm: 1 }, l2: { lambda: 1, parameters: ['w', 'idle'] } };
  const graph = buildTrainingGraph(model, options);
  const placeOf = (op: string) => graph.nodes.filter((n) => n.op?.name === op).map((n) => n.origin?.name);
  const loss = graph.outputs.get('loss')!.node;
  expect([loss.op!.name, loss.origin!.name]).toEqual(['add', 'sum']);
  expect(placeOf('clipFactor')).toEqual(['sum']);
  // Sums over microbatches stand where the use is, whatever the cotangent was made of.
  const sums = graph.nodes.filter((n) => n.op?.name === 'accumulate');
  expect(sums.map((n) => [n.attrs.total, n.origin!.name, n.pass])).toEqual([
    ['loss', 'sum', 1],
    ['w#0', 'mul', 1],
  ]);
  expect(new Set(placeOf('sgdUpdate'))).toEqual(new Set(['w', 'idle']));
  // The norm adds in the order of the graph.
  const squares = graph.nodes.find((n) => n.op?.name === 'concat')!;
  const parameterOf = (t: Tensor): string | undefined => t.node.origin?.name;
  expect(squares.inputs.map((t) => parameterOf(t.node.inputs[0]!))).toEqual(['w', 'idle']);
});

it('names parameters without weight decay that there are', () => {
  const optimizer = makeOptimizer({ kind: 'sgd', lr: 1, noDecay: ['w', 'v'] });
  expect(() => buildTrainingGraph(linear(), { optimizer })).toThrow(
    expect.objectContaining({
      code: 'unknown-parameter',
      fields: { parameter: 'v', parameters: ['w', 'fixed', 'idle'] },
    }),
  );
});
