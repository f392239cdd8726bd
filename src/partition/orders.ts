import { type FlatProblem, fastRandom, flatten } from './flat.ts';
import type { OrderCut } from './order-cut.ts';
import type { MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';

/** Which of the parts whose predecessors have all been taken comes next: the one of the least key. */
type Priority = (part: number) => number;

/**
 * Parts in a topological order: `taken` fixed parts first, then always the open part of the least key. Keys are read when
 * a part opens, and again when `touched` names it.
 */
function topologicalOrder(
  flat: FlatProblem,
  key: Priority,
  taking?: (part: number, touch: (part: number) => void) => void,
): Int32Array {
  const { parts, successors, predecessors } = flat;
  const missing = Int32Array.from({ length: parts }, (_, p) => predecessors.start[p + 1]! - predecessors.start[p]!);
  const heap = new KeyHeap(parts);
  for (let p = 0; p < parts; p++) if (missing[p] === 0) heap.put(p, key(p));
  const order = new Int32Array(parts);
  const touch = (p: number) => {
    if (heap.has(p)) heap.put(p, key(p));
  };
  for (let at = 0; at < parts; at++) {
    const p = heap.pop();
    order[at] = p;
    taking?.(p, touch);
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      const next = successors.items[e]!;
      if (--missing[next]! === 0) heap.put(next, key(next));
    }
  }
  return order;
}

/** A binary heap of parts whose keys may change; ties fall to the smaller number. */
class KeyHeap {
  readonly #items: Int32Array;
  readonly #place: Int32Array;
  readonly #key: Float64Array;
  #size = 0;

  constructor(parts: number) {
    this.#items = new Int32Array(parts);
    this.#place = new Int32Array(parts).fill(-1);
    this.#key = new Float64Array(parts);
  }

  has(part: number): boolean {
    return this.#place[part]! >= 0;
  }

  put(part: number, key: number): void {
    this.#key[part] = key;
    if (this.#place[part]! < 0) {
      this.#place[part] = this.#size;
      this.#items[this.#size++] = part;
    }
    this.#up(this.#place[part]!);
    this.#down(this.#place[part]!);
  }

  pop(): number {
    const top = this.#items[0]!;
    const last = this.#items[--this.#size]!;
    this.#place[top] = -1;
    if (this.#size > 0) {
      this.#items[0] = last;
      this.#place[last] = 0;
      this.#down(0);
    }
    return top;
  }

  #less(a: number, b: number): boolean {
    const [x, y] = [this.#key[a]!, this.#key[b]!];
    return x < y || (x === y && a < b);
  }

  #up(from: number): void {
    let at = from;
    const part = this.#items[at]!;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = this.#items[parent]!;
      if (!this.#less(part, other)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = parent;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }

  #down(from: number): void {
    let at = from;
    const part = this.#items[at]!;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#less(this.#items[child + 1]!, this.#items[child]!)) child++;
      const other = this.#items[child]!;
      if (!this.#less(other, part)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = child;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }
}

/** The same graph with all edges turned round; an order of it, reversed, is an order of the graph. */
const turned = (flat: FlatProblem): FlatProblem => ({
  ...flat,
  successors: flat.predecessors,
  predecessors: flat.successors,
});

/**
 * Change of the values alive in front of the next cut if a part is taken now: those of which it is the first end begin,
 * those of which it is the last end. Taking the least first keeps cuts narrow.
 */
class LiveValues {
  readonly #flat: FlatProblem;
  readonly #remaining: Int32Array;
  readonly #begun: Uint8Array;

  constructor(flat: FlatProblem) {
    this.#flat = flat;
    this.#remaining = Int32Array.from(flat.cost, (_, v) => flat.ends.start[v + 1]! - flat.ends.start[v]!);
    this.#begun = new Uint8Array(flat.cost.length);
  }

  change(part: number): number {
    const { touching, cost } = this.#flat;
    let change = 0;
    for (let t = touching.start[part]!; t < touching.start[part + 1]!; t++) {
      const v = touching.items[t]!;
      if (this.#begun[v] === 0) change += cost[v]!;
      else if (this.#remaining[v] === 1) change -= cost[v]!;
    }
    return change;
  }

  /** Takes a part; `touch` hears of the parts whose change is another now. */
  take(part: number, touch: (part: number) => void): void {
    const { touching, ends } = this.#flat;
    for (let t = touching.start[part]!; t < touching.start[part + 1]!; t++) {
      const v = touching.items[t]!;
      const was = this.#begun[v]!;
      this.#begun[v] = 1;
      if (--this.#remaining[v]! > 1 && was === 1) continue;
      for (let e = ends.start[v]!; e < ends.start[v + 1]!; e++) touch(ends.items[e]!);
    }
  }
}

/** Orders to begin with, the likeliest first. */
export function firstOrders(flat: FlatProblem): (() => Int32Array)[] {
  const deepFirst = (of: FlatProblem) => {
    let clock = 0;
    return topologicalOrder(of, () => --clock);
  };
  const broadFirst = (of: FlatProblem) => {
    let clock = 0;
    return topologicalOrder(of, () => ++clock);
  };
  const narrow = (of: FlatProblem) => {
    const live = new LiveValues(of);
    return topologicalOrder(
      of,
      (p) => live.change(p),
      (p, touch) => live.take(p, touch),
    );
  };
  const inverse = (make: (of: FlatProblem) => Int32Array) => () => make(turned(flat)).reverse();
  return [
    () => topologicalOrder(flat, (p) => p),
    () => narrow(flat),
    () => deepFirst(flat),
    inverse(narrow),
    inverse(deepFirst),
    () => broadFirst(flat),
    inverse(broadFirst),
  ];
}

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

/** Largest load of a placement, in O(parts + ends). */
export function loadMeter(flat: FlatProblem): (deviceOf: Int32Array) => number {
  const { devices, classes, classOf, ends, cost, overlap } = flat;
  const computing = new Float64Array(devices);
  const into = new Float64Array(devices);
  const out = new Float64Array(devices);
  const seen = new Int32Array(devices);
  let stamp = 0;
  return (deviceOf) => {
    computing.fill(0);
    into.fill(0);
    out.fill(0);
    for (let p = 0; p < deviceOf.length; p++) {
      const d = deviceOf[p]!;
      computing[d]! += classes[classOf[d]!]!.time[p]!;
    }
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v]!;
      const home = deviceOf[ends.items[begin]!]!;
      seen[home] = ++stamp;
      let crosses = false;
      for (let e = begin + 1; e < ends.start[v + 1]!; e++) {
        const d = deviceOf[ends.items[e]!]!;
        if (seen[d] === stamp) continue;
        seen[d] = stamp;
        into[d]! += cost[v]!;
        crosses = true;
      }
      if (crosses) out[home]! += cost[v]!;
    }
    let largest = 0;
    for (let d = 0; d < devices; d++) {
      const { transfer } = classes[classOf[d]!]!;
      const load = overlap
        ? Math.max(computing[d]!, into[d]! * transfer, out[d]! * transfer)
        : computing[d]! + (into[d]! + out[d]!) * transfer;
      largest = Math.max(largest, load);
    }
    return largest;
  };
}

/** Rearranges positions `from` … `to − 1` of an order, keeping to the edges. */
class Window {
  readonly #flat: FlatProblem;
  readonly #random: () => number;
  readonly #missing: Int32Array;
  readonly #inside: Uint8Array;
  readonly #heap: KeyHeap;
  readonly #key: Float64Array;

  constructor(flat: FlatProblem, random: () => number) {
    this.#flat = flat;
    this.#random = random;
    this.#missing = new Int32Array(flat.parts);
    this.#inside = new Uint8Array(flat.parts);
    this.#heap = new KeyHeap(flat.parts);
    this.#key = new Float64Array(flat.parts);
  }

  rearrange(order: Int32Array, from: number, to: number): Int32Array {
    const random = this.#random;
    const next = order.slice();
    const draw = random();
    const length = to - from;
    if (draw < 0.4) {
      // One part and what must come before it (or behind it) within the window go to the front (or the back).
      const early = random() < 0.5;
      const pivot = from + Math.floor(random() * length);
      this.#pull(next, from, to, pivot, early);
    } else {
      // Positions with noise: neighbours change places where the edges allow.
      const noise = length * random() * random();
      const backwards = random() < 0.5;
      for (let i = from; i < to; i++) this.#key[order[i]!] = (backwards ? -i : i) + noise * random();
      if (draw > 0.9) for (let i = from; i < to; i++) this.#key[order[i]!] = random();
      this.#sort(next, from, to, backwards);
    }
    return next;
  }

  #pull(order: Int32Array, from: number, to: number, pivot: number, early: boolean): void {
    const links = early ? this.#flat.predecessors : this.#flat.successors;
    this.#inside[order[pivot]!] = 1;
    const moved: number[] = [];
    const kept: number[] = [];
    const step = early ? -1 : 1;
    for (let i = pivot; early ? i >= from : i < to; i += step) {
      const p = order[i]!;
      if (this.#inside[p] === 0) {
        kept.push(p);
        continue;
      }
      moved.push(p);
      for (let e = links.start[p]!; e < links.start[p + 1]!; e++) this.#inside[links.items[e]!] = 1;
    }
    for (const p of moved) {
      this.#inside[p] = 0;
      for (let e = links.start[p]!; e < links.start[p + 1]!; e++) this.#inside[links.items[e]!] = 0;
    }
    // Both were gathered walking away from the pivot.
    let at = pivot;
    for (const p of kept) {
      order[at] = p;
      at += step;
    }
    for (const p of moved) {
      order[at] = p;
      at += step;
    }
  }

  #sort(order: Int32Array, from: number, to: number, backwards: boolean): void {
    const { predecessors, successors } = this.#flat;
    const [before, after] = backwards ? [successors, predecessors] : [predecessors, successors];
    for (let i = from; i < to; i++) this.#inside[order[i]!] = 1;
    for (let i = from; i < to; i++) {
      const p = order[i]!;
      let missing = 0;
      for (let e = before.start[p]!; e < before.start[p + 1]!; e++) missing += this.#inside[before.items[e]!]!;
      this.#missing[p] = missing;
      if (missing === 0) this.#heap.put(p, this.#key[p]!);
    }
    for (let i = from; i < to; i++) this.#inside[order[i]!] = 0;
    for (let t = 0; t < to - from; t++) {
      const p = this.#heap.pop();
      order[backwards ? to - 1 - t : from + t] = p;
      for (let e = after.start[p]!; e < after.start[p + 1]!; e++) {
        const next = after.items[e]!;
        if (this.#missing[next]! > 0 && --this.#missing[next]! === 0) this.#heap.put(next, this.#key[next]!);
      }
    }
  }
}
