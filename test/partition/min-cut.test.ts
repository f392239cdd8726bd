import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FlowNetwork } from '../../src/partition/min-cut.ts';

const NODES = 6;
const [SOURCE, SINK] = [0, NODES - 1];

interface Arc {
  readonly from: number;
  readonly to: number;
  readonly capacity: number;
  readonly back: number;
}
const node = fc.nat(NODES - 1);
/** Whole numbers, so that sums are exact; some never cut. */
const capacity = fc.oneof({ weight: 9, arbitrary: fc.nat(9) }, fc.constant(Number.POSITIVE_INFINITY));
const arcs: fc.Arbitrary<Arc[]> = fc.array(
  fc
    .record({ from: node, to: node, capacity, back: fc.oneof(fc.constant(0), fc.nat(9)) })
    .filter(({ from, to }) => from !== to),
  { minLength: 1, maxLength: 14 },
);

/** By all ways to part the nodes: the least cut, and the nodes that are on the source's side in every least cut. */
function leastCut(list: readonly Arc[]): { value: number; side: boolean[] } {
  let value = Number.POSITIVE_INFINITY;
  let side: boolean[] = [];
  for (let set = 0; set < 2 ** NODES; set++) {
    const isIn = (n: number): boolean => ((set >> n) & 1) === 1;
    if (!isIn(SOURCE) || isIn(SINK)) continue;
    const cut = list.reduce((sum, { from, to, capacity, back }) => {
      if (isIn(from) === isIn(to)) return sum;
      return sum + (isIn(from) ? capacity : back);
    }, 0);
    const members = Array.from({ length: NODES }, (_, n) => isIn(n));
    if (cut < value) [value, side] = [cut, members];
    else if (cut === value) side = side.map((is, n) => is && members[n]!);
  }
  return { value, side };
}

function networkOf(list: readonly Arc[]): FlowNetwork {
  const network = new FlowNetwork(NODES);
  for (const { from, to, capacity, back } of list) network.connect(from, to, capacity, back);
  return network;
}

describe('a flow network', () => {
  it('has the least cut of all, and the one nearest to the source, again and again', () => {
    fc.assert(
      fc.property(arcs, (list) => {
        const { value, side } = leastCut(list);
        const network = networkOf(list);
        expect(network.maximumFlow(SOURCE, SINK)).toBe(value);
        if (value === Number.POSITIVE_INFINITY) return;
        const isNear = network.nearestCut(SOURCE, SINK);
        expect(side.map((_, n) => isNear(n))).toEqual(side);
        expect(network.maximumFlow(SOURCE, SINK)).toBe(value);
      }),
      { numRuns: 500 },
    );
  });

  it('may count any arc as one that is never cut, for one question', () => {
    fc.assert(
      fc.property(arcs, fc.nat(13), (list, pick) => {
        const network = new FlowNetwork(NODES);
        const numbers = list.map(({ from, to, capacity, back }) => network.connect(from, to, capacity, back));
        const at = pick % list.length;
        const opened = list.map((arc, i) => (i === at ? { ...arc, capacity: Number.POSITIVE_INFINITY } : arc));
        expect(network.maximumFlow(SOURCE, SINK, { open: numbers[at]! })).toBe(leastCut(opened).value);
        expect(network.maximumFlow(SOURCE, SINK)).toBe(leastCut(list).value);
      }),
      { numRuns: 300 },
    );
  });

  it('stops at a flow that is enough, and has arcs that come later', () => {
    const network = networkOf([3, 4].map((capacity, i) => ({ from: 0, to: 1 + i, capacity, back: 0 })));
    network.connect(1, SINK, 9);
    network.connect(2, SINK, 9);
    expect(network.maximumFlow(SOURCE, SINK)).toBe(7);
    expect([2, 3, 4, 7, 8].map((enough) => network.maximumFlow(SOURCE, SINK, { enough }) >= enough)).toEqual([
      ...[true, true, true, true],
      false,
    ]);
    expect(network.maximumFlow(SOURCE, SINK, { enough: 1 })).toBeLessThan(7);
    network.connect(SOURCE, SINK, 2);
    expect(network.maximumFlow(SOURCE, SINK)).toBe(9);
  });
});
