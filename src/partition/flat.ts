import type { PlacementDevice, PlacementProblem } from './problem.ts';
import { workUnits } from './work-bound.ts';

/** Rows of numbers, one after another: row r is `items[start[r]] … items[start[r + 1] − 1]`. */
export interface Rows {
  readonly start: Int32Array;
  readonly items: Int32Array;
}

/** Devices that differ in nothing. */
export interface DeviceClass {
  /** Ascending. */
  readonly devices: readonly number[];
  /** Time of each part on such a device. */
  readonly time: Float64Array;
  /** Bytes of each part on such a device. */
  readonly bytes: Float64Array;
  readonly capacity: number;
  /** What costs of transfers are multiplied by. */
  readonly transfer: number;
}

/**
 * A placement problem in typed arrays, for searches that look at millions of placements: devices in classes, values that
 * can never cross a boundary or cost nothing left out, those that cross the same boundaries joined into one. Where transfers
 * in and out add up, those are the values with the same ends: a device is charged for one if it holds some of its ends and
 * not all, whichever end is the producer. Otherwise producers must agree as well.
 */
export interface FlatProblem {
  readonly parts: number;
  readonly devices: number;
  readonly overlap: boolean;
  /** Contiguous placements may use the devices in any order, and that makes a difference. */
  readonly anyOrder: boolean;
  readonly classes: readonly DeviceClass[];
  readonly classOf: Int32Array;
  /** Row v: the producer of value v, then its consumers. */
  readonly ends: Rows;
  readonly cost: Float64Array;
  /** Row p: values that part p produces or consumes. */
  readonly touching: Rows;
  /** See `workUnits`. */
  readonly units: Float64Array;
  readonly rates: Float64Array;
  readonly successors: Rows;
  readonly predecessors: Rows;
}

/** One flat form a problem: the searches that take turns on it need not make it again, and none of them changes it. */
const known = new WeakMap<PlacementProblem, FlatProblem>();

export function flatten(problem: PlacementProblem): FlatProblem {
  let flat = known.get(problem);
  if (!flat) known.set(problem, (flat = flattened(problem)));
  return flat;
}

function flattened(problem: PlacementProblem): FlatProblem {
  const parts = problem.parts.length;
  const classes: (DeviceClass & { devices: number[]; of: PlacementDevice })[] = [];
  const classOf = new Int32Array(problem.devices.length);
  problem.devices.forEach((device, d) => {
    let found = classes.findIndex(({ of }) => sameDevice(of, device));
    if (found < 0) {
      const { kind, speed, capacity, linkSpeed, inFlight = 1 } = device;
      found = classes.length;
      classes.push({
        of: device,
        devices: [],
        time: Float64Array.from(problem.parts, (p) => (kind === 'cpu' ? (p.cpuWork ?? p.work) : p.work) / speed),
        bytes: Float64Array.from(problem.parts, (p) => p.bytes + inFlight * (p.heldBytes ?? 0)),
        capacity,
        transfer: 1 / linkSpeed,
      });
    }
    classes[found]!.devices.push(d);
    classOf[d] = found;
  });

  const joined = new Map<string, { ends: number[]; cost: number }>();
  for (const { producer, consumers, cost } of problem.values) {
    if (consumers.length === 0 || cost === 0) continue;
    const ends = [producer, ...consumers.toSorted((a, b) => a - b)];
    const key = (problem.load === 'sum' ? ends.toSorted((a, b) => a - b) : ends).join();
    const same = joined.get(key);
    if (same) same.cost += cost;
    else joined.set(key, { ends, cost });
  }
  const values = [...joined.values()];
  const touching: number[][] = Array.from({ length: parts }, () => []);
  values.forEach(({ ends }, v) => {
    for (const p of ends) touching[p]!.push(v);
  });
  const successors = Array.from({ length: parts }, () => new Set<number>());
  const predecessors = Array.from({ length: parts }, () => new Set<number>());
  for (const [from, to] of problem.edges) {
    successors[from]!.add(to);
    predecessors[to]!.add(from);
  }
  return {
    parts,
    devices: problem.devices.length,
    overlap: problem.load === 'max',
    anyOrder: problem.deviceOrder === 'any' && classes.length > 1,
    classes,
    classOf,
    ends: rows(values.map(({ ends }) => ends)),
    cost: Float64Array.from(values, ({ cost }) => cost),
    touching: rows(touching),
    ...workUnits(problem),
    successors: rows(successors),
    predecessors: rows(predecessors),
  };
}

const sameDevice = (a: PlacementDevice, b: PlacementDevice): boolean =>
  a.kind === b.kind &&
  a.speed === b.speed &&
  a.capacity === b.capacity &&
  a.linkSpeed === b.linkSpeed &&
  (a.inFlight ?? 1) === (b.inFlight ?? 1);

export function rows(lists: readonly Iterable<number>[]): Rows {
  const start = new Int32Array(lists.length + 1);
  const items: number[] = [];
  lists.forEach((list, r) => {
    for (const item of list) items.push(item);
    start[r + 1] = items.length;
  });
  return { start, items: Int32Array.from(items) };
}

/** Uniform numbers in [0, 1) for searches that draw millions: xorshift128 (Marsaglia, 2003), seeded by a hash. */
export function fastRandom(seed: number): () => number {
  let mixed = (seed ^ Math.floor(seed / 2 ** 32)) | 0;
  const word = (): number => {
    mixed = (mixed + 0x9e3779b9) | 0;
    let z = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let [x, y, z, w] = [word(), word(), word(), word() | 1];
  return () => {
    const t = x ^ (x << 11);
    x = y;
    y = z;
    z = w;
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return (w >>> 0) / 2 ** 32;
  };
}
