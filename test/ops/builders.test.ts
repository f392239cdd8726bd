import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { GraphError } from '../../src/core/errors.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { cast, equal, where } from '../../src/ops/compare.ts';
import { add, maximum, sub } from '../../src/ops/elementwise.ts';
import { gather, scatterAdd } from '../../src/ops/gather.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { oneHot } from '../../src/ops/one-hot.ts';
import { max, mean, sum } from '../../src/ops/reduce.ts';
import { concat, flatten, flip, reshape, slice, squeeze, transpose, unsqueeze } from '../../src/ops/shape.ts';

const graph = new Graph();
const x = graph.input('x', { shape: [2, 3, 4] });
const labels = graph.input('labels', { shape: [2], dtype: 'i32' });

describe('operands', () => {
  it('may be numbers, which become scalar constants', () => {
    for (const y of [add(x, 1), sub(1, x), maximum(x, 0)]) expect(y.shape).toEqual([2, 3, 4]);
  });
  it('beside i32 become i32', () => {
    expect(equal(labels, 3).node.inputs[1]!.dtype).toBe('i32');
    expect(where(equal(labels, 3), 1, 0).dtype).toBe('f32');
  });
  it('without a tensor are refused', () => {
    expect(() => add(1, 2)).toThrow(/at least one operand must be a tensor/);
  });
});

describe('axes', () => {
  it('negative ones count from the end and are stored non-negative', () => {
    expect(sum(x, { axes: -1 }).node.attrs).toEqual({ axes: [2], keepDims: false });
    expect(mean(x, { axes: [-1, 0] }).node.attrs).toEqual({ axes: [0, 2], keepDims: false });
    expect(transpose(x, [0, -1, -2]).node.attrs).toEqual({ perm: [0, 2, 1] });
    expect(concat([x, x], { axis: -1 }).node.attrs).toEqual({ axis: 2 });
  });
  it('out of range are named as given', () => {
    expect(() => sum(x, { axes: -4 })).toThrow(/axis -4 is out of range for rank 3/);
    expect(() => sum(x, { axes: 3 })).toThrow(/axis 3 is out of range for rank 3/);
  });
  it('default to all', () => {
    expect(sum(x).shape).toEqual([]);
    expect(max(x, { keepDims: true }).shape).toEqual([1, 1, 1]);
    expect(transpose(x).shape).toEqual([4, 3, 2]);
  });
  it('none: nothing to reduce', () => {
    expect(sum(x, { axes: [] })).toBe(x);
  });
});

describe('matmul', () => {
  const m = graph.input('m', { shape: [3, 4], batchAxis: null });
  const v = graph.input('v', { shape: [4], batchAxis: null });
  const u = graph.input('u', { shape: [3], batchAxis: null });
  const feeds = new Map(
    [m, v, u].map((t) => [
      t,
      { type: t.type, data: Float64Array.from({ length: t.shape.reduce((a, b) => a * b) }, (_, i) => i + 1) },
    ]),
  );
  const valuesOf = (y: Tensor) => [...evaluate([y], feeds)[0]!.data];

  it('takes vectors as rows on the left and columns on the right', () => {
    expect([matmul(x, v).shape, matmul(u, x).shape, matmul(v, v).shape]).toEqual([[2, 3], [2, 4], []]);
    expect(valuesOf(matmul(m, v))).toEqual([30, 70, 110]);
    expect(valuesOf(matmul(u, m))).toEqual([38, 44, 50, 56]);
    expect(valuesOf(matmul(v, m, { transB: true }))).toEqual([30, 70, 110]);
    expect(valuesOf(matmul(v, v))).toEqual([30]);
  });
  it('gives vectors their gradients', () => {
    const [dv, du] = gradients([{ tensor: matmul(u, matmul(m, v)), cotangent: graph.scalar(2) }], [v, u]);
    expect([dv!.shape, du!.shape]).toEqual([[4], [3]]);
    expect([valuesOf(dv!), valuesOf(du!)]).toEqual([
      [76, 88, 100, 112],
      [60, 140, 220],
    ]);
  });
  it('names what does not fit', () => {
    expect(() => matmul(m, u)).toThrow(/inner sizes 4 of a and 3 of b differ/);
    expect(() => matmul(v, m, { transA: true })).toThrow(/a must have at least 2 axes, not \[4\]/);
  });
});

describe('shapes', () => {
  it('reshape completes −1', () => {
    expect(reshape(x, [-1, 4]).shape).toEqual([6, 4]);
    expect(reshape(x, [2, 3, -1])).toBe(x);
    expect(() => reshape(x, [-1, 5])).toThrow(/must hold positive integers/);
  });
  it('squeeze, unsqueeze and flatten', () => {
    const thin = reshape(x, [2, 1, 12, 1]);
    expect(squeeze(thin).shape).toEqual([2, 12]);
    expect(squeeze(thin, { axes: -1 }).shape).toEqual([2, 1, 12]);
    expect(() => squeeze(thin, { axes: 2 })).toThrow(GraphError);
    expect(unsqueeze(x, { axes: [0, -1] }).shape).toEqual([1, 2, 3, 4, 1]);
    expect(flatten(x).shape).toEqual([24]);
    expect(flatten(x, { startAxis: 1 }).shape).toEqual([2, 12]);
    expect(flatten(x, { endAxis: -2 }).shape).toEqual([6, 4]);
  });
  it('slice takes Python ranges', () => {
    expect(slice(x, { 1: [1], [-1]: [null, -1, 2] }).node.attrs).toEqual({
      starts: [0, 1, 0],
      ends: [2, 3, 3],
      steps: [1, 1, 2],
    });
    expect(slice(x, { 0: [0, 99] }).shape).toEqual([2, 3, 4]);
    expect(() => slice(x, { 0: [1, 1] })).toThrow(/axis 0: 1:1 is empty/);
    expect(() => slice(x, { 3: [0, 1] })).toThrow(GraphError);
  });
  it('slice and flip go backwards by negative steps', () => {
    const ranges = { 0: [null, null, -1], 1: [-1, 0, -1], 2: [99, -99, -3] } as const;
    expect(slice(x, ranges).node.attrs).toEqual({ starts: [1, 2, 3], ends: [-1, 0, -1], steps: [-1, -1, -3] });
    expect(flip(x, { axes: [0, -1] }).node.attrs).toEqual({ starts: [1, 0, 3], ends: [-1, 3, -1], steps: [-1, 1, -1] });
    expect(() => slice(x, { 0: [0, 1, -1] })).toThrow(/axis 0: 0:1 is empty or outside 1:-1, backwards/);
    expect(() => slice(x, { 0: [0, 1, 0] })).toThrow(/the step must not be 0/);
  });
  it('gathers and scatters count axes from the end', () => {
    const rows = graph.input('rows', { shape: [5], dtype: 'i32', batchAxis: null });
    expect(gather(x, rows, { axis: -1 }).shape).toEqual([2, 3, 5]);
    expect(scatterAdd(rows, gather(x, rows, { axis: -1 }), { axis: -1, size: 4 }).shape).toEqual([2, 3, 4]);
    expect(() => gather(x, rows, { axis: 3 })).toThrow(/axis 3 is out of range for rank 3/);
  });
  it('a cast to the same dtype makes no node', () => {
    expect(cast(x, 'f32')).toBe(x);
  });
});

describe('oneHot', () => {
  it.each([
    [-1, [2, 4]],
    [0, [4, 2]],
  ])('along axis %i', (axis, shape) => {
    const indices = { type: labels.type, data: Float64Array.of(2, -1) };
    const [y] = evaluate([oneHot(labels, { depth: 4, axis })], new Map([[labels, indices]]));
    expect(y!.type).toEqual({ dtype: 'f32', shape });
    expect([...y!.data]).toEqual(axis === -1 ? [0, 0, 1, 0, 0, 0, 0, 1] : [0, 0, 0, 0, 1, 0, 0, 1]);
  });
  it('of an index outside is all 0', () => {
    const indices = { type: labels.type, data: Float64Array.of(4, -5) };
    const [y] = evaluate([oneHot(labels, { depth: 4 })], new Map([[labels, indices]]));
    expect([...y!.data]).toEqual(new Array(8).fill(0));
  });
});

describe('errors in user code', () => {
  it('name op, shapes and the line that called it', () => {
    const w = graph.input('w', { shape: [5, 6], batchAxis: null });
    try {
      graph.scope('encoder', () => matmul(x, w));
      expect.unreachable();
    } catch (error) {
      const { message, fields } = error as GraphError;
      expect(message).toContain('matmul(f32[2, 3, 4], f32[5, 6]) in encoder: inner sizes 4 of a and 5 of b differ');
      expect(message).toMatch(/at .*test\/ops\/builders\.test\.ts:\d+:\d+$/);
      expect(fields).toMatchObject({
        op: 'matmul',
        shapes: [
          [2, 3, 4],
          [5, 6],
        ],
        scope: 'encoder',
      });
    }
  });
});
