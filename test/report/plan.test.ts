import { describe, expect, it } from 'vitest';
import { printPlan, rangesOf } from '../../src/report/plan.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('a printed plan of more devices than the model has use for', () => {
  it('names devices that follow each other as a range', () => {
    expect(rangesOf([4])).toBe('device 4');
    expect(rangesOf([2, 5, 6, 7, 9])).toBe('device 2, devices 5 to 7, device 9');
  });

  it('has no lines for what empty devices hold', () => {
    const text = printPlan(
      planOf(threeLayers, { devices: 60, microbatches: 1, programs: { train: { batch: 4, mode: 'train' } } }),
    );
    expect(text).toMatch(/Surplus: devices \d+ to 59 without a stage/);
    expect(text).toMatch(/^ {2}device 0: at /m);
    expect(text).not.toContain('device 59: at ');
  });
});
