import type { FlatProblem } from './flat.ts';

/** What a limit on every device's load allows. */
export interface CutAttempt {
  /** Parts of the longest prefix that fits its devices and leaves enough for the rest; all parts where the order fits. */
  readonly reached: number;
  /** No limit below this has another outcome. */
  readonly nextLimit: number;
}

/**
 * One topological order of the parts, cut into contiguous segments, one a device in the devices' order (devices may stay
 * empty): exact for this order.
 *
 * For a limit L on the load, with n parts in the order,
 *
 *     first[j] = least number of leading devices that hold positions 0 … j − 1, each with load ≤ L
 *              = min over i < j, and devices d ≥ first[i] whose load of positions i … j − 1 is ≤ L, of d + 1
 *
 * which is right because more devices never hold less. Segments grow to the left from j until their computing alone
 * exceeds L: n · (parts of a segment) steps in all, whatever the number of devices. The transfers of a segment are a
 * running sum: prepending position i to a segment that ends in front of j changes them by `delta[i]`, and as j moves right
 * that changes at most twice for each end of a value:
 *
 *     end at i is        delta starts at   changes by −cost as soon as the segment ends behind
 *     the producer       +cost (out)       the first consumer behind i (no longer in) · all consumers, none before i (out)
 *     a consumer         +cost (in)        the next end behind i (in already) · all ends, if i is the first consumer (out)
 *
 * so the inner loop adds two numbers. Ends j whose prefix needs so many devices that the rest of the work exceeds
 * L times the rates of the others are passed over: near the optimum those are almost all. The idea of slicing searched
 * linear orders with exact segment costs: Archer, Fahrbach, Liu, Prabhu, "Practical Performance Guarantees for Pipelined
 * DNN Inference", ICML 2024 (SliceGraph).
 */
export class OrderCut {
  readonly #flat: FlatProblem;
  #order: Int32Array;
  readonly #place: Int32Array;
  /** Changes of deltas by the segment's end j: row j of (position, cost), `in` and `out` apart. */
  readonly #eventStart: Int32Array;
  readonly #eventAt: Int32Array;
  readonly #eventIn: Float64Array;
  readonly #eventOut: Float64Array;
  /** The same as they are found, value by value. */
  readonly #found: { when: Int32Array; at: Int32Array; into: Float64Array; out: Float64Array; count: number };
  readonly #readers: Int32Array;
  readonly #deltaIn: Float64Array;
  readonly #deltaOut: Float64Array;
  /** By class: time and bytes by position. */
  readonly #time: readonly Float64Array[];
  readonly #bytes: readonly Float64Array[];
  /** By class: first device of the class from device d on. */
  readonly #next: readonly Int32Array[];
  readonly #first: Int32Array;
  readonly #from: Int32Array;
  readonly #anyOrder: AnyOrder | undefined;
  /** Work before position j and rates of the devices before device d: see `workUnits`. */
  readonly #unitsBefore: Float64Array;
  readonly #rateBefore: Float64Array;
  /** No limit below this lets an end be considered that was passed over. */
  #wake = Number.POSITIVE_INFINITY;
  #deadline = Number.POSITIVE_INFINITY;

  /** Tables for orders of a problem; `use` sets one. */
  constructor(flat: FlatProblem) {
    const { parts: n, devices, ends, rates, classes } = flat;
    this.#flat = flat;
    this.#order = new Int32Array(n);
    this.#place = new Int32Array(n);
    const most = 3 * ends.items.length;
    this.#eventStart = new Int32Array(n + 2);
    this.#eventAt = new Int32Array(most);
    this.#eventIn = new Float64Array(most);
    this.#eventOut = new Float64Array(most);
    this.#found = {
      when: new Int32Array(most),
      at: new Int32Array(most),
      into: new Float64Array(most),
      out: new Float64Array(most),
      count: 0,
    };
    this.#readers = new Int32Array(n);
    this.#deltaIn = new Float64Array(n);
    this.#deltaOut = new Float64Array(n);
    this.#time = classes.map(() => new Float64Array(n));
    this.#bytes = classes.map(() => new Float64Array(n));
    this.#next = classes.map((_, c) => {
      const next = new Int32Array(devices + 1).fill(devices);
      for (let d = devices - 1; d >= 0; d--) next[d] = flat.classOf[d] === c ? d : next[d + 1]!;
      return next;
    });
    this.#first = new Int32Array(n + 1);
    this.#from = new Int32Array(n + 1);
    this.#anyOrder = flat.anyOrder ? anyOrderTables(flat) : undefined;
    this.#unitsBefore = new Float64Array(n + 1);
    this.#rateBefore = new Float64Array(devices + 1);
    for (let d = 0; d < devices; d++) this.#rateBefore[d + 1] = this.#rateBefore[d]! + rates[d]!;
  }

  /** Takes up a topological order; it must not change while it is in use. */
  use(order: Int32Array): this {
    const { parts: n, units, classes, ends, cost } = this.#flat;
    const place = this.#place;
    this.#order = order;
    for (let i = 0; i < n; i++) {
      place[order[i]!] = i;
      this.#unitsBefore[i + 1] = this.#unitsBefore[i]! + units[order[i]!]!;
    }
    classes.forEach(({ time, bytes }, c) => {
      const timeAt = this.#time[c]!;
      const bytesAt = this.#bytes[c]!;
      for (let i = 0; i < n; i++) {
        timeAt[i] = time[order[i]!]!;
        bytesAt[i] = bytes[order[i]!]!;
      }
    });
    this.#found.count = 0;
    const readers = this.#readers;
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v]!;
      const count = ends.start[v + 1]! - begin - 1;
      // Mostly one or two, for which insertion sort is best.
      if (count > 24) {
        for (let r = 0; r < count; r++) readers[r] = place[ends.items[begin + 1 + r]!]!;
        readers.subarray(0, count).sort();
      }
      for (let r = 0; r < count && count <= 24; r++) {
        const at = place[ends.items[begin + 1 + r]!]!;
        let to = r;
        for (; to > 0 && readers[to - 1]! > at; to--) readers[to] = readers[to - 1]!;
        readers[to] = at;
      }
      this.#findEvents(place[ends.items[begin]!]!, count, cost[v]!);
    }
    this.#sortEvents();
    return this;
  }

  /** The table above for one value, whose `count` consumers stand at `#readers`. */
  #findEvents(producer: number, count: number, cost: number): void {
    const readers = this.#readers;
    const last = readers[count - 1]!;
    this.#event(producer + 1, producer, 0, cost);
    let behind = 0;
    while (behind < count && readers[behind]! < producer) behind++;
    if (behind < count) this.#event(readers[behind]! + 1, producer, -cost, 0);
    if (behind === 0) this.#event(last + 1, producer, 0, -cost);
    for (let r = 0; r < count; r++) {
      const reader = readers[r]!;
      this.#event(reader + 1, reader, cost, 0);
      let next = r + 1 < count ? readers[r + 1]! : -1;
      if (producer > reader && (next < 0 || producer < next)) next = producer;
      if (next >= 0) this.#event(next + 1, reader, -cost, 0);
      if (r === 0 && producer > reader) this.#event(Math.max(producer, last) + 1, reader, 0, -cost);
    }
  }

  #event(j: number, i: number, into: number, out: number): void {
    const found = this.#found;
    const e = found.count++;
    found.when[e] = j;
    found.at[e] = i;
    found.into[e] = into;
    found.out[e] = out;
  }

  #sortEvents(): void {
    const { when, at, into, out, count } = this.#found;
    const start = this.#eventStart.fill(0);
    const n = this.#order.length;
    // Row j ends where row j + 1 starts: filling moves the starts of the rows up by one row.
    for (let e = 0; e < count; e++) start[when[e]!]!++;
    for (let j = 0, sum = 0; j <= n + 1; j++) {
      const here = start[j]!;
      start[j] = sum;
      sum += here;
    }
    for (let e = 0; e < count; e++) {
      const slot = start[when[e]!]!++;
      this.#eventAt[slot] = at[e]!;
      this.#eventIn[slot] = into[e]!;
      this.#eventOut[slot] = out[e]!;
    }
    for (let j = n + 1; j > 0; j--) start[j] = start[j - 1]!;
    start[0] = 0;
  }

  /**
   * Tries to keep every device's load to the limit; `deviceOf` then gives the placement. At the deadline
   * (`performance.now()`) it gives up, with nothing reached and nothing learnt of limits.
   */
  attempt(wanted: number, deadline = Number.POSITIVE_INFINITY): CutAttempt {
    this.#deadline = deadline;
    // No limit at all is the largest number: nothing times Infinity is no number.
    const limit = Math.min(wanted, Number.MAX_VALUE);
    if (this.#anyOrder) return this.#attemptAnyOrder(limit, this.#anyOrder);
    return this.#flat.classes.length === 1 && !this.#flat.overlap ? this.#attemptEqual(limit) : this.#attemptAny(limit);
  }

  /** Of the last attempt, if it reached all parts: device of each part. */
  deviceOf(): Int32Array {
    const deviceOf = new Int32Array(this.#order.length);
    if (this.#anyOrder) this.#traceAnyOrder(deviceOf, this.#anyOrder);
    else {
      for (let j = this.#order.length; j > 0; j = this.#from[j]!) deviceOf.fill(this.#first[j]! - 1, this.#from[j]!, j);
    }
    const byPart = new Int32Array(deviceOf.length);
    this.#order.forEach((p, i) => {
      byPart[p] = deviceOf[i]!;
    });
    return byPart;
  }

  /** Looked up every few ends: an attempt at a large limit takes O(n²). */
  #isLate(j: number): boolean {
    return (j & 15) === 0 && this.#deadline < Number.POSITIVE_INFINITY && performance.now() > this.#deadline;
  }

  #advance(j: number): void {
    const end = this.#eventStart[j + 1]!;
    for (let e = this.#eventStart[j]!; e < end; e++) {
      const i = this.#eventAt[e]!;
      this.#deltaIn[i]! += this.#eventIn[e]!;
      this.#deltaOut[i]! += this.#eventOut[e]!;
    }
  }

  /**
   * Least number of leading devices whose rates let them do the work in front of j, from `least` on; beyond the devices
   * if no limit below `this.#wake` leaves the others enough for the rest.
   */
  #leastDevices(j: number, limit: number, least: number): number {
    const done = this.#unitsBefore[j]! * (1 - slack);
    const rest = (this.#unitsBefore[this.#order.length]! - this.#unitsBefore[j]!) * (1 - slack);
    const { devices } = this.#flat;
    const rate = this.#rateBefore;
    let s = least;
    while (s < devices && rate[s]! * limit < done) s++;
    const behind = rate[devices]! - rate[s]!;
    const enough = rate[s]! * limit >= done;
    if (enough && behind * limit >= rest) return s;
    // The next limit at which fewer devices suffice in front, or those behind do.
    const fewer = s > 0 && rate[s - 1]! > 0 ? done / rate[s - 1]! : Number.POSITIVE_INFINITY;
    const wake = enough ? Math.min(fewer, behind > 0 ? rest / behind : fewer) : done / rate[s]!;
    // A quotient that rounds must not name the same limit again.
    this.#wake = Math.min(this.#wake, Math.max(wake, limit * (1 + 2 ** -50)));
    return devices + 1;
  }

  /** Equal devices whose computing and transfers add. */
  #attemptEqual(limit: number): CutAttempt {
    const { parts: n, devices, classes } = this.#flat;
    const { capacity, transfer } = classes[0]!;
    const bounded = capacity < Number.POSITIVE_INFINITY;
    const time = this.#time[0]!;
    const bytes = this.#bytes[0]!;
    const delta = this.#deltaIn.fill(0);
    const first = this.#first;
    first[0] = 0;
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    let least = 0;
    this.#wake = Number.POSITIVE_INFINITY;
    for (let j = 1; j <= n; j++) {
      if (this.#isLate(j)) return { reached: 0, nextLimit: limit };
      const end = this.#eventStart[j + 1]!;
      for (let e = this.#eventStart[j]!; e < end; e++)
        delta[this.#eventAt[e]!]! += (this.#eventIn[e]! + this.#eventOut[e]!) * transfer;
      let best = devices + 1;
      let from = -1;
      const fewest = this.#leastDevices(j, limit, least);
      if (fewest > devices) {
        first[j] = best;
        continue;
      }
      least = fewest;
      let computing = 0;
      let load = 0;
      let held = 0;
      for (let i = j - 1; i >= 0; i--) {
        computing += time[i]!;
        load += time[i]! + delta[i]!;
        if (computing > limit) {
          if (computing < nextLimit) nextLimit = computing;
          break;
        }
        if (bounded && (held += bytes[i]!) > capacity) break;
        if (first[i]! + 1 >= best) continue;
        if (load <= limit) {
          best = first[i]! + 1;
          from = i;
        } else if (load < nextLimit) nextLimit = load;
      }
      first[j] = best;
      this.#from[j] = from;
      if (best <= devices) reached = j;
    }
    return { reached, nextLimit: Math.min(nextLimit, this.#wake) };
  }

  #attemptAny(limit: number): CutAttempt {
    const { parts: n, devices, classes, overlap } = this.#flat;
    const count = classes.length;
    this.#deltaIn.fill(0);
    this.#deltaOut.fill(0);
    const first = this.#first;
    first[0] = 0;
    const computing = new Float64Array(count);
    const held = new Float64Array(count);
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    let least = 0;
    this.#wake = Number.POSITIVE_INFINITY;
    for (let j = 1; j <= n; j++) {
      if (this.#isLate(j)) return { reached: 0, nextLimit: limit };
      this.#advance(j);
      let best = devices + 1;
      let from = -1;
      const fewest = this.#leastDevices(j, limit, least);
      if (fewest > devices) {
        first[j] = best;
        continue;
      }
      least = fewest;
      let into = 0;
      let out = 0;
      computing.fill(0);
      held.fill(0);
      for (let i = j - 1; i >= 0; i--) {
        into += this.#deltaIn[i]!;
        out += this.#deltaOut[i]!;
        let open = false;
        for (let c = 0; c < count; c++) {
          const { capacity, transfer } = classes[c]!;
          computing[c]! += this.#time[c]![i]!;
          held[c]! += this.#bytes[c]![i]!;
          if (held[c]! > capacity) continue;
          if (computing[c]! > limit) {
            if (computing[c]! < nextLimit) nextLimit = computing[c]!;
            continue;
          }
          open = true;
          const device = this.#next[c]![Math.min(first[i]!, devices)]!;
          if (device + 1 >= best) continue;
          const load = overlap
            ? Math.max(computing[c]!, into * transfer, out * transfer)
            : computing[c]! + (into + out) * transfer;
          if (load <= limit) {
            best = device + 1;
            from = i;
          } else if (load < nextLimit) nextLimit = load;
        }
        if (!open) break;
      }
      first[j] = best;
      this.#from[j] = from;
      if (best <= devices) reached = j;
    }
    return { reached, nextLimit: Math.min(nextLimit, this.#wake) };
  }

  /**
   * Devices in any order: what counts is how many of each class a prefix has taken. The state is the numbers of all
   * classes but the largest, of which the least possible number is kept.
   */
  #attemptAnyOrder(limit: number, { main, states, radix, used, from, via }: AnyOrder): CutAttempt {
    const { parts: n, classes, overlap } = this.#flat;
    const count = classes.length;
    const most = classes[main]!.devices.length;
    this.#deltaIn.fill(0);
    this.#deltaOut.fill(0);
    used.fill(most + 1);
    used[0] = 0;
    const computing = new Float64Array(count);
    const held = new Float64Array(count);
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    for (let j = 1; j <= n; j++) {
      if (this.#isLate(j)) return { reached: 0, nextLimit: limit };
      this.#advance(j);
      let into = 0;
      let out = 0;
      computing.fill(0);
      held.fill(0);
      for (let i = j - 1; i >= 0; i--) {
        into += this.#deltaIn[i]!;
        out += this.#deltaOut[i]!;
        let open = false;
        for (let c = 0; c < count; c++) {
          const { capacity, transfer, devices } = classes[c]!;
          computing[c]! += this.#time[c]![i]!;
          held[c]! += this.#bytes[c]![i]!;
          if (held[c]! > capacity) continue;
          if (computing[c]! > limit) {
            if (computing[c]! < nextLimit) nextLimit = computing[c]!;
            continue;
          }
          open = true;
          const load = overlap
            ? Math.max(computing[c]!, into * transfer, out * transfer)
            : computing[c]! + (into + out) * transfer;
          if (load > limit) {
            if (load < nextLimit) nextLimit = load;
            continue;
          }
          for (let s = 0; s < states; s++) {
            const before = used[i * states + s]!;
            if (before > most) continue;
            if (c !== main && Math.floor(s / radix[c]!) % (devices.length + 1) === devices.length) continue;
            const to = j * states + (c === main ? s : s + radix[c]!);
            const after = c === main ? before + 1 : before;
            if (after >= used[to]!) continue;
            used[to] = after;
            from[to] = i;
            via[to] = c;
          }
        }
        if (!open) break;
      }
      for (let s = 0; s < states; s++) if (used[j * states + s]! <= most) reached = j;
    }
    return { reached, nextLimit };
  }

  #traceAnyOrder(deviceOf: Int32Array, { main, states, radix, used, from, via }: AnyOrder): void {
    const { classes } = this.#flat;
    let j = deviceOf.length;
    let s = 0;
    while (used[j * states + s]! > classes[main]!.devices.length) s++;
    const taken = new Int32Array(classes.length);
    while (j > 0) {
      const at = j * states + s;
      const c = via[at]!;
      deviceOf.fill(classes[c]!.devices[taken[c]!++]!, from[at]!, j);
      if (c !== main) s -= radix[c]!;
      j = from[at]!;
    }
  }
}

/** Sums of work round. */
const slack = 1e-12;

/** Row j, state s at j · states + s. */
interface AnyOrder {
  readonly main: number;
  readonly states: number;
  /** By class: what a device of it adds to the state. */
  readonly radix: Int32Array;
  /** Devices of the main class taken; more than there are where the state cannot be reached. */
  readonly used: Int32Array;
  readonly from: Int32Array;
  readonly via: Int32Array;
}

/** Beyond this many states the devices stand in the order given, which is one of those allowed. */
const mostStates = 256;

function anyOrderTables({ parts, classes }: FlatProblem): AnyOrder | undefined {
  const main = classes.reduce((m, { devices }, c) => (devices.length > classes[m]!.devices.length ? c : m), 0);
  const radix = new Int32Array(classes.length);
  let states = 1;
  for (let c = 0; c < classes.length; c++) {
    if (c === main) continue;
    radix[c] = states;
    states *= classes[c]!.devices.length + 1;
    if (states > mostStates) return undefined;
  }
  const cells = (parts + 1) * states;
  return {
    main,
    states,
    radix,
    used: new Int32Array(cells),
    from: new Int32Array(cells),
    via: new Int32Array(cells),
  };
}
