import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { addingCalls, lowerNode } from '../../src/lower/lower.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
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
});
