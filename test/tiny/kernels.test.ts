// The lower rungs of the smoke ladder: one op, then a product, then one gradient, without devices. Values by hand.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import { backendKinds, Executor } from '../conformance/executor.ts';

const graph = new Graph();
const values = new Map<Tensor, HostTensor>();
const given = (name: string, shape: number[], data: number[]): Tensor => {
  const tensor = graph.input(name, { shape, batchAxis: null });
  values.set(tensor, { type: tensor.type, data: Float32Array.from(data) });
  return tensor;
};
const a = given('a', [2, 3], [1, 2, 3, 4, 5, 6]);
const b = given('b', [3, 2], [1, -1, 0, 2, 3, 0]);
const row = given('row', [3], [10, 20, 30]);

describe.each(backendKinds)('on %s', (kind) => {
  let device: Executor;
  beforeAll(async () => {
    device = await Executor.create(kind);
  });
  const valuesOf = (...wanted: Tensor[]) => device.run(wanted, values).map((t) => [...t.data]);

  it('adds', () => {
    expect(valuesOf(add(a, row))).toEqual([[11, 22, 33, 14, 25, 36]]);
  });

  it('multiplies matrices', () => {
    expect(valuesOf(matmul(a, b))).toEqual([[10, 3, 22, 6]]);
  });

  it('takes a gradient', () => {
    // L = Σ (a·b)²: dL/da = 2·(a·b)·bᵀ, dL/db = 2·aᵀ·(a·b)
    const product = matmul(a, b);
    const loss = sum(mul(product, product));
    const [da, db] = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], [a, b]);
    expect(valuesOf(loss, da!, db!)).toEqual([[629], [14, 12, 60, 32, 24, 132], [196, 54, 260, 72, 324, 90]]);
  });
});
