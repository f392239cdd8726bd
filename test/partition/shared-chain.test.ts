import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Chain, Room } from '../../src/partition/chain.ts';
import { cutSharedChain } from '../../src/partition/shared-chain.ts';
import { Choices } from '../support/random-model.ts';

type Held = Room['held'];

/** Σ over the units of what is held, each value once. */
const heldBy = (held: Held | undefined, start: number, end: number): number => {
  let bytes = 0;
  for (let i = start; i < end; i++) for (const v of held?.[i] ?? []) if (v.nextReader >= end) bytes += v.bytes;
  return bytes;
};

const sumOf = (list: readonly number[], start: number, end: number): number =>
  list.slice(start, end).reduce((a, b) => a + b, 0);

interface Judged {
  readonly pace: number;
  readonly cost: number;
  readonly deviceLoads: readonly number[];
}

/** A cut by the definitions; Infinity where a device has no room. */
function judge(chain: Chain, deviceOf: readonly number[], cuts: readonly number[], share: number): Judged {
  const [n, stages] = [chain.weight.length, deviceOf.length];
  const bounds = [0, ...cuts, n];
  const deviceLoads = new Array<number>(Math.max(...deviceOf) + 1).fill(0);
  const bytes = deviceLoads.map(() => 0);
  let [longest, cost, fits] = [0, 0, true];
  deviceOf.forEach((device, s) => {
    const [start, end] = [bounds[s]!, bounds[s + 1]!];
    const before = s > 0 && deviceOf[s - 1] !== device;
    const behind = s < stages - 1 && deviceOf[s + 1] !== device;
    const load =
      sumOf(chain.weight, start, end) / (chain.speeds?.[s] ?? 1) +
      (before ? chain.crossing![start]! : 0) +
      (behind ? chain.crossing![end]! : 0) +
      heldBy(chain.held, start, end) * (chain.inFlight?.(s, stages) ?? 1);
    longest = Math.max(longest, load);
    deviceLoads[device]! += load;
    if (before) cost += chain.cutCost![start]!;
    const { room } = chain;
    if (!room) return;
    bytes[device]! += sumOf(room.bytes, start, end) + room.inFlight(s, stages) * heldBy(room.held, start, end);
    fits &&= bytes[device]! <= room.capacity[s]!;
  });
  return { pace: fits ? Math.max(...deviceLoads) + share * longest : Infinity, cost, deviceLoads };
}

function* allCuts(n: number, left: number, from = 1): Generator<number[]> {
  if (left === 0) yield [];
  else for (let i = from; i < n; i++) for (const rest of allCuts(n, left - 1, i + 1)) yield [i, ...rest];
}

const placements = [
  [0, 1, 1, 0],
  [0, 1, 0, 1],
  [0, 0, 1, 1],
  [2, 0, 1, 1, 0, 2],
  [0, 1, 2, 0, 1],
  [1, 0, 1],
];

/** Whole numbers, speeds and shares of powers of two: sums are exact, so equal means equal. */
const problems = fc
  .record({
    deviceOf: fc.constantFrom(...placements),
    more: fc.integer({ min: 0, max: 4 }),
    share: fc.constantFrom(0, 0.25, 1),
  })
  .chain(({ deviceOf, more, share }) => {
    const n = deviceOf.length + more;
    const numbers = (length: number, max: number) =>
      fc.array(fc.integer({ min: 0, max }), { minLength: length, maxLength: length });
    const speedOf = fc.array(fc.constantFrom(0.5, 1, 2), { minLength: 3, maxLength: 3 });
    const held = fc.array(
      fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 9 }), nextReader: fc.constantFrom(2, 4, Infinity) }), {
        maxLength: 2,
      }),
      { minLength: n, maxLength: n },
    );
    const inFlight = fc.constantFrom(
      (s: number, p: number) => p - s,
      () => 2,
    );
    const room = fc.option(
      fc.record({
        bytes: numbers(n, 9),
        held,
        inFlight,
        capacity: fc.array(fc.constantFrom(15, 40, 80, Infinity), { minLength: 3, maxLength: 3 }),
      }),
      { nil: undefined },
    );
    return fc
      .record({
        weight: numbers(n, 20),
        crossing: numbers(n + 1, 8),
        cutCost: numbers(n + 1, 9),
        speedOf,
        held: fc.option(held, { nil: undefined }),
        inFlight: fc.option(inFlight, { nil: undefined }),
        room,
      })
      .map(({ speedOf, held, inFlight, room, ...rest }) => ({
        chain: {
          ...rest,
          speeds: deviceOf.map((d) => speedOf[d]!),
          ...(held && inFlight ? { held, inFlight } : {}),
          ...(room ? { room: { ...room, capacity: deviceOf.map((d) => room.capacity[d]!) } } : {}),
        } as Chain,
        deviceOf,
        share,
      }));
  });

describe('a chain whose stages share devices', () => {
  it('is cut as well as the best of all cuts, for no more transfers, and says so', () => {
    fc.assert(
      fc.property(problems, ({ chain, deviceOf, share }) => {
        const all = [...allCuts(chain.weight.length, deviceOf.length - 1)].map((cuts) =>
          judge(chain, deviceOf, cuts, share),
        );
        const best = Math.min(...all.map((c) => c.pace));
        const found = cutSharedChain(chain, deviceOf, { stageShare: share });
        expect(found.objective).toBe(best);
        if (best === Infinity) return;
        expect(found.lowerBound).toBe(best);
        const { pace, cost, deviceLoads } = judge(chain, deviceOf, found.cuts, share);
        expect(pace).toBe(best);
        expect(cost).toBe(Math.min(...all.filter((c) => c.pace === best).map((c) => c.cost)));
        expect(found.deviceLoads).toEqual(deviceLoads);
        expect(found.loads.reduce((a, b) => a + b)).toBeCloseTo(deviceLoads.reduce((a, b) => a + b));
      }),
      { numRuns: 400 },
    );
  });

  it('is cut so where there are too many states to keep them all at first', () => {
    const choices = new Choices(3);
    for (let round = 0; round < 24; round++) {
      const deviceOf = choices.pick([
        [0, 1, 1, 0],
        [0, 1, 0, 1],
        [0, 1, 2, 0],
        [2, 0, 1, 0],
        [1, 0, 0, 1],
      ]);
      const n = 26;
      const numbers = (length: number, max: number) => Array.from({ length }, () => 1 + choices.below(max));
      const speedOf = [1, choices.pick([1, 2]), choices.pick([0.5, 1])];
      const chain: Chain = {
        weight: numbers(n, 997),
        crossing: numbers(n + 1, 499),
        cutCost: numbers(n + 1, 9),
        speeds: deviceOf.map((d) => speedOf[d]!),
      };
      const share = choices.pick([0, 0.25, 1]);
      const all = [...allCuts(n, 3)].map((cuts) => judge(chain, deviceOf, cuts, share));
      const best = Math.min(...all.map((c) => c.pace));
      const found = cutSharedChain(chain, deviceOf, { stageShare: share });
      expect([found.objective, found.lowerBound]).toEqual([best, best]);
      const { cost } = judge(chain, deviceOf, found.cuts, share);
      expect(cost).toBe(Math.min(...all.filter((c) => c.pace === best).map((c) => c.cost)));
    }
  });

  it('with too little effort to finish is still legal, and its bound still one', () => {
    fc.assert(
      fc.property(problems, fc.integer({ min: 0, max: 300 }), ({ chain, deviceOf, share }, effort) => {
        const exact = cutSharedChain(chain, deviceOf, { stageShare: share });
        const found = cutSharedChain(chain, deviceOf, { stageShare: share, effort });
        expect(found.objective).toBeGreaterThanOrEqual(exact.objective);
        expect(found.lowerBound).toBeLessThanOrEqual(exact.objective);
        if (found.objective < Infinity) expect(judge(chain, deviceOf, found.cuts, share).pace).toBe(found.objective);
      }),
      { numRuns: 200 },
    );
  });

  it('of many units comes close to its bound', () => {
    const weight = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 37) % 11));
    const crossing = Array.from({ length: 1001 }, (_, i) => 5 + ((i * 53) % 40));
    for (const deviceOf of [
      [0, 1, 1, 0],
      [0, 1, 2, 3, 0, 1, 2, 3],
    ]) {
      const { objective, lowerBound } = cutSharedChain({ weight, crossing, cutCost: crossing }, deviceOf, {
        stageShare: 0.25,
      });
      expect(objective).toBeLessThan(1.03 * lowerBound);
    }
  });

  it('takes a stage that is small for a device whose other one is large', () => {
    const chain: Chain = { weight: [1, 1, 1, 1, 1, 1, 10, 1, 1, 1, 1, 1] };
    expect(cutSharedChain(chain, [0, 1, 1, 0]).deviceLoads).toEqual([10, 11]);
  });
});
