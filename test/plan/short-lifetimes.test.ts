import { describe, expect, it } from 'vitest';
import type { Compiled } from '../../src/plan/compile.ts';
import { withLowerPeaks } from '../../src/plan/short-lifetimes.ts';

/** Peaks of each device with short and with plain lifetimes, above 1,000 and 1,100 bytes alive; what is asked of `compile`. */
function play(
  peaks: readonly { readonly short: number; readonly plain: number }[],
  reordered = true,
  instructions = 1,
  limits?: readonly number[],
) {
  const asked: number[][] = [];
  const compile = (plainOn: ReadonlySet<number>): Compiled => {
    asked.push([...plainOn]);
    const program = {
      orders: peaks.map((_, d) => ({ tasks: reordered && !plainOn.has(d) ? ['0F0'] : [] })),
      devices: peaks.map(() => ({
        buffers: [],
        instructions: Array.from({ length: instructions }, () => ({ kind: 'barrier' })),
      })),
    };
    const memory = peaks.map(({ short, plain }, device) =>
      plainOn.has(device) ? { device, peakBytes: plain, maxLive: 1100 } : { device, peakBytes: short, maxLive: 1000 },
    );
    return { schedules: {}, programs: { train: program }, memory } as unknown as Compiled;
  };
  return { peaks: withLowerPeaks(compile, limits).memory.map((m) => m.peakBytes), asked };
}

describe('lifetimes of a plan', () => {
  it('are compiled once where the layout has no gaps to speak of', () => {
    expect(play([{ short: 1002, plain: 900 }])).toEqual({ peaks: [1002], asked: [[]] });
  });
  it('stay short where the peak is lower by them', () => {
    expect(play([{ short: 1090, plain: 1100 }])).toEqual({ peaks: [1090], asked: [[], [0]] });
    expect(play([{ short: 1100, plain: 1100 }]).peaks).toEqual([1100]);
  });
  it('are plain where the layout makes them worse, device by device', () => {
    expect(play([{ short: 1200, plain: 1100 }])).toEqual({ peaks: [1100], asked: [[], [0]] });
    const three = [
      { short: 1200, plain: 1100 },
      { short: 1050, plain: 1150 },
      { short: 1000, plain: 1100 },
    ];
    expect(play(three)).toEqual({ peaks: [1100, 1050, 1000], asked: [[], [0, 1], [0]] });
  });
  it('are compiled once where the program is long', () => {
    const long = play([{ short: 1200, plain: 1100 }], true, 100_001);
    expect(long).toEqual({ peaks: [1200], asked: [[]] });
  });
  it('are compiled once where nothing was shortened', () => {
    expect(play([{ short: 1200, plain: 1100 }], false)).toEqual({ peaks: [1200], asked: [[]] });
  });
  it('are looked at again only where what is alive is within a limit and the peak is not', () => {
    const compiled = (short: number, limit: number) => play([{ short, plain: 1100 }], true, 1, [limit]).asked;
    expect(compiled(1200, 1150)).toEqual([[], [0]]);
    expect(compiled(1200, 1200)).toEqual([[]]);
    expect(compiled(1200, 999)).toEqual([[]]);
  });
});
