import { checkOptions, requireKinds } from '../core/options.ts';
import { type Part, type PlacementDevice, type PlacementProblem, requirePlacement, requireProblem } from './problem.ts';

/**
 * What a placement costs: the one evaluator that every method answers to.
 *
 *     work(d) = Σ work of the parts on d / speed of d
 *     in(d)   = Σ cost of values that a part on d reads and another device produces, once a value
 *     out(d)  = Σ cost of values that d produces and another device reads, once a value
 *
 *     load: 'sum'   work(d) + (in(d) + out(d)) / linkSpeed     Tarnawski et al., NeurIPS 2020: nothing overlaps
 *     load: 'max'   max(work(d), in(d) / linkSpeed, out(d) / linkSpeed)   PipeDream, SOSP 2019: all of it overlaps
 *
 * PipeDream counts both the activation and its gradient, 2 · in and 2 · out: there a value's cost is that of both.
 */
export interface Evaluation {
  /** Of each device; Infinity where a part lies that the device cannot run. */
  readonly loads: readonly number[];
  /** The largest load. */
  readonly objective: number;
  /** Of each device: parts, and what they hold for the microbatches in flight. */
  readonly bytes: readonly number[];
  /** Empty: the placement is legal. */
  readonly violations: readonly Violation[];
}

export type Violation =
  | { readonly kind: 'capacity'; readonly device: number; readonly bytes: number; readonly capacity: number }
  | { readonly kind: 'unsupported'; readonly device: number; readonly part: number }
  /** Contiguity: this edge leads to an earlier device, or lies on a cycle of devices where they may stand in any order. */
  | { readonly kind: 'order'; readonly from: number; readonly to: number };

/** Time of a part on a device; Infinity where it cannot run there. */
export const workOn = (part: Part, device: PlacementDevice): number =>
  (device.kind === 'cpu' ? (part.cpuWork ?? part.work) : part.work) / device.speed;

/** Bytes that a part takes on a device. */
export const bytesOn = (part: Part, device: PlacementDevice): number =>
  part.bytes + (part.heldBytes ?? 0) * (device.inFlight ?? 1);

/** Load of a device from its work (of its own speed) and its transfers (of linkSpeed 1). */
export const loadOf = (
  rule: PlacementProblem['load'],
  device: PlacementDevice,
  work: number,
  incoming: number,
  outgoing: number,
): number =>
  rule === 'sum'
    ? work + (incoming + outgoing) / device.linkSpeed
    : Math.max(work, incoming / device.linkSpeed, outgoing / device.linkSpeed);

/** A capacity is stated in bytes; sums of sizes that are not whole may round. */
const exceeds = (bytes: number, capacity: number): boolean => bytes > capacity * (1 + 1e-12);

export function evaluatePlacement(
  problem: PlacementProblem,
  deviceOf: readonly number[],
  options: { readonly contiguous?: boolean } = {},
): Evaluation {
  requireProblem('evaluatePlacement', problem);
  checkOptions('evaluatePlacement', options, { contiguous: 'flag' });
  const state = new PlacementState(problem, deviceOf);
  const loads = problem.devices.map((_, d) => state.load(d));
  const bytes = problem.devices.map((_, d) => state.bytes(d));
  const violations: Violation[] = [];
  problem.devices.forEach(({ capacity }, device) => {
    if (exceeds(bytes[device]!, capacity)) {
      violations.push({ kind: 'capacity', device, bytes: bytes[device]!, capacity });
    }
  });
  problem.parts.forEach((p, part) => {
    const device = deviceOf[part]!;
    if (workOn(p, problem.devices[device]!) === Number.POSITIVE_INFINITY) {
      violations.push({ kind: 'unsupported', device, part });
    }
  });
  if (options.contiguous ?? false) violations.push(...brokenOrder(problem, deviceOf));
  return { loads, objective: Math.max(0, ...loads), bytes, violations };
}

/** Edges that no stages in the order of the devices (or, where that is free, in any order) allow. */
function brokenOrder(problem: PlacementProblem, deviceOf: readonly number[]): Violation[] {
  const rank = problem.deviceOrder === 'any' ? deviceRanks(problem, deviceOf) : problem.devices.map((_, d) => d);
  return problem.edges
    .filter(([from, to]) => rank[deviceOf[from]!]! > rank[deviceOf[to]!]!)
    .map(([from, to]) => ({ kind: 'order', from, to }));
}

/**
 * Place of each device in an order in which no edge leads backwards (Kahn, smallest device first). Where there is none,
 * devices on cycles come last, by number.
 */
export function deviceRanks(problem: PlacementProblem, deviceOf: readonly number[]): number[] {
  const k = problem.devices.length;
  const behind = Array.from({ length: k }, () => new Set<number>());
  for (const [from, to] of problem.edges) {
    if (deviceOf[from] !== deviceOf[to]) behind[deviceOf[from]!]!.add(deviceOf[to]!);
  }
  const missing = new Int32Array(k);
  for (const others of behind) for (const d of others) missing[d]!++;
  const rank = new Array<number>(k).fill(-1);
  for (let place = 0; place < k; place++) {
    const free = rank.findIndex((r, d) => r < 0 && missing[d] === 0);
    const next = free >= 0 ? free : rank.indexOf(-1);
    rank[next] = place;
    for (const d of behind[next]!) missing[d]!--;
  }
  return rank;
}

/**
 * A placement that changes by moves: a move costs O(values of the part · devices), a load O(1). Sums of moves round; a method
 * reports what `evaluatePlacement` says of its answer.
 */
export class PlacementState {
  readonly problem: PlacementProblem;
  /** Device of each part; changed by `move` alone. */
  readonly deviceOf: Int32Array;
  /** Made with the first move: most placements are only looked at. */
  #valuesOf: readonly (readonly number[])[] | undefined;
  readonly #k: number;
  /** Readers of value v on device d, at v · k + d. */
  readonly #readers: Int32Array;
  readonly #work: Float64Array;
  readonly #unsupported: Int32Array;
  readonly #bytes: Float64Array;
  readonly #in: Float64Array;
  readonly #out: Float64Array;

  constructor(problem: PlacementProblem, deviceOf: ArrayLike<number>) {
    requireKinds('a placement', { parts: ['list', problem?.parts], devices: ['list', problem?.devices] });
    requireKinds('a placement', { values: ['list', problem.values] });
    requirePlacement(problem, deviceOf);
    const { parts, values, devices } = problem;
    this.problem = problem;
    this.deviceOf = Int32Array.from(deviceOf);
    this.#k = devices.length;
    this.#readers = new Int32Array(values.length * this.#k);
    this.#work = new Float64Array(this.#k);
    this.#unsupported = new Int32Array(this.#k);
    this.#bytes = new Float64Array(this.#k);
    this.#in = new Float64Array(this.#k);
    this.#out = new Float64Array(this.#k);
    values.forEach(({ consumers }, v) => {
      for (const c of consumers) this.#readers[v * this.#k + this.deviceOf[c]!]!++;
    });
    for (let p = 0; p < parts.length; p++) this.#addPart(p, this.deviceOf[p]!, 1);
    for (let v = 0; v < values.length; v++) this.#addTransfers(v, 1);
  }

  /** Values that a part produces or reads, by number. */
  get valuesOf(): readonly (readonly number[])[] {
    if (this.#valuesOf) return this.#valuesOf;
    const lists: number[][] = this.problem.parts.map(() => []);
    this.problem.values.forEach(({ producer, consumers }, v) => {
      lists[producer]!.push(v);
      for (const c of consumers) lists[c]!.push(v);
    });
    this.#valuesOf = lists;
    return lists;
  }

  /** Work of a device, of its own speed, apart from parts that it cannot run. */
  work(device: number): number {
    return this.#work[device]!;
  }

  bytes(device: number): number {
    return this.#bytes[device]!;
  }

  /** Costs of transfers into and out of a device, of linkSpeed 1. */
  transfers(device: number): { readonly incoming: number; readonly outgoing: number } {
    return { incoming: this.#in[device]!, outgoing: this.#out[device]! };
  }

  load(device: number): number {
    if (this.#unsupported[device]! > 0) return Number.POSITIVE_INFINITY;
    const { load, devices } = this.problem;
    return loadOf(load, devices[device]!, this.#work[device]!, this.#in[device]!, this.#out[device]!);
  }

  /** Bytes beyond the capacity of a device, 0 where it suffices. */
  excess(device: number): number {
    const { capacity } = this.problem.devices[device]!;
    const bytes = this.#bytes[device]!;
    return exceeds(bytes, capacity) ? bytes - capacity : 0;
  }

  /** The largest load, O(devices). */
  objective(): number {
    let largest = 0;
    for (let d = 0; d < this.#k; d++) largest = Math.max(largest, this.load(d));
    return largest;
  }

  /** Moves a part; moving it back undoes it but for rounding. */
  move(part: number, device: number): void {
    const from = this.deviceOf[part]!;
    if (from === device) return;
    for (const v of this.valuesOf[part]!) this.#addTransfers(v, -1);
    this.#addPart(part, from, -1);
    this.deviceOf[part] = device;
    this.#addPart(part, device, 1);
    for (const v of this.valuesOf[part]!) {
      if (this.problem.values[v]!.producer !== part) {
        this.#readers[v * this.#k + from]!--;
        this.#readers[v * this.#k + device]!++;
      }
      this.#addTransfers(v, 1);
    }
  }

  #addPart(part: number, device: number, sign: 1 | -1): void {
    const p = this.problem.parts[part]!;
    const d = this.problem.devices[device]!;
    const work = workOn(p, d);
    if (work === Number.POSITIVE_INFINITY) this.#unsupported[device]! += sign;
    else this.#work[device]! += sign * work;
    this.#bytes[device]! += sign * bytesOn(p, d);
  }

  #addTransfers(v: number, sign: 1 | -1): void {
    const { producer, cost } = this.problem.values[v]!;
    const home = this.deviceOf[producer]!;
    let crosses = false;
    for (let d = 0, at = v * this.#k; d < this.#k; d++, at++) {
      if (d === home || this.#readers[at] === 0) continue;
      this.#in[d]! += sign * cost;
      crosses = true;
    }
    if (crosses) this.#out[home]! += sign * cost;
  }
}
