import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { type RawTensor, rawOf } from '../../src/formats/raw-tensor.ts';
import { disagreement, expectAll } from './tolerance.ts';

// The rulers themselves: a comparison that cannot fail proves nothing.

const tensor = (shape: number[], ...values: number[]): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from(values),
});
const raw = (shape: number[], ...values: number[]): RawTensor => rawOf(tensor(shape, ...values));

describe('the rule of the cases', () => {
  it('takes atol + rtol·|expected| and no more', () => {
    const tolerance = { atol: 0.5, rtol: 0.25 };
    expect(disagreement(tensor([2], 4.5, -1), raw([2], 3.5, -0.5), tolerance)).toBeUndefined();
    expect(disagreement(tensor([2], 4.5, -1.25), raw([2], 3.5, -0.5), tolerance)).toContain('element 1 is -1.25');
    expect(disagreement(tensor([1], 1), raw([1], 1), { atol: 0 })).toBeUndefined();
  });

  it('takes an infinity only beside itself, and NaN never', () => {
    const loose = { atol: 1e30, rtol: 1 };
    expect(disagreement(tensor([2], Infinity, -Infinity), raw([2], Infinity, -Infinity), loose)).toBeUndefined();
    expect(disagreement(tensor([1], Infinity), raw([1], -Infinity), loose)).toContain('Infinity');
    expect(disagreement(tensor([1], Infinity), raw([1], 1), loose)).toContain('Infinity');
    expect(disagreement(tensor([1], 1), raw([1], Infinity), loose)).toContain('Infinity');
    expect(disagreement(tensor([1], Number.NaN), raw([1], 0), loose)).toContain('NaN');
    expect(disagreement(tensor([1], Number.NaN), raw([1], Number.NaN), loose)).toContain('NaN');
  });

  it('takes [] for [1], and no other shape for another', () => {
    expect(disagreement(tensor([], 2), raw([1], 2), { atol: 0 })).toBeUndefined();
    expect(disagreement(tensor([1, 1], 2), raw([1], 2), { atol: 0 })).toContain('has shape [1, 1] and not [1]');
    expect(disagreement(tensor([2, 1], 1, 2), raw([2], 1, 2), { atol: 0 })).toContain('has shape [2, 1] and not [2]');
  });

  it('fails where a tensor is missing', () => {
    expect(() => expectAll(new Map(), new Map([['loss', raw([], 1)]]), () => ({ atol: 1 }))).toThrow('loss is missing');
    expect(() => expectAll(new Map(), new Map(), () => ({ atol: 1 }))).toThrow();
  });
});
