import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greedyLayout } from '../../src/memory/greedy-layout.ts';
import { ALIGNMENT, type Block, hasWideGap, layOut, layoutOf } from '../../src/memory/layout.ts';
import { deaths, liveIntervals } from '../../src/memory/liveness.ts';
import type { Instruction } from '../../src/program/instruction.ts';
import { planOf, threeLayers } from '../support/models.ts';

const blocks = fc.array(
  fc
    .record({ first: fc.nat(20), length: fc.nat(10), bytes: fc.integer({ min: 1, max: 500 }) })
    .map(({ first, length, bytes }): Block => ({ first, last: first + length, bytes })),
  { minLength: 1, maxLength: 30 },
);

describe('layOut', () => {
  it('never overlaps blocks that are alive together, aligns all, and reports the height of the highest payload', () => {
    fc.assert(
      fc.property(blocks, fc.nat(100), (list, base) => {
        const { offsets, height, maxLive } = layOut(list, base);
        list.forEach((a, i) => {
          expect(offsets[i]! % ALIGNMENT).toBe(0);
          expect(offsets[i]!).toBeGreaterThanOrEqual(base);
          list.slice(i + 1).forEach((b, k) => {
            const j = i + 1 + k;
            const together = a.first <= b.last && b.first <= a.last;
            const apart = offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
            expect(!together || apart).toBe(true);
          });
        });
        expect(height).toBe(Math.max(...list.map((b, i) => offsets[i]! + b.bytes)));
        expect(height).toBeGreaterThanOrEqual(maxLive);
      }),
    );
  });

  it('takes offsets that were found before where they are a layout of the blocks, and no others', () => {
    let [taken, refused] = [0, 0];
    const block = fc.record({ first: fc.nat(8), length: fc.nat(3), bytes: fc.integer({ min: 1, max: 50 }) });
    const few = fc.array(block, { minLength: 3, maxLength: 4 });
    const place = fc.oneof(
      { weight: 9, arbitrary: fc.nat(20).map((p) => 2 * p) },
      { weight: 1, arbitrary: fc.nat(40) },
    );
    fc.assert(
      fc.property(few, fc.array(place, { minLength: 3, maxLength: 4 }), fc.nat(6), (drawn, places, from) => {
        const list = drawn.map(({ first, length, bytes }): Block => ({ first, last: first + length, bytes }));
        const base = 8 * from;
        const offsets = places.map((p) => 8 * p);
        const apart = list.every((a, i) =>
          list.every((b, j) => {
            const together = a.first <= b.last && b.first <= a.last;
            return i <= j || !together || offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
          }),
        );
        const isLegal =
          offsets.length === list.length && apart && offsets.every((o) => o % ALIGNMENT === 0 && o >= base);
        if (!isLegal) {
          refused++;
          expect(() => layoutOf(list, base, offsets)).toThrow('are no layout of these');
          return;
        }
        taken++;
        const { height, maxLive } = layoutOf(list, base, offsets);
        expect(height).toBe(Math.max(...list.map((b, i) => offsets[i]! + b.bytes)));
        const times = list.flatMap((b) => [b.first, b.last]);
        const alive = times.map((at) => list.reduce((n, b) => n + (b.first <= at && at <= b.last ? b.bytes : 0), 0));
        expect(maxLive).toBe(base + Math.max(...alive));
      }),
      { numRuns: 1000, seed: 5 },
    );
    expect(Math.min(taken, refused)).toBeGreaterThan(20);
    // To the byte: two that touch, in place and in time.
    const pair = (bytes: number, first: number) => [
      { first: 0, last: 3, bytes },
      { first, last: 9, bytes: 16 },
    ];
    expect(layoutOf(pair(16, 3), 0, [0, 16]).height).toBe(32);
    expect(layoutOf(pair(17, 4), 0, [0, 16])).toMatchObject({ height: 32, maxLive: 17 });
    expect(() => layoutOf(pair(17, 3), 0, [0, 16])).toThrow('2 offsets are no layout of these 2 blocks');
    expect(layoutOf([], 48, [])).toEqual({ offsets: [], height: 48, maxLive: 48 });
  });

  it('is worth a thorough search beyond a hundredth of what is alive, and beyond 16 KiB', () => {
    const wide = (gap: number, maxLive: number) => hasWideGap({ height: maxLive + gap, maxLive });
    expect([wide(16_384, 1000), wide(16_385, 1000)]).toEqual([false, true]);
    expect([wide(20_000, 2_000_000), wide(20_001, 2_000_000)]).toEqual([false, true]);
  });

  it('is within a limit where the lowest layout is', () => {
    fc.assert(
      fc.property(blocks, fc.nat(3000), (list, limit) => {
        expect(layOut(list, 0, { limit }).height <= limit).toBe(layOut(list, 0).height <= limit);
      }),
    );
  });

  it('is that of what is asked for, whatever was asked before of the same blocks', () => {
    const drawn = fc.array(
      fc
        .record({ first: fc.nat(12), length: fc.nat(6), units: fc.integer({ min: 1, max: 9 }) })
        .map(({ first, length, units }): Block => ({ first, last: first + length, bytes: 16 * units })),
      { minLength: 10, maxLength: 25 },
    );
    let worse = 0;
    fc.assert(
      fc.property(drawn, fc.integer({ min: 1, max: 20 }), (list, units) => {
        const anyhow = layOut(list, 0, { limit: 1e9 }).height;
        const { height, offsets } = layOut(list);
        if (anyhow > height) worse++;
        expect(layOut(list, 0, { limit: height }).height).toBe(height);
        const above = layOut(list, 16 * units);
        expect(above.height).toBe(height + 16 * units);
        expect(above.offsets).toEqual(offsets.map((o) => o + 16 * units));
      }),
      { numRuns: 200, seed: 3 },
    );
    expect(worse).toBeGreaterThan(10);
  });

  it('keeps thousands of blocks apart, short-lived and long-lived ones', () => {
    // Deterministic: lives of a few instructions, and every tenth of many.
    let seed = 7;
    const below = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * n);
    };
    const list = Array.from({ length: 2400 }, (_, i): Block => {
      const first = below(5000);
      return { first, last: first + (i % 10 === 0 ? below(2500) : below(20)), bytes: 4 + 4 * below(1000) };
    });
    const { offsets } = layOut(list);
    let clashes = 0;
    for (let i = 0; i < list.length; i++) {
      for (let j = 0; j < i; j++) {
        const [a, b] = [list[i]!, list[j]!];
        const together = a.first <= b.last && b.first <= a.last;
        if (together && offsets[i]! < offsets[j]! + b.bytes && offsets[j]! < offsets[i]! + a.bytes) clashes++;
      }
    }
    expect(clashes).toBe(0);
  });

  it('max-live is the largest sum over time', () => {
    fc.assert(
      fc.property(blocks, (list) => {
        const sums = Array.from({ length: 31 }, (_, t) =>
          list.reduce((s, b) => s + (b.first <= t && t <= b.last ? b.bytes : 0), 0),
        );
        expect(layOut(list).maxLive).toBe(Math.max(...sums));
      }),
    );
  });

  it('reuses the bytes of what has died', () => {
    const list = [0, 1, 2, 3].map((t) => ({ first: t, last: t, bytes: 64 }));
    expect(layOut(list)).toEqual({ offsets: [0, 0, 0, 0], height: 64, maxLive: 64 });
  });

  it('begins with the largest, each in the tightest gap that is free for all its life, before and behind others', () => {
    const lives = [
      [5, 14, 80],
      [5, 6, 64],
      [5, 14, 48],
      [5, 6, 32],
      [5, 14, 32],
      // Between 80 and 144, or between 192 and 224.
      [10, 11, 32],
      [12, 13, 16],
      [15, 17, 16],
      [0, 4, 16],
    ] as const;
    const list = lives.map(([first, last, bytes]): Block => ({ first, last, bytes }));
    // At any height: of the first order.
    const { offsets, height } = greedyLayout(list, 16, 0, Number.POSITIVE_INFINITY);
    expect(offsets).toEqual([0, 80, 144, 192, 224, 192, 192, 0, 0]);
    expect(height).toBe(256);
  });

  it('fills the tightest gap', () => {
    // Two long blocks leave gaps of 32 and 16 bytes; the small late block goes into the smaller one.
    const list = [
      { first: 0, last: 9, bytes: 64 },
      { first: 0, last: 1, bytes: 32 },
      { first: 0, last: 9, bytes: 64 },
      { first: 0, last: 1, bytes: 16 },
      { first: 0, last: 9, bytes: 64 },
      { first: 5, last: 6, bytes: 16 },
    ];
    expect(layOut(list).height).toBe(240);
  });
});

describe('liveness', () => {
  const program = planOf(threeLayers, { devices: 2, microbatches: 2 }).programs.train!.devices[1]!;
  const intervals = liveIntervals(program);

  it('spans from the first write to the last use, posts counting as writes', () => {
    for (const { buffer, first, last } of intervals) {
      if (program.buffers[buffer]!.persistent !== null) {
        expect([first, last]).toEqual([0, program.instructions.length - 1]);
        continue;
      }
      const mentions = program.instructions.flatMap((i, at) =>
        JSON.stringify(namesOf(i)).includes(`[${buffer}]`) ? [at] : [],
      );
      const end = mentions.at(-1)!;
      const overwriting = program.instructions.some((i) => i.kind === 'compute' && i.overwrites === buffer);
      expect([first, last]).toEqual([mentions[0], overwriting ? end - 1 : end]);
    }
  });

  it('every temporary dies once, or is overwritten', () => {
    const dead = deaths(program, intervals).flat();
    const overwritten = program.instructions.flatMap((i) =>
      i.kind === 'compute' && i.overwrites !== null ? [i.overwrites] : [],
    );
    expect(overwritten.length).toBeGreaterThan(5);
    const ends = [...dead, ...overwritten];
    expect(new Set(ends).size).toBe(ends.length);
    expect(ends.length).toBe(intervals.filter((i) => program.buffers[i.buffer]!.persistent === null).length);
  });

  it('an output that overwrites begins where the input ends, in the same place', () => {
    const plan = planOf(threeLayers, { devices: 2, microbatches: 2 });
    plan.memory.forEach(({ layouts }, d) => {
      const { offsets, intervals: lives } = layouts.train!;
      const life = new Map(lives.map((i) => [i.buffer, i]));
      plan.programs.train!.devices[d]!.instructions.forEach((i, at) => {
        if (i.kind !== 'compute' || i.overwrites === null) return;
        expect([life.get(i.overwrites)!.last, life.get(i.outputs[0]!)!.first]).toEqual([at - 1, at]);
        expect(offsets[i.outputs[0]!]).toBe(offsets[i.overwrites]);
      });
    });
  });
});

/** All buffers an instruction mentions, each in brackets. */
function namesOf(i: Instruction): number[][] {
  if (i.kind === 'compute')
    return [...i.inputs, ...i.outputs, ...(i.workspace === null ? [] : [i.workspace])].map((b) => [b]);
  if (i.kind === 'barrier') return [];
  if (i.kind === 'copy') return [[i.from], [i.buffer]];
  return [[i.buffer]];
}
