import { describe, expect, it } from 'vitest';
import { simulate } from '../../src/simulate/index.ts';
import { clusterOf, compute, post, programOf, receive, send } from './support.ts';

const many = programOf(Array.from({ length: 20_000 }, () => compute(1)));
const factors = (variation: number, seed = 1, step = 0): number[] => {
  const { timeline } = simulate(many, clusterOf(1), { jitter: { variation, seed, step } });
  return Array.from({ length: timeline!.count(0) }, (_, i) => timeline!.at(0, i).end - timeline!.at(0, i).begin);
};

describe('jitter', () => {
  it('has mean 1 and the variation asked for, and is never negative', () => {
    for (const variation of [0.1, 0.5]) {
      const drawn = factors(variation);
      const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
      const deviation = Math.sqrt(drawn.reduce((sum, x) => sum + (x - mean) ** 2, 0) / drawn.length);
      // Four standard errors of the mean; the deviation's is larger for the skew.
      expect(Math.abs(mean - 1)).toBeLessThan((4 * variation) / Math.sqrt(drawn.length));
      expect(Math.abs(deviation / variation - 1)).toBeLessThan(0.05);
      expect(Math.min(...drawn)).toBeGreaterThan(0);
      // Lognormal: the logarithm is symmetric, so the median lies below the mean, at 1/√(1 + variation²).
      const median = [...drawn].sort((a, b) => a - b)[drawn.length / 2]!;
      expect(median).toBeCloseTo(1 / Math.sqrt(1 + variation ** 2), 1);
    }
  });

  it('is a function of seed, step, device and action', () => {
    expect(factors(0.2)).toEqual(factors(0.2));
    expect(factors(0.2).slice(0, 5)).not.toEqual(factors(0.2, 2).slice(0, 5));
    expect(factors(0.2).slice(0, 5)).not.toEqual(factors(0.2, 1, 1).slice(0, 5));
    const { timeline } = simulate(many, clusterOf(1), { jitter: { variation: 0.2, seed: 1 } });
    expect(timeline!.at(0, 0).end).toBe(factors(0.2)[0]); // step 0 where none is given
    const two = programOf([compute(1)], [compute(1)]);
    const times = simulate(two, clusterOf(2), { jitter: { variation: 0.2, seed: 1 } }).devices.map(
      (d) => d.computeSeconds,
    );
    expect(times[0]).not.toBe(times[1]);
  });

  it('varies transfers too, and 0 is none', () => {
    const pair = programOf([send(1, 0, 10)], [post(0, 0), receive(0, 0)]);
    const seconds = (variation: number) =>
      simulate(pair, clusterOf(2), { jitter: { variation, seed: 1 } }).devices[0]!.sendSeconds;
    expect(seconds(0)).toBe(1);
    expect(seconds(0.3)).not.toBe(1);
    expect(simulate(pair, clusterOf(2), { jitter: { variation: 0.3, seed: 1 } }).messageBytes).toBe(10);
  });

  it('varies what a send takes of its own by the factor of its transfer', () => {
    const pair = programOf([send(1, 0, 10, 0.5)], [post(0, 0), receive(0, 0)]);
    const { stepSeconds, devices } = simulate(pair, clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0 }), {
      jitter: { variation: 0.3, seed: 1 },
    });
    const { sendSeconds, otherSeconds } = devices[0]!;
    expect(otherSeconds / sendSeconds).toBeCloseTo(0.5, 12);
    expect(otherSeconds + sendSeconds).toBeCloseTo(stepSeconds, 12);
  });

  it('refuses what is no coefficient of variation', () => {
    expect(() => factors(10)).not.toThrow();
    for (const variation of [-1, Number.NaN, 11, 10.5, Number.POSITIVE_INFINITY]) {
      expect(() => simulate(many, clusterOf(1), { jitter: { variation, seed: 0 } })).toThrow(
        expect.objectContaining({ code: 'jitter-invalid' }),
      );
    }
  });
});
