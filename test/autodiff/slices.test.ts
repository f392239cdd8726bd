// The gradients of slices that divide a tensor are joined; of all others they are added up between zeros.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { type SliceRange, slice } from '../../src/ops/shape.ts';

type Ranges = { readonly [axis: number]: SliceRange };

/** d/dx of Σ over slices and their elements of (number of the slice)·1000 + (place in the slice), each times the element. */
function gradientOf(shape: readonly number[], cuts: readonly Ranges[]): { gradient: Tensor; values: number[] } {
  const graph = new Graph();
  const x = graph.input('x', { shape, batchAxis: null });
  const parts = cuts.map((ranges, at) => {
    const part = slice(x, ranges);
    const size = part.shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: size }, (_, i) => 1000 * (at + 1) + i);
    return sum(mul(part, graph.constant({ type: part.type, data })));
  });
  const y = parts.reduce((a, b) => add(a, b));
  const [gradient] = gradients([{ tensor: y, cotangent: graph.scalar(1) }], [x]);
  return { gradient: gradient!, values: [...evaluate([gradient!], new Map())[0]!.data] };
}

describe('gradients of slices', () => {
  it.each<[string, number[], Ranges[], number[]]>([
    ['in order', [5], [{ 0: [0, 2] }, { 0: [2, 5] }], [1000, 1001, 2000, 2001, 2002]],
    ['in another order', [3], [{ 0: [2] }, { 0: [0, 1] }, { 0: [1, 2] }], [2000, 3000, 1000]],
    ['along the second axis', [2, 3], [{ 1: [0, 1] }, { 1: [1] }], [1000, 2000, 2001, 1001, 2002, 2003]],
  ])('that divide a tensor are joined: %s', (_, shape, cuts, expected) => {
    const { gradient, values } = gradientOf(shape, cuts);
    expect(gradient.node.op!.name).toBe('concat');
    expect(values).toEqual(expected);
  });

  it.each<[string, number[], Ranges[], number[]]>([
    ['leave the end out', [3], [{ 0: [0, 1] }, { 0: [1, 2] }], [1000, 2000, 0]],
    ['leave the beginning out, as many elements though they are', [3], [{ 0: [1, 2] }, { 0: [1] }], [0, 3000, 2001]],
    ['overlap, as many elements though they are', [3], [{ 0: [0, 2] }, { 0: [0, 1] }], [3000, 1001, 0]],
    ['take every other element', [4], [{ 0: [null, null, 2] }, { 0: [2, 4] }], [1000, 0, 3001, 2001]],
    [
      'are turned about in another axis',
      [2, 2],
      [{ 0: [0, 1], 1: [null, null, -1] }, { 0: [1] }],
      [1001, 1000, 2000, 2001],
    ],
    [
      'are cut in two axes',
      [2, 2],
      [
        { 0: [0, 1], 1: [0, 1] },
        { 0: [1], 1: [0, 1] },
      ],
      [1000, 0, 2000, 0],
    ],
    ['are cut in one axis each', [2, 2], [{ 0: [0, 1] }, { 1: [1] }], [1000, 3001, 0, 2001]],
  ])('that %s are added', (_, shape, cuts, expected) => {
    const { gradient, values } = gradientOf(shape, cuts);
    expect(gradient.node.op!.name).toBe('add');
    expect(values).toEqual(expected);
  });
});
