import type { FlatProblem } from './flat.ts';

export interface AnnealingOptions {
  readonly random: () => number;
  /**
   * Contiguous: place of each device in the order of the stages; a part moves only where no edge would then lead to an
   * earlier one. Without it any part may lie anywhere.
   */
  readonly rank?: ArrayLike<number>;
  /** Load that is reached already; the energy is stated in it. */
  readonly reference: number;
}

/**
 * Simulated annealing (Kirkpatrick, Gelatt, Vecchi, Science 1983) of a placement by moves of one part and swaps of two.
 *
 * The largest load itself is no guide: most moves leave it. The energy is Σ over devices of (load / reference)¹⁶, which
 * tells the heavier of two heavy devices and hardly sees light ones. Moving part p from device a to b changes the loads of
 * a and b alone, since for any other device the part stays outside; a value with m of its s ends on a and c on b is then
 *
 *     on a   charged before if m < s, after if m > 1          (transfers in and out add up: some of the ends, not all)
 *     on b   charged before if c > 0, after if c + 1 < s
 *
 * so a move costs O(values of the part). Bytes above a capacity raise the energy until they are gone.
 */
export class Annealing {
  readonly #flat: FlatProblem;
  readonly #random: () => number;
  readonly #rank: ArrayLike<number> | undefined;
  readonly #deviceOf: Int32Array;
  /** Ends of value v on device d, at v · devices + d. */
  readonly #ends: Int32Array;
  readonly #computing: Float64Array;
  readonly #in: Float64Array;
  readonly #out: Float64Array;
  readonly #bytes: Float64Array;
  readonly #energy: Float64Array;
  /** Parts that cannot run where they lie. */
  #misplaced = 0;
  readonly #reference: number;
  /** Of the last move tried: what a and b would have. */
  readonly #after = new Float64Array(10);
  readonly #best: Int32Array;
  #objective: number;

  constructor(flat: FlatProblem, start: ArrayLike<number>, { random, rank, reference }: AnnealingOptions) {
    const { parts, devices, cost } = flat;
    this.#flat = flat;
    this.#random = random;
    this.#rank = rank;
    this.#reference = reference;
    this.#deviceOf = Int32Array.from(start);
    this.#ends = new Int32Array(cost.length * devices);
    this.#computing = new Float64Array(devices);
    this.#in = new Float64Array(devices);
    this.#out = new Float64Array(devices);
    this.#bytes = new Float64Array(devices);
    this.#energy = new Float64Array(devices);
    this.#best = new Int32Array(parts);
    this.#objective = Number.POSITIVE_INFINITY;
    this.#count();
    this.#keepBest();
  }

  /** The best legal placement seen, Infinity where there is none. */
  get best(): { readonly deviceOf: Int32Array; readonly objective: number } {
    return { deviceOf: this.#best, objective: this.#objective };
  }

  /** Tries so many moves at a temperature, in energies of a device loaded to the reference. */
  run(moves: number, temperature: number): void {
    const { parts, devices } = this.#flat;
    if (devices < 2 || parts === 0) return;
    const random = this.#random;
    for (let m = 0; m < moves; m++) {
      const p = Math.floor(random() * parts);
      const a = this.#deviceOf[p]!;
      const b = this.#target(p, a);
      if (b === a || !this.#allowed(p, b)) continue;
      const change = this.#try(p, a, b);
      if (accepts(change, temperature, random)) {
        this.#make(p, a, b);
        this.#keepBest();
        continue;
      }
      // A part of b in exchange, if that makes up for it.
      if (random() < 0.5) continue;
      const q = this.#partOn(b, p);
      if (q < 0) continue;
      this.#make(p, a, b);
      if (this.#allowed(q, a)) {
        const back = this.#try(q, b, a);
        if (accepts(change + back, temperature, random)) {
          this.#make(q, b, a);
          this.#keepBest();
          continue;
        }
      }
      this.#try(p, b, a);
      this.#make(p, b, a);
    }
  }

  /** Mostly a device where an end of one of the part's values lies: elsewhere a part only adds transfers. */
  #target(p: number, a: number): number {
    const { devices, touching, ends } = this.#flat;
    const random = this.#random;
    const begin = touching.start[p]!;
    const values = touching.start[p + 1]! - begin;
    if (values > 0 && random() < 0.8) {
      const v = touching.items[begin + Math.floor(random() * values)]!;
      const first = ends.start[v]!;
      const other = ends.items[first + Math.floor(random() * (ends.start[v + 1]! - first))]!;
      const b = this.#deviceOf[other]!;
      if (b !== a) return b;
    }
    const b = Math.floor(random() * (devices - 1));
    return b < a ? b : b + 1;
  }

  /** A part on a device, by a few draws; −1 where none was met. */
  #partOn(device: number, except: number): number {
    const { parts } = this.#flat;
    for (let draw = 0; draw < 8; draw++) {
      const q = Math.floor(this.#random() * parts);
      if (this.#deviceOf[q] === device && q !== except) return q;
    }
    return -1;
  }

  #allowed(p: number, device: number): boolean {
    const { classes, classOf, predecessors, successors } = this.#flat;
    if (classes[classOf[device]!]!.time[p] === Number.POSITIVE_INFINITY) return false;
    const rank = this.#rank;
    if (!rank) return true;
    const r = rank[device]!;
    for (let e = predecessors.start[p]!; e < predecessors.start[p + 1]!; e++) {
      if (rank[this.#deviceOf[predecessors.items[e]!]!]! > r) return false;
    }
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      if (rank[this.#deviceOf[successors.items[e]!]!]! < r) return false;
    }
    return true;
  }

  /** Change of the energy if p moves from a to b; `#make` carries it out. */
  #try(p: number, a: number, b: number): number {
    const { classes, classOf, touching, ends, cost, devices } = this.#flat;
    const from = classes[classOf[a]!]!;
    const to = classes[classOf[b]!]!;
    let [inA, outA, inB, outB] = [this.#in[a]!, this.#out[a]!, this.#in[b]!, this.#out[b]!];
    for (let t = touching.start[p]!; t < touching.start[p + 1]!; t++) {
      const v = touching.items[t]!;
      const c = cost[v]!;
      const first = ends.start[v]!;
      const size = ends.start[v + 1]! - first;
      const onA = this.#ends[v * devices + a]!;
      const onB = this.#ends[v * devices + b]!;
      const producer = ends.items[first]!;
      if (producer === p) {
        if (onA < size) outA -= c;
        if (onA > 1) inA += c;
        if (onB > 0) inB -= c;
        if (onB + 1 < size) outB += c;
        continue;
      }
      const home = this.#deviceOf[producer]!;
      if (home === a) {
        if (onA === size) outA += c;
      } else if (onA === 1) inA -= c;
      if (home === b) {
        if (onB + 1 === size) outB -= c;
      } else if (onB === 0) inB += c;
    }
    const after = this.#after;
    const time = from.time[p]!;
    after[0] = this.#computing[a]! - (time < Number.POSITIVE_INFINITY ? time : 0);
    after[1] = inA;
    after[2] = outA;
    after[3] = this.#bytes[a]! - from.bytes[p]!;
    after[4] = this.#energyOf(a, after[0]!, inA, outA, after[3]!);
    after[5] = this.#computing[b]! + to.time[p]!;
    after[6] = inB;
    after[7] = outB;
    after[8] = this.#bytes[b]! + to.bytes[p]!;
    after[9] = this.#energyOf(b, after[5]!, inB, outB, after[8]!);
    const rescued = time === Number.POSITIVE_INFINITY ? -misplacedEnergy : 0;
    return after[4]! + after[9]! - this.#energy[a]! - this.#energy[b]! + rescued;
  }

  #make(p: number, a: number, b: number): void {
    const { classes, classOf, touching, devices } = this.#flat;
    const after = this.#after;
    if (classes[classOf[a]!]!.time[p] === Number.POSITIVE_INFINITY) this.#misplaced--;
    this.#computing[a] = after[0]!;
    this.#in[a] = after[1]!;
    this.#out[a] = after[2]!;
    this.#bytes[a] = after[3]!;
    this.#energy[a] = after[4]!;
    this.#computing[b] = after[5]!;
    this.#in[b] = after[6]!;
    this.#out[b] = after[7]!;
    this.#bytes[b] = after[8]!;
    this.#energy[b] = after[9]!;
    for (let t = touching.start[p]!; t < touching.start[p + 1]!; t++) {
      const v = touching.items[t]!;
      this.#ends[v * devices + a]!--;
      this.#ends[v * devices + b]!++;
    }
    this.#deviceOf[p] = b;
  }

  #loadOf(device: number, computing: number, into: number, out: number): number {
    const { transfer } = this.#flat.classes[this.#flat.classOf[device]!]!;
    return this.#flat.overlap
      ? Math.max(computing, into * transfer, out * transfer)
      : computing + (into + out) * transfer;
  }

  #energyOf(device: number, computing: number, into: number, out: number, bytes: number): number {
    const { capacity } = this.#flat.classes[this.#flat.classOf[device]!]!;
    const x = this.#loadOf(device, computing, into, out) / this.#reference;
    const x2 = x * x;
    const x4 = x2 * x2;
    const x8 = x4 * x4;
    // Where loads overlap, what hides behind the largest of them counts a little, or nothing would lead away from it.
    const hidden = this.#flat.overlap ? (1e-3 * (computing + into + out)) / this.#reference : 0;
    const over = excess(bytes, capacity);
    return x8 * x8 + hidden + (over > 0 ? 4 + (64 * over) / Math.max(capacity, 1) : 0);
  }

  #keepBest(): void {
    if (this.#misplaced > 0) return;
    const { devices, classes, classOf } = this.#flat;
    let largest = 0;
    for (let d = 0; d < devices; d++) {
      const load = this.#loadOf(d, this.#computing[d]!, this.#in[d]!, this.#out[d]!);
      if (load > largest) largest = load;
      // Sums of moves round: only what is clearly better is new.
      if (largest >= this.#objective * (1 - 1e-9)) return;
      if (excess(this.#bytes[d]!, classes[classOf[d]!]!.capacity) > 0) return;
    }
    this.#objective = largest;
    this.#best.set(this.#deviceOf);
  }

  #count(): void {
    const { parts, devices, classes, classOf, ends, cost } = this.#flat;
    this.#computing.fill(0);
    this.#bytes.fill(0);
    this.#in.fill(0);
    this.#out.fill(0);
    this.#ends.fill(0);
    this.#misplaced = 0;
    for (let p = 0; p < parts; p++) {
      const d = this.#deviceOf[p]!;
      const { time, bytes } = classes[classOf[d]!]!;
      if (time[p]! < Number.POSITIVE_INFINITY) this.#computing[d]! += time[p]!;
      else this.#misplaced++;
      this.#bytes[d]! += bytes[p]!;
    }
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v]!;
      const size = ends.start[v + 1]! - begin;
      for (let e = begin; e < begin + size; e++) this.#ends[v * devices + this.#deviceOf[ends.items[e]!]!]!++;
      const home = this.#deviceOf[ends.items[begin]!]!;
      for (let d = 0; d < devices; d++) {
        const here = this.#ends[v * devices + d]!;
        if (d === home && here < size) this.#out[d]! += cost[v]!;
        if (d !== home && here > 0) this.#in[d]! += cost[v]!;
      }
    }
    for (let d = 0; d < devices; d++) {
      this.#energy[d] = this.#energyOf(d, this.#computing[d]!, this.#in[d]!, this.#out[d]!, this.#bytes[d]!);
    }
  }
}

const misplacedEnergy = 1e3;

const excess = (bytes: number, capacity: number): number => (bytes > capacity * (1 + 1e-12) ? bytes - capacity : 0);

const accepts = (change: number, temperature: number, random: () => number): boolean =>
  change <= 0 || random() < Math.exp(-change / temperature);
