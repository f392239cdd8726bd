import { PackingSearch } from './exact-layout.ts';
import { type Block, greedyLayout, largestLiveSum } from './greedy-layout.ts';
import { packingProblem } from './packing-problem.ts';

export interface PackRequest {
  /** Offsets are multiples of it. Where sizes are not, the search compares heights in whole units: the last may be fuller than need be. */
  readonly unit: number;
  /** A height that is enough; without it, or where no layout is that low, the height is minimised. */
  readonly capacity?: number;
  /** The exact search stops after so much work: about a unit for each block looked at. The same work gives the same layout. */
  readonly work?: number;
  /** The exact search stops when it says so, as well. */
  readonly shouldStop?: () => boolean;
  /** Offsets of a layout to begin with, instead of greedy ones. */
  readonly known?: readonly number[];
}

export interface Packing {
  readonly offsets: readonly number[];
  /** End of the highest block. */
  readonly height: number;
  /** Largest sum of bytes alive together. */
  readonly maxLive: number;
  /** No layout in these units is lower: max-live, or more where the search has shown it. */
  readonly lowerBound: number;
}

/**
 * Beyond so many blocks alive together in pairs, or in one row, the search would need more memory, or stack, than it is
 * worth.
 */
const MOST_PAIRS = 4_000_000;
export const MOST_BLOCKS = 2000;
/** Of the first attempt where there is no limit of work: about ten seconds. */
const FIRST_WORK = 2e8;
/** Of placing each block once, a pair of them: with less the search does not come to the end of its first layout. */
const ONE_LAYOUT = 15;

/**
 * Static layout: greedy orders, then the exact search at the capacity or, minimising, at max-live; where it does not get
 * there, between by bisection. What is left of the work goes into the next lower height. A capacity that is shown to be too
 * small is let go, and the height minimised.
 */
export function packBlocks(blocks: readonly Block[], request: PackRequest): Packing {
  const { unit, capacity, shouldStop } = request;
  const maxLive = largestLiveSum(blocks);
  let lowerBound = maxLive;
  const packed = (offsets: readonly number[]): Packing => ({
    offsets,
    height: blocks.reduce((top, { bytes }, i) => Math.max(top, offsets[i]! + bytes), 0),
    maxLive,
    lowerBound,
  });
  const enough = capacity ?? maxLive;
  let best = packed(request.known ?? greedyLayout(blocks, unit, 0, enough).offsets);
  const filled = blocks.flatMap(({ bytes }, i) => (bytes > 0 ? [i] : []));
  const total = request.work ?? Number.POSITIVE_INFINITY;
  const oneLayout = ONE_LAYOUT * filled.length ** 2;
  const isFound = best.height <= Math.max(enough, lowerBound);
  if (isFound || total < oneLayout || !isSearchable(filled.map((i) => blocks[i]!))) return best;

  const search = new PackingSearch(
    packingProblem(
      filled.map((i) => blocks[i]!),
      unit,
    ),
  );
  let work = total;
  const heightInUnits = (): number => Math.ceil(best.height / unit);
  /** No layout of `low − 1` units is possible; none of `doubtful − 1` has been found. */
  let low = search.maxLive;
  const finished = (): Packing => {
    lowerBound = Math.max(lowerBound, Math.min(best.height, (low - 1) * unit + 1));
    return { ...best, lowerBound };
  };
  /** Tries a height; false where there is no layout, or none was found within the share of the work. */
  const attempt = (height: number, share: number): boolean => {
    const limit = { work: share, shouldStop, dives: Number.isFinite(total) };
    const found = search.solve(height, limit);
    work -= share - Math.max(0, limit.work);
    if (found) {
      const offsets = blocks.map(() => 0);
      filled.forEach((block, k) => {
        offsets[block] = found[k]! * unit;
      });
      best = packed(offsets);
    } else if (found === null) low = Math.max(low, height + 1);
    return found instanceof Float64Array;
  };

  if (heightInUnits() <= low) return finished();
  if (capacity !== undefined) {
    const goal = Math.floor(capacity / unit);
    if (goal >= low) attempt(goal, total);
    // Where no layout is within the capacity, which is the least that one is within?
    if (goal >= low) return finished();
  }
  // Without a limit of work the shares still have to end.
  const first = Number.isFinite(total) ? Math.max((2 * total) / 3, Math.min(total, 2 * oneLayout)) : FIRST_WORK;
  let isLeast = work > 0 && attempt(low, Math.min(first, work));
  for (let share = Math.max(first / 4, 2 * oneLayout); !isLeast && work > 0 && !shouldStop?.(); share *= 2) {
    let doubtful = low;
    while (doubtful < heightInUnits() && work > 0 && !shouldStop?.()) {
      // The last step below what is known: the lowest height that is in doubt.
      const height = Math.floor((doubtful + heightInUnits() - 1) / 2);
      if (!attempt(height, Math.min(share, work))) doubtful = Math.max(height + 1, low);
    }
    isLeast = heightInUnits() <= low;
  }
  return finished();
}

function isSearchable(blocks: readonly Block[]): boolean {
  if (blocks.length > MOST_BLOCKS) return false;
  const byTime = [...blocks].sort((a, b) => a.first - b.first);
  let pairs = 0;
  byTime.forEach(({ last }, i) => {
    for (let j = i + 1; j < byTime.length && byTime[j]!.first <= last; j++) pairs++;
  });
  return pairs <= MOST_PAIRS;
}
