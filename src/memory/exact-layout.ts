/**
 * Static layout by exact search: is there a layout within a height?
 *
 * Any layout can be pushed down until each block lies at 0 or on another one. Such *canonical* layouts (Moffitt, MiniMalloc,
 * ASPLOS 2023) are built from below: a node takes a block at the lowest level that is left and either places it there or
 * *passes it by*; then something that is left beside it has to lie below it and lift it. Pruned are nodes where
 * - a block was passed by and nothing that is left can lift it, or the lowest that could lifts it too high;
 * - blocks that are left in some section of time do not fit one above the other, each from the offset on that it has at least;
 * - the same blocks were left at the same offsets before, and did not fit.
 * Where the blocks that are left fall apart in time, the parts are searched by themselves.
 *
 * Which block is taken first decides over seconds or days. First comes a section without any waste left, and of those the
 * one for whose place the fewest blocks compete (fail first); ties by a static order, or by how often a block did not fit so
 * far. The search begins anew with the next order after a limit that grows from round to round, and what is learnt stays. Two
 * series of rounds share the work: dives have enough of it to place all blocks once, and find most layouts of training steps
 * in the first; short rounds are many, and learn soon which blocks are hard to place.
 */

import { FAILED_STATES, type FailedStates, noFailedStates } from './failed-states.ts';
import { besideEach, type PackingProblem } from './packing-problem.ts';

export interface SearchLimit {
  /** Work left: about one unit for each block or section looked at. Counted down. */
  work: number;
  /** Asked now and then; true stops the search as well. */
  readonly shouldStop?: () => boolean;
  /** Half of the work for dives; default true. Where there is much work, short rounds alone come further with hard instances. */
  readonly dives?: boolean;
}

/** `null`: there is none; `undefined`: the limit came first. */
export type PackingResult = Float64Array | null | undefined;

/**
 * Orders in which equally promising blocks are tried, largest first: T how much is alive with one at most, A area, W lifetime,
 * B blame: how often it did not fit.
 */
const orders = ['BTAW', 'TWA', 'BTWA', 'TAW', 'BWAT', 'WAT', 'BATW', 'WTA'] as const;
/** Work of the first short round, a block. */
const SHORT_ROUND = 100;
/** Work of the first dive, a pair of blocks: placing all of them once takes about 20. */
const DIVE = 30;
/** Growth of the work from round to round. */
const GROWTH = 1.5;
/** Of old blame, at each new beginning. */
const BLAME_KEPT = 0.5;

export class PackingSearch {
  readonly #problem: PackingProblem;
  readonly #count: number;
  /** Blocks alive in each section: those of section s from #starts[s] on, the #open[s] that are not placed in front. */
  readonly #members: Int32Array;
  readonly #starts: Int32Array;
  readonly #open: Int32Array;
  /** Where among them a block stands, section by section of its life: those of block i from #firstSeat[i] on. */
  readonly #seats: Int32Array;
  readonly #firstSeat: Int32Array;
  /** Blocks that overlap each one in time: those of block i from #firstBeside[i] on. */
  readonly #beside: Int32Array;
  readonly #firstBeside: Int32Array;
  /** All blocks by the beginning of their lives. */
  readonly #byTime: Int32Array;
  /** Place of each block in the order in which equally low ones are tried. */
  #rank: Int32Array;
  readonly #placed: Uint8Array;
  /** Of a placed block its offset; of another the lowest that placed ones leave. */
  readonly #offsets: Float64Array;
  /** Of blocks that are not placed, what their offsets will be at least: more than what placed ones leave where passed by. */
  readonly #bounds: Float64Array;
  /** By section, the sum of the heights of all blocks, and of those that are not placed. */
  readonly #sums: Float64Array;
  readonly #left: Float64Array;
  #capacity = 0;
  #limit: SearchLimit = { work: 0 };
  #isOut = false;
  #isStopped = false;
  /** To be undone: block, former offset and whether it was passed by; block and former bound. */
  readonly #lifted: number[] = [];
  readonly #risen: number[] = [];
  /** Bounds and heights of what is left in a section, while it is looked at. */
  readonly #releases: Float64Array;
  readonly #heights: Float64Array;
  /** Placed blocks, the last on top: they are taken away in that order. */
  readonly #stack: number[] = [];
  readonly #stamp: Int32Array;
  #stamps = 0;
  readonly #passed: Uint8Array;
  /** By section, how dear its lowest place is, while it is looked for. */
  readonly #counts: Int32Array;
  /** By block, how often it did not fit. */
  readonly #blame: Float64Array;
  #failed: FailedStates | undefined;
  #visited = 0;
  /** What orders go by, and the ranks of those without blame: they do not change. */
  readonly #keys: Readonly<Record<string, Float64Array>>;
  readonly #ranks = new Map<string, Int32Array>();

  constructor(problem: PackingProblem) {
    const { sizes, from, to, sections } = problem;
    this.#problem = problem;
    const n = (this.#count = sizes.length);
    this.#starts = new Int32Array(sections + 1);
    for (let i = 0; i < n; i++) for (let s = from[i]!; s < to[i]!; s++) this.#starts[s + 1]!++;
    for (let s = 0; s < sections; s++) this.#starts[s + 1]! += this.#starts[s]!;
    this.#members = new Int32Array(this.#starts[sections]!);
    this.#seats = new Int32Array(this.#starts[sections]!);
    this.#firstSeat = new Int32Array(n);
    this.#open = new Int32Array(sections);
    this.#sums = new Float64Array(sections);
    for (let i = 0, seat = 0; i < n; i++) {
      this.#firstSeat[i] = seat;
      for (let s = from[i]!; s < to[i]!; s++) {
        const at = this.#starts[s]! + this.#open[s]!++;
        this.#members[at] = i;
        this.#seats[seat++] = at;
        this.#sums[s]! += sizes[i]!;
      }
    }
    const tallest = (i: number): number => {
      let most = 0;
      for (let s = from[i]!; s < to[i]!; s++) if (this.#sums[s]! > most) most = this.#sums[s]!;
      return most;
    };
    this.#blame = new Float64Array(n);
    this.#keys = {
      T: Float64Array.from(sizes, (_, i) => tallest(i)),
      W: Float64Array.from(sizes, (_, i) => to[i]! - from[i]!),
      B: this.#blame,
      A: Float64Array.from(sizes, (size, i) => size * (to[i]! - from[i]!)),
    };
    this.#byTime = Int32Array.from(sizes, (_, i) => i).sort((i, j) => from[i]! - from[j]! || i - j);
    const { beside, first } = besideEach(problem, this.#byTime);
    this.#beside = beside;
    this.#firstBeside = first;
    this.#passed = new Uint8Array(n);
    this.#counts = new Int32Array(sections + 1);
    this.#rank = new Int32Array(n);
    this.#placed = new Uint8Array(n);
    this.#offsets = new Float64Array(n);
    this.#bounds = new Float64Array(n);
    this.#left = new Float64Array(sections);
    this.#releases = new Float64Array(n);
    this.#heights = new Float64Array(n);
    this.#stamp = new Int32Array(sections);
  }

  /** Largest sum of blocks alive together: no layout is lower. */
  get maxLive(): number {
    return this.#sums.reduce((most, sum) => Math.max(most, sum), 0);
  }

  /** Offsets of a layout no higher than `capacity`, by the blocks' numbers. */
  solve(capacity: number, limit: SearchLimit): PackingResult {
    if (this.maxLive > capacity) return null;
    this.#failed = noFailedStates();
    const seriesOf = (share: number) => ({ share, rounds: 0, spent: 0, blame: new Float64Array(this.#count) });
    const dives = seriesOf(DIVE * this.#count ** 2);
    const short = seriesOf(SHORT_ROUND * this.#count);
    for (;;) {
      const series = limit.dives === false || short.spent < dives.spent ? short : dives;
      const round = { work: Math.min(series.share, limit.work), shouldStop: limit.shouldStop };
      const before = round.work;
      this.#blame.set(series.blame);
      const result = this.#begin(capacity, orders[series.rounds++ % orders.length]!, round);
      series.blame = this.#blame.map((blame) => blame * BLAME_KEPT);
      series.spent += before - round.work;
      limit.work -= before - round.work;
      if (result !== undefined || this.#isStopped || limit.work <= 0) return result;
      if (series.rounds % orders.length === 0) series.share *= GROWTH;
    }
  }

  #begin(capacity: number, order: string, limit: SearchLimit): PackingResult {
    this.#capacity = capacity;
    this.#limit = limit;
    this.#isOut = false;
    this.#isStopped = false;
    for (const list of [this.#lifted, this.#risen, this.#stack]) list.length = 0;
    for (const list of [this.#placed, this.#passed, this.#offsets, this.#bounds]) list.fill(0);
    this.#left.set(this.#sums);
    for (let s = 0; s < this.#open.length; s++) this.#open[s] = this.#starts[s + 1]! - this.#starts[s]!;
    this.#sort(order);
    const isFound = this.#split(Array.from(this.#byTime));
    return isFound ? this.#offsets.slice() : this.#isOut ? undefined : null;
  }

  #sort(order: string): void {
    const known = this.#ranks.get(order);
    if (known) {
      this.#rank = known;
      return;
    }
    const largestFirst = [...order].map((name) => this.#keys[name]!);
    const blocks = Int32Array.from(this.#blame, (_, i) => i).sort((i, j) => {
      for (const key of largestFirst) if (key[j] !== key[i]) return key[j]! - key[i]!;
      return i - j;
    });
    this.#rank = new Int32Array(this.#count);
    for (let rank = 0; rank < this.#count; rank++) this.#rank[blocks[rank]!] = rank;
    if (!order.includes('B')) this.#ranks.set(order, this.#rank);
  }

  /** Places blocks that are left, part by part where they fall apart in time. */
  #split(byTime: readonly number[]): boolean {
    if (byTime.length === 0) return true;
    const { from, to } = this.#problem;
    let end = to[byTime[0]!]!;
    let starts: number[] | undefined;
    for (let k = 1; k < byTime.length; k++) {
      const i = byTime[k]!;
      if (from[i]! >= end) (starts ??= [0]).push(k);
      if (to[i]! > end) end = to[i]!;
    }
    if (!starts) return this.#place(byTime);
    const marks = this.#marks();
    // The smaller parts first: they fail soonest.
    const parts = starts.map((start, p) => byTime.slice(start, starts[p + 1])).sort((a, b) => a.length - b.length);
    for (const part of parts) {
      if (this.#place(part)) continue;
      this.#undo(marks);
      return false;
    }
    return true;
  }

  /** Places blocks that are left and hang together. */
  #place(blocks: readonly number[]): boolean {
    if (!this.#goOn(blocks.length)) return false;
    const [key, slot] = this.#keyOf(blocks);
    const failed = this.#failed!;
    if (failed.has(key, slot)) return false;
    const start = this.#marks();
    let level = -1;
    let lowest: number[] = [];
    for (;;) {
      lowest = lowest.filter((i) => this.#passed[i] === 0);
      if (lowest.length === 0) {
        level = this.#levelOf(blocks);
        if (level < 0) break;
        const begin = this.#risen.length;
        this.#stamps++;
        let isSound = true;
        for (const i of blocks) {
          if (this.#passed[i] === 1) isSound &&= this.#passBy(i, level);
          else if (this.#offsets[i] === level) lowest.push(i);
        }
        if (!isSound || !this.#fits(begin)) break;
      }
      const i = this.#choose(lowest, level);
      const marks = this.#marks();
      if (this.#put(i) && this.#split(blocks.filter((j) => j !== i))) return true;
      this.#undo(marks);
      if (this.#isOut) break;
      this.#lifted.push(i, level, 0);
      this.#passed[i] = 1;
      this.#stamps++;
      if (!this.#passBy(i, level) || !this.#fits(marks[2])) break;
    }
    this.#undo(start);
    if (!this.#isOut) failed.add(key, slot);
    return false;
  }

  /** The lowest offset of a block that is not passed by; −1 where one could drop, as nothing that is left lies below it. */
  #levelOf(blocks: readonly number[]): number {
    const { sizes } = this.#problem;
    const [offsets, passed] = [this.#offsets, this.#passed];
    let level = Number.POSITIVE_INFINITY;
    let ceiling = this.#capacity;
    for (const i of blocks) {
      const offset = offsets[i]!;
      if (passed[i] === 0 && offset < level) level = offset;
      if (offset + sizes[i]! < ceiling) ceiling = offset + sizes[i]!;
    }
    return level < ceiling ? level : -1;
  }

  /**
   * Of the blocks that may lie at the level the one to take first: where no waste is left, then where the fewest compete,
   * then by rank.
   */
  #choose(lowest: readonly number[], level: number): number {
    const { from, to } = this.#problem;
    if (lowest.length === 1) return lowest[0]!;
    const [ranks, counts, left] = [this.#rank, this.#counts, this.#left];
    let [begin, end] = [Number.POSITIVE_INFINITY, 0];
    for (const i of lowest) {
      if (from[i]! < begin) begin = from[i]!;
      if (to[i]! > end) end = to[i]!;
    }
    // By section how many begin less how many end there, added up to those that compete, more where waste is left.
    counts.fill(0, begin, end + 1);
    for (const i of lowest) {
      counts[from[i]!]!++;
      counts[to[i]!]!--;
    }
    const room = this.#capacity - level;
    for (let s = begin, competing = 0; s < end; s++) {
      competing += counts[s]!;
      counts[s] = left[s] === room ? competing : this.#count + competing;
    }
    let chosen = lowest[0]!;
    let fewest = Number.POSITIVE_INFINITY;
    for (const i of lowest) {
      let own = Number.POSITIVE_INFINITY;
      for (let s = from[i]!; s < to[i]!; s++) if (counts[s]! < own) own = counts[s]!;
      if (own < fewest || (own === fewest && ranks[i]! < ranks[chosen]!)) {
        fewest = own;
        chosen = i;
      }
    }
    return chosen;
  }

  /** What is left and where it may begin, hashed: 53 bits as the key, the rest as its slot. */
  #keyOf(blocks: readonly number[]): [key: number, slot: number] {
    let [high, low] = [0, 0];
    for (const i of blocks) {
      const code = Math.imul(i * 2 + this.#passed[i]!, 0x9e3779b1) ^ Math.imul(this.#offsets[i]! + 1, 0x85ebca6b);
      high = Math.imul(high ^ code, 0xc2b2ae35);
      high ^= high >>> 15;
      low = Math.imul(low + code, 0x27d4eb2f);
      low ^= low >>> 13;
    }
    return [(high >>> 0) * 2 ** 21 + (low >>> 11), low & (FAILED_STATES - 1)];
  }

  /**
   * A block that is passed by has to be lifted, by one that is left beside it and lies below the place where it would
   * have ended: otherwise it could drop. Raises its bound to the lowest end of such a one; false where there is none.
   */
  #passBy(i: number, level: number): boolean {
    const { sizes } = this.#problem;
    const [placed, bounds] = [this.#placed, this.#bounds];
    const top = this.#offsets[i]! + sizes[i]!;
    let lowest = Number.POSITIVE_INFINITY;
    const end = this.#firstBeside[i + 1]!;
    for (let k = this.#firstBeside[i]!; k < end; k++) {
      const j = this.#beside[k]!;
      if (placed[j] === 1) continue;
      const from = bounds[j]! > level ? bounds[j]! : level;
      if (from < top && from + sizes[j]! < lowest) lowest = from + sizes[j]!;
    }
    this.#limit.work -= end - this.#firstBeside[i]!;
    if (lowest + sizes[i]! > this.#capacity) {
      this.#blame[i]!++;
      return false;
    }
    this.#raise(i, lowest);
    return true;
  }

  #raise(i: number, bound: number): void {
    if (this.#bounds[i]! >= bound) return;
    this.#risen.push(i, this.#bounds[i]!);
    this.#bounds[i] = bound;
  }

  #goOn(work: number): boolean {
    this.#limit.work -= work;
    if (this.#limit.work <= 0) this.#isOut = true;
    else if (++this.#visited % 256 === 0 && this.#limit.shouldStop?.()) this.#isOut = this.#isStopped = true;
    return !this.#isOut;
  }

  /** Places a block at its lowest offset and lifts those that overlap it. False where what is left no longer fits. */
  #put(i: number): boolean {
    const { sizes } = this.#problem;
    const [placed, offsets, capacity] = [this.#placed, this.#offsets, this.#capacity];
    const top = offsets[i]! + sizes[i]!;
    placed[i] = 1;
    this.#stack.push(i);
    this.#leave(i);
    const begin = this.#risen.length;
    const end = this.#firstBeside[i + 1]!;
    this.#limit.work -= end - this.#firstBeside[i]!;
    for (let k = this.#firstBeside[i]!; k < end; k++) {
      const j = this.#beside[k]!;
      if (placed[j] === 1 || offsets[j]! >= top) continue;
      if (top + sizes[j]! > capacity) {
        this.#blame[j]!++;
        return false;
      }
      this.#lifted.push(j, offsets[j]!, this.#passed[j]!);
      offsets[j] = top;
      this.#passed[j] = 0;
      this.#raise(j, top);
    }
    this.#stamps++;
    return this.#fits(begin);
  }

  /** Takes a block that is placed out of what is left in its sections, behind those that still are. */
  #leave(i: number): void {
    const { sizes, from, to } = this.#problem;
    const [members, seats, firstSeat, starts] = [this.#members, this.#seats, this.#firstSeat, this.#starts];
    for (let s = from[i]!; s < to[i]!; s++) {
      this.#left[s]! -= sizes[i]!;
      const own = firstSeat[i]! + s - from[i]!;
      const at = seats[own]!;
      const last = starts[s]! + --this.#open[s]!;
      const other = members[last]!;
      members[at] = other;
      members[last] = i;
      seats[firstSeat[other]! + s - from[other]!] = at;
      seats[own] = last;
    }
  }

  /** Whether all sections in which bounds have been raised, those from `begin` on, still hold what is left in them. */
  #fits(begin: number): boolean {
    const { from, to } = this.#problem;
    for (let k = begin; k < this.#risen.length; k += 2) {
      const j = this.#risen[k]!;
      for (let s = from[j]!; s < to[j]!; s++) {
        if (this.#stamp[s] === this.#stamps) continue;
        this.#stamp[s] = this.#stamps;
        if (!this.#holds(s)) return false;
      }
    }
    return true;
  }

  /** Whether what is left in a section fits one above the other, each from its bound on. */
  #holds(section: number): boolean {
    const { sizes } = this.#problem;
    const [members, bounds, capacity] = [this.#members, this.#bounds, this.#capacity];
    const begin = this.#starts[section]!;
    const end = begin + this.#open[section]!;
    this.#limit.work -= this.#starts[section + 1]! - begin;
    // From this height on all that is left would fit, so that only higher bounds matter.
    const slack = capacity - this.#left[section]!;
    // Heights by the other bounds, the lowest first: few are different.
    const [releases, heights] = [this.#releases, this.#heights];
    let count = 0;
    for (let k = begin; k < end; k++) {
      const bound = bounds[members[k]!]!;
      if (bound <= slack) continue;
      const size = sizes[members[k]!]!;
      let at = count;
      while (at > 0 && releases[at - 1]! > bound) at--;
      if (at > 0 && releases[at - 1] === bound) {
        heights[at - 1]! += size;
        continue;
      }
      for (let m = count++; m > at; m--) {
        releases[m] = releases[m - 1]!;
        heights[m] = heights[m - 1]!;
      }
      releases[at] = bound;
      heights[at] = size;
    }
    let top = 0;
    for (let k = 0; k < count; k++) top = (top > releases[k]! ? top : releases[k]!) + heights[k]!;
    if (top <= capacity) return true;
    for (let k = begin; k < end; k++) this.#blame[members[k]!]!++;
    return false;
  }

  #marks(): readonly [placed: number, lifted: number, risen: number] {
    return [this.#stack.length, this.#lifted.length, this.#risen.length];
  }

  #undo([height, lifted, risen]: readonly [placed: number, lifted: number, risen: number]): void {
    const { sizes, from, to } = this.#problem;
    while (this.#risen.length > risen) {
      const bound = this.#risen.pop()!;
      this.#bounds[this.#risen.pop()!] = bound;
    }
    while (this.#lifted.length > lifted) {
      const passed = this.#lifted.pop()!;
      const offset = this.#lifted.pop()!;
      const j = this.#lifted.pop()!;
      this.#offsets[j] = offset;
      this.#passed[j] = passed;
    }
    while (this.#stack.length > height) {
      const i = this.#stack.pop()!;
      this.#placed[i] = 0;
      // In the order of the stack, so that it still stands right behind what is left.
      for (let s = from[i]!; s < to[i]!; s++) {
        this.#left[s]! += sizes[i]!;
        this.#open[s]!++;
      }
    }
  }
}
