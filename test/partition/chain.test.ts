import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Chain, cutChain } from '../../src/partition/chain.ts';
import { onBusyMachines } from '../support/busy.ts';

/** The load of a stage by its definition. */
function loadOf(chain: Chain, start: number, end: number, stage: number, stages: number): number {
  let weight = 0;
  for (let i = start; i < end; i++) weight += chain.weight[i]!;
  const crossing =
    (start > 0 ? (chain.crossing?.[start] ?? 0) : 0) + (end < chain.weight.length ? (chain.crossing?.[end] ?? 0) : 0);
  let held = 0;
  for (let i = start; i < end; i++) {
    for (const v of chain.held?.[i] ?? []) if (v.nextReader >= end) held += v.bytes;
  }
  const { room } = chain;
  if (room) {
    let [bytes, flying] = [0, 0];
    for (let i = start; i < end; i++) {
      bytes += room.bytes[i]!;
      for (const v of room.held[i]!) if (v.nextReader >= end) flying += v.bytes;
    }
    if (bytes + room.inFlight(stage, stages) * flying > room.capacity[stage]!) return Infinity;
  }
  return weight / (chain.speeds?.[stage] ?? 1) + crossing + held * (chain.inFlight?.(stage, stages) ?? 1);
}

/** Every way to place `left` cuts behind unit `from`. */
function* allCuts(n: number, left: number, from = 1): Generator<number[]> {
  if (left === 0) yield [];
  else for (let i = from; i < n; i++) for (const rest of allCuts(n, left - 1, i + 1)) yield [i, ...rest];
}

interface Candidate {
  cuts: number[];
  objective: number;
  cost: number;
}

function candidates(chain: Chain, stages: number): Candidate[] {
  const n = chain.weight.length;
  return [...allCuts(n, stages - 1)].map((cuts) => {
    const bounds = [0, ...cuts, n];
    const loads = cuts.concat(n).map((end, s) => loadOf(chain, bounds[s]!, end, s, stages));
    return { cuts, objective: Math.max(...loads), cost: cuts.reduce((sum, c) => sum + (chain.cutCost?.[c] ?? 0), 0) };
  });
}

/** Whole numbers and speeds of powers of two: sums are exact, so equal means equal. */
const chains: fc.Arbitrary<Chain> = fc.integer({ min: 1, max: 8 }).chain((n) => {
  const numbers = (length: number, max: number) =>
    fc.array(fc.integer({ min: 0, max }), { minLength: length, maxLength: length });
  return fc.record({
    weight: numbers(n, 20),
    crossing: numbers(n + 1, 12),
    cutCost: numbers(n + 1, 9),
    speeds: fc.option(fc.array(fc.constantFrom(0.5, 1, 2), { minLength: 4, maxLength: 4 }), { nil: undefined }),
    held: fc
      .array(
        fc.record({
          bytes: fc.integer({ min: 1, max: 15 }),
          readers: fc.uniqueArray(fc.integer({ min: 0, max: n - 1 }), { minLength: 1 }),
        }),
        { maxLength: 5 },
      )
      .map((values) => {
        const held = Array.from({ length: n }, () => [] as { bytes: number; nextReader: number }[]);
        for (const { bytes, readers } of values) {
          const order = [...readers].sort((a, b) => a - b);
          order.forEach((u, i) => void held[u]!.push({ bytes, nextReader: order[i + 1] ?? Infinity }));
        }
        return held;
      }),
    inFlight: fc.constantFrom(
      undefined,
      (s: number, p: number) => p - s,
      (s: number, p: number) => Math.min(2, p - s),
      () => 4,
    ),
  }) as fc.Arbitrary<Chain>;
});

/** The same with capacities, which many of them cannot keep. */
const crowded: fc.Arbitrary<Chain> = fc
  .record({
    chain: chains,
    bytes: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 8, maxLength: 8 }),
    capacity: fc.array(fc.integer({ min: 5, max: 60 }), { minLength: 4, maxLength: 4 }),
    inFlight: fc.constantFrom(
      (s: number, p: number) => p - s,
      () => 2,
    ),
  })
  .map(({ chain, bytes, capacity, inFlight }) => {
    const { held: _, inFlight: __, ...rest } = chain;
    return { ...rest, room: { bytes, held: chain.held!, inFlight, capacity } };
  });

describe('cutChain', () => {
  it('keeps to capacities, and says where no cut does', () => {
    let [impossible, possible] = [0, 0];
    fc.assert(
      fc.property(crowded, fc.integer({ min: 1, max: 4 }), (chain, k) => {
        const stages = Math.min(k, chain.weight.length);
        const all = Array.from({ length: stages }, (_, i) => candidates(chain, i + 1));
        const optimum = Math.min(...all.flat().map((c) => c.objective));
        const [most, exactly] = [cutChain(chain, { most: k }), cutChain(chain, { exactly: k })];
        expect(most.objective).toBe(optimum);
        expect(exactly.objective).toBe(Math.min(...all.at(-1)!.map((c) => c.objective)));
        if (optimum === Infinity) impossible++;
        else {
          possible++;
          expect(Math.max(...most.loads)).toBe(optimum);
        }
      }),
      { numRuns: 800 },
    );
    expect(Math.min(impossible, possible)).toBeGreaterThan(50);
  });

  it('finds the optimum of every small chain, with as many stages as do not hurt and the cheapest cuts', () => {
    fc.assert(
      fc.property(chains, fc.integer({ min: 1, max: 4 }), (chain, k) => {
        const n = chain.weight.length;
        const all = Array.from({ length: Math.min(k, n) }, (_, i) => candidates(chain, i + 1));
        const optimum = Math.min(...all.flat().map((c) => c.objective));
        const found = cutChain(chain, { most: k });
        expect(found.objective).toBe(optimum);
        const stages = Math.max(
          ...all
            .flat()
            .filter((c) => c.objective === optimum)
            .map((c) => c.cuts.length),
        );
        expect(found.cuts.length).toBe(stages);
        const rivals = all[stages]!.filter((c) => c.objective === optimum);
        const mine = rivals.find((c) => String(c.cuts) === String(found.cuts));
        expect(mine?.cost).toBe(Math.min(...rivals.map((c) => c.cost)));
        expect(Math.max(...found.loads)).toBe(optimum);
      }),
      { numRuns: 1500 },
    );
  });

  it('finds the optimum with exactly so many stages', () => {
    fc.assert(
      fc.property(chains, fc.integer({ min: 1, max: 4 }), (chain, k) => {
        const stages = Math.min(k, chain.weight.length);
        const found = cutChain(chain, { exactly: k });
        expect(found.loads.length).toBe(stages);
        expect(found.objective).toBe(Math.min(...candidates(chain, stages).map((c) => c.objective)));
      }),
      { numRuns: 500 },
    );
  });

  it('loses no cut to the rounding of sums', () => {
    const held = [[{ bytes: 0.2, nextReader: Infinity }], []];
    const one = cutChain({ weight: [0.3, 0.1], crossing: [0, 0.1, 0], held }, { exactly: 2 });
    expect(one).toEqual({ cuts: [1], loads: [0.6, 0.2], objective: 0.6 });
    fc.assert(
      fc.property(chains, fc.integer({ min: 1, max: 4 }), (whole, k) => {
        const tenths = (numbers: readonly number[]) => numbers.map((x) => x / 10);
        const chain: Chain = {
          ...whole,
          weight: tenths(whole.weight),
          crossing: tenths(whole.crossing!),
          held: whole.held!.map((values) => values.map((v) => ({ ...v, bytes: v.bytes / 10 }))),
        };
        const stages = Math.min(k, chain.weight.length);
        const { cuts, loads, objective } = cutChain(chain, { exactly: k });
        const all = candidates(chain, stages);
        expect(objective).toBeCloseTo(Math.min(...all.map((c) => c.objective)), 9);
        expect(Math.max(...loads)).toBe(objective);
        expect(all.map((c) => String(c.cuts))).toContain(String(cuts));
      }),
      { numRuns: 500 },
    );
  });

  it('leaves stages out where a cut costs more than it saves', () => {
    const dear = { weight: [4, 4], crossing: [0, 5, 0] };
    expect(cutChain(dear, { most: 2 })).toEqual({ cuts: [], loads: [8], objective: 8 });
    expect(cutChain(dear, { exactly: 2 })).toEqual({ cuts: [1], loads: [9, 9], objective: 9 });
    expect(cutChain({ ...dear, crossing: [0, 3, 0] }, { most: 2 })).toEqual({ cuts: [1], loads: [7, 7], objective: 7 });
  });

  it('never makes more stages than units', () => {
    expect(cutChain({ weight: [3, 1] }, { most: 9 })).toEqual({ cuts: [1], loads: [3, 1], objective: 3 });
    expect(cutChain({ weight: [] }, { most: 3 })).toEqual({ cuts: [], loads: [], objective: 0 });
  });

  it('gives the later stages of 1F1B more, since they hold fewer microbatches', () => {
    const held = Array.from({ length: 6 }, () => [{ bytes: 1, nextReader: Infinity }]);
    const chain: Chain = { weight: [0, 0, 0, 0, 0, 0], held, inFlight: (s, p) => p - s };
    expect(cutChain(chain, { exactly: 2 })).toEqual({ cuts: [2], loads: [4, 4], objective: 4 });
  });

  it('grows no faster than the square of the units', onBusyMachines, () => {
    const at = (i: number) => 1 + ((i * 7919) % 101);
    const chainOf = (n: number): Chain => ({
      weight: Array.from({ length: n }, (_, i) => at(i)),
      crossing: Array.from({ length: n + 1 }, (_, i) => at(i + 5)),
    });
    const secondsOf = (n: number): number => {
      const chain = chainOf(n);
      const times = [0, 1, 2].map(() => {
        const began = performance.now();
        const { objective, loads } = cutChain(chain, { most: 8 });
        expect(loads.length).toBe(8);
        expect(objective).toBeGreaterThanOrEqual(chain.weight.reduce((a, b) => a + b) / 8);
        return performance.now() - began;
      });
      return Math.min(...times);
    };
    secondsOf(1000); // warms up
    // Three times the units: nine times the work, and twice that for the machine; a cubic search takes 27 times as long.
    expect(secondsOf(3000) / secondsOf(1000)).toBeLessThan(18);
  });

  it('takes little longer for each of thousands of stages than for each of hundreds', onBusyMachines, () => {
    // Layers far cheaper than what a cut sends, as of a model on thousands of devices: neither bounds a stage by itself.
    const secondsOf = (stages: number): number => {
      const n = 3 * stages;
      const chain: Chain = {
        weight: Array.from({ length: n }, (_, i) => [0.3, 0.01, 0.02][i % 3]!),
        crossing: new Array<number>(n + 1).fill(10),
        cutCost: new Array<number>(n + 1).fill(32),
      };
      const times = [0, 1, 2].map(() => {
        const began = performance.now();
        const { objective, loads } = cutChain(chain, { exactly: stages });
        expect(loads.length).toBe(stages);
        expect(objective).toBeCloseTo(20.33, 9);
        return performance.now() - began;
      });
      return Math.min(...times);
    };
    secondsOf(250); // warms up
    // Eight times the stages: 64 times as long where every place is tried, with every number of stages in front of it.
    expect(secondsOf(2000) / secondsOf(250)).toBeLessThan(32);
  });
});
