import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../src/core/types.ts';
import { writeNpy } from '../../../src/formats/npy.ts';
import { writeSafetensors } from '../../../src/formats/safetensors.ts';
import { type Dataset, datasetOf } from '../../../src/train/data/dataset.ts';
import { fileSource } from '../../../src/train/data/file.ts';
import { openNpy } from '../../../src/train/data/open.ts';
import { Sampler } from '../../../src/train/data/sampler.ts';
import { epochsOf } from '../../../src/train/data/source.ts';
import { holdOut } from '../../../src/train/data/split.ts';
import { textFrom } from '../../../src/train/data/text.ts';

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

it('tell their contents: the same samples have the same, whatever they are called', () => {
  const samples = (name: string, values: number[]) =>
    datasetOf(name, values.length, { x: { dtype: 'f32', sampleShape: [], values: Float32Array.from(values) } });
  const contentsOf = ({ contents }: Pick<Dataset, 'contents'>) => {
    const parts: string[] = [];
    contents!((part) =>
      parts.push(
        typeof part === 'string' ? part : Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('hex'),
      ),
    );
    return parts.join();
  };
  const [a, b, c] = [samples('a', [1, 2, 3]), samples('b', [1, 2, 3]), samples('c', [1, 2, 4])].map(contentsOf);
  expect(b).toBe(a);
  expect(c).not.toBe(a);
  const split = (seed: number) => contentsOf(holdOut(samples('d', [1, 2, 3, 4, 5, 6, 7, 8]), 0.5, seed).train);
  expect(split(1)).toBe(split(1));
  expect(split(2)).not.toBe(split(1));
  const text = (words: string, context: number) => contentsOf(textFrom(words, 't', { context }));
  expect(new Set([text('abcabc', 2), text('abcabc', 3), text('abcabd', 2), text('abcabc', 2)]).size).toBe(3);
  const order = (batchSize: number, seed: number) => epochsOf(samples('e', [1, 2]), { batchSize, seed }).order;
  expect(new Set([order(1, 0), order(2, 0), order(1, 1), order(1, 0)]).size).toBe(3);
});

describe('npy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'partita-npy-'));
  const save = (name: string, tensor: Parameters<typeof writeNpy>[0]): string => {
    writeFileSync(join(folder, name), writeNpy(tensor));
    return join(folder, name);
  };
  const x = save('x.npy', {
    dtype: 'F64',
    shape: [3, 1],
    bytes: new Uint8Array(Float64Array.of(0.5, 1.5, 2.5).buffer),
  });
  const y = save('labels.npy', {
    dtype: 'I64',
    shape: [3],
    bytes: new Uint8Array(BigInt64Array.of(2n, 1n, 0n).buffer),
  });
  const wanted = [
    { name: 'x', dtype: 'f32' },
    { name: 'y', dtype: 'i32' },
  ] as const;

  it('files are one tensor each, in every mode, converted as those of safetensors are', () => {
    expect(openNpy({ x, y }, wanted).batchAt(7).tensors).toEqual({
      x: { type: { dtype: 'f32', shape: [3, 1] }, data: Float32Array.of(0.5, 1.5, 2.5) },
      y: { type: { dtype: 'i32', shape: [3] }, data: Int32Array.of(2, 1, 0) },
    });
    const epochs = openNpy({ x, y }, wanted, { mode: 'epochs', batchSize: 2, seed: 0, shuffle: 'none' });
    expect(epochs.stepsPerEpoch).toBe(2);
    expect([...epochs.batchAt(1).tensors.y!.data]).toEqual([0]);
    const stream = openNpy({ x, y }, wanted, { mode: 'stream' });
    expect(stream.steps).toBe(3);
    expect(stream.batchAt(2).tensors.y!.type.shape).toEqual([]);
  });

  it('that are missing, of another type or no .npy are named', () => {
    expect(() => openNpy({ x }, wanted)).toThrow(
      expect.objectContaining({ code: 'data-tensor-missing', remedy: '--data.files.y y.npy' }),
    );
    expect(() => openNpy({ x, y: x }, wanted)).toThrow(failing('tensor-dtype'));
    writeFileSync(join(folder, 'no.npy'), 'text');
    expect(() => openNpy({ x, y: join(folder, 'no.npy') }, wanted)).toThrow(failing('npy-magic'));
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

  it.each([
    ['stream', { name: 'scalar' }, 'save scalar with its steps in front: [steps, …]'],
    ['stream', { name: 'mask' }, 'save every tensor with as many steps in front'],
    [
      'epochs',
      { name: 'scalar' },
      'save scalar with samples on axis 0, or say that it has none: {"batchAxis": {"scalar": null}}',
    ],
    [
      'epochs',
      { name: 'y', batchAxis: 1 },
      'save y with samples on axis 1, or say where they are: {"batchAxis": {"y": 0}}',
    ],
    ['epochs', { name: 'mask' }, 'save them with as many samples, or say on which axes they are with batchAxis'],
  ] as const)('%s: is mended where that helps, of %o: %s', (mode, other, remedy) => {
    const options = mode === 'stream' ? ({ mode } as const) : ({ mode, batchSize: 1, seed: 0 } as const);
    expect(() => fileSource(file, 'd', [{ name: 'x' }, other], options)).toThrow(
      expect.objectContaining({ code: 'data-axis', remedy }),
    );
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
