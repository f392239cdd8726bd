/** Something that needs `bytes` at one offset during [first, last]. */
export interface Block {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

export interface Layout {
  readonly offsets: readonly number[];
  /** End of the highest block. */
  readonly height: number;
  /** Largest sum of live bytes at any time, plus `base`: no layout can be lower. */
  readonly maxLive: number;
}

/** Every payload starts here-aligned: what 128-bit loads and the fastest copies want. */
export const ALIGNMENT = 16;
/** Beyond this many blocks only the first orders are tried. */
const MANY_BLOCKS = 4000;
const align = (n: number): number => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

/**
 * Static layout: offsets for blocks such that blocks alive together do not overlap, above `base`. A portfolio of greedy
 * orders (best fit: the lowest gap that is free for the whole lifetime), the lowest result wins; ties by order, so that
 * the answer is deterministic.
 */
export function layOut(blocks: readonly Block[], base = 0): Layout {
  const start = align(base);
  const maxLive = base + largestLiveSum(blocks);
  let best: { offsets: number[]; height: number } | undefined;
  let tried = 0;
  for (const order of orders(blocks)) {
    // Each order costs time, at worst in the square of the blocks.
    if (blocks.length > MANY_BLOCKS && tried++ === 2) break;
    const candidate = place(blocks, order, start);
    if (!best || candidate.height < best.height) best = candidate;
    if (best.height <= maxLive) break;
  }
  return { offsets: best!.offsets, height: Math.max(best!.height, base), maxLive };
}

function* orders(blocks: readonly Block[]): Generator<number[]> {
  const all = blocks.map((_, i) => i);
  const by = (...keys: ((b: Block) => number)[]) =>
    [...all].sort((i, j) => {
      for (const key of keys) {
        const d = key(blocks[i]!) - key(blocks[j]!);
        if (d !== 0) return d;
      }
      return i - j;
    });
  const life = (b: Block) => b.last - b.first + 1;
  yield by(
    (b) => -b.bytes,
    (b) => b.first,
  );
  yield by(
    (b) => b.first,
    (b) => -b.bytes,
  );
  yield by(
    (b) => -life(b),
    (b) => -b.bytes,
  );
  yield by(
    (b) => -life(b) * b.bytes,
    (b) => b.first,
  );
  yield by(
    (b) => -b.last,
    (b) => -b.bytes,
  );
  yield by(
    (b) => b.last,
    (b) => -b.bytes,
  );
}

function place(
  blocks: readonly Block[],
  order: readonly number[],
  start: number,
): { offsets: number[]; height: number } {
  const offsets = new Array<number>(blocks.length).fill(start);
  const placed = new PlacedBlocks(blocks);
  let height = start;
  for (const i of order) {
    const block = blocks[i]!;
    let at = start;
    let chosen = -1;
    let tightest = Number.POSITIVE_INFINITY;
    for (const j of placed.during(block, offsets)) {
      const gap = offsets[j]! - at;
      if (gap >= block.bytes && gap < tightest) {
        chosen = at;
        tightest = gap;
      }
      at = Math.max(at, align(offsets[j]! + blocks[j]!.bytes));
    }
    const offset = chosen >= 0 ? chosen : at;
    offsets[i] = offset;
    height = Math.max(height, offset + block.bytes);
    placed.add(i);
  }
  return { offsets, height };
}

/** Time is divided into this many spans at most; a placed block is listed in every span it is alive in. */
const SPANS = 1024;

/**
 * The placed blocks by time, so that a block is compared with those alive beside it and not with all: the work is that of
 * the overlaps, where most blocks of a step live for a few instructions.
 */
class PlacedBlocks {
  readonly #blocks: readonly Block[];
  readonly #from: number;
  readonly #width: number;
  readonly #spans: number[][];

  constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
    let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const { first, last } of blocks) {
      from = Math.min(from, first);
      to = Math.max(to, last);
    }
    this.#from = from;
    this.#width = Math.max(1, Math.ceil((to - from + 1) / SPANS));
    this.#spans = Array.from({ length: blocks.length > 0 ? this.#spanOf(to) + 1 : 0 }, () => []);
  }

  #spanOf(time: number): number {
    return Math.floor((time - this.#from) / this.#width);
  }

  add(i: number): void {
    const { first, last } = this.#blocks[i]!;
    for (let span = this.#spanOf(first); span <= this.#spanOf(last); span++) this.#spans[span]!.push(i);
  }

  /** Placed blocks that are alive together with `block`, by offset. */
  during(block: Block, offsets: readonly number[]): number[] {
    const found: number[] = [];
    const begin = this.#spanOf(block.first);
    for (let span = begin; span <= this.#spanOf(block.last); span++) {
      for (const j of this.#spans[span]!) {
        const other = this.#blocks[j]!;
        // Behind the first span only those that begin there: the others have been met.
        if (span > begin && this.#spanOf(other.first) !== span) continue;
        if (other.last >= block.first && other.first <= block.last) found.push(j);
      }
    }
    return found.sort((a, b) => offsets[a]! - offsets[b]!);
  }
}

function largestLiveSum(blocks: readonly Block[]): number {
  const events = blocks.flatMap((b) => [
    { at: b.first, bytes: b.bytes },
    { at: b.last + 1, bytes: -b.bytes },
  ]);
  events.sort((a, b) => a.at - b.at || a.bytes - b.bytes);
  let live = 0;
  let most = 0;
  for (const { bytes } of events) most = Math.max(most, (live += bytes));
  return most;
}
