import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findOrder, type OrderProblem, type OrderUnit, peakOfOrder } from '../../src/program/order-search.ts';

/** What a random task is drawn from: each unit makes one value, and reads values that were there or made before. */
interface Drawn {
  readonly early: readonly { readonly bytes: number; readonly stays: boolean }[];
  readonly fed: readonly number[];
  readonly units: readonly {
    readonly bytes: number;
    readonly stays: boolean;
    readonly scratch: number;
    readonly over: boolean;
    readonly reads: readonly number[];
  }[];
}

const bytes = fc.constantFrom(1, 2, 4, 8, 8, 16);
const drawn: fc.Arbitrary<Drawn> = fc.record({
  early: fc.array(fc.record({ bytes, stays: fc.boolean() }), { minLength: 1, maxLength: 3 }),
  fed: fc.array(bytes, { maxLength: 1 }),
  units: fc.array(
    fc.record({
      bytes,
      stays: fc.boolean(),
      scratch: fc.constantFrom(0, 0, 0, 8),
      over: fc.boolean(),
      reads: fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }),
    }),
    { minLength: 2, maxLength: 7 },
  ),
});

function problemOf({ early, fed, units }: Drawn): OrderProblem {
  const values = [
    ...early.map((v) => ({ ...v, atStart: true })),
    ...fed.map((size) => ({ bytes: size, stays: false, atStart: false })),
    ...units.map((u) => ({ bytes: u.bytes, stays: u.stays, atStart: false })),
  ];
  const firstMade = early.length + fed.length;
  return {
    values,
    units: units.map((u, i): OrderUnit => {
      const made = firstMade + i;
      const reads = [...new Set(u.reads.map((r) => r % made))];
      return {
        after: reads.filter((v) => v >= firstMade).map((v) => v - firstMade),
        uses: [...reads, made],
        makes: [made],
        scratch: u.scratch,
        output: made,
        over: u.over ? reads : [],
      };
    }),
  };
}

function* ordersOf({ units }: OrderProblem, done: number[] = []): Generator<number[]> {
  if (done.length === units.length) yield done;
  for (let u = 0; u < units.length; u++) {
    if (!done.includes(u) && units[u]!.after.every((b) => done.includes(b)))
      yield* ordersOf({ units, values: [] }, [...done, u]);
  }
}

/** Most bytes alive at once, counted from the definition: lifetimes over the list of units as it stands. */
function peakByLifetimes({ units, values }: OrderProblem, order: readonly number[]): number {
  const uses = values.map((_, v) => order.flatMap((u, at) => (units[u]!.uses.includes(v) ? [at] : [])));
  const live = (v: number, at: number): boolean => {
    const { atStart, stays } = values[v]!;
    const begins = atStart ? -1 : (uses[v]![0] ?? Number.POSITIVE_INFINITY);
    return at >= begins && (stays || at <= uses[v]!.at(-1)!);
  };
  const sum = (at: number): number => values.reduce((n, { bytes: size }, v) => n + (live(v, at) ? size : 0), 0);
  const isUsed = (v: number): boolean => uses[v]!.length > 0;
  const start = values.reduce((n, { bytes: size, atStart }) => n + (atStart ? size : 0), 0);
  const during = order.map((u, at) => {
    const { over, output, scratch } = units[u]!;
    const shared = over.some(
      (v) => isUsed(v) && !values[v]!.stays && uses[v]!.at(-1) === at && values[v]!.bytes === values[output]!.bytes,
    );
    return sum(at) + scratch - (shared ? values[output]!.bytes : 0);
  });
  return Math.max(start, ...during);
}

/** Early values that no unit reads would die at once: the builder never hands them over. */
const isTask = ({ values, units }: OrderProblem): boolean =>
  values.every((v, i) => (v.stays && v.atStart) || units.some((u) => u.uses.includes(i)));

describe('the order of a task', () => {
  it('has the peak of the best of all orders, on random tasks', () => {
    let better = 0;
    fc.assert(
      fc.property(drawn.map(problemOf).filter(isTask), (problem) => {
        const { order, peak, exact } = findOrder(problem);
        const all = [...ordersOf(problem)].map((one) => peakByLifetimes(problem, one));
        expect(peak).toBe(Math.min(...all));
        expect(exact).toBe(true);
        expect(peakByLifetimes(problem, order)).toBe(peak);
        expect([...order].sort((a, b) => a - b)).toEqual(problem.units.map((_, u) => u));
        const asGiven = peakByLifetimes(
          problem,
          problem.units.map((_, u) => u),
        );
        expect(peak).toBeLessThanOrEqual(asGiven);
        if (peak < asGiven) better++;
      }),
      { numRuns: 300, seed: 5 },
    );
    expect(better).toBeGreaterThan(30);
  });

  it('counts the peak of any order from lifetimes', () => {
    fc.assert(
      fc.property(drawn.map(problemOf).filter(isTask), (problem) => {
        for (const order of [...ordersOf(problem)].slice(0, 20)) {
          expect(peakOfOrder(problem, order)).toBe(peakByLifetimes(problem, order));
        }
      }),
      { numRuns: 100, seed: 6 },
    );
  });

  it('finishes one branch before it begins the next', () => {
    // Two branches of a fork, each a large value that shrinks; breadth first would hold both large ones.
    const unit = (uses: number[], made: number, after: number[]): OrderUnit => ({
      after,
      uses: [...uses, made],
      makes: [made],
      scratch: 0,
      output: made,
      over: [],
    });
    const size = [4, 100, 100, 1, 1, 1];
    const problem: OrderProblem = {
      values: size.map((b, v) => ({ bytes: b, atStart: v === 0, stays: v === 5 })),
      units: [unit([0], 1, []), unit([0], 2, []), unit([1], 3, [0]), unit([2], 4, [1]), unit([3, 4], 5, [2, 3])],
    };
    expect(peakOfOrder(problem, [0, 1, 2, 3, 4])).toBe(204);
    expect(findOrder(problem)).toEqual({ order: [0, 2, 1, 3, 4], peak: 105, exact: true });
  });

  it('is legal, and its peak what is said, on tasks too long to be searched as a whole', () => {
    const long = fc
      .record({
        early: fc.array(fc.record({ bytes, stays: fc.boolean() }), { minLength: 1, maxLength: 3 }),
        fed: fc.array(bytes, { maxLength: 2 }),
        units: fc.array(
          fc.record({
            bytes,
            stays: fc.constantFrom(false, false, false, true),
            scratch: fc.constantFrom(0, 0, 0, 8),
            over: fc.boolean(),
            reads: fc.array(fc.nat(90), { minLength: 1, maxLength: 3 }),
          }),
          { minLength: 50, maxLength: 90 },
        ),
      })
      .map(problemOf)
      .map(({ values, units }) => ({
        units,
        values: values.map((v, i) =>
          units.some((u) => u.uses.includes(i)) ? v : { ...v, atStart: true, stays: true },
        ),
      }));
    let better = 0;
    fc.assert(
      fc.property(long, (problem) => {
        const { order, peak } = findOrder(problem);
        expect([...order].sort((a, b) => a - b)).toEqual(problem.units.map((_, u) => u));
        const place = order.reduce<number[]>((at, u, i) => Object.assign(at, { [u]: i }), []);
        problem.units.forEach(({ after }, u) => {
          for (const b of after) expect(place[b]!).toBeLessThan(place[u]!);
        });
        expect(peakByLifetimes(problem, order)).toBe(peak);
        const asGiven = peakByLifetimes(
          problem,
          problem.units.map((_, u) => u),
        );
        expect(peak).toBeLessThanOrEqual(asGiven);
        if (peak < asGiven) better++;
      }),
      { numRuns: 20, seed: 7 },
    );
    expect(better).toBeGreaterThan(15);
  });

  it('lowers every block of a long backward pass that computes again: the weight gradient first, then the input gradient', () => {
    // Block i, from dy: dh (16), the clone h' of a kept x (2), dw from h' and dy (1, stays), dx from dh and x (4).
    const blocks = 60;
    const values = [{ bytes: 4, atStart: true, stays: false }];
    const units: OrderUnit[] = [];
    const add = (bytes: number, change: { atStart?: boolean; stays?: boolean } = {}): number =>
      values.push({ bytes, atStart: false, stays: false, ...change }) - 1;
    const unit = (reads: number[], made: number, after: number[]): number =>
      units.push({ after, uses: [...reads, made], makes: [made], scratch: 0, output: made, over: [] }) - 1;
    let [dy, last] = [0, -1];
    for (let i = 0; i < blocks; i++) {
      const behind = last < 0 ? [] : [last];
      const x = add(2, { atStart: true });
      const [dh, again, dw, dx] = [add(16), add(16), add(1, { stays: true }), add(4)];
      const first = unit([dy], dh, behind);
      const clone = unit([x], again, []);
      unit([again, dy], dw, [clone, ...behind]);
      last = unit([dh, x], dx, [first]);
      dy = dx;
    }
    values[dy] = { ...values[dy]!, stays: true };
    const problem = { values, units };
    const asGiven = peakOfOrder(
      problem,
      units.map((_, u) => u),
    );
    const { peak, exact } = findOrder(problem);
    expect(asGiven).toBe(4 + 2 * blocks + 16 + 16 + 1);
    expect({ peak, exact }).toEqual({ peak: 4 + 2 * blocks + 16 + 1, exact: true });
  });

  it("is the graph's own where no order is better, and never worse on large tasks", () => {
    const chain = (n: number): OrderProblem => ({
      values: Array.from({ length: n + 1 }, (_, v) => ({ bytes: 8, atStart: v === 0, stays: v === n })),
      units: Array.from({ length: n }, (_, u) => ({
        after: u > 0 ? [u - 1] : [],
        uses: [u, u + 1],
        makes: [u + 1],
        scratch: 0,
        output: u + 1,
        over: [],
      })),
    });
    const order = Array.from({ length: 200 }, (_, u) => u);
    expect(findOrder(chain(200))).toEqual({ order, peak: 16, exact: true });

    // 40 branches of random sizes: far too many ideals to see all.
    const sizes = Array.from({ length: 40 }, (_, i) => [8 + ((i * 37) % 64), 1 + ((i * 11) % 40)] as const);
    const wide: OrderProblem = {
      values: [
        { bytes: 1, atStart: true, stays: true },
        ...sizes.flatMap(([large, small]) => [
          { bytes: large, atStart: false, stays: false },
          { bytes: small, atStart: false, stays: true },
        ]),
      ],
      // Breadth first, as the graph has them.
      units: [
        ...sizes.map((_, i) => ({
          after: [],
          uses: [0, 1 + 2 * i],
          makes: [1 + 2 * i],
          scratch: 0,
          output: 1 + 2 * i,
          over: [],
        })),
        ...sizes.map((_, i) => ({
          after: [i],
          uses: [1 + 2 * i, 2 + 2 * i],
          makes: [2 + 2 * i],
          scratch: 0,
          output: 2 + 2 * i,
          over: [],
        })),
      ],
    };
    const found = findOrder(wide);
    const given = peakOfOrder(
      wide,
      wide.units.map((_, u) => u),
    );
    expect(found.peak).toBeLessThan(given / 1.5);
    expect(found.peak).toBe(peakOfOrder(wide, found.order));
  });
});
