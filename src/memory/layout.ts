import { PlanError } from '../core/errors.ts';
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
 * Of the exact search, where greedy orders leave a gap: bounded by work and not by time, so that a request has one plan.
 * `quick`: for the many plans that are only weighed. Where it leaves a gap worth it, `fair` decides between the lifetimes
 * of a plan that is reported or run, and `thorough` lays it out: half a second at most.
 */
const SEARCH_WORK = { quick: 1_500_000, fair: 8_000_000, thorough: 40_000_000 };
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

/** How far a layout is looked for. */
export interface LayoutGoal {
  /** Default `quick`. */
  readonly effort?: LayoutEffort;
  /**
   * For plans that are only weighed: the layout is within it where the lowest is, and looked for no longer than it takes to
   * know that.
   */
  readonly limit?: number | undefined;
}

/** Static layout of a device: offsets for blocks such that blocks alive together do not overlap, above `base`. */
export function layOut(blocks: readonly Block[], base = 0, { effort = 'quick', limit }: LayoutGoal = {}): Layout {
  const question = `${base}/${blocks.map(({ first, last, bytes }) => `${first},${last},${bytes}`).join()}`;
  if (limit !== undefined) return known.get(`within ${limit} ${question}`, () => within(limit, blocks, base));
  const quick = known.get(question, () => improved(greedy(blocks, base), blocks, base, SEARCH_WORK.quick));
  return effort === 'quick' || !hasWideGap(quick)
    ? quick
    : known.get(`${effort} ${question}`, () => improved(quick, blocks, base, SEARCH_WORK[effort]));
}

/** A layout by offsets that were found before. Throws PlanError where they are none of these blocks. */
export function layoutOf(blocks: readonly Block[], base: number, offsets: readonly number[]): Layout {
  const isLegal =
    offsets.length === blocks.length &&
    offsets.every((o) => o >= base && o % ALIGNMENT === 0) &&
    !overlap(blocks, offsets);
  if (!isLegal) {
    throw new PlanError('layout-illegal', `${offsets.length} offsets are no layout of these ${blocks.length} blocks`, {
      fields: { offsets: offsets.length, blocks: blocks.length },
      remedy: 'make the layout anew: planDeviceMemory without known layouts',
    });
  }
  const height = blocks.reduce((top, { bytes }, i) => Math.max(top, offsets[i]! + bytes), base);
  return { offsets, height, maxLive: base + largestLiveSum(blocks) };
}

/** Whether two blocks that are alive together share a byte: each is compared with those alive when it begins. */
function overlap(blocks: readonly Block[], offsets: readonly number[]): boolean {
  const order = blocks.map((_, i) => i).sort((i, j) => blocks[i]!.first - blocks[j]!.first);
  let alive: number[] = [];
  for (const i of order) {
    const { first, bytes } = blocks[i]!;
    alive = alive.filter((j) => blocks[j]!.last >= first);
    const [from, to] = [offsets[i]!, offsets[i]! + bytes];
    if (alive.some((j) => offsets[j]! < to && from < offsets[j]! + blocks[j]!.bytes)) return true;
    alive.push(i);
  }
  return false;
}

/** Whether a layout wastes so much that a thorough one may be worth its time. */
export const hasWideGap = ({ height, maxLive }: Pick<Layout, 'height' | 'maxLive'>): boolean =>
  height - maxLive > Math.max(WIDE.bytes, WIDE.part * maxLive);

function within(limit: number, blocks: readonly Block[], base: number): Layout {
  const maxLive = base + largestLiveSum(blocks);
  // Where what is alive is beyond the limit any layout says so.
  const found = greedy(blocks, base, limit < maxLive ? Number.POSITIVE_INFINITY : limit);
  return limit < maxLive || found.height <= limit ? found : improved(found, blocks, base, SEARCH_WORK.quick);
}

/** `enough`: a height that need not be lowered; default the least there can be. */
function greedy(blocks: readonly Block[], base: number, enough?: number): Layout {
  const maxLive = base + largestLiveSum(blocks);
  const { offsets, height } = greedyLayout(blocks, ALIGNMENT, align(base), enough ?? maxLive, ORDERS_OF_MANY);
  return { offsets, height, maxLive };
}

function improved(from: Layout, blocks: readonly Block[], base: number, work: number): Layout {
  if (from.height <= from.maxLive * (1 + NEGLIGIBLE)) return from;
  const start = align(base);
  const packed = packBlocks(blocks, { unit: ALIGNMENT, work, known: from.offsets.map((o) => o - start) });
  if (start + packed.height >= from.height) return from;
  return { ...from, offsets: packed.offsets.map((o) => o + start), height: Math.max(base, start + packed.height) };
}
