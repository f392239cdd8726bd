// Layers and ready models against values and gradients that PyTorch computed (layers-pytorch.py).
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type GraphMode, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import * as nn from '../../src/nn/index.ts';
import { mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { firstDifference } from '../conformance/compare.ts';
import { inputOf, ref } from './helpers.ts';

interface Case {
  readonly layer?: string;
  readonly arguments?: readonly unknown[];
  /** Shape of the input; of embeddings the indices themselves. */
  readonly x?: readonly number[];
  readonly indices?: readonly (readonly number[])[];
  /** A ready model instead of a layer. */
  readonly model?: nn.models.ModelConfig;
  /** Shapes by PyTorch's names, in its order. */
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly shape: readonly number[];
  readonly y: readonly number[];
  readonly dx?: readonly number[];
  /** The gradient of each parameter; of models Σ |g| + g₀ of it, one number each. */
  readonly dw: readonly (readonly number[] | number)[];
  /** Behind two forward passes in training, and the output in evaluation then. */
  readonly buffers?: Readonly<Record<string, readonly number[]>>;
  readonly evaluated?: readonly number[];
}
const cases: readonly Case[] = JSON.parse(readFileSync(new URL('layers-pytorch.json', import.meta.url), 'utf8'));

/** What `fill` makes in the script. */
const fill = (n: number, phase: number, scale = 0.6): number[] =>
  Array.from({ length: n }, (_, i) => Math.sin(1.7 * i + phase) * scale);

const label = ({ layer, arguments: given, model, x }: Case): string =>
  model
    ? JSON.stringify(model)
    : `${layer}(${[x ? `[${x}]` : 'indices', ...given!.map((a) => JSON.stringify(a))].join(', ')})`;

/** A case as a graph with its output, its input and the values of everything that is fed. */
function build(c: Case, mode: GraphMode) {
  const graph = new Graph({ mode });
  let x: Tensor;
  let y: Tensor;
  let values: number[];
  if (c.model) {
    const { kind, ...sizes } = c.model;
    const { inputs, outputs } = (nn.models[kind] as nn.models.ModelBuilder<object>)(graph, 3, sizes, {
      objective: false,
    });
    [x, y] = [inputs.x!, outputs.logits!];
    values = fill(elementCount(x.shape), 0.5, 1.5);
  } else {
    const shape = c.x ?? [c.indices!.length, c.indices![0]!.length];
    x = graph.input('x', { shape, dtype: c.indices ? 'i32' : 'f32' });
    const layer = (nn as unknown as Record<string, (x: Tensor, ...rest: readonly unknown[]) => Tensor>)[c.layer!]!;
    y = layer(x, ...c.arguments!);
    values = c.indices?.flat() ?? fill(elementCount(shape), 0.5, 7);
  }
  const feeds = new Map<Tensor, RefTensor>([[x, ref(x, values)]]);
  for (const [k, t] of graph.parameters.entries()) {
    const data = fill(elementCount(t.shape), k);
    const init = t.node.source!.init!;
    if (init.kind === 'zeroRow') data.fill(0, init.row * t.shape[1]!, (init.row + 1) * t.shape[1]!);
    feeds.set(t, ref(t, data));
  }
  for (const t of graph.sources('buffer')) {
    const first = t.name.endsWith('running_var') ? 1 : 0;
    feeds.set(t, ref(t, new Array(elementCount(t.shape)).fill(first)));
  }
  return { graph, x, y, feeds };
}

// f64 on both sides; only constants of the graph are f32.
const tolerance = { atol: 2e-6, rtol: 1e-6 };
const close = (got: ArrayLike<number>, wanted: readonly number[], what: string) =>
  expect(firstDifference(got, wanted, tolerance), what).toBeUndefined();

describe.each(cases.map((c) => [label(c), c] as const))('%s', (_, c) => {
  it('has the parameters, values and gradients of PyTorch', () => {
    const { graph, x, y, feeds } = build(c, 'training');
    expect(Object.fromEntries(graph.parameters.map((t) => [t.name, [...t.shape]]))).toEqual(c.parameters);
    expect(graph.parameters.map((t) => t.name)).toEqual(Object.keys(c.parameters));
    expect([...y.shape]).toEqual(c.shape);
    const cotangent = graph.input('dy', { shape: y.shape, batchAxis: null });
    feeds.set(inputOf(graph, 'dy'), ref(cotangent, fill(elementCount(y.shape), 2)));
    const wrt = [...(c.dx ? [x] : []), ...graph.parameters];
    const root = { tensor: sum(mul(y, cotangent)), cotangent: graph.scalar(1) };
    const found = gradients([root], wrt);
    const [value, ...dw] = evaluate([y, ...found.map((g) => g!)], feeds).map((v) => v.data);
    close(value!, c.y, 'y');
    if (c.dx) close(dw.shift()!, c.dx, 'dx');
    dw.forEach((g, i) => {
      const name = `gradient of ${graph.parameters[i]!.name}`;
      const wanted = c.dw[i]!;
      if (typeof wanted === 'number') close([g.reduce((s, v) => s + Math.abs(v), 0) + g[0]!], [wanted], name);
      else close(g, wanted, name);
    });
  });

  if (!c.buffers) return;
  it('follows the batch with its running statistics, and normalises by them in evaluation', () => {
    const training = build(c, 'training');
    const buffers = training.graph.sources('buffer');
    expect(buffers.map((t) => t.name)).toEqual(Object.keys(c.buffers!));
    const nextOf = (target: Tensor) => training.graph.assignments.find((a) => a.target === target)!.value;
    for (let pass = 0; pass < 2; pass++) {
      const next = evaluate(buffers.map(nextOf), training.feeds);
      buffers.forEach((t, i) => {
        training.feeds.set(t, next[i]!);
      });
    }
    for (const t of buffers) close(training.feeds.get(t)!.data, c.buffers![t.name]!, t.name);

    const { graph, y, feeds } = build(c, 'evaluation');
    expect(graph.assignments).toEqual([]);
    for (const t of graph.sources('buffer')) {
      feeds.set(t, ref(t, training.feeds.get(buffers.find((b) => b.name === t.name)!)!.data));
    }
    close(evaluate([y], feeds)[0]!.data, c.evaluated!, 'in evaluation');
  });
});

it('covers every layer whose values do not depend on chance', () => {
  const covered = new Set(cases.map((c) => c.layer));
  // Tested elsewhere: recurrent.test.ts, layers.test.ts, dropout in layers.test.ts and test/train.
  const elsewhere =
    /^(lstm|gru|rnn|multiheadAttention|transformer.*|dropout.*|embeddingWeight|sequential|residual|identity|models|global.*)$/;
  expect(Object.keys(nn).filter((name) => !covered.has(name) && !elsewhere.test(name))).toEqual([]);
});
