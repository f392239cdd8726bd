import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { type RawTensor, rawOf } from '../../src/formats/raw-tensor.ts';
import { readInitializers } from './onnx-initializers.ts';
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

describe('initialisers', () => {
  const field = (number: number, ...bytes: number[]) => [(number << 3) | 2, bytes.length, ...bytes];
  const text = (s: string) => [...new TextEncoder().encode(s)];
  const floats = (...values: number[]) => [...new Uint8Array(Float32Array.from(values).buffer)];
  const model = (...tensor: number[]) => Uint8Array.from(field(7, ...field(5, ...tensor)));

  it('in raw_data, with packed dims, and in float_data, with dims one by one', () => {
    const head = [0x10, 1, ...field(8, ...text('w'))];
    const expected = new Map([['w', tensor([2, 1], 0.5, -3)]]);
    expect(readInitializers(model(...field(1, 2, 1), ...head, ...field(9, ...floats(0.5, -3))))).toEqual(expected);
    expect(readInitializers(model(0x08, 2, 0x08, 1, ...head, ...field(4, ...floats(0.5, -3))))).toEqual(expected);
  });

  it('refuse what they cannot hold', () => {
    const name = field(8, ...text('w'));
    expect(() => readInitializers(model(0x10, 7, ...name))).toThrow('w: data type 7');
    expect(() => readInitializers(model(0x08, 3, 0x10, 1, ...name, ...field(9, ...floats(1))))).toThrow(
      '1 values for [3]',
    );
  });
});
