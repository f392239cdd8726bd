import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fitPositive } from '../../src/cost/fit-positive.ts';
import { type Parallelism, type TransformerTimes, transformerWork } from '../../src/cost/transformer.ts';
import { transformerIteration } from '../../src/simulate/transformer-iteration.ts';

const shape = { hidden: 2048, heads: 16, layers: 24, sequence: 1024, vocabulary: 51_200 };
const times = { layerSeconds: 3, headSeconds: 0, layerUpdateSeconds: 0, embeddingUpdateSeconds: 0 };
const layout = (more: Partial<Parallelism> = {}): Parallelism => ({
  tensor: 1,
  data: 1,
  pipeline: 1,
  microbatch: 4,
  microbatches: 8,
  ...more,
});
const free = { link: { bytesPerSecond: Number.POSITIVE_INFINITY, secondsLatency: 0 } };

describe('an iteration of a transformer', () => {
  it('has the closed form of equal stages: (M + p − 1)/(M p) of the work', () => {
    for (const pipeline of [1, 2, 4, 8]) {
      const seconds = transformerIteration(shape, layout({ pipeline }), times, free);
      expect(seconds).toBeCloseTo((8 * 24 * 3 * (8 + pipeline - 1)) / (8 * pipeline), 9);
    }
  });

  it('waits for the stage with the head, and for links once a boundary each way', () => {
    const seconds = transformerIteration(shape, layout({ pipeline: 2 }), { ...times, headSeconds: 12 }, free);
    // The last stage works without a pause, 8·(36 + 12); before it lies one forward of the first, behind it one backward.
    expect(seconds).toBeCloseTo(8 * 48 + 36, 9);
    const { boundaryBytes } = transformerWork(shape, layout());
    expect(boundaryBytes).toBe(4 * 1024 * 2048 * 2);
    const link = { bytesPerSecond: boundaryBytes, secondsLatency: 0.5 };
    const linked = transformerIteration(shape, layout({ pipeline: 2, microbatches: 1 }), times, { link });
    expect(linked).toBeCloseTo(72 + 2 * 1.5, 9);
  });

  it('updates what each stage owns behind its last backward; both ends hold the embedding', () => {
    const update = { ...times, layerUpdateSeconds: 1, embeddingUpdateSeconds: 100 };
    expect(transformerIteration(shape, layout(), update, free)).toBeCloseTo(8 * 72 + 24 + 100, 9);
    // Stage 0 ends last and has 12 layers; the embedding weighs on both ends and not on the middle.
    expect(transformerIteration(shape, layout({ pipeline: 2 }), update, free)).toBeCloseTo(9 * 36 + 12 + 100, 9);
    // With 13 of 25 layers, and slow updates, it is the last stage that ends last.
    const odd = { ...shape, layers: 25 };
    const slow = { ...update, layerUpdateSeconds: 1000 };
    expect(transformerIteration(odd, layout({ pipeline: 2 }), slow, free)).toBeCloseTo(12 + 8 * 39 + 13_000 + 100, 9);
  });
});

// An excerpt of vTrain's measurements (MIT, see instances/LICENSE): hidden 2048, microbatch 4, tensor parallelism 1 and 2.
const measured = readFileSync(new URL('instances/a100-excerpt.csv', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => {
    const [, batch, microbatch, , , layers, , tensor, data, pipeline, ms] = line.split(',').map(Number) as number[];
    const parallel = {
      tensor,
      data,
      pipeline,
      microbatch,
      microbatches: batch! / (microbatch! * data!),
    } as Parallelism;
    return { shape: { ...shape, layers: layers! }, layout: parallel, seconds: ms! / 1000 };
  });

describe('measured iterations of GPT-like models on A100', () => {
  it('with a pipeline are predicted from those without, by the times of a layer and of the head', () => {
    for (const tensor of [1, 2]) {
      const rows = measured.filter((r) => r.layout.tensor === tensor);
      const predicted = (row: (typeof rows)[number], p: readonly number[]): number => {
        const fitted: TransformerTimes = {
          layerSeconds: p[0]!,
          headSeconds: p[1]!,
          layerUpdateSeconds: p[2]!,
          embeddingUpdateSeconds: p[3]!,
        };
        return transformerIteration(row.shape, row.layout, fitted, {
          link: { bytesPerSecond: 200e9, secondsLatency: 0 },
        });
      };
      const alone = rows.filter((r) => r.layout.pipeline === 1);
      const piped = rows.filter((r) => r.layout.pipeline > 1);
      expect([alone.length, piped.length].every((n) => n >= 8)).toBe(true);
      const { parameters } = fitPositive(
        (p) => alone.map((r) => Math.log(predicted(r, p) / r.seconds)),
        [5e-3, 5e-3, 1e-3, 1e-3],
      );
      const error = (r: (typeof rows)[number]) => Math.abs(predicted(r, parameters) / r.seconds - 1);
      const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
      expect(mean(alone.map(error))).toBeLessThan(0.01);
      // vTrain's published error, the best of the peers, is 8.37 %.
      expect(mean(piped.map(error))).toBeLessThan(0.025);
    }
  });
});
