// Attention and transformer layers against values and gradients that PyTorch computed (attention-pytorch.py), and what
// PyTorch does not say: rows that are hidden as a whole, dropout, chunks of the batch.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { scaledDotProductAttention } from '../../src/ops/attention.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { reshape } from '../../src/ops/shape.ts';
import { firstDifference } from '../conformance/compare.ts';
import { fillParameters, generator, nodeList, ref, valuesOf } from './helpers.ts';

interface Reference {
  /** Of the parameters, in PyTorch's order. */
  readonly names: readonly string[];
  readonly output: readonly number[];
  /** Gradients of the inputs. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Σ |g| + g₀ of each parameter's gradient. */
  readonly dw: readonly number[];
}
const references: Readonly<Record<string, Reference>> = JSON.parse(
  readFileSync(new URL('attention-pytorch.json', import.meta.url), 'utf8'),
);

const [n, t, s, d, heads] = [2, 3, 4, 8, 2];

/** What `fill` makes in the script. */
const fill = (count: number, phase: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(1.7 * i + phase) * 0.6);

const hidden = (graph: Graph, ...rows: number[][]): Tensor =>
  graph.constant({
    type: { dtype: 'bool', shape: [rows.length, rows[0]!.length] },
    data: Uint8Array.from(rows.flat()),
  });
const ownRows = [
  [0, 1, 0],
  [0, 0, 1],
  [1, 0, 0],
];
const causalRows = [
  [0, 1, 1],
  [0, 0, 1],
  [0, 0, 0],
];
const own = (g: Graph) => hidden(g, ...ownRows);
const cross = (g: Graph) => hidden(g, [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]);
const padOwn = (g: Graph) => hidden(g, [0, 0, 0], [0, 0, 1]);
const padMemory = (g: Graph) => hidden(g, [1, 0, 0, 0], [0, 0, 1, 1]);
const byHead = (g: Graph, ...shape: number[]) =>
  g.constant({
    type: { dtype: 'bool', shape },
    data: Uint8Array.from([ownRows, causalRows, ownRows, causalRows].flat(2).slice(0, elementCount(shape))),
  });
const added = (g: Graph) =>
  g.constant({
    type: { dtype: 'f32', shape: [t, t] },
    data: Float32Array.from(fill(t * t, 1), (v, i) => (ownRows.flat()[i] ? -Infinity : v)),
  });

type Inputs = Record<string, Tensor>;
type InputSpecs = Readonly<Record<string, readonly [shape: readonly number[], phase: number]>>;
interface Case {
  /** Shapes and phases of the inputs. */
  readonly inputs: InputSpecs;
  readonly build: (inputs: Inputs, graph: Graph) => Tensor;
  /** f32 constants take part. */
  readonly tolerance?: number;
}

const query: InputSpecs = { query: [[n, t, d], 0.5] };
const attention = (
  options: (g: Graph, x: Inputs) => Omit<nn.AttentionOptions, 'heads'>,
  more: InputSpecs = {},
): Case => ({
  inputs: { ...query, ...more },
  build: (x, g) => nn.multiheadAttention(x.query!, { heads, ...options(g, x) }),
});
const key: InputSpecs = { key: [[n, s, d], 0.25] };
const narrow: InputSpecs = { key: [[n, s, 6], 0.25], value: [[n, s, 5], 0.75] };

const x: InputSpecs = { x: [[n, t, d], 0.5] };
const memory: InputSpecs = { memory: [[n, s, d], 0.25] };
const common = { heads, dimFeedforward: 12, dropout: 0 };

const cases: Readonly<Record<string, Case | readonly Case[]>> = {
  self: [attention(() => ({})), attention((_, i) => ({ key: i.query, value: i.query }))],
  'self, causal': [
    attention(() => ({ causal: true })),
    attention((g) => ({ attnMask: hidden(g, ...causalRows) })),
    attention((g) => ({ causal: true, keyPaddingMask: hidden(g, [0, 0, 0], [0, 0, 0]) })),
  ],
  'self, bool mask': attention((g) => ({ attnMask: own(g) })),
  'self, mask by head': [
    attention((g) => ({ attnMask: byHead(g, n * heads, t, t) })),
    attention((g) => ({ attnMask: byHead(g, n, heads, t, t) })),
    attention((g) => ({ attnMask: byHead(g, 1, heads, t, t) })),
  ],
  'self, padding': attention((g) => ({ keyPaddingMask: padOwn(g) })),
  'self, causal and padding': attention((g) => ({ causal: true, keyPaddingMask: padOwn(g) })),
  'self, added mask': { ...attention((g) => ({ attnMask: added(g) })), tolerance: 1e-6 },
  'self, without bias': attention(() => ({ bias: false })),
  cross: attention((_, i) => ({ key: i.key }), key),
  'cross, masked': attention((g, i) => ({ key: i.key, attnMask: cross(g), keyPaddingMask: padMemory(g) }), key),
  'key and value': attention((_, i) => ({ key: i.key, value: i.value }), {
    ...key,
    value: [[n, s, d], 0.75],
  }),
  'other widths': attention((g, i) => ({ key: i.key, value: i.value, attnMask: cross(g) }), narrow),
  'other widths without bias': attention((_, i) => ({ key: i.key, value: i.value, bias: false }), narrow),
  'encoder layer': { inputs: x, build: (i) => nn.transformerEncoderLayer(i.x!, common) },
  'encoder layer, norm first': {
    inputs: x,
    build: (i, g) =>
      nn.transformerEncoderLayer(i.x!, {
        ...common,
        normFirst: true,
        activation: 'gelu',
        layerNormEps: 1e-3,
        srcMask: own(g),
        srcKeyPaddingMask: padOwn(g),
      }),
  },
  encoder: {
    inputs: x,
    build: (i) => nn.transformerEncoder(i.x!, { ...common, normFirst: true, numLayers: 2, norm: true, causal: true }),
  },
  'decoder layer': { inputs: { ...x, ...memory }, build: (i) => nn.transformerDecoderLayer(i.x!, i.memory!, common) },
  'decoder layer, norm first': {
    inputs: { ...x, ...memory },
    build: (i, g) =>
      nn.transformerDecoderLayer(i.x!, i.memory!, {
        ...common,
        normFirst: true,
        activation: nn.gelu,
        tgtMask: hidden(g, ...causalRows),
        tgtKeyPaddingMask: padOwn(g),
        memoryMask: cross(g),
        memoryKeyPaddingMask: padMemory(g),
      }),
  },
  decoder: {
    inputs: { ...x, ...memory },
    build: (i, g) =>
      nn.transformerDecoder(i.x!, i.memory!, {
        ...common,
        numLayers: 2,
        causal: true,
        memoryKeyPaddingMask: padMemory(g),
      }),
  },
};

const listed = Object.entries(cases).flatMap(([name, of]) =>
  [of].flat().map((c, i) => [i === 0 ? name : `${name} (${i + 1})`, name, c as Case] as const),
);

describe('values and gradients of PyTorch', () => {
  it('has a case for every reference', () => {
    expect(Object.keys(cases).sort()).toEqual(Object.keys(references).sort());
  });

  it.each(listed)('%s', (_, name, { inputs, build, tolerance = 1e-9 }) => {
    const expected = references[name]!;
    const graph = new Graph();
    const tensors = Object.fromEntries(
      Object.entries(inputs).map(([input, [shape]]) => [input, graph.input(input, { shape })]),
    );
    const output = build(tensors, graph);
    // PyTorch lists a module's own tensors before those of its parts, and parts in the order they are declared.
    const parameters = expected.names.map((p) => graph.node(p).outputs[0]!);
    expect(graph.parameters.map((p) => p.name).sort()).toEqual([...expected.names].sort());
    const feeds = new Map(parameters.map((p, k) => [p, ref(p, fill(elementCount(p.shape), k))] as const));
    for (const [input, [shape, phase]] of Object.entries(inputs)) {
      feeds.set(tensors[input]!, ref(tensors[input]!, fill(elementCount(shape), phase)));
    }
    const weight = graph.input('dy', { shape: output.shape });
    feeds.set(weight, ref(weight, fill(elementCount(weight.shape), 2)));
    const loss = sum(mul(output, weight));
    const used = Object.keys(expected.inputs);
    const wrt = [...used.map((input) => tensors[input]!), ...parameters];
    const found = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], wrt).map((g) => g!);
    const [y, ...grads] = evaluate([output, ...found], feeds).map((v) => v.data);

    const close = (got: ArrayLike<number>, wanted: readonly number[], what: string) =>
      expect(firstDifference(got, wanted, { atol: tolerance, rtol: tolerance }), what).toBeUndefined();
    close(y!, expected.output, 'output');
    used.forEach((input, i) => {
      close(grads[i]!, expected.inputs[input]!, `gradient of ${input}`);
    });
    const checks = grads.slice(used.length).map((g) => g.reduce((a, v) => a + Math.abs(v), 0) + g[0]!);
    close(checks, expected.dw, 'gradients of the parameters');
  });
});

describe('multiheadAttention', () => {
  /** Output, and gradients of the input and of all parameters, for samples of which some keys are hidden. */
  function run(build: (x: Tensor, graph: Graph) => Tensor, samples: number) {
    const graph = new Graph();
    const input = graph.input('x', { shape: [samples, t, d] });
    const y = build(input, graph);
    const loss = sum(mul(y, y));
    const found = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], [input, ...graph.parameters]);
    const next = generator(9);
    const data = Array.from({ length: samples * t * d }, next);
    return valuesOf([y, ...found.map((g) => g!)], { x: data }, fillParameters(graph)).map((v) => [...v]);
  }

  it.each(['bool', 'f32'])('gives out_proj.bias where all keys are hidden, and leaves others alone (%s)', (dtype) => {
    const mask = (g: Graph, ...rows: number[][]): Tensor => {
      const shape = [rows.length, t];
      const values = rows.flat();
      return dtype === 'bool'
        ? g.constant({ type: { dtype, shape }, data: Uint8Array.from(values) })
        : g.constant({ type: { dtype: 'f32', shape }, data: Float32Array.from(values, (v) => (v ? -Infinity : 0)) });
    };
    const both = run((i, g) => nn.multiheadAttention(i, { heads, keyPaddingMask: mask(g, [0, 0, 1], [1, 1, 1]) }), 2);
    const alone = run((i, g) => nn.multiheadAttention(i, { heads, keyPaddingMask: mask(g, [0, 0, 1]) }), 1);
    for (const values of both) expect(values.every(Number.isFinite)).toBe(true);
    const half = t * d;
    expect(both[0]!.slice(0, half)).toEqual(alone[0]);
    // Every position of the second sample is out_proj.bias, whatever went in.
    const rows = Array.from({ length: t }, (_, i) => both[0]!.slice(half + i * d, half + (i + 1) * d));
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]).toEqual(rows[0]);
    expect(both[1]!.slice(0, half)).toEqual(alone[1]);
    expect(both[1]!.slice(half).every((v) => v === 0)).toBe(true);
    // Of the parameters only out_proj.bias hears of that sample.
    expect(both.slice(2, -1)).toEqual(alone.slice(2, -1));
    expect(both.at(-1)).not.toEqual(alone.at(-1));
  });

  it('drops weights in training, nothing in evaluation, and has the same parameters in both', () => {
    const listOf = (mode: 'training' | 'evaluation', p: number) => {
      const graph = new Graph({ mode });
      const input = graph.input('x', { shape: [n, t, d] });
      nn.multiheadAttention(input, { heads, dropout: p, name: 'attn' });
      return {
        ops: graph.nodes.flatMap((node) => (node.attrs.dropout ? [node.attrs.dropout] : [])),
        parameters: graph.parameters.map((p) => p.name),
      };
    };
    expect(listOf('training', 0.25).ops).toMatchObject([{ ratio: 0.25, axis: 0 }]);
    expect(listOf('training', 0).ops).toEqual([]);
    expect(listOf('evaluation', 0.25)).toEqual(listOf('evaluation', 0));
    expect(listOf('evaluation', 0.25).parameters).toEqual(listOf('training', 0.25).parameters);
  });

  it('builds the same nodes for a chunk of one sample', () => {
    const nodes = (batch: number): string[] => {
      const graph = new Graph();
      const tgt = graph.input('x', { shape: [batch, t, d] });
      const over = graph.input('memory', { shape: [batch, s, d] });
      const padding = graph.input('padding', { dtype: 'bool', shape: [batch, s] });
      const y = nn.transformerDecoder(tgt, over, {
        ...common,
        dropout: 0.5,
        numLayers: 1,
        memoryKeyPaddingMask: padding,
      });
      gradients([{ tensor: sum(mul(y, y)), cotangent: graph.scalar(1) }], graph.parameters);
      return nodeList(graph);
    };
    expect(nodes(1)).toEqual(nodes(3));
  });

  it('says what does not fit', () => {
    const graph = new Graph();
    const input = graph.input('x', { shape: [n, t, d] });
    const other = (name: string, ...shape: number[]) => graph.input(name, { shape });
    const attend = (options: Partial<nn.AttentionOptions>) => () => nn.multiheadAttention(input, { heads, ...options });
    expect(attend({ heads: 3 })).toThrow('divisible by 3 heads');
    expect(attend({ heads: 0 })).toThrow('heads must be a positive integer, got 0');
    expect(attend({ key: other('k', 3, s, d) })).toThrow('the key must be [N, S, kdim] with N = 2');
    expect(attend({ value: other('v', n, s, d) })).toThrow('the value must be [N, S, vdim] with N = 2 and S = 3');
    expect(attend({ attnMask: other('m', t, s) })).toThrow('attnMask must be [3, 3], [4, 3, 3] or [2, 2, 3, 3]');
    expect(attend({ keyPaddingMask: other('p', t, n) })).toThrow('keyPaddingMask must be [2, 3], got [3, 2]');
    const integers = graph.input('i', { dtype: 'i32', shape: [t, t] });
    expect(attend({ attnMask: integers })).toThrow('bool (true: hidden) or f32 (added to the scores), got i32');
    expect(attend({ dropout: 1.5 })).toThrow('dropout must lie between 0 and 1, got 1.5');
  });
});

describe('fused attention', () => {
  type Options = Partial<nn.AttentionOptions>;
  /** Output, gradients of both inputs and all parameters, and those gradients' derivative along themselves. */
  function derivatives(given: Options, cross: boolean, masks: (graph: Graph) => Options = () => ({})): number[][] {
    const graph = new Graph();
    const options = { ...given, ...masks(graph) };
    const query = graph.input('x', { shape: [n, t, d] });
    const key = graph.input('key', { shape: [n, s, 6] });
    const y = nn.multiheadAttention(query, { heads, ...(cross ? { key } : {}), ...options });
    const wrt = [query, ...(cross ? [key] : []), ...graph.parameters];
    const of = (loss: Tensor): Tensor[] =>
      gradients([{ tensor: loss, cotangent: graph.scalar(1) }], wrt).map((g) => g!);
    const squares = (list: readonly Tensor[]): Tensor => list.map((g) => sum(mul(g, g))).reduce((a, b) => add(a, b));
    const first = of(squares([y]));
    const second = of(squares(first));
    const drawn = { 'random/samples': [3, 8], 'random/key': [7, 0, 3, 0] };
    const inputs = {
      x: fill(n * t * d, 0.5),
      ...(cross ? { key: fill(n * s * 6, 0.25) } : {}),
      ...(options.dropout ? drawn : {}),
    };
    return valuesOf([y, ...first, ...second], inputs, fillParameters(graph)).map((v) => [...v]);
  }

  it.each([
    ['self', {}, false],
    ['causal', { causal: true }, false],
    ['cross', {}, true],
    ['cross, causal', { causal: true }, true],
  ] as const)('%s: values, gradients and second derivatives of the graph with weights', (_, options, cross) => {
    const expected = derivatives({ ...options, fused: false }, cross);
    derivatives(options, cross).forEach((values, i) => {
      expect(firstDifference(values, expected[i]!, { atol: 1e-10, rtol: 1e-10 }), `tensor ${i}`).toBeUndefined();
    });
  });

  it.each([
    ['bool', 0],
    ['bool, causal', 1],
    ['f32 and padding', 2],
    ['f32 and padding, dropped', 3],
  ] as const)('%s: masks as the graph with weights has them', (_, which) => {
    const masks = (graph: Graph): Options => {
      // Query 1 of the first sample sees nothing.
      const bool = byHead(graph, 1, heads, t, t);
      const padding = padOwn(graph);
      if (which === 0) return { attnMask: bool };
      if (which === 1)
        return { attnMask: own(graph), keyPaddingMask: hidden(graph, [1, 1, 1], [0, 1, 0]), causal: true };
      return { attnMask: added(graph), keyPaddingMask: padding, ...(which === 3 ? { dropout: 0.4 } : {}) };
    };
    const expected = derivatives({ fused: false }, false, masks);
    derivatives({}, false, masks).forEach((values, i) => {
      expect(values.every(Number.isFinite)).toBe(true);
      expect(firstDifference(values, expected[i]!, { atol: 1e-10, rtol: 1e-10 }), `tensor ${i}`).toBeUndefined();
    });
  });

  it.each([false, true])('gives a learned mask its gradient, and others theirs (by lse too: %s)', (second) => {
    const of = (fused: boolean): number[][] => {
      const graph = new Graph();
      const input = graph.input('x', { shape: [n, t, d] });
      const bias = graph.input('bias', { shape: [1, heads, t, t], batchAxis: null });
      const options = { attnMask: bias, keyPaddingMask: padOwn(graph), fused };
      const y = nn.multiheadAttention(input, { heads, ...options });
      const wrt = [input, bias, ...graph.parameters];
      const from = (loss: Tensor) => gradients([{ tensor: loss, cotangent: graph.scalar(1) }], wrt).map((g) => g!);
      const first = from(sum(mul(y, y)));
      const found = second ? from(first.map((g) => sum(mul(g, g))).reduce((a, b) => add(a, b))) : first;
      expect(graph.nodes.some(({ op }) => op?.name === 'scaledDotProductAttention')).toBe(fused);
      const data = { x: fill(n * t * d, 0.5), bias: fill(heads * t * t, 1) };
      return valuesOf(found, data, fillParameters(graph)).map((v) => [...v]);
    };
    const expected = of(false);
    of(true).forEach((values, i) => {
      expect(firstDifference(values, expected[i]!, { atol: 1e-10, rtol: 1e-10 }), `tensor ${i}`).toBeUndefined();
    });
    expect(Math.max(...expected[1]!.map(Math.abs))).toBeGreaterThan(0.01);
  });

  it.each([
    ['self', {}, false],
    ['cross, causal', { causal: true }, true],
  ] as const)('%s: drops the same weights as the graph with weights', (_, options, cross) => {
    const expected = derivatives({ ...options, dropout: 0.4, fused: false }, cross);
    derivatives({ ...options, dropout: 0.4 }, cross).forEach((values, i) => {
      expect(firstDifference(values, expected[i]!, { atol: 1e-10, rtol: 1e-10 }), `tensor ${i}`).toBeUndefined();
    });
    expect(expected[0]).not.toEqual(derivatives({ ...options, fused: false }, cross)[0]);
  });

  it('draws for each node of a scope by itself, and drops all where all is to be dropped', () => {
    const graph = new Graph();
    const input = graph.input('x', { shape: [n, t, d] });
    const [q, k, v] = [0, 1, 2].map(() => reshape(input, [n, t, heads, d / heads])) as [Tensor, Tensor, Tensor];
    const attend = (ratio: number) =>
      scaledDotProductAttention(q, k, v, { layout: 'NTHD', dropout: { ratio, axis: null } });
    const [a, b, none] = [attend(0.5), attend(0.5), attend(1)];
    const streams = [a, b].map(({ node }) => (node.attrs.dropout as { stream: number[] }).stream);
    expect(streams[0]).not.toEqual(streams[1]);
    const [dropped] = valuesOf([none], { x: fill(n * t * d, 0.5) }, fillParameters(graph));
    expect(dropped!.every((value) => value === 0)).toBe(true);
  });

  it('holds no weights in a step, with masks neither; fused: false does', () => {
    const holds = (
      options: Options,
      mode: 'training' | 'evaluation' = 'training',
      padding?: (graph: Graph) => Tensor,
    ) => {
      const graph = new Graph({ mode });
      const keyPaddingMask = padding?.(graph);
      const [long, width] = [11, 8];
      const input = graph.input('x', { shape: [n, long, width] });
      const y = nn.multiheadAttention(input, { heads, causal: true, keyPaddingMask, ...options });
      gradients([{ tensor: sum(mul(y, y)), cotangent: graph.scalar(1) }], graph.parameters);
      const weights = graph.nodes.some(({ outputs }) =>
        outputs.some(({ shape }) => shape.at(-2) === long && shape.at(-1) === long),
      );
      const ops = graph.nodes.map((node) => node.op?.name);
      expect(ops.includes('scaledDotProductAttention'), 'one or the other').toBe(!weights);
      return weights;
    };
    expect(holds({})).toBe(false);
    expect(holds({ fused: false })).toBe(true);
    expect(holds({ dropout: 0.5 })).toBe(false);
    expect(holds({ dropout: 0.5, fused: false })).toBe(true);
    expect(holds({ dropout: 0.5 }, 'evaluation')).toBe(false);
    const padded = (graph: Graph) => graph.input('padding', { dtype: 'bool', shape: [n, 11] });
    expect(holds({}, 'training', padded)).toBe(false);
  });
});

it('transformer layers have PyTorch’s defaults and refuse what is none of theirs', () => {
  const graph = new Graph();
  const input = graph.input('x', { shape: [n, t, d] });
  nn.transformerEncoderLayer(input, { heads, name: 'layer' });
  expect(graph.node('layer.linear1.weight').outputs[0]!.shape).toEqual([2048, d]);
  const ratios = graph.nodes.flatMap(({ name, op, attrs }) =>
    op?.name === 'dropout'
      ? [[name, attrs.ratio]]
      : attrs.dropout
        ? [[name, (attrs.dropout as typeof attrs).ratio]]
        : [],
  );
  expect(ratios).toEqual([
    ['layer.self_attn.scaledDotProductAttention', 0.1],
    ['layer.dropout1.dropout', 0.1],
    ['layer.dropout.dropout', 0.1],
    ['layer.dropout2.dropout', 0.1],
  ]);
  expect(() => nn.transformerEncoder(input, { heads, numLayers: 0, name: 'e' })).toThrow(
    'numLayers must be a positive integer, got 0',
  );
  expect(() =>
    nn.transformerEncoderLayer(input, { heads, activation: 'tahn' as unknown as 'relu', name: 'f' }),
  ).toThrow('activation must be "relu", "gelu" or a function, got "tahn"');
});
