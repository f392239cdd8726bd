/**
 * The ideals (down-sets) of a partial order: the sets of parts that can lie in front of a cut. Each set is found once, by
 * its bits; ascending numbers never lead to a smaller set, so that all subsets of a set have smaller numbers.
 *
 * What remains is the diagram of their inclusion: from each ideal one step for each part that may come next.
 */
export interface Ideals {
  readonly count: number;
  /** Steps from ideal i are first[i] … first[i + 1] − 1, by ascending rank of the added part. */
  readonly first: Int32Array;
  /** The part that a step adds. */
  readonly added: Int32Array;
  /** The ideal that a step leads to. */
  readonly target: Int32Array;
  /** Position of each part in the topological order that the ranks are of. */
  readonly rank: Int32Array;
  /** Parts of an ideal. */
  readonly members: (ideal: number) => number[];
  /** Parts of `ideal` that are not in `before`. */
  readonly between: (before: number, ideal: number) => number[];
}

/** Steps, and words of sets that they copy: about a second of work. Graphs with more are for other methods. */
const mostSteps = 2e7;
const mostWords = 2 ** 28;
/** What a part that may come next costs in words copied: such lists are copied and sorted once for each ideal. */
const wordsPerOpen = 16;

/**
 * Undefined where there are more than `limit`, or too many steps between them to go on, or `performance.now()` is past the
 * deadline.
 */
export function findIdeals(
  parts: number,
  edges: readonly (readonly [number, number])[],
  limit: number,
  deadline = Number.POSITIVE_INFINITY,
): Ideals | undefined {
  const sorted = topological(parts, edges);
  const { order, rank, predecessors } = sorted;
  const words = Math.max(1, (parts + 31) >>> 5);
  let bits = new Uint32Array(words * 1024);
  const table = new HashTable(words);
  const first: number[] = [0];
  const added: number[] = [];
  const target: number[] = [];
  // A set's minimal missing parts, by rank; carried until its steps are written.
  const open: Int32Array[] = [
    Int32Array.from(order.map((_, r) => r).filter((r) => predecessors[order[r]!]!.length === 0)),
  ];
  let count = 1;
  let copied = 0;
  const keys = randomKeys(parts);
  const hashes: number[] = [0];
  const set = new Uint32Array(words);
  table.insert(0, 0);
  for (let ideal = 0; ideal < count; ideal++) {
    const next = open[ideal]!;
    open[ideal] = empty;
    if (performance.now() > deadline) return undefined;
    for (const r of next) {
      copied += words;
      if (added.length > mostSteps || copied > mostWords) return undefined;
      const part = order[r]!;
      set.set(bits.subarray(ideal * words, (ideal + 1) * words));
      set[r >>> 5]! |= 1 << (r & 31);
      const hash = (hashes[ideal]! ^ keys[r]!) >>> 0;
      let found = table.find(hash, set, bits);
      if (found < 0) {
        if (count === limit) return undefined;
        found = count++;
        if (count * words > bits.length) {
          const wider = new Uint32Array(bits.length * 2);
          wider.set(bits);
          bits = wider;
        }
        bits.set(set, found * words);
        hashes.push(hash);
        copied += wordsPerOpen * next.length;
        table.insert(hash, found);
        open.push(openAfter(sorted, next, r, set));
      }
      added.push(part);
      target.push(found);
    }
    first.push(added.length);
  }
  const members = (ideal: number) => partsIn(bits, ideal * words, words).map((r) => order[r]!);
  return {
    count,
    first: Int32Array.from(first),
    added: Int32Array.from(added),
    target: Int32Array.from(target),
    rank,
    members,
    between: (before, ideal) => {
      const earlier = new Set(members(before));
      return members(ideal).filter((p) => !earlier.has(p));
    },
  };
}

/** Places of the bits that are set in some words, ascending. */
function partsIn(bits: Uint32Array, start: number, words: number): number[] {
  const result: number[] = [];
  for (let w = 0; w < words; w++) {
    for (let rest = bits[start + w]!; rest !== 0; rest &= rest - 1) result.push(w * 32 + 31 - Math.clz32(rest & -rest));
  }
  return result;
}

/** Ranks of the minimal missing parts of a set `now`, from those before the part of rank `r` came into it. */
function openAfter(
  { order, rank, successors, predecessors }: Order,
  before: Int32Array,
  r: number,
  now: Uint32Array,
): Int32Array {
  const ready: number[] = [];
  for (const s of successors[order[r]!]!) {
    if (predecessors[s]!.every((p) => (now[rank[p]! >>> 5]! >>> (rank[p]! & 31)) & 1)) ready.push(rank[s]!);
  }
  const result = new Int32Array(before.length - 1 + ready.length);
  let at = 0;
  for (let i = 0; i < before.length; i++) if (before[i] !== r) result[at++] = before[i]!;
  result.set(ready, at);
  return ready.length > 0 ? result.sort() : result;
}

const empty = new Int32Array(0);

type Order = ReturnType<typeof topological>;

/** Depth first, so that the prefixes of the order are sets that a cut would have. Edges that are given twice count once. */
export function topological(parts: number, edges: readonly (readonly [number, number])[]) {
  const successors: number[][] = Array.from({ length: parts }, () => []);
  const predecessors: number[][] = Array.from({ length: parts }, () => []);
  const seen = new Set<number>();
  for (const [from, to] of edges) {
    const key = from * parts + to;
    if (seen.has(key)) continue;
    seen.add(key);
    successors[from]!.push(to);
    predecessors[to]!.push(from);
  }
  const missing = predecessors.map((p) => p.length);
  const stack = missing.flatMap((m, p) => (m === 0 ? [p] : [])).reverse();
  const order: number[] = [];
  while (stack.length > 0) {
    const part = stack.pop()!;
    order.push(part);
    for (const s of successors[part]!) if (--missing[s]! === 0) stack.push(s);
  }
  const rank = new Int32Array(parts).fill(-1);
  order.forEach((part, r) => {
    rank[part] = r;
  });
  return { order, rank, successors, predecessors };
}

/** Random words, the same in every run: a set's hash is the exclusive or of its members' (Zobrist). */
function randomKeys(n: number): Uint32Array {
  let state = 0x9e3779b9;
  return Uint32Array.from({ length: n }, () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (x ^ (x >>> 16)) >>> 0;
  });
}

/** Open addressing with linear probing; the sets themselves are compared, so that equal hashes do no harm. */
class HashTable {
  readonly #words: number;
  #slots = new Int32Array(4096).fill(-1);
  #hashes = new Uint32Array(4096);
  #used = 0;

  constructor(words: number) {
    this.#words = words;
  }

  find(hash: number, set: Uint32Array, bits: Uint32Array): number {
    const mask = this.#slots.length - 1;
    for (let at = hash & mask; this.#slots[at]! >= 0; at = (at + 1) & mask) {
      if (this.#hashes[at] !== hash) continue;
      const start = this.#slots[at]! * this.#words;
      let w = 0;
      while (w < this.#words && bits[start + w] === set[w]) w++;
      if (w === this.#words) return this.#slots[at]!;
    }
    return -1;
  }

  insert(hash: number, ideal: number): void {
    if (++this.#used * 2 > this.#slots.length) this.#grow();
    this.#put(hash, ideal);
  }

  #put(hash: number, ideal: number): void {
    const mask = this.#slots.length - 1;
    let at = hash & mask;
    while (this.#slots[at]! >= 0) at = (at + 1) & mask;
    this.#slots[at] = ideal;
    this.#hashes[at] = hash;
  }

  #grow(): void {
    const [slots, hashes] = [this.#slots, this.#hashes];
    this.#slots = new Int32Array(slots.length * 2).fill(-1);
    this.#hashes = new Uint32Array(hashes.length * 2);
    slots.forEach((ideal, at) => {
      if (ideal >= 0) this.#put(hashes[at]!, ideal);
    });
  }
}
