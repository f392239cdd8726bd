import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import type { BackendName } from '../../src/lower/kernel-call.ts';
import { addingCalls, lowerNode } from '../../src/lower/lower.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { addProductsInPlace } from '../../src/program/add-in-place.ts';
import type { ComputeInstruction, Part } from '../../src/program/instruction.ts';
import type { DraftInstruction } from '../../src/program/messages.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

const model: Model = {
  name: 'two products',
  build(batch) {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 6] });
    const target = graph.input('t', { shape: [batch, 3] });
    const weight = (name: string, shape: [number, number]) =>
      graph.parameter(name, shape, { kind: 'uniform', low: -0.8, high: 0.8 });
    const y = graph.output('y', matmul(tanh(matmul(x, weight('w0', [6, 37]))), weight('w1', [37, 3])));
    return { graph, objective: [{ loss: squaredError(y, target), weight: 1 }] };
  },
};

async function bitsOf(plan: Plan): Promise<string[]> {
  await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
  for (let step = 0; step < 3; step++)
    await session.run('train', { x: f32([8, 6], step), t: f32([8, 3], step + 9) }, { step });
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return [...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort();
}

const computes = (plan: Plan) =>
  plan.programs.train!.devices.flatMap(({ instructions }) =>
    instructions.flatMap((i) => (i.kind === 'compute' ? i : [])),
  );
const adding = (plan: Plan) => computes(plan).filter((i) => i.parts[0]!.signature.attrs.adds === true);

describe('products that add to a sum over microbatches', () => {
  it('stand for product and sum behind the first microbatch, and keep every bit', async () => {
    const [plan, plain] = [planOf(model, { microbatches: 4 }), planOf(model, { microbatches: 4, lifetimes: 'plain' })];
    expect(adding(plan).map((i) => i.microbatch)).toEqual([1, 1, 2, 2, 3, 3]);
    expect(adding(plain)).toEqual([]);
    // The loss still has a sum of its own.
    const sums = (p: Plan) => computes(p).filter((i) => i.op === 'accumulate').length;
    expect(sums(plain) - sums(plan)).toBe(6);
    expect(await bitsOf(plan)).toEqual(await bitsOf(plain));
  });

  it('are none where a product is deeper than one block of its sum', () => {
    const deep = (batch: number) => adding(planOf(model, { batch, microbatches: 2 })).length;
    expect([deep(512), deep(514)]).toEqual([2, 0]);
  });

  it('are none of a native library, whose order of sums is its own', () => {
    const f32s = (...shape: number[]) => ({ dtype: 'f32' as const, shape });
    const product = (n: number) => ({
      op: 'matmul',
      inputs: [f32s(n, n), f32s(n, n)],
      outputs: [f32s(n, n)],
      attrs: { transA: true, transB: false },
    });
    const kernelsOf = (n: number) => addingCalls('blas', lowerNode('blas', product(n)).calls)?.map((c) => c.kernel);
    expect(lowerNode('blas', product(64)).calls.map((c) => c.kernel)).toEqual(['sgemm']);
    expect(kernelsOf(64)).toBeUndefined();
    // Too small for the library: the kernel's own, which adds.
    expect(kernelsOf(8)).toEqual(['gemm']);
  });

  describe('of hand-made instructions', () => {
    const matrix = { dtype: 'f32', shape: [4, 4] } as const;
    const node = (op: string, inputs: number, attrs = {}) => ({
      op,
      inputs: Array.from({ length: inputs }, () => matrix),
      outputs: [matrix],
      attrs,
    });
    const compute = (signature: ReturnType<typeof node>, inputs: number[], to: number, more: Partial<Part> = {}) => {
      const places = (ids: readonly number[]) => ids.map((id) => ({ buffer: id, plus: 0, stride: 0 }));
      const { calls } = lowerNode('wasm', signature);
      const part: Part = {
        ...{ signature, calls, inputs: places(inputs), outputs: places([to]), overwritable: [0], repeat: 1 },
        ...{ flops: 100 * to, bytes: 30 * to },
        ...more,
      };
      return {
        ...{ kind: 'compute', task: '0W1', microbatch: 1, node: signature.op, op: signature.op, parts: [part], inputs },
        ...{ outputs: [to], workspace: null, overwrites: null, flops: part.flops, bytes: part.bytes },
      } satisfies ComputeInstruction;
    };
    // b2 = b0·b1, b3 += b2
    const product = (more: Partial<Part> = {}) =>
      compute(node('matmul', 2, { transA: false, transB: false }), [0, 1], 2, more);
    const sum = (more: Partial<Part> = {}) =>
      compute(node('accumulate', 1, { total: 'w', first: false }), [2], 3, more);
    const joined = (segments: readonly (readonly DraftInstruction[])[], backend: BackendName = 'wasm') => {
      const buffers = Array.from({ length: 6 }, (_, id) => ({
        ...{ id, name: `b${id}`, type: matrix, bytes: 64, category: 'temporaries', persistent: null },
      })) as never[];
      const draft = { device: 0, buffers, byKey: new Map(), segments: segments.map((s) => [...s]) };
      return addProductsInPlace(draft, backend).segments;
    };

    it('one instruction stands for both: it reads what the product reads, and writes the sum', () => {
      const [[one, ...more]] = joined([[product(), sum()]]) as [ComputeInstruction[]];
      expect(more).toEqual([]);
      expect(one).toMatchObject({ inputs: [0, 1], outputs: [3], node: 'matmul', overwrites: null });
      expect(one!.parts[0]).toMatchObject({ inputs: product().parts[0]!.inputs, outputs: sum().parts[0]!.outputs });
      // No input may be written over: the sum is read there.
      expect(one!.parts[0]!.overwritable).toEqual([]);
      expect(one!.parts[0]!.signature.attrs).toEqual({ ...product().parts[0]!.signature.attrs, adds: true });
      // The sum's own addition, and beside what the product moves a reading of the old sum.
      for (const counted of [one!, one!.parts[0]!])
        expect([counted.flops, counted.bytes]).toEqual([200 + 300, 60 + 90 / 3]);
    });

    it('both stay where the product is read by anybody else, or is not what the sum adds next', () => {
      const other: DraftInstruction = { kind: 'copy', from: 0, buffer: 4 };
      const readers: DraftInstruction[] = [
        { kind: 'copy', from: 2, buffer: 4 },
        { kind: 'output', result: 'r', microbatch: 1, buffer: 2 },
        { kind: 'send', to: 1, key: 'k', buffer: 2, microbatch: 1 },
        compute(node('tanh', 1), [2], 4),
      ];
      const stays = (...segments: DraftInstruction[][]) => expect(joined(segments)).toEqual(segments);
      for (const reader of readers) {
        stays([product(), sum(), reader]);
        stays([product(), sum()], [reader]);
      }
      stays([product(), other, sum()]);
      stays([product()], [sum()]);
      // What is added is another value, and the product is read beside.
      stays([product(), { ...sum(), inputs: [4, 2] }]);
      stays([product(), compute(node('tanh', 1), [2], 3)]);
      expect(joined([[other, product(), sum(), { kind: 'barrier', name: 'gradients' }]])[0]).toHaveLength(3);
    });

    it('both stay where either runs once a sample, or in several parts, or no kernel of the backend adds', () => {
      const segmentsOf = (p: ComputeInstruction, s: ComputeInstruction) => [[p, s]];
      const twice = (i: ComputeInstruction) => ({ ...i, parts: [i.parts[0]!, i.parts[0]!] });
      for (const segments of [
        segmentsOf(product({ repeat: 2 }), sum()),
        segmentsOf(product(), sum({ repeat: 2 })),
        segmentsOf(twice(product()), sum()),
        segmentsOf(product(), twice(sum())),
        segmentsOf(product({ calls: [...product().parts[0]!.calls, ...product().parts[0]!.calls] }), sum()),
        segmentsOf(product(), sum({ calls: [...sum().parts[0]!.calls, ...sum().parts[0]!.calls] })),
      ])
        expect(joined(segments)).toEqual(segments);
      const both = [[product(), sum()]];
      expect(joined(both, 'reference')).toEqual(both);
      expect(joined(both, 'null')[0]).toHaveLength(1); // to the byte what a WebAssembly device runs
    });
  });
});
