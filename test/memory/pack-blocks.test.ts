import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PackingSearch } from '../../src/memory/exact-layout.ts';
import type { Block } from '../../src/memory/greedy-layout.ts';
import { packBlocks } from '../../src/memory/pack-blocks.ts';
import { packingProblem } from '../../src/memory/packing-problem.ts';

const folder = fileURLToPath(new URL('instances/packing', import.meta.url));

/** Of MiniMalloc: buffers alive on [lower, upper). */
const instance = (name: string): Block[] =>
  readFileSync(`${folder}/${name}.csv`, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(',').slice(1).map(Number))
    .map(([lower, upper, bytes]) => ({ first: lower!, last: upper! - 1, bytes: bytes! }));

function expectSound(blocks: readonly Block[], offsets: readonly number[], height: number): void {
  blocks.forEach((a, i) => {
    expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(height);
    for (let j = i + 1; j < blocks.length; j++) {
      const b = blocks[j]!;
      if (a.first > b.last || b.first > a.last) continue;
      expect(offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!, `${i} and ${j}`).toBe(true);
    }
  });
}

/** A rectangle of 64 × 40, cut at random: the optimum is 64. */
const cutRectangles = fc
  .record({
    parts: fc.integer({ min: 10, max: 60 }),
    picks: fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
  })
  .map(({ parts, picks }) => {
    const draw = (n: number): number => Math.min(n - 1, Math.floor((picks.next().value as number) * n));
    const list = [{ from: 0, to: 40, low: 0, high: 64 }];
    for (let tries = 0; list.length < parts && tries < 400; tries++) {
      const [part] = list.splice(draw(list.length), 1);
      const { from, to, low, high } = part!;
      if (draw(2) === 0 && to - from > 1) {
        const at = from + 1 + draw(to - from - 1);
        list.push({ ...part!, to: at }, { ...part!, from: at });
      } else if (high - low > 1) {
        const at = low + 1 + draw(high - low - 1);
        list.push({ ...part!, high: at }, { ...part!, low: at });
      } else list.push(part!);
    }
    return list.map(({ from, to, low, high }): Block => ({ first: from, last: to - 1, bytes: high - low }));
  });

/** By all orders: in one of them each block in turn lies at the lowest place that is free, as in the best layout from below. */
function leastHeight(blocks: readonly Block[]): number {
  let best = Number.POSITIVE_INFINITY;
  const offsets: number[] = [];
  const place = (left: readonly number[], height: number, placed: readonly number[]): void => {
    if (height >= best) return;
    if (left.length === 0) best = height;
    for (const i of left) {
      const { first, last, bytes } = blocks[i]!;
      const beside = placed.filter((j) => blocks[j]!.first <= last && first <= blocks[j]!.last);
      offsets[i] = Math.max(0, ...beside.map((j) => offsets[j]! + blocks[j]!.bytes));
      place(
        left.filter((j) => j !== i),
        Math.max(height, offsets[i]! + bytes),
        [...placed, i],
      );
    }
  };
  place(
    blocks.map((_, i) => i),
    0,
    [],
  );
  return best;
}

const few = fc.array(
  fc
    .record({ first: fc.nat(5), length: fc.nat(4), bytes: fc.integer({ min: 1, max: 9 }) })
    .map(({ first, length, bytes }): Block => ({ first, last: first + length, bytes })),
  { minLength: 1, maxLength: 7 },
);

describe('packBlocks', () => {
  it('finds max-live of published instances on which greedy orders miss it by a third', () => {
    for (const [name, height] of [
      ['A.1048576', 1_048_576],
      ['C.1048576', 1_039_360],
      ['E.1048576', 1_048_576],
      ['input.12', 12],
    ] as const) {
      const blocks = instance(name);
      const unit = name === 'input.12' ? 1 : 1024;
      const packed = packBlocks(blocks, { unit, work: 1e8 });
      expect({ name, ...packed, offsets: 0 }).toEqual({
        name,
        height,
        maxLive: height,
        lowerBound: height,
        offsets: 0,
      });
      expectSound(blocks, packed.offsets, height);
    }
    expect(readdirSync(folder)).toContain('LICENSE');
  });

  it('finds max-live of the largest of them by time, without a limit of work', () => {
    const blocks = instance('K.1048576');
    const end = performance.now() + 60_000;
    const capacity = 1_048_576;
    const packed = packBlocks(blocks, { unit: 1024, capacity, shouldStop: () => performance.now() > end });
    expect(packed.height).toBe(capacity);
    expectSound(blocks, packed.offsets, capacity);
  });

  it('finds the optimum of rectangles that were cut', () => {
    fc.assert(
      fc.property(cutRectangles, (blocks) => {
        const { height, maxLive, offsets } = packBlocks(blocks, { unit: 1, work: 1e7 });
        expect([height, maxLive]).toEqual([64, 64]);
        expectSound(blocks, offsets, 64);
      }),
      { numRuns: 40 },
    );
  });

  it('finds the least height, and proves it, where brute force does', () => {
    fc.assert(
      fc.property(few, (blocks) => {
        const { height, lowerBound, offsets } = packBlocks(blocks, { unit: 1 });
        const least = leastHeight(blocks);
        expect([height, lowerBound]).toEqual([least, least]);
        expectSound(blocks, offsets, height);
      }),
      { numRuns: 200 },
    );
  });

  it('proves that a height above max-live is needed', () => {
    const search = (blocks: readonly Block[], height: number) =>
      new PackingSearch(packingProblem(blocks, 1)).solve(height, { work: 1e6 });
    fc.assert(
      fc.property(few, (blocks) => {
        const least = leastHeight(blocks);
        expect(search(blocks, least)).toBeInstanceOf(Float64Array);
        expect(search(blocks, least - 1)).toBeNull();
      }),
      { numRuns: 200 },
    );
  });

  it('stops at a capacity, at its limit of work, and when told; the same work gives the same layout', () => {
    const blocks = instance('E.1048576');
    const fits = packBlocks(blocks, { unit: 1024, capacity: 1_200_000, work: 1e8 });
    expect(fits.height).toBeLessThanOrEqual(1_200_000);
    const short = packBlocks(blocks, { unit: 1024, work: 20_000 });
    expect(short).toEqual(packBlocks(blocks, { unit: 1024, work: 20_000 }));
    expect(short.height).toBeGreaterThan(1_048_576);
    expect(short.lowerBound).toBe(1_048_576);
    expectSound(blocks, short.offsets, short.height);
    const stopped = packBlocks(blocks, { unit: 1024, shouldStop: () => true });
    expectSound(blocks, stopped.offsets, stopped.height);
  });

  it('finds the least height where no layout is within the capacity', () => {
    const blocks = instance('C.1048576');
    const packed = packBlocks(blocks, { unit: 1024, capacity: 1_000_000, work: 1e8 });
    expect(packed).toMatchObject({ height: 1_039_360, lowerBound: 1_039_360 });
    expectSound(blocks, packed.offsets, 1_039_360);
  });

  it('goes on with no more than the work that is left where a capacity was shown to be too small', () => {
    const blocks = [
      ...[10, 14, 10, 9, 9, 3, 1, 4, 3, 9, 12, 7, 7, 10, 8, 11, 12, 10, 4, 7, 12, 9, 13, 12, 5, 7, 10],
      ...[2, 6, 1, 13, 17, 3, 8, 10, 1, 9, 13, 5, 7, 7, 6, 5, 9, 8, 1, 4, 1, 13, 16, 12, 0, 0, 12],
    ].flatMap((first, i, all): Block[] => (i % 3 === 0 ? [{ first, last: all[i + 1]!, bytes: all[i + 2]! }] : []));
    const search = new PackingSearch(packingProblem(blocks, 1));
    const workOf = (height: number): number => {
      const limit = { work: 1e6, dives: true };
      expect(search.solve(height, limit) === null).toBe(height < 45);
      return 1e6 - limit.work;
    };
    const [refuting, finding] = [workOf(44), workOf(45)];
    // Less than its share would be, two thirds of all.
    expect(finding).toBeLessThan(refuting);
    const pack = (work: number) => packBlocks(blocks, { unit: 1, capacity: 44, work: refuting + work });
    expect(pack(finding + 1)).toMatchObject({ height: 45, maxLive: 44, lowerBound: 45 });
    const short = pack(finding / 2);
    expect(short.height).toBeGreaterThan(45);
    expect(short.lowerBound).toBe(45);
  });

  it('lets empty blocks lie anywhere, and rounds sizes up to the unit', () => {
    const blocks = [
      { first: 0, last: 3, bytes: 0 },
      { first: 0, last: 1, bytes: 17 },
      { first: 1, last: 2, bytes: 5 },
    ];
    const { offsets, height, lowerBound } = packBlocks(blocks, { unit: 16 });
    expect(offsets.every((o) => o % 16 === 0)).toBe(true);
    expect([height, lowerBound]).toEqual([33, 33]);
  });
});
