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
/**
 * Of the exact search, where greedy orders leave a gap: bounded by work and not by time, so that a request has one plan. A
 * `thorough` layout, of plans that are reported or run, may take half a second where a `quick` one, of the many that are only
 * weighed, leaves a gap worth it.
 */
const SEARCH_WORK = { quick: 1_500_000, thorough: 40_000_000 };
export type LayoutEffort = keyof typeof SEARCH_WORK;
/** The second order has never been the lower one for the thousands of values of a large step, and costs as much again. */
const ORDERS_OF_MANY = 1;
/** A waste below this part of max-live is not worth a search. */
const NEGLIGIBLE = 0.0005;
/** Worth a thorough one: more than this part of max-live, and than these bytes. */
const WIDE = { part: 0.01, bytes: 16 * 1024 };
const align = (n: number): number => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

/** Plans of one request, as a search compiles them, have the same devices again and again. */
const known = new Memo<Layout>(4_000_000);

/**
 * Static layout of a device: offsets for blocks such that blocks alive together do not overlap, above `base`. With a `limit` a
 * quick one is within it where it is without, and looked for no longer than it takes to know that.
 */
export function layOut(blocks: readonly Block[], base = 0, effort: LayoutEffort = 'quick', limit?: number): Layout {
  const question = `${base}/${blocks.map(({ first, last, bytes }) => `${first},${last},${bytes}`).join()}`;
  if (limit !== undefined) {
    const simple = known.get(`within ${limit} ${question}`, () => greedy(blocks, base, limit));
    // Where what is alive is beyond the limit any layout says so.
    if (simple.maxLive > limit || simple.height <= limit) return simple;
  }
  const quick = known.get(question, () => improved(greedy(blocks, base), blocks, base, SEARCH_WORK.quick));
  return effort === 'quick' || !hasWideGap(quick)
    ? quick
    : known.get(`thorough ${question}`, () => improved(quick, blocks, base, SEARCH_WORK.thorough));
}

/** Whether a layout wastes so much that a thorough one may be worth its time. */
export const hasWideGap = ({ height, maxLive }: Pick<Layout, 'height' | 'maxLive'>): boolean =>
  height - maxLive > Math.max(WIDE.bytes, WIDE.part * maxLive);

function greedy(blocks: readonly Block[], base: number, limit?: number): Layout {
  const maxLive = base + largestLiveSum(blocks);
  const enough = limit === undefined ? maxLive : limit < maxLive ? Number.POSITIVE_INFINITY : limit;
  const { offsets, height } = greedyLayout(blocks, ALIGNMENT, align(base), enough, ORDERS_OF_MANY);
  return { offsets, height: Math.max(height, base), maxLive };
}

function improved(from: Layout, blocks: readonly Block[], base: number, work: number): Layout {
  if (from.height <= from.maxLive * (1 + NEGLIGIBLE)) return from;
  const start = align(base);
  const packed = packBlocks(blocks, { unit: ALIGNMENT, work, known: from.offsets.map((o) => o - start) });
  if (start + packed.height >= from.height) return from;
  return { ...from, offsets: packed.offsets.map((o) => o + start), height: Math.max(base, start + packed.height) };
}
