import { describe, expect, it } from 'vitest';
import { type LearningRateConfig, makeLearningRate } from '../../src/train/learning-rate.ts';

const rates = (rate: (k: number) => number, n: number) => Array.from({ length: n }, (_, k) => rate(k));
const closeTo = (expected: readonly number[]) => expected.map((v) => expect.closeTo(v, 14));

describe('rates of the steps', () => {
  it('constant', () => {
    expect(rates(makeLearningRate({ kind: 'constant' }, 0.3), 3)).toEqual([0.3, 0.3, 0.3]);
  });

  it('step: gamma once every stepSize', () => {
    const rate = makeLearningRate({ kind: 'step', stepSize: 2, gamma: 0.5 }, 8);
    expect(rates(rate, 7)).toEqual([8, 8, 4, 4, 2, 2, 1]);
    expect(makeLearningRate({ kind: 'step', stepSize: 1 }, 1)(3)).toBeCloseTo(1e-3, 15);
  });

  it('cosine: as torch.optim.lr_scheduler.CosineAnnealingLR(T_max=16, eta_min=0.002) gives it in f64', () => {
    const expected = [
      0.02, 0.019827067523629074, 0.019314915792601577, 0.0184832265107229, 0.01736396103067892, 0.016000132097176413,
      0.014444150891285803, 0.01275581289814515, 0.010999999999999996, 0.009244187101854843, 0.00755584910871419,
      0.0059998679028235805, 0.004636038969321072, 0.003516773489277091, 0.002685084207398419, 0.002172932476370926,
      0.002, 0.002172932476370926, 0.002685084207398418, 0.0035167734892770893,
    ];
    expect(rates(makeLearningRate({ kind: 'cosine', tMax: 16, etaMin: 0.002 }, 0.02), 20)).toEqual(closeTo(expected));
  });

  it('warmupCosine: up in a line, down in a cosine, then flat', () => {
    const rate = makeLearningRate({ kind: 'warmupCosine', warmupSteps: 4, totalSteps: 8, minRatio: 0.1 }, 2);
    // Quarters of a half turn: cos 0, π/4, π/2, 3π/4, π.
    const down = [1, Math.SQRT1_2, 0, -Math.SQRT1_2, -1].map((c) => 2 * (0.1 + (0.9 * (1 + c)) / 2));
    expect(rates(rate, 11)).toEqual(closeTo([0.5, 1, 1.5, 2, ...down, 0.2, 0.2]));
  });

  it.each([
    [{ kind: 'step', stepSize: 0 }, 'learningRate.stepSize'],
    [{ kind: 'cosine', tMax: 0 }, 'learningRate.tMax'],
    [{ kind: 'oneCycle', maxLr: 1, totalSteps: 10, divFactor: 0 }, 'learningRate.divFactor'],
    [{ kind: 'warmupCosine', warmupSteps: 1, totalSteps: 4, minRate: 0.1 }, 'learningRate.minRate'],
    [{ kind: 'exponential', gamma: 0.9 }, 'learningRate.kind'],
  ])('refuses %j before the first step', (config, key) => {
    const problems = [expect.objectContaining({ key })];
    expect(() => makeLearningRate(config as LearningRateConfig, 0.1)).toThrow(
      expect.objectContaining({ fields: expect.objectContaining({ problems }) }),
    );
  });

  it.each([undefined, {}, 'cosine', 3])('refuses %j, which names no rule', (config) => {
    expect(() => makeLearningRate(config as never, 0.1)).toThrow('makeLearningRate: takes a rule with its kind, got ');
  });

  it('values: one a step, and an error after the last', () => {
    const rate = makeLearningRate({ kind: 'values', values: [3, 1] }, 9);
    expect(rates(rate, 2)).toEqual([3, 1]);
    expect(() => rate(2)).toThrow(expect.objectContaining({ code: 'learning-rate-steps', remedy: '--steps 2' }));
  });
});
