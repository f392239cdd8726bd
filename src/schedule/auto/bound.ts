import { B, BW, type Instance, W } from './instance.ts';

/**
 * What no schedule can beat that runs each stage in microbatch order: the longest ways through the tasks, and for every
 * device the best that one machine could do with tasks that arrive and must leave in time.
 *
 * The ways follow the dependencies, the order within a stage, and what memory forces: F(m) of a stage must come behind its
 * own B and W that free the room it needs, given that each microbatch of the stage between F and B also holds its place
 * in the stages before it on the same device (their B come later still).
 */
export class Bounds {
  readonly #instance: Instance;
  /** Times of F, B and W at their least: BW where it is shorter than its parts. */
  readonly #time: Float64Array;
  /** Of F(m) at slot: how many B, and W, of its stage come before it. */
  readonly #needsB: Int32Array;
  readonly #needsW: Int32Array;

  constructor(instance: Instance) {
    this.#instance = instance;
    const { slots, stages, microbatches: M, time, split } = instance;
    this.#time = new Float64Array(3 * slots);
    for (let i = 0; i < slots; i++) {
      const whole = time[BW * slots + i]!;
      const [b, both] = split
        ? [Math.min(time[B * slots + i]!, whole), Math.min(time[B * slots + i]! + time[W * slots + i]!, whole)]
        : [whole, whole];
      this.#time[i] = time[i]!;
      this.#time[B * slots + i] = b;
      this.#time[W * slots + i] = both - b;
    }
    this.#needsB = new Int32Array(slots);
    this.#needsW = new Int32Array(slots);
    for (let s = 0; s < stages; s++) this.#memoryNeeds(s, M);
  }

  #memoryNeeds(s: number, M: number): void {
    const { placement, stagesOf, hold, keep, budget, split } = this.#instance;
    const room = budget[placement[s]!]!;
    if (room === Infinity) return;
    const sources = ancestors(this.#instance, s);
    let each = hold[s]!;
    for (const x of stagesOf[placement[s]!]!) if (sources.has(x)) each += hold[x]!;
    const left = split ? Math.min(keep[s]!, hold[s]!) : 0;
    // A hair is given to rounding, on the side of a bound that stays true.
    const most = (share: number, of: number): number =>
      of === 0 ? Infinity : Math.floor((share / of) * (1 + 1e-9) + 1e-9);
    for (let m = 0; m < M; m++) {
      this.#needsB[s * M + m] = clamp(m + 1 - most(room, each), m);
      this.#needsW[s * M + m] = clamp(m - most(room - each, left), m);
    }
  }

  /** The longest way from the start of the step to the start of each task (F, B, W by kind · slots + slot). */
  heads(fromStage?: number): Float64Array {
    const { stages, microbatches: M, slots, order, before, after } = this.#instance;
    const time = this.#time;
    const head = new Float64Array(3 * slots).fill(fromStage === undefined ? 0 : -Infinity);
    if (fromStage !== undefined) head[fromStage * M] = 0;
    const reach = (i: number, from: number, delay: number): void => {
      const at = head[from]! + time[from]! + delay;
      if (at > head[i]!) head[i] = at;
    };
    for (let m = 0; m < M; m++) {
      for (const s of order) {
        const i = s * M + m;
        if (m > 0) reach(i, i - 1, 0);
        for (const { stage, arrives } of before[s]!) reach(i, stage * M + m, arrives);
        if (this.#needsB[i]! > 0) reach(i, B * slots + s * M + this.#needsB[i]! - 1, 0);
        if (this.#needsW[i]! > 0) reach(i, W * slots + s * M + this.#needsW[i]! - 1, 0);
      }
      for (let k = stages - 1; k >= 0; k--) {
        const s = order[k]!;
        const i = B * slots + s * M + m;
        if (m > 0) reach(i, i - 1, 0);
        reach(i, s * M + m, 0);
        for (const { stage, arrives } of after[s]!) reach(i, B * slots + stage * M + m, arrives);
        if (m > 0) reach(i + slots, i + slots - 1, 0);
        reach(i + slots, i, 0);
      }
    }
    return head;
  }

  /** The longest way from the end of each task to the end of the step, or of the given device's last task. */
  tails(toDevice?: number): Float64Array {
    const { stages, microbatches: M, slots, order, before, after, placement } = this.#instance;
    const time = this.#time;
    const tail = new Float64Array(3 * slots).fill(-Infinity);
    for (let s = 0; s < stages; s++) {
      if (toDevice !== undefined && placement[s] !== toDevice) continue;
      for (let k = 0; k < 3; k++) tail.fill(0, k * slots + s * M, k * slots + (s + 1) * M);
    }
    const reach = (i: number, to: number, delay: number): void => {
      const way = delay + time[to]! + tail[to]!;
      if (way > tail[i]!) tail[i] = way;
    };
    for (let m = M - 1; m >= 0; m--) {
      for (const s of order) {
        const i = B * slots + s * M + m;
        if (m < M - 1) reach(i + slots, i + slots + 1, 0);
        reach(i, i + slots, 0);
        if (m < M - 1) reach(i, i + 1, 0);
        for (const { stage, leaves } of before[s]!) reach(i, B * slots + stage * M + m, leaves);
      }
      for (let k = stages - 1; k >= 0; k--) {
        const s = order[k]!;
        const i = s * M + m;
        if (m < M - 1) reach(i, i + 1, 0);
        reach(i, B * slots + i, 0);
        for (const { stage, leaves } of after[s]!) reach(i, stage * M + m, leaves);
        // This F comes behind B and W of earlier microbatches, whose ways go on through it.
        if (this.#needsB[i]! > 0) reach(B * slots + s * M + this.#needsB[i]! - 1, i, 0);
        if (this.#needsW[i]! > 0) reach(W * slots + s * M + this.#needsW[i]! - 1, i, 0);
      }
    }
    return tail;
  }

  /** `tails` for all four kinds, BW as B: a priority to begin with. */
  ranks(): Float64Array {
    const { slots } = this.#instance;
    const ranks = new Float64Array(4 * slots);
    ranks.set(this.tails());
    ranks.copyWithin(BW * slots, B * slots, W * slots);
    return ranks;
  }

  /** The least that F, B and W take, by kind · slots + slot. */
  leastTimes(): Float64Array {
    return this.#time;
  }

  makespan(): number {
    const [head, tail] = [this.heads(), this.tails()];
    let bound = 0;
    for (let d = 0; d < this.#instance.devices; d++) bound = Math.max(bound, this.#oneMachine(d, head, tail));
    return bound;
  }

  /** Of the largest over devices of (last end − own first start), from the first F of each of the device's stages. */
  span(): number {
    const { stagesOf, stages, order, microbatches: M } = this.#instance;
    const tails = stagesOf.map((own, d) => (own.length > 0 ? this.tails(d) : undefined));
    // All pairs of devices where that is quick, else the ends of the pipeline with each.
    const few = stages * stages * M > 500_000;
    const ends = [order[0]!, order[stages - 1]!];
    const others = stagesOf.flatMap((own, d) => (!few || own.some((s) => ends.includes(s)) ? [d] : []));
    let bound = 0;
    stagesOf.forEach((own, d) => {
      for (const a of own) {
        const head = this.heads(a);
        for (const other of new Set([d, ...others])) bound = Math.max(bound, this.#oneMachine(other, head, tails[d]!));
      }
    });
    return bound;
  }

  /**
   * The preemptive schedule of one machine that always runs the task with the longest tail (Jackson 1955; Horn 1974):
   * it ends as early as any, so the largest end + tail bounds what the device can do.
   */
  #oneMachine(device: number, head: Float64Array, tail: Float64Array): number {
    const { stagesOf, microbatches: M, slots } = this.#instance;
    const tasks: number[] = [];
    for (const s of stagesOf[device]!) {
      for (let k = 0; k < 3; k++) {
        for (let i = k * slots + s * M; i < k * slots + (s + 1) * M; i++) {
          if (head[i]! > -Infinity && tail[i]! > -Infinity) tasks.push(i);
        }
      }
    }
    tasks.sort((a, b) => head[a]! - head[b]!);
    const left = new Float64Array(tasks.length);
    const waiting: number[] = []; // a binary heap of places in `tasks`, longest tail on top
    const longer = (a: number, b: number): boolean => tail[tasks[a]!]! > tail[tasks[b]!]!;
    let bound = 0;
    let now = 0;
    for (let next = 0; next < tasks.length || waiting.length > 0; ) {
      if (waiting.length === 0) now = Math.max(now, head[tasks[next]!]!);
      while (next < tasks.length && head[tasks[next]!]! <= now) {
        left[next] = this.#time[tasks[next]!]!;
        pushHeap(waiting, next++, longer);
      }
      const top = waiting[0]!;
      const until = next < tasks.length ? head[tasks[next]!]! : Infinity;
      if (now + left[top]! <= until) {
        now += left[top]!;
        bound = Math.max(bound, now + tail[tasks[top]!]!);
        popHeap(waiting, longer);
      } else {
        left[top]! -= until - now;
        now = until;
      }
    }
    return bound;
  }
}

const clamp = (x: number, most: number): number => Math.max(0, Math.min(x, most));

function ancestors({ before }: Instance, s: number): Set<number> {
  const found = new Set(before[s]!.map((n) => n.stage));
  // What is added meanwhile is visited too.
  for (const x of found) for (const { stage } of before[x]!) found.add(stage);
  return found;
}

function pushHeap(heap: number[], x: number, above: (a: number, b: number) => boolean): void {
  let i = heap.length;
  heap.push(x);
  while (i > 0) {
    const up = (i - 1) >> 1;
    if (!above(x, heap[up]!)) break;
    heap[i] = heap[up]!;
    i = up;
  }
  heap[i] = x;
}

function popHeap(heap: number[], above: (a: number, b: number) => boolean): void {
  const x = heap.pop()!;
  const n = heap.length;
  if (n === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && above(heap[child + 1]!, heap[child]!)) child++;
    if (!above(heap[child]!, x)) break;
    heap[i] = heap[child]!;
    i = child;
  }
  heap[i] = x;
}
