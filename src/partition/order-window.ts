import type { FlatProblem } from './flat.ts';
import { KeyHeap } from './key-heap.ts';

/** Rearranges positions `from` … `to − 1` of an order, keeping to the edges. */
export class OrderWindow {
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
