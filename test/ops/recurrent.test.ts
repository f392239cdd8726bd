// Recurrent layers against ONNX's formulas in f64: values and, by central differences of the formulas, gradients; the fused
// scans against the unrolled graphs, on the WebAssembly backend too.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { elementCount, type HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { eliminateDeadCode } from '../../src/graph/passes/dead-code.ts';
import type { CellActivation } from '../../src/ops/cell-activation.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { gru, lstm, type RecurrentOptions, rnn } from '../../src/ops/recurrent.ts';
import { sum } from '../../src/ops/reduce.ts';
import { firstDifference, norm } from '../conformance/compare.ts';
import { Executor } from '../conformance/executor.ts';
import { generator, ref } from '../nn/helpers.ts';
import {
  type Activation,
  type Case,
  gruFormula,
  lstmFormula,
  type Operands,
  type Results,
  rnnFormula,
} from './recurrent-formulas.ts';

type Kind = 'lstm' | 'gru' | 'rnn';
const kinds: Readonly<Record<Kind, { gates: number; formula: (c: Case, o: Operands) => Results }>> = {
  lstm: { gates: 4, formula: lstmFormula },
  gru: { gates: 3, formula: gruFormula },
  rnn: { gates: 1, formula: rnnFormula },
};

interface Trial extends Case {
  readonly title: string;
  readonly kind: Kind;
  /** Operands that are left out. */
  readonly without?: readonly (keyof Operands)[];
  /** Lengths as a tensor of the graph. */
  readonly fed?: boolean;
}

const small = { steps: 3, batch: 2, inputs: 4, size: 3 };
const one = { steps: 1, batch: 1, inputs: 1, size: 1 };
const every: readonly Activation[] = [
  ['affine', 0.7, 0.1],
  ['relu'],
  ['leakyRelu', 0.1],
  ['thresholdedRelu', 0.05],
  ['scaledTanh', 0.8, 1.3],
  ['hardSigmoid', 0.3, 0.4],
  ['elu', 0.9],
  ['softsign'],
  ['softplus'],
  ['sigmoid'],
  ['tanh'],
];

const trials: readonly Trial[] = [
  ...(['lstm', 'gru', 'rnn'] as const).flatMap((kind): Trial[] => {
    const noPeepholes: Partial<Trial> = { without: ['p'] };
    return [
      { title: 'defaults', kind, ...small, ...noPeepholes },
      { title: 'without biases and initial states', kind, ...small, without: ['bw', 'br', 'h0', 'c0', 'p'] },
      { title: 'one of two biases', kind, ...small, without: ['bw', 'p'] },
      { title: 'the other of two biases', kind, ...small, without: ['br', 'p'] },
      { title: 'sizes of one', kind, ...one, ...noPeepholes },
      { title: 'one unit, several steps', kind, ...one, steps: 4, batch: 3, ...noPeepholes },
      { title: 'reverse, odd sizes', kind, steps: 4, batch: 3, inputs: 2, size: 5, reverse: true, ...noPeepholes },
      { title: 'clip', kind, ...small, clip: 0.2, ...noPeepholes },
      { title: 'clip, reverse', kind, ...small, clip: 0.3, reverse: true, ...noPeepholes },
      { title: 'lengths', kind, ...small, lengths: [3, 1], ...noPeepholes },
      { title: 'lengths, reverse', kind, ...small, batch: 3, lengths: [2, 3, 1], reverse: true, ...noPeepholes },
      { title: 'fed lengths, one empty', kind, ...small, batch: 3, lengths: [2, 0, 3], fed: true, ...noPeepholes },
      { title: 'lengths, no initial h', kind, ...small, lengths: [1, 3], without: ['h0', 'p'] },
      { title: 'lengths, reverse, no initial h', kind, ...small, lengths: [2, 3], reverse: true, without: ['h0', 'p'] },
      {
        title: 'fed lengths, reverse, no initial h, one empty',
        kind,
        ...small,
        batch: 3,
        lengths: [0, 3, 1],
        reverse: true,
        fed: true,
        without: ['h0', 'p'],
      },
      { title: 'lengths, clip, reverse', kind, ...small, lengths: [3, 2], reverse: true, clip: 0.4, ...noPeepholes },
      { title: 'fed lengths, reverse', kind, ...small, lengths: [3, 2], reverse: true, fed: true, ...noPeepholes },
    ];
  }),
  { title: 'peepholes', kind: 'lstm', ...small },
  { title: 'peepholes, reverse', kind: 'lstm', ...small, reverse: true },
  { title: 'peepholes, lengths', kind: 'lstm', ...small, lengths: [1, 3] },
  { title: 'peepholes, lengths, reverse', kind: 'lstm', ...small, lengths: [1, 3], reverse: true, without: ['h0'] },
  { title: 'peepholes, clip, lengths', kind: 'lstm', ...small, clip: 0.4, lengths: [1, 3] },
  { title: 'coupled gates', kind: 'lstm', ...small, inputForget: true, without: ['p'] },
  { title: 'coupled gates, peepholes', kind: 'lstm', ...small, inputForget: true },
  ...every.map(
    (f, i): Trial => ({
      title: `${f[0]} and others`,
      kind: 'lstm',
      ...small,
      activations: [f, every[(i + 3) % every.length]!, every[(i + 7) % every.length]!],
    }),
  ),
  ...([false, true] as const).flatMap((resetAfter): Trial[] => [
    { title: `reset after: ${resetAfter}`, kind: 'gru', ...small, resetAfter },
    { title: `reset after: ${resetAfter}, reverse`, kind: 'gru', ...small, resetAfter, reverse: true },
    { title: `reset after: ${resetAfter}, no biases`, kind: 'gru', ...small, resetAfter, without: ['bw', 'br'] },
    {
      title: `reset after: ${resetAfter}, lengths, reverse`,
      kind: 'gru',
      ...small,
      resetAfter,
      lengths: [2, 3],
      reverse: true,
    },
    { title: `reset after: ${resetAfter}, lengths`, kind: 'gru', ...small, resetAfter, lengths: [2, 3] },
    {
      title: `reset after: ${resetAfter}, other functions`,
      kind: 'gru',
      ...small,
      resetAfter,
      activations: [['hardSigmoid', 0.2, 0.5], ['softsign']],
    },
  ]),
  { title: 'relu, lengths', kind: 'rnn', ...small, activations: [['relu']], lengths: [1, 3] },
  {
    title: 'relu, lengths, reverse',
    kind: 'rnn',
    ...small,
    activations: [['relu']],
    lengths: [1, 3],
    reverse: true,
    without: ['h0'],
  },
  ...every.map((f): Trial => ({ title: f[0], kind: 'rnn', ...small, activations: [f] })),
];

/** Shapes of a trial's operands. */
function shapes({ kind, steps, batch, inputs, size, without = [] }: Trial): Partial<Record<keyof Operands, number[]>> {
  const wide = kinds[kind].gates * size;
  const all: Partial<Record<keyof Operands, number[]>> = {
    x: [steps, batch, inputs],
    w: [wide, inputs],
    r: [wide, size],
    bw: [wide],
    br: [wide],
    h0: [batch, size],
    ...(kind === 'lstm' ? { c0: [batch, size], p: [3 * size] } : {}),
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => !without.includes(name as keyof Operands)));
}

const optionOf = ([kind, alpha, beta]: Activation): CellActivation => ({
  kind: kind as CellActivation['kind'],
  ...(alpha === undefined ? {} : { alpha }),
  ...(beta === undefined ? {} : { beta }),
});

/** The layer of a trial on a graph, with values that are exact in f32. */
function build(trial: Trial, seed = 5) {
  const graph = new Graph();
  const next = generator(seed);
  const tensors: Partial<Record<keyof Operands, Tensor>> = {};
  const values: Partial<Record<keyof Operands, number[]>> = {};
  for (const [name, shape] of Object.entries(shapes(trial)) as [keyof Operands, number[]][]) {
    tensors[name] = graph.input(name, { shape, batchAxis: null });
    values[name] = Array.from({ length: elementCount(shape) }, () => Math.fround(0.8 * next()));
  }
  const feeds = new Map(
    (Object.keys(tensors) as (keyof Operands)[]).map((n) => [tensors[n]!, ref(tensors[n]!, values[n]!)]),
  );
  let lengths: RecurrentOptions['lengths'] = trial.lengths;
  if (trial.fed) {
    const t = graph.input('lengths', { dtype: 'i32', shape: [trial.batch], batchAxis: null });
    feeds.set(t, ref(t, trial.lengths!));
    lengths = t;
  }
  const weights = { weightIh: tensors.w!, weightHh: tensors.r!, biasIh: tensors.bw, biasHh: tensors.br };
  const { reverse = false, clip, activations } = trial;
  const options: RecurrentOptions = { reverse, clip, lengths, h0: tensors.h0 };
  const [f, g, h] = (activations ?? []).map(optionOf);
  const functions = { ...(f ? { f } : {}), ...(g ? { g } : {}) };
  const result =
    trial.kind === 'lstm'
      ? lstm(tensors.x!, weights, {
          ...options,
          c0: tensors.c0,
          peepholes: tensors.p,
          gates: 'iofc',
          activations: { ...functions, ...(h ? { h } : {}) },
          coupled: trial.inputForget ?? false,
        })
      : trial.kind === 'gru'
        ? gru(tensors.x!, weights, {
            ...options,
            gates: 'zrh',
            reset: trial.resetAfter ? 'after' : 'before',
            activations: functions,
          })
        : rnn(tensors.x!, weights, { ...options, ...(f ? { activation: f } : {}) });
  const outputs = ['output', 'hN', 'cN'].flatMap((name) =>
    name in result ? [[name, result[name as 'output']] as [keyof Results, Tensor]] : [],
  );
  return { graph, tensors, values, feeds, outputs };
}

/** Σ weight·output for all outputs, with the weights as inputs, and its gradients by all operands. */
function objective({ graph, tensors, feeds, outputs }: ReturnType<typeof build>) {
  const next = generator(11);
  const terms = outputs.map(([name, t]) => {
    const weight = graph.input(`d${name}`, { shape: t.shape, batchAxis: null });
    feeds.set(
      weight,
      ref(
        weight,
        Array.from({ length: elementCount(t.shape) }, () => Math.fround(next())),
      ),
    );
    return { name, weight, term: sum(mul(t, weight)) };
  });
  const total = terms.map(({ term }) => term).reduce((a, b) => add(a, b));
  const names = Object.keys(tensors) as (keyof Operands)[];
  const found = gradients(
    [{ tensor: total, cotangent: graph.scalar(1) }],
    names.map((n) => tensors[n]!),
  );
  return { total, terms, names, found };
}

describe.each(['lstm', 'gru', 'rnn'] as const)('%s', (kind) => {
  const mine = trials.filter((t) => t.kind === kind);
  let executor: Executor;
  beforeAll(async () => {
    executor = await Executor.create('wasm');
  });

  it.each(mine)('$title: values are those of the formulas', (trial) => {
    const { values, feeds, outputs } = build(trial);
    const expected = kinds[kind].formula(trial, values as Operands);
    const got = evaluate(
      outputs.map(([, t]) => t),
      feeds,
    );
    outputs.forEach(([name], i) => {
      expect(firstDifference(got[i]!.data, expected[name], { atol: 1e-7, rtol: 1e-6 }), name).toBeUndefined();
    });
  });

  it.each(mine)('$title: gradients are central differences of the formulas', (trial) => {
    const built = build(trial);
    const { terms, names, found } = objective(built);
    const got = evaluate(
      found.map((g) => g!),
      built.feeds,
    );
    const value = (operands: Operands): number => {
      const results = kinds[kind].formula(trial, operands);
      return terms.reduce((s, { name, weight }) => {
        const w = built.feeds.get(weight)!.data;
        return results[name].reduce((q, v, i) => q + v * w[i]!, s);
      }, 0);
    };
    const step = 1e-6;
    names.forEach((name, i) => {
      const differences = built.values[name]!.map((v, at) => {
        const moved = (to: number): Operands =>
          ({ ...built.values, [name]: built.values[name]!.with(at, to) }) as Operands;
        return (value(moved(v + step)) - value(moved(v - step))) / (2 * step);
      });
      expect(firstDifference(got[i]!.data, differences, { atol: 1e-6, rtol: 2e-6 }), name).toBeUndefined();
      // A clip may cut off parts of an operand, but never all of it.
      expect(norm(got[i]!.data), `gradient by ${name}`).toBeGreaterThan(1e-3);
    });
  });

  it.each(mine)('$title: on wasm', (trial) => {
    const built = build(trial);
    const { names, found } = objective(built);
    const wanted = [...built.outputs.map(([, t]) => t), ...found.map((g) => g!)];
    const expected = evaluate(wanted, built.feeds);
    const feeds = new Map<Tensor, HostTensor>([...built.feeds].map(([t, v]) => [t, toHost(v)]));
    executor.run(wanted, feeds).forEach(({ data }, i) => {
      const difference = firstDifference(data, expected[i]!.data, { atol: 2e-6, rtol: 2e-5 });
      expect(difference, [...built.outputs.map(([n]) => n), ...names][i]).toBeUndefined();
    });
  });

  it.each([false, true])('fused and unrolled have the same derivatives, up to the second; reverse: %s', (reverse) => {
    // A bound that nothing reaches changes no value, but the scans have none.
    const values = [undefined, 1e6].map((clip) => {
      const built = build({
        title: '',
        kind,
        ...small,
        lengths: [2, 3],
        reverse,
        without: ['h0'],
        ...(clip ? { clip } : {}),
      });
      const { graph, tensors, feeds } = built;
      const { found } = objective(built);
      const penalty = found.map((g) => sum(mul(g!, g!))).reduce((a, b) => add(a, b));
      const second = gradients([{ tensor: penalty, cotangent: graph.scalar(1) }], Object.values(tensors));
      return evaluate(
        [...found, ...second].map((g) => g!),
        feeds,
      );
    });
    values[0]!.forEach(({ data }, i) => {
      expect(firstDifference(data, values[1]![i]!.data, { atol: 1e-12, rtol: 1e-9 })).toBeUndefined();
    });
  });

  it('a fused scan is a handful of nodes, whatever the number of steps', () => {
    const count = (steps: number): number => {
      const built = build({ title: '', kind, ...small, steps });
      const { found, names } = objective(built);
      found.forEach((g, i) => {
        built.graph.output(names[i]!, g!, { batchAxis: null });
      });
      return eliminateDeadCode(built.graph).nodes.length;
    };
    expect(count(100)).toBe(count(2));
    expect(count(100)).toBeLessThan(70);
  });

  it('builds the same nodes for a chunk of one sample, up to second derivatives', () => {
    const nodes = (batch: number): string[] => {
      const built = build({ title: '', kind, ...small, batch });
      const { graph, tensors } = built;
      const { found } = objective(built);
      const penalty = found.map((g) => sum(mul(g!, g!))).reduce((a, b) => add(a, b));
      gradients([{ tensor: penalty, cotangent: graph.scalar(1) }], Object.values(tensors));
      return graph.nodes.map((n) => `${n.name}: ${n.op?.name}(${n.inputs.map((t) => t.name).join(', ')})`);
    };
    expect(nodes(1)).toEqual(nodes(4));
  });

  it('has one gradient for a weight, however often the steps use it', () => {
    for (const clip of [undefined, 0.5]) {
      const { graph, tensors } = build({ title: '', kind, ...small, ...(clip ? { clip } : {}) });
      for (const weight of [tensors.w!, tensors.r!]) {
        expect(graph.nodes.filter((n) => n.inputs.includes(weight))).toHaveLength(1);
      }
    }
  });
});

describe('what is refused', () => {
  const graph = new Graph();
  const x = graph.input('x', { shape: [3, 2, 4], batchAxis: 1 });
  const weight = (name: string, ...shape: number[]) => graph.input(name, { shape, batchAxis: null });
  const weights = { weightIh: weight('w', 20, 4), weightHh: weight('r', 20, 5) };
  it.each<[string, () => unknown]>([
    ['x must be [T, N, I], got [20, 5]', () => lstm(weights.weightHh, weights)],
    ['weightHh must have the shape [15, 5], got [20, 5]', () => gru(x, weights)],
    ['weightIh must have the shape [20, 4], got [20, 5]', () => lstm(x, { ...weights, weightIh: weights.weightHh })],
    ['h0 must have the shape [2, 5], got [20, 5]', () => lstm(x, weights, { h0: weights.weightHh })],
    ['clip must be positive, got 0', () => lstm(x, weights, { clip: 0 })],
    ['1 lengths for 2 samples', () => lstm(x, weights, { lengths: [3] })],
    ['length 4 is not one of 0 … 3', () => lstm(x, weights, { lengths: [3, 4] })],
    ['lengths must be i32[2], got f32[20, 5]', () => lstm(x, weights, { lengths: weights.weightHh })],
  ])('%s', (message, make) => {
    expect(make).toThrow(message);
  });
});

/** Whether the layer of a trial is one fused scan. */
const isFused = (trial: Trial): boolean => build(trial).graph.nodes.some((n) => n.op?.name === `${trial.kind}Scan`);

describe('fused or unrolled', () => {
  it.each<[boolean, Trial]>([
    [true, { title: 'lengths', kind: 'lstm', ...small, lengths: [3, 1] }],
    [
      true,
      { title: 'lengths, reverse, from 0', kind: 'lstm', ...small, lengths: [3, 1], reverse: true, without: ['h0'] },
    ],
    [false, { title: 'lengths, reverse, from h0', kind: 'lstm', ...small, lengths: [3, 1], reverse: true }],
    [true, { title: 'lengths, reverse, from h0', kind: 'gru', ...small, lengths: [3, 1], reverse: true }],
    [false, { title: 'lengths, reverse, from h0', kind: 'rnn', ...small, lengths: [3, 1], reverse: true }],
    [false, { title: 'clip', kind: 'gru', ...small, clip: 1 }],
    [false, { title: 'coupled gates', kind: 'lstm', ...small, inputForget: true }],
    [false, { title: 'other functions', kind: 'rnn', ...small, activations: [['softsign']] }],
    [true, { title: 'relu', kind: 'rnn', ...small, activations: [['relu']] }],
  ])('%s: $kind, $title', (fused, trial) => {
    expect(isFused(trial)).toBe(fused);
  });

  it('lengths that are all the steps there are need no mask', () => {
    const { graph } = build({ title: '', kind: 'lstm', ...small, lengths: [3, 3] });
    expect(graph.nodes.some((n) => n.op?.name === 'where')).toBe(false);
  });
});
