import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { broadcastShapes, elementCount, sameShape } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import {
  kernelMask,
  leastScore,
  maskedScores,
  maskLayout,
  maskReference,
  requireMasks,
} from '../../src/ops/attention-masks.ts';
import { broadcastMap } from '../../src/ops/broadcast.ts';

/** Weights […, T, S] of two to five axes, and a mask of them with axes left out or repeated. */
const shapes = fc
  .record({
    weights: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 2, maxLength: 5 }),
    ones: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    rank: fc.integer({ min: 1, max: 5 }),
  })
  .map(({ weights, ones, rank }) => {
    const mask = weights.map((d, i) => (ones[i] ? 1 : d)).slice(-rank);
    return { weights, mask };
  });

/** Where each row of each matrix begins in the mask, matrix by matrix. */
function rowStarts(mask: readonly number[], weights: readonly number[]): number[][] {
  const [rows, keys] = [weights.at(-2)!, weights.at(-1)!];
  const map = broadcastMap(mask, weights);
  const matrices = elementCount(weights.slice(0, -2));
  return Array.from({ length: matrices }, (_, m) =>
    Array.from({ length: rows }, (_, r) => map[(m * rows + r) * keys]!),
  );
}

describe('where a mask lies for each matrix of weights', () => {
  it('is told exactly where two steps over matrices and one over rows say it', () => {
    let [told, not] = [0, 0];
    fc.assert(
      fc.property(shapes, ({ weights, mask }) => {
        const layout = maskLayout(mask, weights);
        const starts = rowStarts(mask, weights);
        const at = (m: number) => starts[m]?.[0] ?? 0;
        if (layout) {
          told++;
          const { inner, innerStep, outerStep, rowStep } = layout;
          const expected = starts.map((rows, m) =>
            rows.map((_, r) => Math.floor(m / inner) * outerStep + (m % inner) * innerStep + r * rowStep),
          );
          expect(expected).toEqual(starts);
          expect(mask.at(-1)).toBe(weights.at(-1));
          return;
        }
        not++;
        const hasTwoSteps = starts.some((_, k) =>
          starts.every((_, m) => at(m) === Math.floor(m / (k + 1)) * at(k + 1) + (m % (k + 1)) * (k > 0 ? at(1) : 0)),
        );
        expect(hasTwoSteps && mask.at(-1) === weights.at(-1)).toBe(false);
      }),
      { numRuns: 3000, seed: 3 },
    );
    expect(Math.min(told, not)).toBeGreaterThan(100);
    expect(maskLayout([2, 3], [4, 5, 3])).toBeUndefined();
    expect(maskLayout([2, 1, 5, 3], [5, 3])).toBeUndefined();
  });

  it('a mask is repeated where the kernels cannot, no further than they need, and says the same', () => {
    fc.assert(
      fc.property(shapes, ({ weights, mask }) => {
        const graph = new Graph();
        const { shape } = kernelMask(graph.input('m', { shape: mask, dtype: 'bool', batchAxis: null }), weights);
        if (maskLayout(mask, weights)) expect(shape).toEqual(mask);
        expect(maskLayout(shape, weights)).toBeDefined();
        expect(sameShape(broadcastShapes(mask, shape)!, shape)).toBe(true);
        // Rows that are the same for all queries stay one.
        expect(shape.at(-2) ?? 1).toBe(mask.at(-2) ?? 1);
        const whole = [...mask.slice(0, -2), mask.at(-2) ?? 1, weights.at(-1)!];
        if (maskLayout(whole, weights)) expect(elementCount(shape)).toBeLessThanOrEqual(elementCount(whole));
        const starts = (s: readonly number[]) => broadcastMap(s, weights);
        const inMask = broadcastMap(mask, shape);
        expect([...starts(shape)].map((i) => inMask[i])).toEqual([...starts(mask)]);
      }),
      { numRuns: 500, seed: 4 },
    );
    const graph = new Graph();
    const other = graph.input('m', { shape: [7, 3], dtype: 'bool', batchAxis: null });
    expect(kernelMask(other, [5, 3])).toBe(other);
  });
});

describe('masks', () => {
  const bool = { dtype: 'bool', shape: [2, 3] } as const;
  const f32 = { dtype: 'f32', shape: [2, 3] } as const;
  const weights = [4, 2, 3];

  it('are one or two, of known kinds and their types, and fit', () => {
    expect(() => requireMasks([bool, f32], ['hidden', 'added'], weights)).not.toThrow();
    expect(() => requireMasks([bool, bool, f32], ['hidden', 'seen', 'added'], weights)).toThrow('one or two masks');
    expect(() => requireMasks([], [], weights)).toThrow('one or two masks where it has any, got 0');
    expect(() => requireMasks([bool, bool], ['seen', 'other' as never], weights)).toThrow('got seen, other');
    expect(() => requireMasks([f32], ['hidden'], weights)).toThrow('what is hidden must be bool, got f32');
    expect(() => requireMasks([bool, bool], ['seen', 'added'], weights)).toThrow('what is added must be f32, got bool');
    expect(() => requireMasks([bool], ['seen'], [4, 2, 5])).toThrow('a mask must be [4, 2, 5]');
  });

  it('hide where any of them hides, and add what the others add', () => {
    const mask = (dtype: 'bool' | 'f32', data: number[]) => ({
      type: { dtype, shape: [4] },
      data: Float64Array.from(data),
    });
    const all = [1, 4];
    const [a, b] = [mask('bool', [1, 0, 0, 1]), mask('f32', [0.5, -Infinity, 2, -1])];
    const told = (...[masks, kinds]: [(typeof a)[], ('hidden' | 'seen' | 'added')[]]) => {
      const { hides, adds } = maskReference(masks, kinds, all);
      return [0, 1, 2, 3].map((i) => (hides(i) ? 'hidden' : adds(i)));
    };
    expect(told([a], ['hidden'])).toEqual(['hidden', 0, 0, 'hidden']);
    expect(told([a], ['seen'])).toEqual([0, 'hidden', 'hidden', 0]);
    expect(told([b], ['added'])).toEqual([0.5, 'hidden', 2, -1]);
    expect(told([a, b], ['hidden', 'added'])).toEqual(['hidden', 'hidden', 2, 'hidden']);
    expect(told([b, b], ['added', 'added'])).toEqual([1, 'hidden', 4, -2]);
  });

  it('make of scores in a graph what they say of each', () => {
    const bits = { dtype: 'bool', shape: [4] } as const;
    const numbers = { dtype: 'f32', shape: [4] } as const;
    const values = {
      hidden: { type: bits, data: Float64Array.of(1, 0, 0, 1) },
      seen: { type: bits, data: Float64Array.of(1, 1, 0, 1) },
      added: { type: numbers, data: Float64Array.of(0.5, -Infinity, 2, -1) },
    };
    const own = { type: { dtype: 'f32', shape: [1, 4] } as const, data: Float64Array.of(3, 4, 5, 6) };
    for (const kinds of [
      ['hidden'],
      ['seen'],
      ['added'],
      ['added', 'added'],
      ['seen', 'added'],
      ['seen', 'hidden'],
    ] as const) {
      const graph = new Graph();
      const scores = graph.input('scores', { shape: [1, 4] });
      const masks = kinds.map((kind, i) => ({
        kind,
        mask: graph.input(`m${i}`, { ...values[kind].type, batchAxis: null }),
      }));
      const masked = maskedScores(scores, masks);
      const feeds = new Map<Tensor, RefTensor>([
        [scores, own],
        ...masks.map(({ kind, mask }) => [mask, values[kind]] as const),
      ]);
      const { hides, adds } = maskReference(
        kinds.map((kind) => values[kind]),
        kinds,
        [1, 4],
      );
      const [told, hidden] = evaluate([masked.scores, masked.hidden!], feeds);
      const at = [0, 1, 2, 3];
      expect([...told!.data], kinds.join()).toEqual(at.map((i) => (hides(i) ? leastScore : own.data[i]! + adds(i))));
      expect([...hidden!.data].map(Boolean), kinds.join()).toEqual(at.map(hides));
    }
    const scores = new Graph().input('scores', { shape: [1, 4] });
    expect(maskedScores(scores, [])).toEqual({ scores, hidden: undefined });
  });
});
