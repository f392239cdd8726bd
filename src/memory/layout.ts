import { Memo } from '../core/memo.ts';
import { type Block, greedyLayout, largestLiveSum } from './greedy-layout.ts';
import { packBlocks } from './pack-blocks.ts';

export type { Block } from './greedy-layout.ts';

export interface Layout {
  readonly offsets: readonly number[];
  /** End of the highest block. */
  readonly height: number;
  /** Largest sum of live bytes at any time, plus `base`: no layout can be lower. */
  readonly maxLive: number;
}

/** Every payload starts here-aligned: what 128-bit loads and the fastest copies want. */
export const ALIGNMENT = 16;
/** Of the exact search, where greedy orders leave a gap: bounded by work and not by time, so that a request has one plan. */
const SEARCH_WORK = 1_500_000;
/** The second order has never been the lower one for the thousands of values of a large step, and costs as much again. */
const ORDERS_OF_MANY = 1;
/** A waste below this part of max-live is not worth a search. */
const NEGLIGIBLE = 0.0005;
const align = (n: number): number => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

/** Plans of one request, as a search compiles them, have the same devices again and again. */
const known = new Memo<Layout>(4_000_000);

/**
 * Static layout of a device: offsets for blocks such that blocks alive together do not overlap, above `base`. With a `limit` it
 * is within it where the lowest is, and looked for no longer than it takes to know that: for plans that are only weighed.
 */
export function layOut(blocks: readonly Block[], base = 0, limit?: number): Layout {
  const question = `${base}/${limit ?? ''}/${blocks.map(({ first, last, bytes }) => `${first},${last},${bytes}`).join()}`;
  return known.get(question, () => findLayout(blocks, base, limit));
}

function findLayout(blocks: readonly Block[], base: number, limit: number | undefined): Layout {
  const start = align(base);
  const maxLive = base + largestLiveSum(blocks);
  // Where what is alive is beyond the limit any layout says so.
  const enough = limit === undefined ? maxLive : limit < maxLive ? Number.POSITIVE_INFINITY : limit;
  let { offsets, height } = greedyLayout(blocks, ALIGNMENT, start, enough, ORDERS_OF_MANY);
  if (height > enough && height > maxLive * (1 + NEGLIGIBLE)) {
    const packed = packBlocks(blocks, { unit: ALIGNMENT, work: SEARCH_WORK, known: offsets.map((o) => o - start) });
    if (start + packed.height < height) {
      offsets = packed.offsets.map((o) => o + start);
      height = start + packed.height;
    }
  }
  return { offsets, height: Math.max(height, base), maxLive };
}
