import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../src/core/types.ts';
import { writeSafetensors } from '../../../src/formats/safetensors.ts';
import { datasetOf } from '../../../src/train/data/dataset.ts';
import { fileSource } from '../../../src/train/data/file.ts';
import { Sampler } from '../../../src/train/data/sampler.ts';
import { epochsOf } from '../../../src/train/data/source.ts';

const failing = (code: string, fields: object = {}) =>
  expect.objectContaining({ code, fields: expect.objectContaining(fields) });

describe('sampler', () => {
  it('visits every sample once an epoch, the last batch smaller', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(9),
        (size, batchSize, seed) => {
          const sampler = new Sampler({ size, batchSize, seed });
          for (const epoch of [0, 3]) {
            const batches = [...sampler.batches({ fromStep: epoch * sampler.stepsPerEpoch, epochs: epoch + 1 })];
            expect(batches.every((b) => b.epoch === epoch)).toBe(true);
            expect(batches.slice(0, -1).every((b) => b.indices.length === batchSize)).toBe(true);
            const seen = batches.flatMap((b) => [...b.indices]).sort((a, b) => a - b);
            expect(seen).toEqual(Array.from({ length: size }, (_, i) => i));
          }
        },
      ),
    );
  });

  it('resumes at any step with the same batches', () => {
    const options = { size: 23, batchSize: 5, seed: 1 };
    const whole = [...new Sampler(options).batches({ epochs: 3 })];
    expect(whole).toHaveLength(15);
    for (const step of [0, 4, 5, 7, 14]) {
      expect([...new Sampler(options).batches({ fromStep: step, epochs: 3 })]).toEqual(whole.slice(step));
      expect(new Sampler(options).batchAt(step)).toEqual(whole[step]);
    }
    const backwards = new Sampler(options);
    for (const batch of [...whole].reverse()) expect(backwards.batchAt(batch.step)).toEqual(batch);
  });

  it('orders epochs and seeds differently, or not at all', () => {
    const first = (seed: number, step: number) =>
      new Sampler({ size: 20, batchSize: 20, seed }).batchAt(step).indices.join();
    expect(new Set([first(0, 0), first(0, 1), first(1, 0)]).size).toBe(3);
    expect([...new Sampler({ size: 4, batchSize: 3, seed: 0, shuffle: 'none' }).batchAt(2).indices]).toEqual([0, 1, 2]);
  });

  it('refuses sizes of 0', () => {
    expect(() => new Sampler({ size: 4, batchSize: 0, seed: 0 })).toThrow(
      failing('sampler-option', { key: 'batchSize' }),
    );
    expect(() => new Sampler({ size: 0, batchSize: 1, seed: 0 })).toThrow(failing('sampler-option', { key: 'size' }));
  });
});

it('epochsOf joins a data set and a sampler', () => {
  const x = { dtype: 'i32', sampleShape: [], values: Int32Array.of(10, 11, 12) } as const;
  const source = epochsOf(datasetOf('d', 3, { x }), { batchSize: 2, seed: 0, shuffle: 'none' });
  expect(source).toMatchObject({ name: 'd', stepsPerEpoch: 2, steps: Number.POSITIVE_INFINITY });
  expect(source.batchAt(3)).toEqual({
    epoch: 1,
    step: 3,
    tensors: { x: { type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(12) } },
  });
});

describe('file', () => {
  const i32 = (shape: number[], start = 0): HostTensor => ({
    type: { dtype: 'i32', shape },
    data: Int32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => start + i),
  });
  const file = writeSafetensors([
    ['x', i32([3, 2])],
    ['y', i32([3], 100)],
    ['mask', i32([2], 200)],
    ['t', i32([2, 3], 300)],
    ['extra', i32([7])],
    ['f', { type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(1) }],
    ['scalar', i32([])],
  ]);
  const data = (tensors: Readonly<Record<string, HostTensor>>) =>
    Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, [t.type.shape, ...t.data]]));

  it('fixed: the whole of the wanted tensors, every step', () => {
    const source = fileSource(file, 'd', [{ name: 'x', dtype: 'f32' }, { name: 'y' }]);
    expect(source).toMatchObject({ steps: Number.POSITIVE_INFINITY, stepsPerEpoch: 1 });
    expect(source.batchAt(9)).toMatchObject({ epoch: 9, step: 9 });
    expect(source.batchAt(9).tensors).toEqual({
      x: { type: { dtype: 'f32', shape: [3, 2] }, data: Float32Array.of(0, 1, 2, 3, 4, 5) },
      y: i32([3], 100),
    });
  });

  it('stream: step k takes index k, then ends', () => {
    const source = fileSource(file, 'd', [{ name: 'x' }, { name: 'y' }], { mode: 'stream' });
    expect(source.steps).toBe(3);
    expect(data(source.batchAt(1).tensors)).toEqual({ x: [[2], 2, 3], y: [[], 101] });
    expect(() => source.batchAt(3)).toThrow(failing('data-exhausted', { steps: 3, step: 3 }));
    expect(() => fileSource(file, 'd', [{ name: 'x' }, { name: 'mask' }], { mode: 'stream' })).toThrow(
      failing('data-axis', { tensors: ['x', 'mask'], sizes: [3, 2] }),
    );
    expect(() => fileSource(file, 'd', [{ name: 'scalar' }], { mode: 'stream' })).toThrow(
      failing('data-axis', { tensor: 'scalar' }),
    );
  });

  it("epochs: batches along each tensor's batch axis", () => {
    const wanted = [
      { name: 'x' },
      { name: 't', batchAxis: 1 },
      { name: 'y', batchAxis: -1 },
      { name: 'mask', batchAxis: null },
    ];
    const source = fileSource(file, 'd', wanted, { mode: 'epochs', batchSize: 2, seed: 0, shuffle: 'none' });
    expect(source.stepsPerEpoch).toBe(2);
    expect(data(source.batchAt(0).tensors)).toEqual({
      x: [[2, 2], 0, 1, 2, 3],
      t: [[2, 2], 300, 301, 303, 304],
      y: [[2], 100, 101],
      mask: [[2], 200, 201],
    });
    expect(data(source.batchAt(1).tensors)).toMatchObject({ t: [[2, 1], 302, 305], y: [[1], 102] });
  });

  it('names what is missing and what cannot be converted', () => {
    expect(() => fileSource(file, 'd', [{ name: 'Y' }, { name: 'z' }])).toThrow(
      failing('data-tensor-missing', { missing: ['Y', 'z'] }),
    );
    expect(() => fileSource(file, 'd', [{ name: 'f', dtype: 'i32' }])).toThrow(failing('tensor-dtype'));
    expect(() =>
      fileSource(file, 'd', [{ name: 'x', batchAxis: null }], { mode: 'epochs', batchSize: 1, seed: 0 }),
    ).toThrow(failing('data-axis'));
  });
});
