import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { readVectors, VECTORS_SECTION, vectorFunctions } from '../../src/backends/wasm/vectors.ts';
import { elementCount, type HostTensor, type Shape } from '../../src/core/types.ts';
import { fuseElementwise, fusionGroups } from '../../src/fusion/index.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { greater, where } from '../../src/ops/compare.ts';
import { add, div, gelu, geluTanh, mul, neg, relu, sigmoid, sub, tanh } from '../../src/ops/elementwise.ts';
import { type FusedAttrs, fusedOp, fusibleOps, isFusible } from '../../src/ops/fused.ts';
import { recordOf } from '../../src/ops/index.ts';
import { sum as reduceSum } from '../../src/ops/reduce.ts';
import { reshape } from '../../src/ops/shape.ts';
import { backendKinds, Executor } from '../conformance/executor.ts';
import { cases, drawCase } from '../conformance/samples.ts';
import { toHex, values } from '../support/models.ts';
import { Choices } from '../support/random-model.ts';

describe.each(backendKinds)('fused chains on %s', (kind) => {
  let executor: Executor;
  beforeAll(async () => {
    executor = await Executor.create(kind);
  });

  const types = (c: (typeof cases)[number]) => c.sample.inputs.map(({ shape, dtype = 'f32' }) => ({ shape, dtype }));
  it.each(cases.filter((c) => isFusible(c.op, types(c))))('$title has the bits of the op by itself', (c) => {
    const graph = new Graph();
    const drawn = drawCase(c);
    const feeds = new Map<Tensor, HostTensor>();
    const inputs = drawn.map((value, i) => {
      const t = graph.input(`x${i}`, { ...value.type, batchAxis: null });
      feeds.set(t, value);
      return t;
    });
    const alone = graph.add(recordOf(c.op), inputs, c.sample.attrs);
    const steps = [{ op: c.op, args: inputs.map((_, i) => i), attrs: c.sample.attrs }];
    const fused = graph.add<FusedAttrs>(fusedOp, inputs, { steps, outputs: [inputs.length] });
    const [a, f] = executor.run([alone[0]!, fused[0]!], feeds);
    expect(toHex(f!)).toBe(toHex(a!));
  });

  it('of random ops and shapes have the bits of the ops one by one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const { graph, feeds, wanted } = randomChain(seed);
        const fused = fuseElementwise(graph, () => 0).graph;
        expect(fused.nodes.some((n) => n.op?.name === 'fused')).toBe(true);
        const copies = new Map([...feeds].map(([t, v]) => [fused.node(t.node.name).outputs[0]!, v] as const));
        const expected = executor.run(wanted, feeds).map(toHex);
        expect(executor.run([...fused.outputs.values()], copies).map(toHex)).toEqual(expected);
      }),
      { numRuns: kind === 'wasm' ? 150 : 20 },
    );
  });
});

/** A small graph of elementwise ops, its operands repeated along any axes; some go on under another shape, and come back. */
function randomChain(seed: number) {
  const choices = new Choices(seed);
  const graph = new Graph();
  const feeds = new Map<Tensor, HostTensor>();
  const operand = (shape: Shape, full: boolean): Tensor => {
    const own = full
      ? shape
      : shape.map((d) => (choices.below(2) === 0 ? 1 : d)).slice(choices.below(shape.length + 1));
    const t = graph.input(`x${feeds.size}`, { shape: own, batchAxis: null });
    feeds.set(t, { type: t.type, data: values(elementCount(own), seed + feeds.size) });
    return t;
  };
  const grown = (begin: Tensor): Tensor[] => {
    const { shape } = begin.type;
    const operands = Array.from({ length: 1 + choices.below(4) }, () => operand(shape, false));
    const pool: Tensor[] = [begin];
    const last = () => pool[Math.max(0, pool.length - 1 - choices.below(2))]!;
    const grow: (() => Tensor)[] = [
      () => add(last(), choices.pick(operands)),
      () => sub(choices.pick(operands), last()),
      () => mul(last(), last()),
      () => div(last(), add(mul(choices.pick(pool), choices.pick(pool)), 0.5)),
      () => relu(last()),
      () => gelu(last()),
      () => geluTanh(last()),
      () => sigmoid(neg(last())),
    ];
    for (let i = 2 + choices.below(9); i > 0; i--) pool.push(choices.pick(grow)());
    return pool;
  };
  const shape = Array.from({ length: choices.below(5) }, () => 1 + choices.below(choices.pick([2, 5, 23])));
  const pool = grown(tanh(operand(shape, true)));
  if (choices.below(2) === 0) {
    const other = choices.pick([shape.toReversed(), [elementCount(shape)], [1, ...shape, 1]]);
    pool.push(...grown(add(reshape(choices.pick(pool), other), operand(other, false))));
    if (choices.below(2) === 0) pool.push(mul(reshape(pool.at(-1)!, shape), choices.pick(pool.slice(0, 2))));
  }
  const wanted = [...new Set([pool.at(-1)!, ...pool.filter(() => choices.below(4) === 0)])];
  wanted.forEach((t, i) => void graph.output(`y${i}`, t, { batchAxis: null }));
  return { graph, feeds, wanted: [...graph.outputs.values()] };
}

describe('vector functions', () => {
  it('are there for every op that may be fused, the same in both builds', async () => {
    const [strict, relaxed] = await Promise.all([kernelsModule('strict'), kernelsModule('relaxed')]);
    const [a, b] = [strict, relaxed].map((m) => Buffer.from(WebAssembly.Module.customSections(m, VECTORS_SECTION)[0]!));
    expect(a!.equals(b!)).toBe(true);
    const names = [...vectorFunctions(strict).keys()];
    const missing = fusibleOps().filter((op) => op !== 'cast' && !names.includes(op));
    expect(missing).toEqual([]);
  });

  it('that branch, call or touch memory are refused by name', () => {
    const module = (body: number[]) =>
      Uint8Array.from([
        ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
        ...[1, 6, 1, 0x60, 1, 0x7b, 1, 0x7b],
        ...[3, 2, 1, 0],
        ...[7, 5, 1, 1, 0x66, 0, 0],
        ...[10, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b],
      ]);
    expect(readVectors(module([0x20, 0])).get('f')).toMatchObject({ parameters: 1, locals: [] });
    const straight = 'the vector function f does not run straight through';
    for (const body of [
      [0x10, 0],
      [0x04, 0x40],
      [0x41, 0, 0xfd, 0, 0, 0],
    ]) {
      expect(() => readVectors(module(body))).toThrow(straight);
    }
  });
});

describe('groups', () => {
  const groupsOf = (graph: Graph, stageOf: (name: string) => number = () => 0) =>
    fusionGroups(graph, (n) => stageOf(n.name)).map((g) => g.members.map((n) => n.name));
  const chain = () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4, 6] });
    const biased = add(x, graph.parameter('bias', [6], { kind: 'zeros' }));
    graph.output('y', gelu(biased));
    return { graph, biased };
  };

  it('join a bias and its activation, and write what others read', () => {
    const { graph, biased } = chain();
    graph.output('kept', biased);
    const { graph: fused } = fuseElementwise(graph, () => 0);
    const node = fused.nodes.find((n) => n.op?.name === 'fused')!;
    expect(node.name).toBe('gelu');
    expect(node.outputs.map((t) => t.name)).toEqual(['add', 'gelu']);
    expect(node.attrs).toEqual({
      steps: [
        { op: 'add', args: [0, 1], attrs: {} },
        { op: 'gelu', args: [2], attrs: {} },
      ],
      outputs: [2, 3],
    });
  });

  it('do not leave a stage', () => {
    const { graph } = chain();
    expect(groupsOf(graph)).toEqual([['add', 'gelu']]);
    expect(groupsOf(graph, (name) => (name === 'gelu' ? 1 : 0))).toEqual([]);
  });

  it('make nobody wait who reads one of their values', () => {
    const { graph, biased } = chain();
    const other = add(biased, graph.scalar(1));
    // It stands between the two, and reads the first: to run both behind it would be a circle.
    add(neg(mul(other, 2)), biased);
    for (const group of groupsOf(graph)) {
      const ids = group.map((name) => graph.node(name).id);
      const between = graph.nodes.filter((n) => n.id < ids.at(-1)! && !group.includes(n.name));
      for (const n of between) expect(n.inputs.some((t) => group.includes(t.node.name))).toBe(false);
    }
  });

  it('do not reach over an update', () => {
    const build = (at?: 'before' | 'between' | 'behind') => {
      const graph = new Graph();
      const w = graph.parameter('w', [4], { kind: 'ones' });
      const v = graph.parameter('v', [4], { kind: 'ones' });
      const update = (where: typeof at) => {
        if (where !== at || at === undefined) return;
        const rate = graph.feed('rate', { dtype: 'f32', shape: [1] }, { kind: 'hyper', rule: 'sgd' });
        const attrs = { momentum: false, dampening: 0, nesterov: false, weightDecay: 0 };
        graph.inStep(undefined, () => graph.add(recordOf('sgdUpdate'), [v, v, rate], attrs));
      };
      update('before');
      const twice = mul(w, 2);
      update('between');
      graph.output('y', neg(twice));
      update('behind');
      return groupsOf(graph);
    };
    const whole = [['mul', 'neg']];
    expect([build(), build('before'), build('between'), build('behind')]).toEqual([whole, whole, [], whole]);
  });

  it.each<[string, (x: Tensor) => Tensor]>([
    ['a node', (x) => mul(x, 2)],
    ['a reshape', (x) => reshape(x, [2, 2])],
  ])('stand before what follows one of their nodes as its derivative: %s', (_, derivative) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4] });
    const y = neg(x);
    graph.derivativeOf(y.node, () => derivative(x));
    graph.output('z', relu(y));
    expect(groupsOf(graph)).toEqual([]);
  });

  it('have their nodes in graph order, however they were joined', () => {
    const graph = new Graph();
    const [x, z] = ['x', 'z'].map((name) => graph.input(name, { shape: [4] })) as [Tensor, Tensor];
    const [a, b] = [neg(x), relu(z)];
    graph.output('y', add(a, b));
    expect(groupsOf(graph)).toEqual([['neg', 'relu', 'add']]);
  });

  it('write what a buffer holds behind the step', () => {
    const graph = new Graph();
    const mean = graph.buffer('mean', [4], { kind: 'zeros' });
    const [y] = graph.inStep(undefined, () => {
      const next = neg(mean);
      graph.assign(mean, next);
      return [relu(next)];
    });
    graph.output('y', y!, { batchAxis: null });
    const [group] = fusionGroups(graph, () => 0);
    expect(group!.outputs.map((t) => t.node.name)).toEqual(['neg', 'relu']);
  });

  it('are walked in four dimensions at most', () => {
    const build = (rank: number) => {
      const graph = new Graph();
      // Every second axis repeats, so that no two neighbours merge.
      const shape = Array.from({ length: rank }, (_, axis) => 2 + axis);
      const repeated = graph.parameter(
        'w',
        shape.map((d, axis) => (axis % 2 === 0 ? d : 1)),
        { kind: 'ones' },
      );
      graph.output('y', neg(add(graph.input('x', { shape, batchAxis: null }), repeated)), { batchAxis: null });
      return groupsOf(graph);
    };
    expect([build(4), build(5)]).toEqual([[['add', 'neg']], []]);
  });

  it('read an operand twice that repeats in two ways', () => {
    const graph = new Graph();
    const pair = graph.parameter('w', [2, 1], { kind: 'ones' });
    const x = graph.input('x', { shape: [3, 2, 2], batchAxis: null });
    graph.output('y', mul(reshape(add(x, pair), [6, 2, 1]), pair), { batchAxis: null });
    const [group] = fusionGroups(graph, () => 0);
    // By pairs of elements under the first shape, element by element under the second.
    expect(group!.inputs.map(({ view }) => view)).toEqual([[3, 2, 2], [2, 1], [2]]);
  });

  it('keep stages and origins', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4] });
    const y = graph.output('y', relu(neg(x)));
    const dx = graph.derivativeOf(y.node, () => sigmoid(mul(x, y)));
    const other = graph.derivativeOf(y.node, () => reduceSum(dx));
    graph.output('dx', dx);
    graph.output('other', other, { batchAxis: null });
    const { graph: fused, stageOf } = fuseElementwise(graph, (n) => (n.pass > 0 ? 1 : 2));
    const [chain, derivative, total] = fused.nodes.filter((n) => n.op);
    expect([chain!.op!.name, derivative!.op!.name, total!.op!.name]).toEqual(['fused', 'fused', 'sum']);
    expect([derivative!.origin, total!.origin]).toEqual([chain, chain]);
    expect([chain, derivative, total].map((n) => stageOf(n!))).toEqual([2, 1, 1]);
  });

  it('keep what is computed again to itself', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4] });
    const y = neg(x);
    graph.output('y', y);
    const again = graph.recompute(y.node, [x]).outputs[0]!;
    graph.output(
      'dx',
      graph.derivativeOf(y.node, () => mul(again, x)),
    );
    expect(groupsOf(graph)).toEqual([]);
  });

  it('are of at most 24 steps, 8 operands and 4 results', () => {
    const graphs = [
      // Steps.
      (x: Tensor) =>
        void x.graph.output(
          'y',
          Array.from({ length: 30 }).reduce<Tensor>((y) => neg(y), x),
        ),
      // Operands: x and others.
      (x: Tensor) => {
        const others = Array.from({ length: 11 }, (_, i) => x.graph.input(`x${i}`, { shape: [4] }));
        x.graph.output(
          'y',
          others.reduce<Tensor>((y, other) => add(y, other), x),
        );
      },
      // Results: all.
      (x: Tensor) => {
        let y = x;
        for (let i = 0; i < 7; i++) y = x.graph.output(`y${i}`, neg(y));
      },
    ];
    const most = graphs.map((build) => {
      const graph = new Graph();
      build(graph.input('x', { shape: [4] }));
      const groups = fusionGroups(graph, () => 0);
      expect(groups.length).toBeGreaterThan(0);
      const largest = (of: (group: (typeof groups)[number]) => number) => Math.max(...groups.map(of));
      return [largest((g) => g.members.length), largest((g) => g.inputs.length), largest((g) => g.outputs.length)];
    });
    expect(most).toEqual([
      [24, 1, 1],
      [7, 8, 1],
      [4, 1, 4],
    ]);
  });

  it('write masks last, for the first result may lie over an input', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4] });
    const isLarge = graph.output('mask', greater(neg(x), 0));
    graph.output('y', where(isLarge, x, 1));
    const [group] = fusionGroups(graph, () => 0);
    expect(group!.outputs.map((t) => t.dtype)).toEqual(['f32', 'bool']);
  });

  it('read once what several of their nodes read', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4, 6] });
    const row = graph.parameter('row', [6], { kind: 'ones' });
    graph.output('y', mul(sub(add(x, row), row), x));
    const [group] = fusionGroups(graph, () => 0);
    expect(group!.inputs.map(({ tensor }) => tensor)).toEqual([x, row]);
    expect(group!.args).toEqual([
      [0, 1],
      [2, 1],
      [3, 0],
    ]);
  });

  it('are none in a graph without neighbours to join, which stays as it is', () => {
    const graph = new Graph();
    graph.output('y', neg(graph.input('x', { shape: [4] })));
    const stageOf = () => 0;
    expect(fuseElementwise(graph, stageOf)).toEqual({ graph, stageOf });
    expect(fuseElementwise(graph, stageOf).graph).toBe(graph);
  });

  it('read operands behind a reshape as they repeat under the one shape', () => {
    const build = (first: readonly number[], second: readonly number[]) => {
      const graph = new Graph();
      const row = graph.parameter('row', first, { kind: 'ones' });
      const flat = reshape(add(graph.input('x', { shape: [2, 3, 4] }), row), [6, 4]);
      graph.output('y', mul(flat, graph.parameter('w', second, { kind: 'ones' })));
      return fusionGroups(graph, () => 0).map(({ inputs }) => inputs.map(({ view }) => view.join()));
    };
    const whole = '2,3,4';
    expect(build([3, 4], [6, 4])).toEqual([[whole, '3,4', whole]]);
    expect(build([3, 4], [4])).toEqual([[whole, '3,4', '4']]);
    expect(build([3, 1], [1, 4])).toEqual([[whole, '3,1', '4']]);
    // By column of the second shape: that is no repetition under the first, but a row is one under both.
    expect(build([4], [6, 1])).toEqual([['6,4', '4', '6,1']]);
    expect(build([3, 4], [6, 1])).toEqual([]);
  });

  it('go through a reshape where every operand repeats in the same way under one shape', () => {
    const build = (operand: readonly number[]) => {
      const graph = new Graph();
      const column = graph.parameter('c', [4, 1], { kind: 'ones' });
      const rows = reshape(add(graph.input('x', { shape: [4, 6] }), column), [6, 4]);
      graph.output('y', mul(rows, graph.parameter('w', operand, { kind: 'ones' })));
      return groupsOf(graph);
    };
    expect([build([6, 4]), build([1, 1])]).toEqual([[['add', 'mul']], [['add', 'mul']]]);
    // One number for four elements in a row, beside one for six.
    expect(build([6, 1])).toEqual([]);
  });
});
