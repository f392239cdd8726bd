// What was refused has not been there: the graph has the nodes, results and names it had before.
import { describe, expect, it } from 'vitest';
import { Graph, GraphError, losses, nn, ops, PartitaError, printGraph, type Tensor } from '../../src/index.ts';

/** What a caller in JavaScript can write. */
// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const loose = (value: unknown): any => value;

interface Inputs {
  readonly graph: Graph;
  readonly rows: Tensor;
  readonly image: Tensor;
  readonly series: Tensor;
  readonly indices: Tensor;
}

function inputs(): Inputs {
  const graph = new Graph();
  return {
    graph,
    rows: graph.input('rows', { shape: [2, 4] }),
    image: graph.input('image', { shape: [2, 4, 6, 6] }),
    series: graph.input('series', { shape: [3, 2, 4] }),
    indices: graph.input('indices', { shape: [3], dtype: 'i32' }),
  };
}

const contents = (graph: Graph) => ({
  nodes: graph.nodes.map((n) => n.name),
  outputs: [...graph.outputs.keys()],
  assignments: graph.assignments.length,
  next: ['weight', 'matmul', 'add', 'constant', 'scalar'].map((name) => graph.nextName(name)),
});

function refused(build: (given: Inputs) => unknown): PartitaError {
  const given = inputs();
  const before = contents(given.graph);
  let error: unknown;
  try {
    build(given);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(PartitaError);
  expect(contents(given.graph)).toEqual(before);
  return error as PartitaError;
}

describe('a layer that is refused leaves nothing behind', () => {
  const cases: readonly (readonly [string, (given: Inputs) => unknown])[] = [
    ['conv2d', ({ image }) => nn.conv2d(image, 3, { kernel: 9, name: 'c' })],
    ['convTranspose2d', ({ image }) => nn.convTranspose2d(image, 3, { kernel: 3, groups: 3 })],
    ['linear', ({ rows, series }) => nn.linear(rows, 3, { weight: series })],
    ['linear, of its bias', ({ rows }) => nn.linear(rows, loose('3'))],
    ['batchNorm2d', ({ image }) => nn.batchNorm2d(image, { eps: -1 })],
    ['layerNorm', ({ rows }) => nn.layerNorm(rows, { eps: -1 })],
    ['groupNorm', ({ image }) => nn.groupNorm(image, 2, { eps: -1 })],
    ['lstm', ({ series }) => nn.lstm(series, 3, { lengths: [9, 9] })],
    ['multiheadAttention', ({ series, rows }) => nn.multiheadAttention(series, { heads: 2, attnMask: rows })],
    [
      'transformerEncoderLayer',
      ({ series }) => nn.transformerEncoderLayer(series, { heads: 2, activation: loose('x') }),
    ],
    ['embedding', ({ rows }) => nn.embedding(rows, { rows: 4, dim: 2 })],
    ['prelu', ({ rows }) => nn.prelu(rows, { init: Number.NaN })],
    ['sequential, of a Map', ({ rows }) => nn.sequential(loose(new Map([['a', nn.relu]])))(rows)],
    ['sequential', ({ rows }) => nn.sequential([(x) => nn.linear(x, 3), (x) => nn.linear(x, 0)])(rows)],
    ['residual', ({ rows }) => nn.residual((x) => nn.linear(x, 3))(rows)],
    ['mse', ({ rows }) => losses.mse(rows, 'y', { samples: 3 })],
    ['crossEntropy', ({ rows }) => losses.crossEntropy(rows, 'y', { ignoreIndex: 0.5 })],
    ['oneHot', ({ indices }) => ops.oneHot(indices, { depth: 4, axis: 7 })],
    ['concat', ({ rows, image }) => ops.concat([rows, image])],
  ];
  it.each(cases)('%s', (_, build) => {
    refused(build);
  });

  it('so that the same layer can be asked for again', () => {
    const { graph, image } = inputs();
    expect(() => nn.conv2d(image, 3, { kernel: 9, name: 'c' })).toThrow(GraphError);
    nn.conv2d(image, 3, { kernel: 3, name: 'c' });
    expect(graph.parameters.map((p) => p.name)).toEqual(['c.weight', 'c.bias']);
  });

  it('and names are counted on as if it had not been there', () => {
    const { graph, rows } = inputs();
    const names = (): string[] =>
      ops
        .add(ops.add(rows, 1), 1)
        .graph.nodes.slice(4)
        .map((n) => n.name);
    expect(() => nn.sequential([(x) => ops.add(ops.add(x, 1), 1), (x) => nn.linear(x, 0)])(rows)).toThrow(GraphError);
    const here = names();
    const { graph: _, ...fresh } = inputs();
    ops.add(ops.add(fresh.rows, 1), 1);
    expect(here).toEqual(fresh.rows.graph.nodes.slice(4).map((n) => n.name));
    expect(graph.nodes.map((n) => n.id)).toEqual(graph.nodes.map((_n, i) => i));
  });

  it('neither do outputs, labels and assignments of what was being built', () => {
    const { graph, rows } = inputs();
    const weight = graph.parameter('w', [4], { kind: 'zeros' });
    graph.output('first', rows);
    const before = contents(graph);
    const build = () =>
      graph.whole(() => {
        graph.assign(weight, ops.add(weight, 1));
        graph.label('mine', graph.output('second', ops.mul(rows, 2), { batchAxis: 1 }));
        throw new Error('no further');
      });
    expect(build).toThrow('no further');
    expect(contents(graph)).toEqual(before);
    expect(graph.labels.size).toBe(0);
    graph.output('second', rows);
    expect(graph.batchAxisOf('second')).toBe(0);
  });
});

describe('options of layers are of their kinds', () => {
  const cases: readonly (readonly [string, (given: Inputs) => unknown])[] = [
    ['bias must be true or false, got "no"', ({ rows }) => nn.linear(rows, 3, loose({ bias: 'no' }))],
    ['name must be a string, got 3', ({ rows }) => nn.linear(rows, 3, loose({ name: 3 }))],
    ['weight must be a tensor, got [1]', ({ rows }) => nn.linear(rows, 3, loose({ weight: [1] }))],
    ['groups must be a number, got "2"', ({ image }) => nn.conv2d(image, 4, loose({ kernel: 3, groups: '2' }))],
    ['affine must be true or false, got 1', ({ image }) => nn.batchNorm2d(image, loose({ affine: 1 }))],
    ['eps must be a number, got a symbol', ({ rows }) => nn.layerNorm(rows, loose({ eps: Symbol('eps') }))],
    ['batchFirst must be true or false, got null', ({ series }) => nn.lstm(series, 3, loose({ batchFirst: null }))],
    ['heads must be a number, got "2"', ({ series }) => nn.multiheadAttention(series, loose({ heads: '2' }))],
    [
      'causal must be true or false, got 0',
      ({ series }) => nn.multiheadAttention(series, loose({ heads: 2, causal: 0 })),
    ],
    [
      'norm must be true or false',
      ({ series }) => nn.transformerEncoder(series, loose({ heads: 2, numLayers: 1, norm: 1 })),
    ],
    ['rows must be a number, got 4n', ({ graph }) => nn.embeddingWeight(graph, loose({ rows: 4n, dim: 2 }))],
    ['startAxis must be a number', ({ image }) => nn.flatten(image, loose({ startAxis: '1' }))],
    ['name must be a string, got 3', ({ rows }) => losses.mse(rows, 'y', loose({ name: 3 }))],
    [
      'ignoreIndex must be a whole number or null, got "0"',
      ({ rows }) => losses.nll(rows, 'y', loose({ ignoreIndex: '0' })),
    ],
    [
      'depth must be a positive integer, at most 16777216, got Infinity',
      ({ indices }) => ops.oneHot(indices, { depth: Infinity }),
    ],
    [
      'depth must be a positive integer, at most 16777216, got 0.5',
      ({ indices }) => ops.oneHotMask(indices, { depth: 0.5 }),
    ],
  ];
  it.each(cases)('%s', (message, build) => {
    const error = refused(build);
    expect(error.message).toContain(message);
    expect(error.message).toContain('refused.test.ts');
    expect(error.remedy).toBeTruthy();
  });
});

describe('methods of graphs refuse what they cannot take', () => {
  const type = { dtype: 'f32', shape: [2] } as const;
  const init = { kind: 'zeros' } as const;
  const cases: readonly (readonly [string, (given: Inputs) => unknown])[] = [
    ['a parameter has a name, got nothing', ({ graph }) => graph.parameter(loose(undefined), [2], init)],
    ['a buffer has a name, got a symbol', ({ graph }) => graph.buffer(loose(Symbol('b')), [2], init)],
    ['options must be an object, got null', ({ graph }) => graph.parameter('w', [2], init, loose(null))],
    [
      'frozen must be true or false, got "yes"',
      ({ graph }) => graph.parameter('w', [2], init, loose({ frozen: 'yes' })),
    ],
    ['must hold positive integers', ({ graph }) => graph.parameter('w', loose([Symbol('n')]), init)],
    [
      'unknown option batchaxis, did you mean "batchAxis"?',
      ({ graph }) => graph.input('x', loose({ ...type, batchaxis: 0 })),
    ],
    [
      'input x has a dtype and a shape, got nothing',
      ({ graph }) => graph.feed('x', loose(undefined), { kind: 'randomKey' }),
    ],
    ['state m has a dtype and a shape', ({ graph }) => graph.state('m', loose({ dtype: 'f16', shape: [2] }), init)],
    ['constant constant has a dtype and a shape', ({ graph }) => graph.constant(loose({}))],
    ['constant of f32[2] has no values', ({ graph }) => graph.constant(loose({ type }))],
    [
      'constant constant: shape [a symbol] must hold positive integers',
      ({ graph }) => graph.constant(loose({ type: { dtype: 'f32', shape: [Symbol('n')] }, data: Float32Array.of(1) })),
    ],
    ['input rows: shape [a symbol] must hold', ({ graph }) => graph.input('rows', loose({ shape: [Symbol('n')] }))],
    ['label: takes a tensor, got "rows"', ({ graph }) => graph.label('y', loose('rows'))],
    ['assign: takes a tensor, got nothing', ({ graph, rows }) => graph.assign(rows, loose(undefined))],
    ['a scope has a name, got 3', ({ graph }) => graph.scope(loose(3), () => 0)],
    ['no node is named a symbol', ({ graph }) => graph.node(loose(Symbol('w')))],
    ['output y: unknown option axis', ({ graph, rows }) => graph.output('y', rows, loose({ axis: 0 }))],
    ['an output has a name', ({ graph, rows }) => graph.outputPerMicrobatch(loose(null), rows)],
  ];
  it.each(cases)('%s', (message, build) => {
    const error = refused(build);
    expect(error).toBeInstanceOf(GraphError);
    expect(error.message).toContain(message);
    expect(error.remedy).toBeTruthy();
  });
});

describe('what TypeScript takes is taken', () => {
  it('an input of the shape and dtype of another tensor', () => {
    const { graph, indices } = inputs();
    expect(graph.input('more', indices).type).toEqual(indices.type);
  });

  it('the configuration of any model, by the builder of its kind alone', () => {
    const config = { kind: 'mlp', inputs: 4, classes: 2, hidden: [3] } as const;
    expect(nn.models.mlp(new Graph(), 2, config).outputs.logits!.shape).toEqual([2, 2]);
    expect(() => nn.models.mlp(new Graph(), 2, loose({ ...config, kind: 'gpt' }))).toThrow(
      'model.kind must be "mlp", got "gpt"',
    );
  });

  it('configurations and options of classes', () => {
    class Config {
      readonly kind = 'mlp';
      readonly inputs = 4;
      readonly classes = 2;
      readonly hidden = [3];
    }
    class Options {}
    const { graph } = nn.models.modelOf(new Config()).build(2);
    expect(printGraph(graph, new Options())).toBe(printGraph(graph));
  });
});
