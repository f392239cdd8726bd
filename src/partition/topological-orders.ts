import type { FlatProblem } from './flat.ts';
import { KeyHeap } from './key-heap.ts';

/** Which of the parts whose predecessors have all been taken comes next: the one of the least key. */
type Priority = (part: number) => number;

/**
 * Parts in a topological order: `taken` fixed parts first, then always the open part of the least key. Keys are read when
 * a part opens, and again when `touched` names it.
 */
export function topologicalOrder(
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

/** The same graph with all edges turned round; an order of it, reversed, is an order of the graph. */
const turned = (flat: FlatProblem): FlatProblem => ({
  ...flat,
  successors: flat.predecessors,
  predecessors: flat.successors,
});

/**
 * Change of the values alive in front of the next cut if a part is taken now: those of which it is the first end begin,
 * those of which it is the last end end. Taking the least first keeps cuts narrow. Changes are kept as values begin and come
 * to their last end, O(ends) in all, however many values a part has.
 */
class LiveValues {
  readonly #flat: FlatProblem;
  readonly #remaining: Int32Array;
  readonly #begun: Uint8Array;
  readonly #taken: Uint8Array;
  readonly #change: Float64Array;

  constructor(flat: FlatProblem) {
    const { parts, cost, ends } = flat;
    this.#flat = flat;
    this.#remaining = Int32Array.from(cost, (_, v) => ends.start[v + 1]! - ends.start[v]!);
    this.#begun = new Uint8Array(cost.length);
    this.#taken = new Uint8Array(parts);
    this.#change = new Float64Array(parts);
    for (let v = 0; v < cost.length; v++) {
      for (let e = ends.start[v]!; e < ends.start[v + 1]!; e++) this.#change[ends.items[e]!]! += cost[v]!;
    }
  }

  change(part: number): number {
    return this.#change[part]!;
  }

  /** Takes a part; `touch` hears of the parts whose change is another now. */
  take(part: number, touch: (part: number) => void): void {
    const { touching, ends, cost } = this.#flat;
    this.#taken[part] = 1;
    for (let t = touching.start[part]!; t < touching.start[part + 1]!; t++) {
      const v = touching.items[t]!;
      const begins = this.#begun[v] === 0;
      const left = --this.#remaining[v]!;
      if (!begins && left !== 1) continue;
      this.#begun[v] = 1;
      const less = (begins ? cost[v]! : 0) + (left === 1 ? cost[v]! : 0);
      for (let e = ends.start[v]!; e < ends.start[v + 1]!; e++) {
        const end = ends.items[e]!;
        if (this.#taken[end] === 1) continue;
        this.#change[end]! -= less;
        touch(end);
      }
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
