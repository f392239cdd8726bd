import type { Ideals } from './ideals.ts';
import { bytesOn, workOn } from './placement-load.ts';
import type { Part, PlacementDevice, PlacementProblem } from './problem.ts';
import { type WorkUnits, workUnits } from './work-bound.ts';

/**
 * The best contiguous placement among those whose stages end at given ideals, by dynamic programming:
 *
 *     best[I][s] = min over ideals J ⊂ I and steps r → s of max(best[J][r], load of I ∖ J on the step's device)
 *
 * where a state s says which devices are in use: the first s of them, or, where they may stand in any order, how many of
 * each kind. Tarnawski et al. (NeurIPS 2020, section 5.1) compute the loads of all pairs J ⊂ I first; here the pairs are
 * walked and not stored. From each J a depth-first walk adds parts in ascending rank, so that it meets each I once; the
 * load changes by the values of the part that is added; and a branch ends where the load that nothing to come can undo
 * reaches the limit. Memory is O(ideals · states), time O(pairs within the limit · values of a part).
 */
export interface IdealSearch {
  readonly problem: PlacementProblem;
  readonly ideals: Ideals;
  /** Of each ideal: no stage that ends or begins there has a smaller load. */
  readonly cutCost?: Float64Array;
  /**
   * `load` (default), or `fill`: the largest share of a capacity in use, without regard to work and transfers.
   */
  readonly measure?: 'load' | 'fill';
  /** Only placements with a smaller objective count. Default Infinity. */
  readonly limit?: number;
  /** `performance.now()` at which it gives up. */
  readonly deadline?: number;
}

export type IdealAnswer =
  | { readonly kind: 'found'; readonly deviceOf: readonly number[]; readonly objective: number }
  /** There is no placement below the limit. */
  | { readonly kind: 'none' }
  /** The time is over. */
  | { readonly kind: 'unfinished' };

export function searchIdeals(search: IdealSearch): IdealAnswer {
  const { problem, ideals, cutCost, measure = 'load' } = search;
  const { limit = Number.POSITIVE_INFINITY, deadline = Number.POSITIVE_INFINITY } = search;
  const states = deviceStates(problem, measure);
  const walk = new SegmentWalk(problem, ideals, states, measure);
  const remaining = remainingUnits(ideals, states.units);
  const { count: S } = states;
  const full = ideals.count - 1;
  const table = emptyTable(ideals.count * S);
  const { best, fromIdeal, fromState } = table;
  let bound = limit;
  // Steps of the ideal at hand whose end may still lead to a placement below the limit.
  const steps = { state: new Int32Array(states.steps.length), next: new Int32Array(states.steps.length) };
  for (let from = 0; from < ideals.count; from++) {
    if ((from & 63) === 0 && performance.now() > deadline) return { kind: 'unfinished' };
    const row = from * S;
    leaveEmpty(table, states, from);
    if (from === full) break;
    walk.clear();
    let active = 0;
    let reach = -1;
    for (let t = 0; t < states.types.length; t++) {
      const begin = active;
      for (const { from: r, to: s, type } of states.steps) {
        if (type !== t || best[row + r]! >= bound) continue;
        if (remaining[from]! > bound * states.unitsLeft[r]! * (1 + 1e-12)) continue;
        steps.state[active] = r;
        steps.next[active++] = s;
        reach = Math.max(reach, states.unitsLeft[s]!);
      }
      walk.setSteps(t, begin, active);
    }
    if (active === 0) continue;
    const allowed = bound * reach * (1 + 1e-12); // what may remain behind a stage that begins here
    walk.start(from);
    while (walk.next(bound)) {
      const to = walk.ideal;
      if (remaining[to]! > allowed) continue;
      for (let t = 0; t < states.types.length; t++) {
        const load = cutCost ? Math.max(walk.load(t), cutCost[to]!) : walk.load(t);
        if (load >= bound) continue;
        for (let i = walk.firstStep[t]!, end = walk.endStep[t]!; i < end; i++) {
          const before = best[row + steps.state[i]!]!;
          const candidate = before > load ? before : load;
          const at = to * S + steps.next[i]!;
          if (candidate < best[at]!) {
            best[at] = candidate;
            fromIdeal[at] = from;
            fromState[at] = steps.state[i]!;
            if (to === full && candidate < bound) bound = candidate;
          }
        }
      }
    }
  }
  const objective = best[ideals.count * S - 1]!;
  if (!(objective < limit)) return { kind: 'none' };
  const deviceOf = devicesOfStages(stagesOf(table, states, ideals), states, problem.parts.length);
  return { kind: 'found', deviceOf, objective: problem.devices.length > 0 ? objective : 0 };
}

/** By ideal and state: the smallest objective so far, and the ideal and state that it comes from. */
interface BestTable {
  readonly best: Float64Array;
  readonly fromIdeal: Int32Array;
  readonly fromState: Uint32Array;
}

function emptyTable(entries: number): BestTable {
  const best = new Float64Array(entries).fill(Number.POSITIVE_INFINITY);
  best[0] = 0;
  return { best, fromIdeal: new Int32Array(entries).fill(-1), fromState: new Uint32Array(entries) };
}

/** A device may stay empty: each state of the ideal is as good as the one before it. */
function leaveEmpty({ best, fromIdeal, fromState }: BestTable, states: DeviceStates, ideal: number): void {
  const row = ideal * states.count;
  for (const { from: r, to: s } of states.steps) {
    if (best[row + r]! < best[row + s]!) {
      best[row + s] = best[row + r]!;
      fromIdeal[row + s] = ideal;
      fromState[row + s] = r;
    }
  }
}

/** A stage of the answer: the device's type, the state before it is in use, and its parts. */
interface FoundStage {
  readonly type: number;
  readonly state: number;
  readonly parts: readonly number[];
}

/** The stages of the best placement, met from the last to the first. What is as good without a device leaves it empty. */
function stagesOf({ best, fromIdeal, fromState }: BestTable, states: DeviceStates, ideals: Ideals): FoundStage[] {
  const { count: S } = states;
  const stages: FoundStage[] = [];
  for (let ideal = ideals.count - 1, state = S - 1; state > 0; ) {
    const spared = states.steps.find((s) => s.to === state && best[ideal * S + s.from]! <= best[ideal * S + state]!);
    if (spared) {
      state = spared.from;
      continue;
    }
    const at = ideal * S + state;
    const [before, from] = [fromIdeal[at]!, fromState[at]!];
    const { type } = states.steps.find((s) => s.from === from && s.to === state)!;
    stages.unshift({ type, state: from, parts: ideals.between(before, ideal) });
    ideal = before;
    state = from;
  }
  return stages;
}

function devicesOfStages(stages: readonly FoundStage[], { types, ordered }: DeviceStates, parts: number): number[] {
  const deviceOf = new Array<number>(parts).fill(0);
  const used = types.map(() => 0);
  for (const { type, state, parts: own } of stages) {
    const device = ordered ? state : types[type]!.members[used[type]!++]!;
    for (const part of own) deviceOf[part] = device;
  }
  return deviceOf;
}

/** Devices that are alike, and the states of their use. */
interface DeviceStates {
  readonly types: readonly { readonly device: PlacementDevice; readonly members: readonly number[] }[];
  /** States; 0: no device in use, the last: all. */
  readonly count: number;
  /** By ascending `to` of equal `from`, and ascending `from`. */
  readonly steps: readonly { readonly from: number; readonly to: number; readonly type: number }[];
  /** Units (of work-bound.ts) that the devices not in use work off a unit of time. */
  readonly unitsLeft: Float64Array;
  readonly units: WorkUnits['units'];
  /** The state is the number of the first devices in use. */
  readonly ordered: boolean;
}

/** States of a problem's devices: one more than they are; in any order, one more than of each kind, multiplied. */
export function stateCount({ devices, deviceOrder }: PlacementProblem): number {
  if (deviceOrder !== 'any') return devices.length + 1;
  const kinds: { readonly device: PlacementDevice; count: number }[] = [];
  for (const device of devices) {
    const known = kinds.find((k) => alike(k.device, device));
    if (known) known.count++;
    else kinds.push({ device, count: 1 });
  }
  return kinds.reduce((product, { count }) => product * (count + 1), 1);
}

function deviceStates(problem: PlacementProblem, measure: 'load' | 'fill'): DeviceStates {
  const { devices } = problem;
  const { units, rates } = workUnits(problem);
  if (measure === 'fill') units.fill(0);
  const types: { device: PlacementDevice; members: number[] }[] = [];
  const typeOf = devices.map((device, d) => {
    const found = types.findIndex((t) => alike(t.device, device));
    if (found >= 0) types[found]!.members.push(d);
    else types.push({ device, members: [d] });
    return found >= 0 ? found : types.length - 1;
  });
  const ordered = problem.deviceOrder !== 'any' || types.length === 1;
  // Mixed radix: how many of each type are in use; or in the given order one type after another.
  const radix: number[] = [];
  let count = 1;
  for (const { members } of types) {
    radix.push(count);
    count *= members.length + 1;
  }
  if (ordered) count = devices.length + 1;
  const steps: DeviceStates['steps'][number][] = [];
  const unitsLeft = new Float64Array(count);
  for (let state = 0; state < count; state++) {
    if (ordered) {
      if (state < devices.length) steps.push({ from: state, to: state + 1, type: typeOf[state]! });
      for (let d = state; d < devices.length; d++) unitsLeft[state]! += rates[d]!;
      continue;
    }
    types.forEach(({ members }, type) => {
      const inUse = Math.floor(state / radix[type]!) % (members.length + 1);
      if (inUse < members.length) steps.push({ from: state, to: state + radix[type]!, type });
      unitsLeft[state]! += (members.length - inUse) * rates[members[0]!]!;
    });
  }
  return { types, count, steps, unitsLeft, units, ordered };
}

const alike = (a: PlacementDevice, b: PlacementDevice): boolean =>
  a.kind === b.kind &&
  a.speed === b.speed &&
  a.capacity === b.capacity &&
  a.linkSpeed === b.linkSpeed &&
  // Where nothing limits what is held, nobody counts it.
  (a.capacity === Number.POSITIVE_INFINITY || (a.inFlight ?? 1) === (b.inFlight ?? 1));

function remainingUnits(ideals: Ideals, units: Float64Array): Float64Array {
  const remaining = new Float64Array(ideals.count);
  for (let ideal = ideals.count - 2; ideal >= 0; ideal--) {
    const step = ideals.first[ideal]!;
    remaining[ideal] = remaining[ideals.target[step]!]! + units[ideals.added[step]!]!;
  }
  return remaining;
}

/** Share of a device's capacity that a part takes; Infinity where it cannot run there. */
const fillOf = (part: Part, device: PlacementDevice): number =>
  workOn(part, device) === Number.POSITIVE_INFINITY
    ? Number.POSITIVE_INFINITY
    : bytesOn(part, device) === 0
      ? 0
      : bytesOn(part, device) / device.capacity;

/** The walk over the stages that begin behind one ideal. */
class SegmentWalk {
  /** The ideal at which the stage at hand ends. */
  ideal = 0;
  /** Steps of each type in the caller's list. */
  readonly firstStep: Int32Array;
  readonly endStep: Int32Array;
  readonly #ideals: Ideals;
  readonly #sum: boolean;
  readonly #types: number;
  readonly #work: Float64Array[];
  readonly #bytes: (Float64Array | undefined)[];
  readonly #capacity: number[];
  readonly #perLink: number[];
  readonly #cost: Float64Array;
  readonly #producer: Int32Array;
  readonly #readers: Int32Array;
  /** Values that a part makes and reads. */
  readonly #makes: readonly Int32Array[];
  readonly #reads: readonly Int32Array[];
  // Of the stage's start: 1 in front of it, 2 in the stage, 0 behind.
  readonly #place: Uint8Array;
  readonly #readBefore: Int32Array;
  readonly #readInside: Int32Array;
  // By depth of the walk.
  #depth = -1;
  readonly #at: Int32Array;
  readonly #edge: Int32Array;
  readonly #part: Int32Array;
  readonly #workAt: Float64Array[];
  readonly #bytesAt: Float64Array[];
  /** Costs of what crosses the stage's boundary, and of what will cross it whatever the stage grows to. */
  readonly #inAt: Float64Array;
  readonly #outAt: Float64Array;
  readonly #inSure: Float64Array;
  readonly #outSure: Float64Array;

  constructor(
    { parts, values, devices, load }: PlacementProblem,
    ideals: Ideals,
    states: DeviceStates,
    measure: 'load' | 'fill',
  ) {
    const n = parts.length;
    this.#ideals = ideals;
    this.#sum = load === 'sum';
    const { types } = states;
    this.#types = types.length;
    this.firstStep = new Int32Array(types.length);
    this.endStep = new Int32Array(types.length);
    const work = measure === 'load' ? workOn : fillOf;
    this.#work = types.map(({ device }) => Float64Array.from(parts, (p) => work(p, device)));
    this.#bytes = types.map(({ device }) => {
      const limited = measure === 'load' && device.capacity < Number.POSITIVE_INFINITY;
      return limited ? Float64Array.from(parts, (p) => bytesOn(p, device)) : undefined;
    });
    this.#capacity = types.map(({ device }) => device.capacity * (1 + 1e-12));
    this.#perLink = types.map(({ device }) => 1 / device.linkSpeed);
    this.#cost = Float64Array.from(values, (v) => v.cost);
    this.#producer = Int32Array.from(values, (v) => v.producer);
    this.#readers = Int32Array.from(values, (v) => v.consumers.length);
    const makes: number[][] = parts.map(() => []);
    const reads: number[][] = parts.map(() => []);
    if (devices.length > 1 && measure === 'load') {
      values.forEach((value, v) => {
        if (value.cost === 0 || value.consumers.length === 0) return;
        makes[value.producer]!.push(v);
        for (const c of value.consumers) reads[c]!.push(v);
      });
    }
    this.#makes = makes.map((m) => Int32Array.from(m));
    this.#reads = reads.map((r) => Int32Array.from(r));
    this.#place = new Uint8Array(n);
    this.#readBefore = new Int32Array(values.length);
    this.#readInside = new Int32Array(values.length);
    this.#at = new Int32Array(n + 1);
    this.#edge = new Int32Array(n + 1);
    this.#part = new Int32Array(n + 1);
    this.#workAt = types.map(() => new Float64Array(n + 1));
    this.#bytesAt = types.map(() => new Float64Array(n + 1));
    this.#inAt = new Float64Array(n + 1);
    this.#outAt = new Float64Array(n + 1);
    this.#inSure = new Float64Array(n + 1);
    this.#outSure = new Float64Array(n + 1);
  }

  clear(): void {
    this.firstStep.fill(0);
    this.endStep.fill(0);
  }

  setSteps(type: number, first: number, end: number): void {
    this.firstStep[type] = first;
    this.endStep[type] = end;
  }

  start(ideal: number): void {
    this.#place.fill(0);
    this.#readBefore.fill(0);
    this.#readInside.fill(0);
    for (const part of this.#ideals.members(ideal)) {
      this.#place[part] = 1;
      for (const v of this.#reads[part]!) this.#readBefore[v]!++;
    }
    this.#depth = 0;
    this.#at[0] = ideal;
    this.#edge[0] = this.#ideals.first[ideal]!;
  }

  /** Goes to the next stage; false: there is none. Branches end where every type is at its capacity or `limit`. */
  next(limit: number): boolean {
    const { first, added, target, rank } = this.#ideals;
    while (this.#depth >= 0) {
      const depth = this.#depth;
      const at = this.#at[depth]!;
      const edge = this.#edge[depth]!;
      if (edge === first[at + 1]!) {
        if (depth > 0) this.#remove(this.#part[depth]!);
        this.#depth--;
        continue;
      }
      this.#edge[depth] = edge + 1;
      const part = added[edge]!;
      if (!this.#fits(part, limit)) continue;
      this.#add(part);
      if (this.#exceeds(limit)) {
        this.#remove(part);
        continue;
      }
      const deeper = depth + 1;
      this.#depth = deeper;
      this.#part[deeper] = part;
      const to = target[edge]!;
      this.#at[deeper] = to;
      this.ideal = to;
      // Parts of smaller rank belong to walks that took them before this one.
      let begin = first[to]!;
      const end = first[to + 1]!;
      while (begin < end && rank[added[begin]!]! < rank[part]!) begin++;
      this.#edge[deeper] = begin;
      return true;
    }
    return false;
  }

  /** Load of the stage at hand on a device of a type; Infinity where it has no step, or does not fit. */
  load(type: number): number {
    if (this.firstStep[type] === this.endStep[type]) return Number.POSITIVE_INFINITY;
    const depth = this.#depth;
    if (this.#bytes[type] && this.#bytesAt[type]![depth]! > this.#capacity[type]!) return Number.POSITIVE_INFINITY;
    const work = this.#workAt[type]![depth]!;
    const perLink = this.#perLink[type]!;
    const incoming = this.#inAt[depth]! * perLink;
    const outgoing = this.#outAt[depth]! * perLink;
    return this.#sum ? work + incoming + outgoing : Math.max(work, incoming, outgoing);
  }

  /** Whether the stage with the part stays below the limit by its work and within the capacity, on some type. */
  #fits(part: number, limit: number): boolean {
    const depth = this.#depth;
    for (let t = 0; t < this.#types; t++) {
      if (this.firstStep[t] === this.endStep[t]) continue;
      if (this.#workAt[t]![depth]! + this.#work[t]![part]! >= limit) continue;
      const bytes = this.#bytes[t];
      if (bytes && this.#bytesAt[t]![depth]! + bytes[part]! > this.#capacity[t]!) continue;
      return true;
    }
    return false;
  }

  /** Whether what is sure of the stage one deeper reaches the limit on all types. */
  #exceeds(limit: number): boolean {
    const depth = this.#depth + 1;
    for (let t = 0; t < this.#types; t++) {
      if (this.firstStep[t] === this.endStep[t]) continue;
      if (this.#bytes[t] && this.#bytesAt[t]![depth]! > this.#capacity[t]!) continue;
      const work = this.#workAt[t]![depth]!;
      const perLink = this.#perLink[t]!;
      const incoming = this.#inSure[depth]! * perLink;
      const outgoing = this.#outSure[depth]! * perLink;
      if ((this.#sum ? work + incoming + outgoing : Math.max(work, incoming, outgoing)) < limit) return false;
    }
    return true;
  }

  #add(part: number): void {
    const depth = this.#depth;
    for (let t = 0; t < this.#types; t++) {
      this.#workAt[t]![depth + 1] = this.#workAt[t]![depth]! + this.#work[t]![part]!;
      const bytes = this.#bytes[t];
      if (bytes) this.#bytesAt[t]![depth + 1] = this.#bytesAt[t]![depth]! + bytes[part]!;
    }
    let incoming = this.#inAt[depth]!;
    let outgoing = this.#outAt[depth]!;
    let inSure = this.#inSure[depth]!;
    let outSure = this.#outSure[depth]!;
    const cost = this.#cost;
    for (const v of this.#makes[part]!) {
      if (this.#readInside[v]! > 0) incoming -= cost[v]!;
      if (this.#readInside[v]! < this.#readers[v]!) outgoing += cost[v]!;
      if (this.#readBefore[v]! > 0) outSure += cost[v]!;
    }
    this.#place[part] = 2;
    for (const v of this.#reads[part]!) {
      const inside = ++this.#readInside[v]!;
      const place = this.#place[this.#producer[v]!]!;
      if (place === 2) {
        if (inside === this.#readers[v]!) outgoing -= cost[v]!;
      } else if (inside === 1) {
        incoming += cost[v]!;
        if (place === 1) inSure += cost[v]!;
      }
    }
    this.#inAt[depth + 1] = incoming;
    this.#outAt[depth + 1] = outgoing;
    this.#inSure[depth + 1] = inSure;
    this.#outSure[depth + 1] = outSure;
  }

  #remove(part: number): void {
    this.#place[part] = 0;
    for (const v of this.#reads[part]!) this.#readInside[v]!--;
  }
}
