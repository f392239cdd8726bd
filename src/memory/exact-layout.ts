/**
 * Static layout by exact search (Moffitt, MiniMalloc, ASPLOS 2024): is there a layout within a height?
 *
 * Any layout can be pushed down until each block lies at 0 or on another one. Such *canonical* layouts are built from below:
 * blocks in the order of their offsets, each at the lowest place that those before leave. Pruned are nodes where
 * - a block that is left out could lie wholly below the one that is placed;
 * - a block was passed by and nothing that is left could still lift it;
 * - what is left in some section of time does not fit above the lowest place that is left there.
 * Where the blocks that are left fall apart in time, the parts are searched by themselves.
 */

/** Blocks as arrays: alive in the sections [from[i], to[i]) of time, `sizes[i]` high. */
export interface PackingProblem {
  readonly sizes: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly sections: number;
}

export interface SearchLimit {
  /** Work left: about one unit for each block or section looked at. Counted down. */
  work: number;
  /** Milliseconds of performance.now at which it stops as well. */
  readonly deadline?: number;
}

/** `null`: there is none; `undefined`: the limit came first. */
export type PackingResult = Float64Array | null | undefined;

/** In which order blocks are tried that may lie equally low: how much is alive with one at most, area, lifetime. */
export const packingOrders = ['TAW', 'TWA', 'WAT', 'ATW', 'WTA', 'AWT'] as const;
export type PackingOrder = (typeof packingOrders)[number];

/** Blocks with inclusive instants as a problem whose sections are the stretches in which the same blocks are alive. */
export function packingProblem(
  blocks: readonly { readonly first: number; readonly last: number; readonly bytes: number }[],
  unit: number,
): PackingProblem {
  const instants = [...new Set(blocks.flatMap((b) => [b.first, b.last + 1]))].sort((a, b) => a - b);
  const index = new Map(instants.map((t, i) => [t, i]));
  return {
    sizes: Float64Array.from(blocks, (b) => Math.ceil(b.bytes / unit)),
    from: Int32Array.from(blocks, (b) => index.get(b.first)!),
    to: Int32Array.from(blocks, (b) => index.get(b.last + 1)!),
    sections: Math.max(0, instants.length - 1),
  };
}

export class PackingSearch {
  readonly #problem: PackingProblem;
  readonly #count: number;
  /** Blocks alive in each section: those of section s from #starts[s] on. */
  readonly #members: Int32Array;
  readonly #starts: Int32Array;
  /** Blocks that overlap each one in time: those of block i from #firstBeside[i] on. */
  readonly #beside: Int32Array;
  readonly #firstBeside: Int32Array;
  /** All blocks by the beginning of their lives. */
  readonly #byTime: Int32Array;
  /** Place of each block in the order in which equally low ones are tried. */
  readonly #rank: Int32Array;
  readonly #placed: Uint8Array;
  /** Of a placed block its offset; of another the lowest that placed ones leave. */
  readonly #offsets: Float64Array;
  /** Blocks not placed that overlap each one. */
  readonly #hats: Int32Array;
  /** By section, of blocks that are not placed: the sum of their heights, and the lowest of their offsets. */
  readonly #left: Float64Array;
  readonly #lowest: Float64Array;
  #capacity = 0;
  #limit: SearchLimit = { work: 0 };
  nodes = 0;
  #isOut = false;
  /** What was lifted, to be undone: block and former offset, section and former lowest. */
  readonly #lifted: number[] = [];
  readonly #risen: number[] = [];
  /** Placed blocks, the last on top: they are taken away in that order. */
  readonly #stack: number[] = [];
  readonly #stamp: Int32Array;
  #stamps = 0;

  constructor(problem: PackingProblem) {
    const { sizes, from, to, sections } = problem;
    this.#problem = problem;
    const n = (this.#count = sizes.length);
    this.#starts = new Int32Array(sections + 1);
    for (let i = 0; i < n; i++) for (let s = from[i]!; s < to[i]!; s++) this.#starts[s + 1]!++;
    for (let s = 0; s < sections; s++) this.#starts[s + 1]! += this.#starts[s]!;
    this.#members = new Int32Array(this.#starts[sections]!);
    const at = this.#starts.slice();
    for (let i = 0; i < n; i++) for (let s = from[i]!; s < to[i]!; s++) this.#members[at[s]!++] = i;
    this.#byTime = Int32Array.from(sizes, (_, i) => i).sort((i, j) => from[i]! - from[j]! || i - j);
    const beside: number[] = [];
    this.#firstBeside = new Int32Array(n + 1);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < n; k++) {
        const j = this.#byTime[k]!;
        if (from[j]! >= to[i]!) break;
        if (j !== i && to[j]! > from[i]!) beside.push(j);
      }
      this.#firstBeside[i + 1] = beside.length;
    }
    this.#beside = Int32Array.from(beside);
    this.#rank = new Int32Array(n);
    this.#placed = new Uint8Array(n);
    this.#offsets = new Float64Array(n);
    this.#hats = new Int32Array(n);
    this.#left = new Float64Array(sections);
    this.#lowest = new Float64Array(sections);
    this.#stamp = new Int32Array(sections);
  }

  /** Largest sum of blocks alive together: no layout is lower. */
  get maxLive(): number {
    return this.#sums().reduce((most, sum) => Math.max(most, sum), 0);
  }

  #sums(): Float64Array {
    const { sizes, from, to, sections } = this.#problem;
    const sums = new Float64Array(sections);
    for (let i = 0; i < this.#count; i++) for (let s = from[i]!; s < to[i]!; s++) sums[s]! += sizes[i]!;
    return sums;
  }

  /** Offsets of a layout no higher than `capacity`, by the blocks' numbers. */
  solve(capacity: number, order: PackingOrder, limit: SearchLimit): PackingResult {
    this.#capacity = capacity;
    this.#limit = limit;
    this.nodes = 0;
    this.#isOut = false;
    for (const list of [this.#lifted, this.#risen, this.#stack]) list.length = 0;
    this.#placed.fill(0);
    this.#offsets.fill(0);
    this.#lowest.fill(0);
    this.#left.set(this.#sums());
    for (const left of this.#left) if (left > capacity) return null;
    for (let i = 0; i < this.#count; i++) this.#hats[i] = this.#firstBeside[i + 1]! - this.#firstBeside[i]!;
    this.#sort(order);
    const isFound = this.#split(Array.from(this.#byTime), 0, -1);
    return isFound ? this.#offsets.slice() : this.#isOut ? undefined : null;
  }

  #sort(order: PackingOrder): void {
    const { sizes, from, to } = this.#problem;
    const keys = {
      T: Float64Array.from(sizes, (_, i) => this.#left.subarray(from[i]!, to[i]!).reduce((a, b) => Math.max(a, b), 0)),
      W: Float64Array.from(sizes, (_, i) => to[i]! - from[i]!),
      A: Float64Array.from(sizes, (size, i) => size * (to[i]! - from[i]!)),
    };
    const largestFirst = ([...order] as (keyof typeof keys)[]).map((name) => keys[name]);
    Int32Array.from(sizes, (_, i) => i)
      .sort((i, j) => {
        for (const key of largestFirst) if (key[j] !== key[i]) return key[j]! - key[i]!;
        return i - j;
      })
      .forEach((block, rank) => {
        this.#rank[block] = rank;
      });
  }

  /** Places blocks that are left, part by part where they fall apart in time. */
  #split(byTime: readonly number[], level: number, rank: number): boolean {
    if (byTime.length === 0) return true;
    const { from, to } = this.#problem;
    let end = to[byTime[0]!]!;
    let starts: number[] | undefined;
    for (let k = 1; k < byTime.length; k++) {
      const i = byTime[k]!;
      if (from[i]! >= end) (starts ??= [0]).push(k);
      if (to[i]! > end) end = to[i]!;
    }
    if (!starts) return this.#place(byTime, level, rank);
    const marks = this.#marks();
    // The smaller parts first: they fail soonest.
    const parts = starts.map((start, p) => byTime.slice(start, starts[p + 1])).sort((a, b) => a.length - b.length);
    for (const part of parts) {
      if (this.#place(part, level, rank)) continue;
      this.#undo(marks);
      return false;
    }
    return true;
  }

  /** Places blocks that are left and hang together: the next lies above (level, rank), where the one before does. */
  #place(blocks: readonly number[], level: number, rank: number): boolean {
    if (!this.#goOn(blocks.length)) return false;
    const { sizes, from } = this.#problem;
    const [offsets, ranks, capacity] = [this.#offsets, this.#rank, this.#capacity];
    let ceiling = capacity + 1;
    for (const i of blocks) ceiling = Math.min(ceiling, offsets[i]! + sizes[i]!);
    if (ceiling > capacity) return false;
    const candidates: number[] = [];
    for (const i of blocks) {
      const offset = offsets[i]!;
      if (offset < level || (offset === level && ranks[i]! < rank)) {
        if (this.#hats[i] === 0) return false;
      } else if (offset < ceiling) candidates.push(i);
    }
    const [left, begin] = [this.#left, from[blocks[0]!]!];
    const end = this.#endOf(blocks);
    for (let s = begin; s < end; s++) if (left[s]! > 0 && level + left[s]! > capacity) return false;
    candidates.sort((i, j) => offsets[i]! - offsets[j]! || ranks[i]! - ranks[j]!);
    const marks = this.#marks();
    for (const i of candidates) {
      const isSound = this.#put(i);
      if (isSound) {
        const rest = blocks.filter((j) => j !== i);
        if (this.#split(rest, offsets[i]!, ranks[i]!)) return true;
      }
      this.#undo(marks);
      if (this.#isOut) return false;
    }
    return false;
  }

  #endOf(blocks: readonly number[]): number {
    const { to } = this.#problem;
    let end = 0;
    for (const i of blocks) if (to[i]! > end) end = to[i]!;
    return end;
  }

  #goOn(work: number): boolean {
    this.#limit.work -= work;
    if (this.#limit.work <= 0) this.#isOut = true;
    else if (++this.nodes % 256 === 0 && this.#limit.deadline !== undefined) {
      if (performance.now() > this.#limit.deadline) this.#isOut = true;
    }
    return !this.#isOut;
  }

  /**
   * Places a block at its lowest offset and lifts those that overlap it. False where one of them no longer fits, or in
   * some section not all that is left fits above the lowest place of any of it.
   */
  #put(i: number): boolean {
    const { sizes, from, to } = this.#problem;
    const [placed, offsets, lowest, capacity] = [this.#placed, this.#offsets, this.#lowest, this.#capacity];
    const level = offsets[i]!;
    const top = level + sizes[i]!;
    placed[i] = 1;
    this.#stack.push(i);
    for (let s = from[i]!; s < to[i]!; s++) this.#left[s]! -= sizes[i]!;
    const begin = this.#lifted.length;
    const end = this.#firstBeside[i + 1]!;
    let isSound = true;
    for (let k = this.#firstBeside[i]!; k < end; k++) {
      const j = this.#beside[k]!;
      if (placed[j] === 1) continue;
      this.#hats[j]!--;
      if (offsets[j]! >= top) continue;
      this.#lifted.push(j, offsets[j]!);
      offsets[j] = top;
      isSound &&= top + sizes[j]! <= capacity;
    }
    this.#limit.work -= end - this.#firstBeside[i]!;
    if (!isSound) return false;
    this.#stamps++;
    for (let s = from[i]!; s < to[i]!; s++) if (!this.#rise(s, level)) return false;
    for (let k = begin; k < this.#lifted.length; k += 2) {
      const j = this.#lifted[k]!;
      const before = this.#lifted[k + 1]!;
      for (let s = from[j]!; s < to[j]!; s++) if (lowest[s] === before && !this.#rise(s, level)) return false;
    }
    return true;
  }

  /** Finds the lowest of what is left in a section anew. False where not all of it fits above. */
  #rise(section: number, level: number): boolean {
    if (this.#stamp[section] === this.#stamps) return true;
    this.#stamp[section] = this.#stamps;
    const [members, placed, offsets] = [this.#members, this.#placed, this.#offsets];
    const [begin, end] = [this.#starts[section]!, this.#starts[section + 1]!];
    let lowest = Number.POSITIVE_INFINITY;
    for (let k = begin; k < end; k++) {
      const j = members[k]!;
      if (placed[j] === 0 && offsets[j]! < lowest) lowest = offsets[j]!;
    }
    this.#limit.work -= end - begin;
    if (lowest !== this.#lowest[section]) {
      this.#risen.push(section, this.#lowest[section]!);
      this.#lowest[section] = lowest;
    }
    const left = this.#left[section]!;
    return left === 0 || Math.max(lowest, level) + left <= this.#capacity;
  }

  #marks(): readonly [placed: number, lifted: number, risen: number] {
    return [this.#stack.length, this.#lifted.length, this.#risen.length];
  }

  #undo([height, lifted, risen]: readonly [placed: number, lifted: number, risen: number]): void {
    const { sizes, from, to } = this.#problem;
    while (this.#risen.length > risen) {
      const lowest = this.#risen.pop()!;
      this.#lowest[this.#risen.pop()!] = lowest;
    }
    while (this.#lifted.length > lifted) {
      const offset = this.#lifted.pop()!;
      this.#offsets[this.#lifted.pop()!] = offset;
    }
    while (this.#stack.length > height) {
      const i = this.#stack.pop()!;
      this.#placed[i] = 0;
      for (let s = from[i]!; s < to[i]!; s++) this.#left[s]! += sizes[i]!;
      const end = this.#firstBeside[i + 1]!;
      for (let k = this.#firstBeside[i]!; k < end; k++) {
        const j = this.#beside[k]!;
        if (this.#placed[j] === 0) this.#hats[j]!++;
      }
    }
  }
}
