// What dropout promises of its masks: the rate, the scale, and that an element's fate hangs on seed, step, node, sample and
// place alone.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { type DropoutOptions, dropout, dropoutWithMask } from '../../src/ops/dropout.ts';
import { reshape, transpose } from '../../src/ops/shape.ts';

interface Draw extends DropoutOptions {
  readonly shape: readonly number[];
  /** Places of the chunk's samples in the batch. */
  readonly places: readonly number[];
  readonly key?: readonly number[];
  /** What becomes of x before dropout, and of y after it. */
  readonly before?: (x: Tensor) => Tensor;
  readonly after?: (y: Tensor) => Tensor;
}

const feeds = (graph: Graph, values: ReadonlyMap<string, readonly number[]>): Map<Tensor, RefTensor> =>
  new Map(
    graph.sources('input').map((t) => {
      const data = values.get(t.node.source!.name)!;
      return [t, { type: t.type, data: Float64Array.from(data) }] as const;
    }),
  );

/** dropout(x) of an x of ones (or `x`). */
function draw({ shape, places, key = [7, 0, 0, 0], before = (x) => x, after = (y) => y, ...options }: Draw): number[] {
  const graph = new Graph();
  const x = graph.input('x', { shape });
  const y = after(dropout(before(x), options));
  const ones = new Array<number>(elementCount(shape)).fill(1);
  const values = new Map<string, readonly number[]>([
    ['x', ones],
    ['random/samples', places],
    ['random/key', key],
  ]);
  return [...evaluate([y], feeds(graph, values))[0]!.data];
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('dropout', () => {
  it.each([0.1, 0.5, 0.8])('drops a fraction of %d and scales the rest', (ratio) => {
    const y = draw({ shape: [16, 1000], places: range(0, 16), ratio });
    const dropped = y.filter((v) => v === 0).length / y.length;
    // Four standard deviations of 16000 draws.
    expect(Math.abs(dropped - ratio)).toBeLessThan(4 * Math.sqrt((ratio * (1 - ratio)) / y.length));
    expect(new Set(y)).toEqual(new Set([0, 1 / (1 - ratio)]));
  });

  it('drops nothing at 0 and everything at 1', () => {
    expect(new Set(draw({ shape: [2, 9], places: [0, 1], ratio: 0 }))).toEqual(new Set([1]));
    expect(new Set(draw({ shape: [2, 9], places: [0, 1], ratio: 1 }))).toEqual(new Set([0]));
  });

  it('does not depend on how the batch is cut', () => {
    const whole = draw({ shape: [7, 13], places: range(0, 7) });
    const parts = [
      [0, 3],
      [3, 4],
      [4, 7],
    ].flatMap(([from, to]) => {
      return draw({ shape: [to! - from!, 13], places: range(from!, to!) });
    });
    expect(parts).toEqual(whole);
  });

  it('does not depend on where the axis of samples stands, nor on its being joined with another', () => {
    const whole = draw({ shape: [4, 6, 5], places: range(0, 4) });
    const joined = draw({
      shape: [4, 6, 5],
      places: range(0, 4),
      samples: 4,
      before: (x) => reshape(x, [24, 5]),
      after: (y) => reshape(y, [4, 6, 5]),
    });
    expect(joined).toEqual(whole);
    // [6, 4, 5]: the place inside a sample is counted along the other axes in their order, which is the same.
    const second = draw({
      shape: [4, 6, 5],
      places: range(0, 4),
      axis: 1,
      before: (x) => transpose(x, [1, 0, 2]),
      after: (y) => transpose(y, [1, 0, 2]),
    });
    expect(second).toEqual(whole);
  });

  it('differs by seed, step, sample and node', () => {
    const base = { shape: [1, 256], places: [3] };
    const all = [
      draw(base),
      draw({ ...base, key: [8, 0, 0, 0] }),
      draw({ ...base, key: [7, 1, 0, 0] }),
      draw({ ...base, key: [7, 0, 1, 0] }),
      draw({ ...base, places: [4] }),
      draw({ ...base, name: 'other' }),
    ].map(String);
    expect(new Set(all).size).toBe(all.length);
    expect(draw(base)).toEqual(draw(base));
  });

  it('has a stream of its own in every node, also of equal names', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3] });
    const [a, b] = [dropout(x), dropout(x)];
    expect(a.node.name).not.toBe(b.node.name);
    expect(a.node.attrs.stream).not.toEqual(b.node.attrs.stream);
    const scoped = graph.scope('block', () => dropout(x));
    expect(scoped.node.name).toBe('block.dropout');
    expect(scoped.node.attrs.stream).not.toEqual(a.node.attrs.stream);
  });

  it('tells in its mask what it has kept, and its gradient keeps the same', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [3, 20] });
    const { y, mask } = dropoutWithMask(x, { ratio: 0.25 });
    const dy = graph.input('dy', { shape: [3, 20] });
    const dx = gradients([{ tensor: y, cotangent: dy }], [x])[0]!;
    const values = new Map<string, readonly number[]>([
      ['x', range(1, 61)],
      ['dy', range(101, 161)],
      ['random/samples', [0, 1, 2]],
      ['random/key', [1, 2, 3, 0]],
    ]);
    const [vy, kept, vdx] = evaluate([y, mask!, dx], feeds(graph, values)).map((v) => [...v.data]);
    expect(vy!.map((v) => (v !== 0 ? 1 : 0))).toEqual(kept);
    expect(vdx).toEqual(kept!.map((k, i) => k * (1 / 0.75) * (101 + i)));
  });

  it('of what is not batched is the same in every microbatch', () => {
    const once = draw({ shape: [5, 8], places: [], axis: null });
    expect(once.filter((v) => v === 0).length).toBeGreaterThan(0);
    const graph = new Graph();
    dropout(graph.input('x', { shape: [5, 8], batchAxis: null }), { axis: null });
    expect(graph.sources('input').map((t) => t.node.source!.name)).toEqual(['x', 'random/key']);
  });
});
