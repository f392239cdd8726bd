/**
 * The order of a task's nodes that keeps the fewest bytes alive at once. States are ideals: sets of nodes closed under
 * "comes before", each with the lowest peak by which it can be reached. They are searched by size; while no more than
 * `width` of one size are kept, and none had to go, the answer is exact (dynamic programming over ideals); beyond, the
 * most promising stay (beam search).
 *
 * What keeps them few: a node that raises neither peak nor live bytes is computed as soon as it is ready (some best order
 * does so: computing it earlier never makes anything else worse); what reaches the best known peak is dropped; and the
 * search ends where a peak meets the bound that no order can pass.
 */
export interface OrderUnit {
  /** Units that come before it. */
  readonly after: readonly number[];
  /** Every value that it reads or writes, its own outputs among them. */
  readonly uses: readonly number[];
  /** Values that begin here. */
  readonly makes: readonly number[];
  /** Bytes that are only alive while it runs. */
  readonly scratch: number;
  /** The made value that may take over the bytes of one of `over`, should that die here. */
  readonly output: number;
  readonly over: readonly number[];
}

export interface OrderValue {
  readonly bytes: number;
  /** Alive in front of the task; else made by a unit, or fetched in front of its first use. */
  readonly atStart: boolean;
  /** Alive behind it. */
  readonly stays: boolean;
}

export interface OrderProblem {
  /** In the graph's order, which is legal. */
  readonly units: readonly OrderUnit[];
  readonly values: readonly OrderValue[];
}

export interface FoundOrder {
  /** Units in the order to run them. */
  readonly order: readonly number[];
  readonly peak: number;
  /** No order has a lower peak. */
  readonly exact: boolean;
}

/** States of one size that are kept, round by round. */
const WIDTHS = [1, 8, 64, 512];
/** Units around a peak that are ordered anew, one size after the other until it falls. */
const WINDOWS = [24, 48];
/** Of one window; and how many are looked at. */
const WINDOW_WORK = 200_000;
const WINDOW_ROUNDS = 60;
/** The part of the peak that they must take off. */
const WORTHWHILE = 0.01;
/**
 * All rounds together: steps from state to state, times units. Some tenths of a second, but counted, so that answers are
 * fixed.
 */
const WORK = 2_000_000;

/**
 * Never above the peak of the graph's order, which is the answer where nothing better is found. A task of many units is
 * searched as a whole first, and then improved around its peak.
 */
export function findOrder(problem: OrderProblem): FoundOrder {
  const task = new Task(problem);
  const bound = task.lowerBound();
  const asGiven = problem.units.map((_, u) => u);
  const given = { order: asGiven, peak: task.peakOf(asGiven), exact: false };
  const whole = searchWhole(task, given, bound, WORK);
  if (whole.exact || problem.units.length <= WINDOWS[0]!) return whole;
  let local = byWindows(problem, task, given, bound);
  if (!local.exact && whole.peak < given.peak) {
    const further = byWindows(problem, task, whole, bound);
    if (further.peak < local.peak) local = further;
  }
  // Orders that differ for little have other gaps in their layouts, which may cost more.
  return local.peak <= (1 - WORTHWHILE) * whole.peak ? searchWhole(task, local, bound, WORK) : whole;
}

function searchWhole(task: Task, from: FoundOrder, bound: number, work: number): FoundOrder {
  let best = from;
  const budget = { steps: Math.ceil(work / task.units.length) };
  for (const width of WIDTHS) {
    if (best.peak <= bound || budget.steps <= 0) break;
    const { order, peak, complete } = search(task, bound, best.peak, width, budget);
    if (order) best = { order, peak, exact: false };
    if (complete) return { ...best, exact: true };
  }
  return { ...best, exact: best.peak <= bound };
}

/**
 * Lowers the highest place of an order by ordering anew what stands around it, then the place that is highest then, until
 * one cannot be lowered: the states of a whole task are too many where it is long, and those of a window few.
 */
function byWindows(problem: OrderProblem, task: Task, from: FoundOrder, bound: number): FoundOrder {
  const order = [...from.order];
  const rounds = { left: WINDOW_ROUNDS };
  let peak = from.peak;
  const lower = (): boolean => {
    const at = task.profileOf(order).indexOf(peak);
    return WINDOWS.some((size) => {
      if (rounds.left-- <= 0) return false;
      const begin = Math.max(0, Math.min(at - (size >> 1), order.length - size));
      const window = order.slice(begin, begin + size);
      const part = new Task(windowOf(problem, order, begin, window));
      const asIs = { order: window.map((_, i) => i), peak, exact: false };
      const found = searchWhole(part, asIs, part.lowerBound(), WINDOW_WORK);
      if (found.peak >= peak) return false;
      order.splice(begin, window.length, ...found.order.map((i) => window[i]!));
      return true;
    });
  };
  while (peak > bound && lower()) peak = Math.max(...task.profileOf(order));
  return peak < from.peak ? { order, peak, exact: peak <= bound } : from;
}

/** The units of a window as a task of their own: values that are alive in front of it and behind it are so at its ends. */
function windowOf(
  { units, values }: OrderProblem,
  order: readonly number[],
  begin: number,
  window: readonly number[],
): OrderProblem {
  const place = new Map(window.map((u, i) => [u, i]));
  const before = new Uint8Array(values.length);
  const behind = new Uint8Array(values.length);
  for (const u of order.slice(0, begin)) for (const v of units[u]!.uses) before[v] = 1;
  for (const u of order.slice(begin + window.length)) for (const v of units[u]!.uses) behind[v] = 1;
  const used = new Set(window.flatMap((u) => units[u]!.uses));
  return {
    units: window.map((u) => ({ ...units[u]!, after: units[u]!.after.flatMap((b) => place.get(b) ?? []) })),
    values: values.map(({ bytes, atStart, stays }, v) => {
      const isOver = before[v] === 1 && behind[v] === 0 && !used.has(v) && !stays; // dead in front of it
      return {
        bytes: isOver ? 0 : bytes,
        atStart: (atStart || before[v] === 1) && !isOver,
        stays: stays || behind[v] === 1,
      };
    }),
  };
}

/** The peak of one order. */
export const peakOfOrder = (problem: OrderProblem, order: readonly number[]): number => new Task(problem).peakOf(order);

/** A state is told by its way: most are dropped before they are looked at, and only the others need their `Progress`. */
interface State {
  readonly live: number;
  readonly peak: number;
  readonly done: number;
  /** Two hashes of the set of units that have run. */
  readonly hash: readonly [number, number];
  readonly from: State | undefined;
  readonly ran: readonly number[];
  progress: Progress | undefined;
}

interface Progress {
  /** Uses of each value to come, and units that each unit still waits for. */
  readonly uses: Int32Array;
  readonly waits: Int32Array;
  /** Units that wait for none, in the graph's order. */
  readonly ready: number[];
}

class Task {
  readonly units: readonly OrderUnit[];
  readonly #values: readonly OrderValue[];
  readonly #bytes: Float64Array;
  readonly #stays: Uint8Array;
  readonly #uses: Int32Array;
  readonly #readers: readonly (readonly number[])[];
  readonly #made: Uint8Array;
  readonly #marks: readonly (readonly [number, number])[];

  constructor({ units, values }: OrderProblem) {
    this.units = units;
    this.#values = values;
    this.#bytes = Float64Array.from(values, ({ bytes }) => bytes);
    this.#stays = Uint8Array.from(values, ({ stays }) => (stays ? 1 : 0));
    this.#uses = new Int32Array(values.length);
    for (const { uses } of units) for (const v of uses) this.#uses[v]!++;
    const readers: number[][] = units.map(() => []);
    units.forEach(({ after }, u) => {
      for (const b of after) readers[b]!.push(u);
    });
    this.#readers = readers;
    this.#made = Uint8Array.from(values, ({ atStart }) => (atStart ? 1 : 0));
    for (const { makes } of units) for (const v of makes) this.#made[v] = 1;
    this.#marks = units.map((_, u) => [scramble(2 * u + 1), scramble(2 * u + 2)]);
  }

  start(): State {
    const live = this.#values.reduce((sum, { bytes, atStart }) => sum + (atStart ? bytes : 0), 0);
    const progress = {
      uses: this.#uses.slice(),
      waits: Int32Array.from(this.units, ({ after }) => after.length),
      ready: this.units.flatMap(({ after }, u) => (after.length === 0 ? [u] : [])),
    };
    return { live, peak: live, done: 0, hash: [0, 0], from: undefined, ran: [], progress };
  }

  /** Live bytes while a unit runs, and behind it. */
  weigh(live: number, uses: Int32Array, u: number): { during: number; behind: number } {
    const { uses: touched, makes, scratch, output, over } = this.units[u]!;
    const [bytes, stays, made, all] = [this.#bytes, this.#stays, this.#made, this.#uses];
    let born = 0;
    for (const v of makes) born += bytes[v]!;
    let dead = 0;
    for (const v of touched) {
      if (made[v] === 0 && uses[v] === all[v]) born += bytes[v]!;
      if (uses[v] === 1 && stays[v] === 0) dead += bytes[v]!;
    }
    let shared = 0;
    for (const v of over) {
      if (uses[v] === 1 && stays[v] === 0 && bytes[v] === bytes[output]) shared = bytes[output]!;
    }
    return { during: live + born + scratch - shared, behind: live + born - dead };
  }

  peakOf(order: readonly number[]): number {
    return this.profileOf(order).reduce((a, b) => Math.max(a, b), this.start().live);
  }

  /** Live bytes while each unit of an order runs. */
  profileOf(order: readonly number[]): number[] {
    const uses = this.#uses.slice();
    let now = this.start().live;
    return order.map((u) => {
      const { during, behind } = this.weigh(now, uses, u);
      now = behind;
      for (const v of this.units[u]!.uses) uses[v]!--;
      return during;
    });
  }

  /** What is alive beside each unit in every order: made by it or before it, and used by it or behind it. */
  lowerBound(): number {
    const count = this.units.length;
    const words = Math.ceil(count / 32);
    const before = this.units.map(() => new Uint32Array(words));
    const mark = (set: Uint32Array, u: number) => {
      set[u >>> 5]! |= 1 << (u & 31);
    };
    this.units.forEach(({ after }, u) => {
      for (const b of after) {
        before[b]!.forEach((word, i) => {
          before[u]![i]! |= word;
        });
        mark(before[u]!, b);
      }
      mark(before[u]!, u);
    });
    // Of each value, who makes it, and who uses it.
    const makers = new Int32Array(this.#values.length).fill(-1);
    const users: number[][] = this.#values.map(() => []);
    this.units.forEach(({ makes, uses }, u) => {
      for (const v of makes) makers[v] = u;
      for (const v of uses) users[v]!.push(u);
    });
    const isBefore = (a: number, b: number): boolean => (before[b]![a >>> 5]! & (1 << (a & 31))) !== 0;
    const start = this.start();
    let bound = start.live;
    const end = this.#values.reduce((sum, { bytes, stays }, v) => sum + (stays && users[v]!.length > 0 ? bytes : 0), 0);
    bound = Math.max(bound, end);
    for (let u = 0; u < count; u++) {
      const { scratch, output, over } = this.units[u]!;
      let sum = scratch;
      this.#values.forEach(({ bytes, atStart, stays }, v) => {
        const isMade =
          atStart || (makers[v]! >= 0 ? isBefore(makers[v]!, u) : users[v]!.some((w) => w === u || isBefore(w, u)));
        if (isMade && (stays || users[v]!.some((w) => isBefore(u, w)))) sum += bytes;
      });
      const shares = over.some(
        (v) => !this.#values[v]!.stays && this.#values[v]!.bytes === this.#values[output]!.bytes,
      );
      bound = Math.max(bound, shares ? sum - this.#values[output]!.bytes : sum);
    }
    return bound;
  }

  /** A unit runs, and behind it all that neither raise the peak nor the live bytes. */
  advance(state: State, first: number, { during, behind }: { during: number; behind: number }): State {
    const { uses, waits, ready: before } = this.progressOf(state);
    const ready = before.slice();
    let [h, k] = state.hash;
    let live = behind;
    const peak = Math.max(state.peak, during);
    const ran: number[] = [];
    for (let u = first; ; ) {
      ran.push(u);
      this.#run(u, uses, waits, ready);
      h ^= this.#marks[u]![0];
      k ^= this.#marks[u]![1];
      // From the first on: others may have become ready, or cheaper.
      const next = ready.find((r) => {
        const free = this.weigh(live, uses, r);
        if (free.during > peak || free.behind > live) return false;
        live = free.behind;
        return true;
      });
      if (next === undefined) break;
      u = next;
    }
    for (const u of ran) {
      for (const v of this.units[u]!.uses) uses[v]!++;
      for (const r of this.#readers[u]!) waits[r]!++;
    }
    const done = state.done + ran.length;
    return { live, peak, done, hash: [h, k], from: state, ran, progress: undefined };
  }

  progressOf(state: State): Progress {
    if (state.progress) return state.progress;
    const { uses, waits, ready } = this.progressOf(state.from!);
    state.progress = { uses: uses.slice(), waits: waits.slice(), ready: ready.slice() };
    for (const u of state.ran) this.#run(u, state.progress.uses, state.progress.waits, state.progress.ready);
    return state.progress;
  }

  #run(u: number, uses: Int32Array, waits: Int32Array, ready: number[]): void {
    ready.splice(ready.indexOf(u), 1);
    for (const v of this.units[u]!.uses) uses[v]!--;
    for (const r of this.#readers[u]!) {
      if (--waits[r]! > 0) continue;
      let at = ready.length;
      while (at > 0 && ready[at - 1]! > r) at--;
      ready.splice(at, 0, r);
    }
  }
}

/** A fixed pseudo-random word for a number (the finaliser of MurmurHash3). */
function scramble(n: number): number {
  let x = Math.imul(n, 0x9e3779b9);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/** Looks for a peak below `limit`. `complete`: none was left out, so that without a find there is no such order. */
function search(task: Task, bound: number, limit: number, width: number, budget: { steps: number }) {
  const count = task.units.length;
  const bySize: Map<number, State>[] = Array.from({ length: count + 1 }, () => new Map());
  const first = task.start();
  bySize[0]!.set(0, { ...first, peak: Math.max(first.peak, bound) });
  let complete = true;
  for (let size = 0; size < count; size++) {
    let states = [...bySize[size]!.values()];
    bySize[size]!.clear();
    if (states.length > width) {
      complete = false;
      states = states.sort((a, b) => a.peak - b.peak || a.live - b.live).slice(0, width);
    }
    for (const state of states) {
      const { uses, ready } = task.progressOf(state);
      for (const u of ready) {
        const weight = task.weigh(state.live, uses, u);
        if (weight.during >= limit) continue;
        if (budget.steps-- <= 0) return { order: undefined, peak: limit, complete: false };
        const next = task.advance(state, u, weight);
        const key = (next.hash[0] >>> 0) * 2 ** 21 + (next.hash[1] >>> 11);
        const known = bySize[next.done]!.get(key);
        if (!known || next.peak < known.peak) bySize[next.done]!.set(key, next);
      }
    }
  }
  const [end] = bySize[count]!.values();
  if (!end) return { order: undefined, peak: limit, complete };
  const order: number[] = [];
  for (let s: State | undefined = end; s; s = s.from) order.unshift(...s.ran);
  return { order, peak: end.peak, complete };
}
