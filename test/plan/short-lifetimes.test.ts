import { describe, expect, it } from 'vitest';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import type { Compiled } from '../../src/plan/compiled.ts';
import { draftPlan, type PlanRequest, roughPlan } from '../../src/plan/plan.ts';
import { withFinalLayouts, withLowerPeaks } from '../../src/plan/short-lifetimes.ts';
import type { Lifetimes } from '../../src/program/context.ts';

interface Peaks {
  readonly short: number;
  readonly unshared?: number;
  readonly unordered?: number;
  readonly plain: number;
}

/** Peaks of each device by its lifetimes, above 1,000 bytes alive and 1,100 plain ones; what is asked of `compile`. */
function play(peaks: readonly Peaks[], reordered = true, instructions = 1, scale = 1, limits?: readonly number[]) {
  const asked: string[] = [];
  const compile = (levels: readonly Lifetimes[]): Compiled => {
    asked.push(levels.map((l) => ({ short: 's', unshared: 'v', unordered: 'o', plain: 'p' })[l]).join(''));
    const program = {
      orders: levels.map((l) => ({ tasks: reordered && (l === 'short' || l === 'unshared') ? ['0F0'] : [] })),
      devices: levels.map((l) => ({
        buffers: reordered && (l === 'short' || l === 'unordered') ? [{ view: { of: 0, plus: 0 } }] : [],
        instructions: Array.from({ length: instructions }, () => ({ kind: 'barrier' })),
      })),
    };
    const memory = peaks.map(({ short, plain, unshared = short, unordered = short }, device) => {
      const peakBytes = scale * { short, plain, unshared, unordered }[levels[device]!];
      return { device, peakBytes, maxLive: scale * (levels[device] === 'plain' ? 1100 : 1000), layouts: {} };
    });
    return { schedules: {}, programs: { train: program }, memory } as unknown as Compiled;
  };
  const rough = withLowerPeaks(compile, peaks.length, limits);
  const peaksOf = ({ memory }: Compiled): number[] => memory.map((m) => m.peakBytes / scale);
  return { rough, asked, peaks: peaksOf(rough), final: () => peaksOf(withFinalLayouts(rough)) };
}

describe('lifetimes of a plan', () => {
  it('are compiled once where the layout has no gaps to speak of', () => {
    expect(play([{ short: 1002, plain: 900 }])).toMatchObject({ peaks: [1002], asked: ['s'] });
  });
  it('stay short where the peak is lower by them', () => {
    expect(play([{ short: 1090, plain: 1100 }])).toMatchObject({ peaks: [1090], asked: ['s', 'p'] });
    expect(play([{ short: 1100, plain: 1100 }]).peaks).toEqual([1100]);
  });
  it('are plain where the layout makes them worse, device by device', () => {
    expect(play([{ short: 1200, plain: 1100 }])).toMatchObject({ peaks: [1100], asked: ['s', 'p'] });
    const three = [
      { short: 1200, plain: 1100 },
      { short: 1050, plain: 1150 },
      { short: 1000, plain: 1100 },
    ];
    expect(play(three)).toMatchObject({ peaks: [1100, 1050, 1000], asked: ['sss', 'pps', 'pss'] });
  });
  it('are compiled once where the program is long', () => {
    expect(play([{ short: 1200, plain: 1100 }], true, 100_001)).toMatchObject({ peaks: [1200], asked: ['s'] });
  });
  it('are compiled once where nothing was shortened', () => {
    expect(play([{ short: 1200, plain: 1100 }], false)).toMatchObject({ peaks: [1200], asked: ['s'] });
  });
  it('are looked at again only where what is alive is within a limit and the peak is not', () => {
    const compiled = (short: number, limit: number) => play([{ short, plain: 1100 }], true, 1, 1, [limit]).asked;
    expect(compiled(1200, 1150)).toEqual(['s', 'p']);
    expect(compiled(1200, 1200)).toEqual(['s']);
    expect(compiled(1200, 999)).toEqual(['s']);
  });
  it('are chosen again by the final layouts: without views where their peak is the lowest', () => {
    const wide = play(
      [
        { short: 1300, unshared: 1050, plain: 1200 },
        { short: 1000, plain: 1100 },
      ],
      true,
      1,
      1000,
    );
    expect(wide.peaks).toEqual([1200, 1000]);
    expect(wide.final()).toEqual([1050, 1000]);
    expect(wide.asked).toEqual(['ss', 'ps', 'vs', 'os']);
  });
});

describe('the final plan', () => {
  const request = (lifetimes: 'short' | 'plain'): PlanRequest => ({
    model: modelOf({ kind: 'resnet', size: 16, classes: 10, widths: [16, 32], blocks: 1 }),
    programs: { train: { batch: 8, mode: 'train', outputs: true } },
    microbatches: 2,
    schedule: 'zb-h1',
    partition: 'auto',
    devices: [0, 1].map(() => ({ backend: 'wasm', memory: null, speed: 1 })),
    optimizer: makeOptimizer({ kind: 'adam', lr: 0.001 }),
    lifetimes,
  });

  it('is on no device above the rough one, nor above plain lifetimes, and wastes at most 1 % of max-live', () => {
    const [rough, final] = [roughPlan(request('short')), draftPlan(request('short'))];
    const plain = draftPlan(request('plain'));
    final.memory.forEach((m, d) => {
      expect(m.peakBytes).toBeLessThanOrEqual(rough.memory[d]!.peakBytes);
      expect(m.peakBytes).toBeLessThanOrEqual(plain.memory[d]!.peakBytes);
      expect(m.peakBytes / m.maxLive).toBeLessThan(1.01);
    });
    expect(draftPlan(request('short')).memory).toEqual(final.memory);
  });
});
