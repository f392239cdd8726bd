import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { experiment as api } from '../../src/index.ts';
import { draftPlan, shortages } from '../../src/plan/plan.ts';
import { ruleFactor, searchRate, withRate } from '../../src/study/batch/rates.ts';
import type { TimingRow } from '../../src/study/batch/tables.ts';
import { sweetSpots } from '../../src/study/batch/timing.ts';
import { largestBatch } from '../../src/study/capacity.ts';
import { fileJournal } from '../../src/study/journal.ts';
import { stepRequestOf } from '../../src/study/layout.ts';
import { logarithmicSteps } from '../../src/study/learning.ts';
import { quantile, spreadOf } from '../../src/study/statistics.ts';
import { fitTradeOff, stepsTo } from '../../src/study/steps-to-target.ts';
import { csvText } from '../../src/study/table-file.ts';

describe('order statistics', () => {
  it('are NumPy’s quantiles', () => {
    // np.quantile([3, 1, 2, 10], [0.25, 0.5, 0.75]) → [1.75, 2.5, 4.75]
    expect(spreadOf([3, 1, 2, 10])).toEqual({ median: 2.5, low: 1.75, high: 4.75 });
    expect(quantile([1, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY], 0.5)).toBe(Number.POSITIVE_INFINITY);
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe('steps to a target', () => {
  const curve = (losses: number[]) => ({
    points: losses.map((loss, i) => ({ step: 10 * (i + 1), samples: 0, loss, heldOut: { loss, accuracy: 1 - loss } })),
  });
  it('are those of the first crossing, between the points around it', () => {
    expect(stepsTo(curve([2, 1, 0.5, 0.8, 0.1]), { metric: 'loss', value: 0.75 })).toBe(25);
    expect(stepsTo(curve([0.5, 0.1]), { metric: 'loss', value: 0.6 })).toBe(10);
    expect(stepsTo(curve([0.9, 0.7, 0.5]), { metric: 'accuracy', value: 0.4 })).toBeCloseTo(25, 9);
    expect(stepsTo(curve([2, 1]), { metric: 'heldOutLoss', value: 0.5 })).toBe(Number.POSITIVE_INFINITY);
    expect(stepsTo({ points: [] }, { metric: 'loss', value: 0.5 })).toBe(Number.POSITIVE_INFINITY);
  });

  it('give back the trade-off they were made from', () => {
    const made = [8, 16, 32, 64, 128, 256].map((batch) => ({ batch, steps: 40 * (1 + 60 / batch) }));
    const fit = fitTradeOff(made)!;
    expect(fit.criticalBatch).toBeCloseTo(60, 2);
    expect(fit.minSteps).toBeCloseTo(40, 3);
    expect(fit.minSamples).toBeCloseTo(2400, 1);
    expect(fit.error).toBeLessThan(1e-6);
  });

  it('show no trade-off where they are perfectly proportional, flat, or of two sizes', () => {
    const sizes = [8, 16, 32, 64];
    expect(fitTradeOff(sizes.map((batch) => ({ batch, steps: 4096 / batch })))).toBeUndefined();
    expect(fitTradeOff(sizes.map((batch) => ({ batch, steps: 100 })))).toBeUndefined();
    expect(
      fitTradeOff([
        { batch: 8, steps: 10 },
        { batch: 16, steps: 8 },
      ]),
    ).toBeUndefined();
  });
});

describe('the largest batch', () => {
  const request = stepRequestOf(
    api.prepareExperiment(
      api.parseExperiment({ model: { kind: 'mlp', hidden: [8] }, data: { kind: 'digits' }, devices: 2 }, 'test'),
      { where: 'test' },
    ),
  );
  const fits = (batch: number, microbatches: number, memory: number): boolean =>
    shortages(
      draftPlan({
        ...request,
        microbatches,
        devices: request.devices.map((d) => ({ ...d, memory })),
        programs: { train: { batch, mode: 'train', gradientNorm: true } },
      }),
    ).length === 0;

  it.each([1, 4])('in %i pieces fits, and one sample more does not', (microbatches) => {
    const found = largestBatch(request, microbatches, 2 ** 17);
    expect(fits(found.batch, microbatches, 2 ** 17)).toBe(true);
    expect(fits(found.batch + 1, microbatches, 2 ** 17)).toBe(false);
    expect(found.peakBytes).toBeLessThanOrEqual(2 ** 17);
    expect(found.atLimit).toBe(false);
  });
  it('is none where no sample fits, and says where the search ended', () => {
    expect(largestBatch(request, 1, 0)).toMatchObject({ batch: 0 });
    expect(largestBatch(request, 2, 2 ** 30, 48)).toMatchObject({ batch: 48, atLimit: true });
  });
});

describe('rates', () => {
  it('follow the batch size by their rule', () => {
    expect(ruleFactor('none', 128, 32)).toBe(1);
    expect(ruleFactor('linear', 128, 32)).toBe(4);
    expect(ruleFactor('sqrt', 128, 32)).toBe(2);
  });
  it('stretch a schedule with the number of steps', () => {
    const given = api.parseExperiment(
      {
        model: { kind: 'mlp' },
        optimizer: { lr: 0.2 },
        learningRate: { kind: 'warmupCosine', warmupSteps: 10, totalSteps: 100 },
      },
      'test',
    );
    expect(withRate(given, 2, 1 / 8)).toMatchObject({
      optimizer: { lr: 0.4 },
      learningRate: { warmupSteps: 1, totalSteps: 13 },
    });
    expect(withRate(given, 1, 1 / 1000).learningRate).toMatchObject({ warmupSteps: 0, totalSteps: 1 });
  });
  it('are sought beyond the grid where its best is at an end', async () => {
    const tried: number[] = [];
    const found = await searchRate(1, async (factor) => {
      tried.push(factor);
      return Math.abs(Math.log2(factor / 8));
    });
    expect(found.best.factor).toBe(8);
    expect(found.inside).toBe(true);
    expect([...tried].sort((a, b) => a - b)).toEqual([0.25, 0.5, 1, 2, 4, 8, 16]);
    expect((await searchRate(1, async (factor) => -factor)).inside).toBe(false);
  });
});

describe('the sweet spot', () => {
  const row = (microbatches: number, stepSeconds: number): TimingRow =>
    ({ series: '', batch: 8, microbatches, stepSeconds, stepSecondsHigh: 1.1 * stepSeconds }) as TimingRow;
  it('is the fastest, or what is as fast within its spread and needs less memory', () => {
    const less = (r: TimingRow) => -r.microbatches;
    expect(sweetSpots([row(1, 10), row(2, 5), row(4, 6)], less).map((r) => r.microbatches)).toEqual([2]);
    expect(sweetSpots([row(1, 10), row(2, 5), row(4, 5.2)], less).map((r) => r.microbatches)).toEqual([4]);
    // Within a wide spread alone a step is not as fast.
    expect(sweetSpots([row(2, 5), row(4, 5.4)], less).map((r) => r.microbatches)).toEqual([2]);
    expect(sweetSpots([row(1, 5), row(2, 5.2)], () => 1).map((r) => r.microbatches)).toEqual([1]);
  });
});

describe('points of a curve', () => {
  it('rise to the last step, each once', () => {
    const steps = logarithmicSteps(1000);
    expect(steps[0]).toBe(1);
    expect(steps.at(-1)).toBe(1000);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    expect(steps.length).toBeLessThan(70);
    expect(logarithmicSteps(1)).toEqual([1]);
  });
});

describe('files of a study', () => {
  it('quote as RFC 4180 does', () => {
    expect(
      csvText(
        ['a', 'b'],
        [
          { a: 'x, "y"', b: null },
          { a: true, b: 0.1 },
        ],
      ),
    ).toBe('a,b\n"x, ""y""",\ntrue,0.1\n');
  });

  it('keep what is finished over an interruption within a line', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-journal-')), 'finished.jsonl');
    const first = fileJournal(file);
    expect(await first.once({ task: 1 }, async () => ({ value: 1 }))).toEqual({ value: 1 });
    appendFileSync(file, '{"key":"torn","resu');
    const second = fileJournal(file);
    let ran = 0;
    const again = () => second.once({ task: 2 }, async () => ++ran);
    expect(await second.once({ task: 1 }, async () => ({ value: 2 }))).toEqual({ value: 1 });
    expect(await Promise.all([again(), again()])).toEqual([1, 1]);
    expect(second.reused).toBe(1);
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(3);
    expect(await fileJournal(file).once({ task: 2 }, async () => 9)).toBe(1);
  });

  it.each([
    ['another result', '"value":1', '"value":2'],
    ['no result', '"result":{"value":1},', ''],
    ["another task's key", /"key":"../, '"key":"00'],
    ['a checksum that is none', /"sum":"\w+"/, '"sum":null'],
  ])('run a task again whose line has %s', async (_, from, to) => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-journal-')), 'finished.jsonl');
    await fileJournal(file).once({ task: 1 }, async () => ({ value: 1 }));
    const line = readFileSync(file, 'utf8');
    writeFileSync(file, line.replace(from, to));
    expect(readFileSync(file, 'utf8')).not.toBe(line);
    const journal = fileJournal(file);
    expect(await journal.once({ task: 1 }, async () => ({ value: 9 }))).toEqual({ value: 9 });
    expect(journal.reused).toBe(0);
  });

  it('take what was finished before lines had a checksum', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-journal-')), 'finished.jsonl');
    await fileJournal(file).once({ task: 1 }, async () => ({ value: 1 }));
    writeFileSync(file, readFileSync(file, 'utf8').replace(/,"sum":"\w+"/, ''));
    const journal = fileJournal(file);
    expect(await journal.once({ task: 1 }, async () => ({ value: 9 }))).toEqual({ value: 1 });
    expect(journal.reused).toBe(1);
  });
});
