// Recurrent layers against values and gradients that PyTorch computed (recurrent-pytorch.py).
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { add, mul, relu } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { transpose } from '../../src/ops/shape.ts';
import { firstDifference } from '../conformance/compare.ts';
import { fillParameters, nodeList, ref, valuesOf, withInput } from './helpers.ts';

interface Reference {
  /** Of the parameters, in PyTorch's order. */
  readonly names: readonly string[];
  readonly output: readonly number[];
  readonly hN: readonly number[];
  readonly cN?: readonly number[];
  readonly dx: readonly number[];
  readonly dh0: readonly number[];
  /** Σ |g| + g₀ of each parameter's gradient. */
  readonly dw: Readonly<Record<string, number>>;
}
const references: Readonly<Record<'lstm' | 'gru' | 'rnn', Reference>> = JSON.parse(
  readFileSync(new URL('recurrent-pytorch.json', import.meta.url), 'utf8'),
);

const layers = { lstm: nn.lstm, gru: nn.gru, rnn: nn.rnn };

/** What `fill` makes in the script. */
const fill = (n: number, phase: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.sin(1.7 * i + phase) * 0.6);
const shapesOf = (graph: Graph) => Object.fromEntries(graph.parameters.map((t) => [t.name, [...t.shape]]));

describe.each(['lstm', 'gru', 'rnn'] as const)('%s', (kind) => {
  it.each([false, true])('has the values and gradients of PyTorch; batchFirst: %s', (batchFirst) => {
    const expected = references[kind];
    const graph = new Graph();
    const x = graph.input('x', { shape: [3, 2, 2], batchAxis: 1 });
    const [h0, c0] = ['h0', 'c0'].map((name) => graph.input(name, { shape: [4, 2, 3], batchAxis: 1 })) as [
      Tensor,
      Tensor,
    ];
    const exchanged = (t: Tensor): Tensor => (batchFirst ? transpose(t, [1, 0, 2]) : t);
    const options = { numLayers: 2, bidirectional: true, batchFirst, h0 };
    const made: Partial<Record<'output' | 'hN' | 'cN', Tensor>> = layers[kind](
      exchanged(x),
      3,
      kind === 'lstm' ? { ...options, c0 } : options,
    );
    const results = { ...made, output: exchanged(made.output!) };
    const names = kind === 'lstm' ? (['output', 'hN', 'cN'] as const) : (['output', 'hN'] as const);

    expect(graph.parameters.map((t) => t.name)).toEqual(expected.names);
    const feeds = new Map(
      [...graph.parameters.entries()].map(([k, t]) => [t, ref(t, fill(elementCount(t.shape), k))] as const),
    );
    feeds
      .set(x, ref(x, fill(12, 0.5)))
      .set(h0, ref(h0, fill(24, 0.25)))
      .set(c0, ref(c0, fill(24, 0.75)));
    const terms = names.map((name, i) => {
      const weight = graph.input(`d${name}`, { shape: results[name]!.shape, batchAxis: null });
      feeds.set(weight, ref(weight, fill(elementCount(weight.shape), i + 2)));
      return sum(mul(results[name]!, weight));
    });
    const loss = terms.reduce((a, b) => add(a, b));
    const wrt = [x, h0, ...graph.parameters];
    const found = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], wrt).map((g) => g!);
    const [dx, dh0, ...dw] = evaluate(found, feeds).map((v) => v.data);

    const close = (got: ArrayLike<number>, wanted: readonly number[], what: string) =>
      expect(firstDifference(got, wanted, { atol: 1e-8, rtol: 1e-8 }), what).toBeUndefined();
    const values = evaluate(
      names.map((name) => results[name]!),
      feeds,
    );
    names.forEach((name, i) => {
      close(values[i]!.data, expected[name]!, name);
    });
    close(dx!, expected.dx, 'dx');
    close(dh0!, expected.dh0, 'dh0');
    const checks = dw.map((g) => g.reduce((s, v) => s + Math.abs(v), 0) + g[0]!);
    close(
      checks,
      expected.names.map((name) => expected.dw[name]!),
      'gradients of the parameters',
    );
  });

  it('names and shapes its parameters as PyTorch, uniform in ±1/√H', () => {
    const { graph, x } = withInput(5, 2, 4);
    layers[kind](x, 16, { name: 'layer', bidirectional: true, numLayers: 2, bias: false });
    const wide = { lstm: 64, gru: 48, rnn: 16 }[kind];
    expect(shapesOf(graph)).toEqual({
      'layer.weight_ih_l0': [wide, 4],
      'layer.weight_hh_l0': [wide, 16],
      'layer.weight_ih_l0_reverse': [wide, 4],
      'layer.weight_hh_l0_reverse': [wide, 16],
      'layer.weight_ih_l1': [wide, 32],
      'layer.weight_hh_l1': [wide, 16],
      'layer.weight_ih_l1_reverse': [wide, 32],
      'layer.weight_hh_l1_reverse': [wide, 16],
    });
    for (const t of graph.parameters) {
      expect(t.node.source!.init).toEqual({ kind: 'uniform', low: -0.25, high: 0.25 });
    }
  });

  it('builds the same nodes for a chunk of one sample', () => {
    const nodes = (batch: number): string[] => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 3, 2] });
      const { output, hN } = layers[kind](x, 2, { batchFirst: true, numLayers: 2, bidirectional: true });
      const loss = add(sum(mul(output, output)), sum(mul(hN, hN)));
      gradients([{ tensor: loss, cotangent: graph.scalar(1) }], graph.parameters);
      return nodeList(graph);
    };
    expect(nodes(1)).toEqual(nodes(3));
  });
});

it('a layer of lengths is the layer of each sample by itself', () => {
  const { graph, x } = withInput(3, 2, 2);
  const { output, hN } = nn.lstm(x, 3, { bidirectional: true, numLayers: 2, lengths: [2, 3] });
  const data = fill(12, 1);
  const [all, final] = valuesOf([output, hN], { x: data }, fillParameters(graph));
  const short = new Graph();
  const alone = short.input('x', { shape: [2, 1, 2] });
  const result = nn.lstm(alone, 3, { bidirectional: true, numLayers: 2 });
  // The first sample's two steps, of [T, N, I].
  const [few, end] = valuesOf(
    [result.output, result.hN],
    { x: [0, 1, 4, 5].map((i) => data[i]!) },
    fillParameters(short),
  );
  const rows = (values: Float64Array, width: number, stride: number): number[][] =>
    Array.from({ length: values.length / stride }, (_, i) => [...values.slice(i * stride, i * stride + width)]);
  expect(rows(all!, 6, 12).slice(0, 2)).toEqual(rows(few!, 6, 6));
  expect(rows(all!, 6, 12)[2]).toEqual([0, 0, 0, 0, 0, 0]);
  expect(rows(final!, 3, 6)).toEqual(rows(end!, 3, 3));
});

it('rnn takes relu, and what is between layers', () => {
  const { graph, x } = withInput(2, 1, 2);
  const seen: number[][] = [];
  const between = (y: Tensor): Tensor => {
    seen.push([...y.shape]);
    return relu(y);
  };
  const { output } = nn.rnn(x, 2, { nonlinearity: 'relu', numLayers: 3, between });
  expect(seen).toEqual([
    [2, 1, 2],
    [2, 1, 2],
  ]);
  expect(output.node.op!.name).toBe('rnnScan');
  expect(output.node.attrs.activation).toBe('relu');
  expect(graph.parameters).toHaveLength(12);
});

it('refuses shapes that do not fit', () => {
  const { graph, x } = withInput(3, 2, 4);
  const h0 = graph.input('h0', { shape: [1, 2, 5], batchAxis: 1 });
  expect(() => nn.gru(x, 5, { h0, bidirectional: true })).toThrow('h0 must have the shape [2, 2, 5], got [1, 2, 5]');
  expect(() => nn.lstm(x, 5, { h0: graph.input('h', { shape: [1, 2, 5] }), c0: x })).toThrow('c0 must have the shape');
  expect(() => nn.rnn(h0, 0)).toThrow('the hidden size must be a positive integer, got 0');
  expect(() => nn.rnn(x, 3, { numLayers: 0 })).toThrow('numLayers must be a positive integer, got 0');
  expect(() => nn.rnn(graph.input('v', { shape: [3, 2] }), 3)).toThrow('x must be [T, N, I]');
});
