import { describe, expect, it } from 'vitest';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { FusedKernels } from '../../src/backends/wasm/fused-kernel.ts';
import { fusionGroups } from '../../src/fusion/index.ts';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import type { FusedBody } from '../../src/lower/kernel-call.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { add, mul, neg, relu } from '../../src/ops/elementwise.ts';
import { recordOf } from '../../src/ops/index.ts';

const wide = { shape: [4] } as const;
const whole = { shape: [4], batchAxis: null } as const;
const groupsOf = (graph: Graph, stageOf: (node: Node) => number = () => 0) =>
  fusionGroups(graph, stageOf).map((g) => g.members.map((n) => n.name));

// Two neighbours that differ in nothing but what the case says: together where it is the same for both, apart where not.

describe('nodes are fused that run together whatever the schedule', () => {
  it('of one region', () => {
    const build = (isApart: boolean) => {
      const graph = new Graph();
      const first = () => neg(graph.parameter('w', [4], { kind: 'ones' }));
      const y = isApart ? first() : graph.inStep(undefined, first);
      graph.output(
        'y',
        graph.inStep(undefined, () => relu(y)),
        { batchAxis: null },
      );
      return groupsOf(graph);
    };
    expect([build(false), build(true)]).toEqual([[['neg', 'relu']], []]);
  });

  it.each(['pass', 'order'] as const)('of one %s of derivatives', (what) => {
    const build = (isApart: boolean) => {
      const graph = new Graph();
      const x = graph.input('x', wide);
      const { node: origin } = mul(graph.input('z', { shape: [3] }), 2);
      const derivative = (make: () => Tensor): Tensor =>
        what === 'pass' ? graph.derivativeOf(origin, make) : graph.gradientOf(origin, 1, make);
      const y = isApart ? neg(x) : derivative(() => neg(x));
      graph.output(
        'y',
        derivative(() => relu(y)),
      );
      return groupsOf(graph).map((names) => names.map((name) => name.split('.').at(-1)));
    };
    expect([build(false), build(true)]).toEqual([[['neg', 'relu']], []]);
  });

  it('of one level between barriers', () => {
    const build = (isApart: boolean) => {
      const graph = new Graph();
      const x = graph.input('x', wide);
      const total = accumulate(mul(graph.input('z', wide), 2), 'total');
      const y = neg(x);
      graph.output('y', add(y, isApart ? total : graph.input('other', whole)));
      return groupsOf(graph);
    };
    expect([build(false), build(true)]).toEqual([[['neg', 'add']], []]);
  });

  it('of one task: what another stage waits for, B, does not wait for what may run later, W', () => {
    const build = (isApart: boolean) => {
      const graph = new Graph();
      const x = graph.input('x', wide);
      const { node: later } = mul(graph.input('z', { shape: [3] }), 2);
      const { node: earlier } = mul(graph.input('u', { shape: [3] }), 3);
      const [y, r] = graph.derivativeOf(later, () => {
        const d = neg(x);
        return [d, relu(d)];
      });
      // The earlier stage reads the first of them, or the second.
      graph.output('r', r!);
      graph.output(
        'dx',
        graph.derivativeOf(earlier, () => mul(isApart ? y! : r!, graph.scalar(2))),
      );
      const stages = new Map([[earlier, 0]]);
      return groupsOf(graph, (n) => stages.get(n.origin ?? n) ?? 1);
    };
    expect(build(false).map((names) => names.length)).toEqual([2]);
    expect(build(true)).toEqual([]);
  });

  it('of samples one by one, or of none', () => {
    const build = (isApart: boolean) => {
      const graph = new Graph();
      const w = isApart ? graph.parameter('w', [4], { kind: 'ones' }) : graph.input('u', wide);
      graph.output('y', add(neg(w), graph.input('x', wide)));
      return groupsOf(graph);
    };
    expect([build(false), build(true)]).toEqual([[['neg', 'add']], []]);
  });

  it('of one size', () => {
    const build = (rows: number) => {
      const graph = new Graph();
      const row = neg(graph.input('x', { shape: [1, 4] }));
      graph.output('y', add(row, graph.input('z', { shape: [rows, 4] })));
      return groupsOf(graph);
    };
    expect([build(1), build(3)]).toEqual([[['neg', 'add']], []]);
  });

  it('in front of all updates, and behind no barrier that microbatches wait at', () => {
    const rule = { momentum: false, dampening: 0, nesterov: false, weightDecay: 0 };
    const build = (what: 'neither' | 'updated' | 'early') => {
      const graph = new Graph();
      let w = graph.parameter('w', [4], { kind: 'ones' });
      const total = accumulate(graph.input('x', wide), 'total');
      if (what === 'updated') {
        const rate = graph.feed('rate', { dtype: 'f32', shape: [1] }, { kind: 'hyper', rule: 'sgd' });
        w = graph.inStep(undefined, () => graph.add(recordOf('sgdUpdate'), [w, w, rate], rule))[0]!;
      }
      const y = graph.inStep(undefined, () => relu(neg(what === 'updated' ? w : total)));
      if (what === 'early') graph.output('z', add(graph.input('u', wide), y));
      graph.output('y', y, { batchAxis: null });
      return groupsOf(graph);
    };
    expect([build('neither'), build('updated'), build('early')]).toEqual([[['neg', 'relu']], [], []]);
  });
});

describe('kernels of fused chains', () => {
  it('are shared by equal chains, and by no others', async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const kernels = new FusedKernels(await kernelsModule(), memory);
    const chain = (change: Partial<FusedBody> = {}): FusedBody => ({
      rank: 1,
      inputs: [{ dtype: 'f32', walk: 'full' }],
      steps: [{ vector: 'neg', args: [0], constants: [] }],
      outputs: [{ value: 1, dtype: 'f32' }],
      ...change,
    });
    const one = kernels.kernelOf(chain());
    expect(kernels.kernelOf(chain())).toBe(one);
    const others = [
      chain({ rank: 2 }),
      chain({ inputs: [{ dtype: 'f32', walk: 'splat' }] }),
      chain({ steps: [{ vector: 'relu', args: [0], constants: [] }] }),
      chain({ outputs: [1, 1].map((value) => ({ value, dtype: 'f32' })) }),
    ].map((body) => kernels.kernelOf(body));
    expect(new Set([one, ...others]).size).toBe(1 + others.length);
  });
});
