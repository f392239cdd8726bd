import { describe, expect, it } from 'vitest';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { unsigned } from '../../src/backends/wasm/encode.ts';
import { FusedKernels } from '../../src/backends/wasm/fused-kernel.ts';
import { VECTORS_SECTION } from '../../src/backends/wasm/vectors.ts';
import { bytesPerElement, type DType } from '../../src/core/types.ts';
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

  it('read and write to the byte, at the very end of a memory', async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const end = memory.buffer.byteLength;
    const kernels = new FusedKernels(await kernelsModule(), memory);
    const body = (dtypes: readonly DType[], result: DType, vector: string): FusedBody => ({
      rank: 1,
      inputs: dtypes.map((dtype) => ({ dtype, walk: 'full' })),
      steps: [{ vector, args: dtypes.map((_, i) => i), constants: [] }],
      outputs: [{ value: dtypes.length, dtype: result }],
    });
    const chains = [body(['f32'], 'f32', 'neg'), body(['bool'], 'bool', 'not'), body(['f32', 'f32'], 'bool', 'less')];
    for (const chain of chains) {
      const run = kernels.kernelOf(chain);
      const bytesOf = ({ dtype }: { dtype: DType }) => bytesPerElement[dtype];
      const operands = [...chain.inputs, ...chain.outputs];
      for (const n of [1, 2, 3, 5, 6, 7]) {
        // Each of them is the last in turn.
        for (const last of operands.keys()) {
          const places = operands.map((operand, i) => (i === last ? end - n * bytesOf(operand) : 64 * (1 + i)));
          expect(() => run(n, ...places)).not.toThrow();
        }
      }
    }
  });

  it('begin each turn with what a function finds 0', () => {
    // (v) → v + l, which is kept in l: of no turn before.
    const kept = (type: number, splat: readonly number[], first: readonly number[]) => [
      ...[1, 1, type],
      ...[0x20, 1, ...splat, 0x20, 0, 0xfd, ...unsigned(228)],
      ...[...first, 0x21, 1],
    ];
    const [i32, f32, f64, v128] = [0x7f, 0x7d, 0x7c, 0x7b];
    const bodies = [
      kept(v128, [], [0x22, 0, 0x20, 0]),
      kept(f32, [0xfd, 19], [0x43, 0, 0, 0x80, 0x3f]),
      kept(i32, [0xfd, 17], [0x41, 1]),
      kept(f64, [0xfd, 20], [0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
    ];
    for (const body of bodies) {
      const module = new WebAssembly.Module(withVectors(vectorModule(body)));
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      const values = new Float32Array(memory.buffer, 0, 9).fill(2);
      const run = new FusedKernels(module, memory).kernelOf({
        rank: 1,
        inputs: [{ dtype: 'f32', walk: 'full' }],
        steps: [{ vector: 'f', args: [0], constants: [] }],
        outputs: [{ value: 1, dtype: 'f32' }],
      });
      run(9, 0, 0);
      expect([...values]).toEqual(new Array(9).fill(2));
    }
  });

  it('are refused without their functions, or with too few operands', async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const kernels = new FusedKernels(await kernelsModule(), memory);
    const of = (vector: string, args: readonly number[]) => () =>
      kernels.kernelOf({
        rank: 1,
        inputs: [{ dtype: 'f32', walk: 'full' }],
        steps: [{ vector, args, constants: [] }],
        outputs: [{ value: 1, dtype: 'f32' }],
      });
    expect(of('noSuch', [0])).toThrow(expect.objectContaining({ code: 'kernels-vectors' }));
    expect(of('add', [0])).toThrow(expect.objectContaining({ code: 'kernel-arity', fields: { function: 'add' } }));
  });
});

/** A module that exports the function f, (v128) → v128, of this body: its locals and its code but for the end. */
const vectorModule = (body: readonly number[]): readonly number[] => [
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 6, 1, 0x60, 1, 0x7b, 1, 0x7b],
  ...[3, 2, 1, 0],
  ...[7, 5, 1, 1, 0x66, 0, 0],
  ...[10, body.length + 3, 1, body.length + 1, ...body, 0x0b],
];

/** Kernels that have nothing but these vector functions. */
const withVectors = (module: readonly number[]): Uint8Array<ArrayBuffer> => {
  const content = [VECTORS_SECTION.length, ...Buffer.from(VECTORS_SECTION), ...module];
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, ...unsigned(content.length), ...content]);
};
