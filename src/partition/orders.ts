import { type FlatProblem, fastRandom, flatten } from './flat.ts';
import { loadMeter } from './load-meter.ts';
import { OrderCut } from './order-cut.ts';
import { OrderWindow } from './order-window.ts';
import { boundaryBound, partBound } from './placement-bound.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import { pause } from './pause.ts';
import type { PlacementProblem } from './problem.ts';
import { firstOrders, topologicalOrder } from './topological-orders.ts';
import { workBound } from './work-bound.ts';

/** A cut of an order: its largest load, and the device of each part. */
interface Cut {
  readonly objective: number;
  readonly deviceOf: Int32Array;
}

/** The best cut of an order below `below`, exact up to rounding; undefined where there is none. */
export function bestCut(
  flat: FlatProblem,
  cut: OrderCut,
  bound: number,
  below: number,
  deadline: number,
  measure: (deviceOf: Int32Array) => number,
): Cut | undefined {
  let best: Cut | undefined;
  let good = below;
  const fits = (limit: number): boolean => {
    const { reached, nextLimit } = cut.attempt(limit);
    if (reached < flat.parts) {
      low = Math.max(low, nextLimit);
      return false;
    }
    const deviceOf = cut.deviceOf();
    const objective = measure(deviceOf);
    good = Math.min(limit, objective);
    best = { objective, deviceOf };
    return true;
  };
  let low = bound;
  if (below < Number.POSITIVE_INFINITY && !fits(below * (1 - 1e-9))) return undefined;
  // From the bound upwards: where a limit is far too large, segments are long and an attempt is slow.
  if (!best)
    for (let excess = Math.max(bound, Number.MIN_VALUE) / 64; low + excess < good; excess *= 2) {
      if (fits(low + excess) || performance.now() > deadline) break;
    }
  if (!best && !(low < good)) return undefined;
  if (!best && good === Number.POSITIVE_INFINITY && !fits(good)) return undefined;
  for (let round = 0; low < good && performance.now() < deadline; round++) {
    const middle = low + (good - low) / 2;
    // Near the end the next limit that can make a difference decides at once.
    const limit = round > 30 || !(middle > low && middle < good) ? low : middle;
    if (limit === low && fits(limit)) break;
    if (limit !== low) fits(limit);
  }
  return best;
}
