import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BackwardTable, forwardPlans, type RecomputeChain } from '../../src/recompute/chain.ts';

/** n equal blocks, each of which makes `inner` units for its own backward pass and passes one on. */
const homogeneous = (n: number, inner: number): RecomputeChain => ({
  seconds: new Array<number>(n).fill(1),
  checkpoint: () => 1,
  saved: () => inner + 1,
  inner: () => inner,
});

const binomial = (n: number, k: number): number => {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return Math.round(value);
};

/** Forward steps of Revolve on n steps with c states, the first among them (Griewank & Walther 2000, proposition 1). */
function revolve(n: number, c: number): number {
  let repeats = 0;
  while (binomial(c + repeats, c) < n) repeats++;
  return repeats * n - (repeats > 0 ? binomial(c + repeats, repeats - 1) : 0);
}

/** Least forward seconds over all orders of work, by the states a chain can be in (Dijkstra). */
function leastSeconds({ seconds, inner, checkpoint }: RecomputeChain, units: number): number {
  const n = seconds.length;
  // A state: blocks still to be gone back through, inputs of blocks that are there (bit 0: the first, free), and all of which block is there.
  interface State {
    readonly left: number;
    readonly there: number;
    readonly taped: number;
  }
  const size = ({ there, taped }: State): number => {
    let bytes = 0;
    for (let b = 1; b < n; b++) if ((there >> b) & 1) bytes += checkpoint(0, b);
    for (let b = 0; b < n; b++) if ((taped >> b) & 1) bytes += inner(b);
    return bytes;
  };
  const key = (s: State): string => `${s.left}/${s.there}/${s.taped}`;
  const best = new Map<string, number>();
  const open: { state: State; time: number }[] = [];
  const offer = (state: State, time: number): void => {
    if (size(state) > units || time >= (best.get(key(state)) ?? Number.POSITIVE_INFINITY)) return;
    best.set(key(state), time);
    open.push({ state, time });
  };
  offer({ left: n, there: 1, taped: 0 }, 0);
  while (open.length > 0) {
    open.sort((a, b) => b.time - a.time);
    const { state, time } = open.pop()!;
    if (time > best.get(key(state))!) continue;
    const { left, there, taped } = state;
    if (left === 0) return time;
    for (let b = 0; b < left; b++) {
      if (!((there >> b) & 1)) continue;
      const after = time + seconds[b]!;
      // Its input may go as its output comes, unless it is the chain's own.
      for (const gone of b === 0 ? [0] : [0, 1 << b]) {
        if (b + 1 < left) offer({ left, there: (there & ~gone) | (1 << (b + 1)), taped }, after);
      }
      if (!((taped >> b) & 1)) {
        const next = b + 1 < left ? [0, 1 << (b + 1)] : [0];
        for (const out of next) offer({ left, there: there | out, taped: taped | (1 << b) }, after);
      }
    }
    for (let b = 1; b < n; b++) if ((there >> b) & 1) offer({ left, there: there & ~(1 << b), taped }, time);
    const last = left - 1;
    // Going back through a block reads its input too, as a checkpoint of it does not go before that.
    if ((taped >> last) & 1 && (there >> last) & 1)
      offer({ left: last, there: there & ~(last > 0 ? 1 << last : 0), taped: taped & ~(1 << last) }, time);
  }
  return Number.POSITIVE_INFINITY;
}

describe('going back through a chain', () => {
  it('takes the binomial counts of Revolve on equal blocks', () => {
    for (const n of [1, 2, 3, 5, 10, 20, 33]) {
      for (const states of [1, 2, 3, 5]) {
        const inner = 50;
        // One unit more, for the state that is under way.
        const units = inner + states;
        const table = new BackwardTable(homogeneous(n, inner), units);
        // Each block once more in front of its own backward pass, which Revolve counts to that.
        expect(table.seconds(0, n - 1, units), `${n} blocks, ${states} states`).toBe(n + revolve(n, states));
      }
    }
    // C(s + t, s) is the longest chain on which no block but the last runs forward more than t times before its own.
    expect([1, 2, 3].map((t) => binomial(3 + t, 3))).toEqual([4, 10, 20]);
  });

  it('is never faster than the best of all orders of work on small chains, and mostly as fast', () => {
    // Rarely a checkpoint is best forgotten and made again while it is still of use.
    let [compared, equal, took, best] = [0, 0, 0, 0];
    const chains = fc.record({
      seconds: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
      inner: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 5, maxLength: 5 }),
      units: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(chains, ({ seconds, inner, units }) => {
        const chain: RecomputeChain = {
          seconds,
          checkpoint: () => 1,
          inner: (s) => inner[s]!,
          saved: (s) => inner[s]! + (s === seconds.length - 1 ? 0 : 1),
        };
        const table = new BackwardTable(chain, units);
        const [ours, least] = [table.seconds(0, seconds.length - 1, units), leastSeconds(chain, units)];
        expect(ours).toBeGreaterThanOrEqual(least);
        if (!Number.isFinite(least)) return;
        compared++;
        if (ours === least) equal++;
        took += ours;
        best += least;
      }),
      { numRuns: 400, seed: 1 },
    );
    // Of the same chains at every run.
    expect(equal / compared).toBeGreaterThan(0.88);
    expect(took / best).toBeLessThan(1.025);
  });

  it('costs nothing where the forward pass keeps everything, and with more memory never more', () => {
    const chain = homogeneous(12, 4);
    const all = 12 * 5;
    const table = new BackwardTable(chain, all);
    const least = (units: number): number =>
      Math.min(...forwardPlans(chain, table, units).map((p) => p.seconds), Number.POSITIVE_INFINITY);
    expect(least(all)).toBe(0);
    const curve = Array.from({ length: all + 1 }, (_, units) => least(units));
    expect(curve.every((time, i) => i === 0 || time <= curve[i - 1]!)).toBe(true);
    expect(curve[3]).toBe(Number.POSITIVE_INFINITY);
    expect(curve[4]).toBe(table.seconds(0, 11, 4));
  });
});
