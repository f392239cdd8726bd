/** Something that needs `bytes` at one offset during [first, last]. */
export interface Block {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** Beyond this many blocks only the first orders are tried. */
const MANY_BLOCKS = 4000;

/**
 * Static layout by a portfolio of greedy orders (best fit: the lowest gap that is free for the whole lifetime), offsets in
 * multiples of `unit` from `start` on. The lowest result wins; ties by order, so that the answer is deterministic. Ends early
 * at a height of `enough`. `ofMany`: orders that are tried of many blocks.
 */
export function greedyLayout(
  blocks: readonly Block[],
  unit: number,
  start = 0,
  enough = 0,
  ofMany = 2,
): { offsets: number[]; height: number } {
  let best: { offsets: number[]; height: number } = { offsets: [], height: start };
  let tried = 0;
  const placed = new PlacedBlocks(blocks, unit);
  for (const order of orders(blocks)) {
    // Each order costs time, at worst in the square of the blocks.
    if (blocks.length > MANY_BLOCKS && tried === ofMany) break;
    const candidate = place(blocks, order, start, placed);
    if (tried++ === 0 || candidate.height < best.height) best = candidate;
    if (best.height <= enough) break;
  }
  return best;
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
  placed: PlacedBlocks,
): { offsets: number[]; height: number } {
  const offsets = new Array<number>(blocks.length).fill(start);
  placed.clear();
  let height = start;
  for (const i of order) {
    const block = blocks[i]!;
    const offset = placed.bestFit(block, start);
    offsets[i] = offset;
    height = Math.max(height, offset + block.bytes);
    placed.add(block, offset);
  }
  return { offsets, height };
}

/** Numbers of equal spans of time, from coarse to fine, by which placed blocks are kept. */
const SPANS = [1, 8, 64];
/** Fewer blocks are kept in one list: a long-lived one stands in many. */
const BLOCKS_BY_SPANS = 2000;

/**
 * The placed blocks by spans of time: a block is compared with those that touch the finest span in which it lies whole, and
 * of short-lived ones these are few. Every list is in the order of offsets, so that the answer is the same as with one.
 */
class PlacedBlocks {
  readonly #levels: { readonly width: number; readonly lists: PlacedList[] }[];

  constructor(blocks: readonly Block[], unit: number) {
    const end = blocks.reduce((end, { last }) => Math.max(end, last + 1), 1);
    this.#levels = SPANS.filter((spans) => spans === 1 || blocks.length >= BLOCKS_BY_SPANS).map((spans) => {
      const width = Math.ceil(end / spans);
      return { width, lists: roomsOf(blocks, spans, width).map((room) => new PlacedList(unit, room)) };
    });
  }

  /** For another order: lists have room for it already. */
  clear(): void {
    for (const { lists } of this.#levels) for (const list of lists) list.clear();
  }

  /** Start of the smallest gap that is free for the block's whole life, or of what is free above all gaps. */
  bestFit(block: Block, start: number): number {
    for (let level = this.#levels.length - 1; ; level--) {
      const { width, lists } = this.#levels[level]!;
      const span = Math.floor(block.first / width);
      if (level === 0 || Math.floor(block.last / width) === span) return lists[span]!.bestFit(block, start);
    }
  }

  add(block: Block, offset: number): void {
    for (const { width, lists } of this.#levels) {
      const to = Math.floor(block.last / width);
      for (let span = Math.floor(block.first / width); span <= to; span++) lists[span]!.add(block, offset);
    }
  }
}

/** How many blocks touch each span of time. */
function roomsOf(blocks: readonly Block[], spans: number, width: number): number[] {
  const rooms = new Array<number>(spans + 1).fill(0);
  for (const { first, last } of blocks) {
    rooms[Math.floor(first / width)]!++;
    rooms[Math.floor(last / width) + 1]!--;
  }
  for (let span = 1; span < spans; span++) rooms[span]! += rooms[span - 1]!;
  return rooms.slice(0, spans);
}

/** Numbers of a placed block: its offset, where the next block could begin behind it, its first and its last instant. */
const FIELDS = 4;

/** Placed blocks in the order of their offsets, in one array of numbers: one pass over them, without sorting. */
class PlacedList {
  readonly #placed: Float64Array;
  readonly #unit: number;
  #count = 0;

  /** `room`: blocks that are added, at most. */
  constructor(unit: number, room: number) {
    this.#unit = unit;
    this.#placed = new Float64Array(FIELDS * room);
  }

  clear(): void {
    this.#count = 0;
  }

  bestFit({ first, last, bytes }: Block, start: number): number {
    const placed = this.#placed;
    const end = FIELDS * this.#count;
    let at = start;
    let chosen = -1;
    let tightest = Number.POSITIVE_INFINITY;
    for (let k = 0; k < end; k += FIELDS) {
      if (placed[k + 3]! < first || placed[k + 2]! > last) continue;
      const gap = placed[k]! - at;
      if (gap === bytes) return at; // none is smaller
      if (gap > bytes && gap < tightest) {
        chosen = at;
        tightest = gap;
      }
      if (placed[k + 1]! > at) at = placed[k + 1]!;
    }
    return chosen >= 0 ? chosen : at;
  }

  add({ first, last, bytes }: Block, offset: number): void {
    const placed = this.#placed;
    let low = 0;
    for (let high = this.#count; low < high; ) {
      const middle = (low + high) >>> 1;
      if (placed[FIELDS * middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    const at = FIELDS * low;
    placed.copyWithin(at + FIELDS, at, FIELDS * this.#count);
    placed[at] = offset;
    placed[at + 1] = Math.ceil((offset + bytes) / this.#unit) * this.#unit;
    placed[at + 2] = first;
    placed[at + 3] = last;
    this.#count++;
  }
}

/** The largest sum of bytes alive together. */
export function largestLiveSum(blocks: readonly Block[]): number {
  const byBirth = blocks.map((_, i) => i).sort((i, j) => blocks[i]!.first - blocks[j]!.first);
  const byDeath = blocks.map((_, i) => i).sort((i, j) => blocks[i]!.last - blocks[j]!.last);
  let [live, most, dead] = [0, 0, 0];
  for (const i of byBirth) {
    for (; blocks[byDeath[dead]!]!.last < blocks[i]!.first; dead++) live -= blocks[byDeath[dead]!]!.bytes;
    most = Math.max(most, (live += blocks[i]!.bytes));
  }
  return most;
}
