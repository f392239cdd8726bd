import { describe, expect, it } from 'vitest';
import { fitPositive } from '../../src/cost/fit-positive.ts';
import { type TransformerMachine, transformerTimes, transformerWork } from '../../src/cost/transformer.ts';
import { transformerIteration } from '../../src/simulate/transformer-iteration.ts';

const shape = { hidden: 1024, heads: 16, layers: 24, sequence: 1024, vocabulary: 51_200 };
const layout = { tensor: 1, data: 1, pipeline: 1, microbatch: 2, microbatches: 4 };
const machine: TransformerMachine = {
  flopsPerSecond: 1e14,
  halfElements: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  layerSeconds: 1e-9,
  layerSecondsPerDoubling: 1e-9,
  tensorLinkBytesPerSecond: Number.POSITIVE_INFINITY,
  headFlopsPerSecond: 1e14,
  splitLogitBytesPerSecond: Number.POSITIVE_INFINITY,
  wholeLogitBytesPerSecond: Number.POSITIVE_INFINITY,
  headSeconds: 0,
  updatedParametersPerSecond: 1e10,
  dataLinkBytesPerSecond: 1e11,
};

describe('the work of a transformer', () => {
  it('sums to the FLOPs of an iteration: 72 B s l h² (1 + s/6h + V/12lh) without recompute (Narayanan et al. 2021, eq. 3)', () => {
    const { hidden: h, layers: l, sequence: s, vocabulary: V } = shape;
    for (const tensor of [1, 2, 8]) {
      const work = transformerWork(shape, { ...layout, tensor });
      const flops = tensor * (l * work.layer.flops + work.head.flops);
      expect(flops / (72 * 2 * s * l * h * h * (1 + s / (6 * h) + V / (12 * l * h)))).toBeCloseTo(1, 12);
    }
  });

  it('reduces nothing on one device, and 2(t − 1)/t of four sums on t', () => {
    expect(transformerWork(shape, layout).layer.allReduceBytes).toBe(0);
    const sum = 2 * 1024 * 1024 * 2; // microbatch, sequence, hidden, 16 bits
    expect(transformerWork(shape, { ...layout, tensor: 4 }).layer.allReduceBytes).toBe(4 * 1.5 * sum);
  });
});

describe('the memory of a transformer', () => {
  it('moves s·b·h (34 + 5 a s / h) bytes a layer forward (Korthikanti et al. 2022, eq. 2), and twice that backward', () => {
    const { hidden: h, heads: a, sequence: s } = shape;
    for (const tensor of [1, 4]) {
      const { layer } = transformerWork(shape, { ...layout, tensor });
      expect(layer.bytes).toBe((3 * s * 2 * h * (34 + (5 * a * s) / h)) / tensor);
    }
  });

  it('splits the vocabulary over tensor parallelism, and not the positions', () => {
    const { embeddingParameters, layerParameters } = transformerWork(shape, { ...layout, tensor: 2 });
    expect(embeddingParameters).toBe((51_200 * 1024) / 2 + 1024 * 1024);
    expect(layerParameters).toBe((12 * 1024 ** 2) / 2);
  });
});

describe('the time of a transformer', () => {
  it('is that of the FLOPs where nothing else counts, and that of launching where layers are small', () => {
    const work = transformerWork(shape, layout);
    expect(transformerTimes(shape, layout, machine).layerSeconds).toBeCloseTo(work.layer.flops / 1e14, 12);
    const slow = { ...machine, layerSeconds: 1, layerSecondsPerDoubling: 0.25 };
    expect(transformerTimes(shape, { ...layout, tensor: 4 }, slow).layerSeconds).toBe(1.5);
    const half = { ...machine, halfElements: work.activationElements };
    expect(transformerTimes(shape, layout, half).layerSeconds).toBeCloseTo((2 * work.layer.flops) / 1e14, 12);
  });

  it('reduces gradients over replicas only', () => {
    const one = transformerTimes(shape, layout, machine).layerUpdateSeconds;
    expect(one).toBeCloseTo((12 * 1024 ** 2) / 1e10, 12);
    const four = transformerTimes(shape, { ...layout, data: 4 }, machine).layerUpdateSeconds;
    expect(four - one).toBeCloseTo((1.5 * 12 * 1024 ** 2 * 2) / 1e11, 12);
  });
});

describe('a fit of positive parameters', () => {
  const xs = Array.from({ length: 20 }, (_, i) => 1 + i / 2);
  const model = (x: number, [a, b, c]: readonly number[]) => a! * x ** b! + c!;
  const residualsFor = (ys: readonly number[]) => (p: readonly number[]) =>
    xs.map((x, i) => Math.log(model(x, p) / ys[i]!));

  it('finds what made the data', () => {
    const truth = [0.02, 1.7, 5];
    const ys = xs.map((x) => model(x, truth));
    const { parameters, cost } = fitPositive(residualsFor(ys), [1, 1, 1]);
    for (const [i, t] of truth.entries()) expect(parameters[i]! / t).toBeCloseTo(1, 5);
    expect(cost).toBeLessThan(1e-12);
  });

  it('is not drawn away by outliers where they are said to exist', () => {
    const truth = [2, 1, 3];
    const ys = xs.map((x, i) => model(x, truth) * (i % 7 === 3 ? 4 : 1));
    const far = ({ parameters }: { parameters: readonly number[] }) =>
      Math.max(...xs.map((x) => Math.abs(Math.log(model(x, parameters) / model(x, truth)))));
    expect(far(fitPositive(residualsFor(ys), [1, 1, 1]))).toBeGreaterThan(0.1);
    expect(far(fitPositive(residualsFor(ys), [1, 1, 1], { outlier: 1e-3 }))).toBeLessThan(0.02);
  });

  it('leaves alone what nothing depends on', () => {
    const { parameters } = fitPositive(([a]) => [Math.log(a! / 3)], [1, 7]);
    expect(parameters[0]).toBeCloseTo(3, 8);
    expect(parameters[1]).toBeCloseTo(7, 8);
  });
});

it('refuses what is no transformer, and more stages than layers', () => {
  const wrong: readonly [string, object, object][] = [
    ['hidden', { ...shape, hidden: Number.NaN }, layout],
    ['layers', { ...shape, layers: 2.5 }, layout],
    ['microbatch', shape, { ...layout, microbatch: 0 }],
    ['tensor', shape, { ...layout, tensor: undefined }],
    ['pipelines', shape, { ...layout, pipelines: 2 }],
  ];
  for (const [name, model, plan] of wrong) {
    expect(() => transformerWork(model as typeof shape, plan as typeof layout)).toThrow(
      expect.objectContaining({ code: 'options-invalid', message: expect.stringContaining(name) }),
    );
  }
  const deep = { ...layout, pipeline: 25 };
  const link = { bytesPerSecond: 1e11, secondsLatency: 0 };
  expect(() => transformerIteration(shape, deep, transformerTimes(shape, deep, machine), { link })).toThrow(
    expect.objectContaining({ code: 'transformer-stages', fields: { stages: 25, layers: 24 } }),
  );
});
