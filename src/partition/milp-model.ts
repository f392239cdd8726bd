import type { FlatProblem } from './flat.ts';
import { ColumnList, type Entry, type MilpModel, RowList, single, type Term, unitOfLoads } from './milp-rows.ts';

/** The placement problem as a MILP, and the way between placements and columns. */
export interface PlacementMilp {
  readonly model: MilpModel;
  /** Columns of a placement that keeps to the numbering of equal devices; see `encode`. */
  readonly encode: (deviceOf: readonly number[]) => Float64Array;
  readonly decode: (values: ArrayLike<number>) => number[];
}

/**
 * With x[p,d] = 1 if part p is on device d, and y[v,d] ≥ |x[producer,d] − x[consumer,d]| for every consumer of value v,
 *
 *     minimize L   where   L ≥ Σ time[p,d] · x[p,d] + transfer[d] · Σ cost[v] · y[v,d]      for every d
 *                          Σ over d of x[p,d] = 1,   Σ over p of bytes[p,d] · x[p,d] ≤ capacity[d]
 *
 * (Tarnawski et al., NeurIPS 2020, section 5.2, with one kind of transfer). y needs no integrality: it is the largest of
 * differences. Where transfers overlap with computing, y is split into `in` and `out` and L bounds each sum apart.
 *
 * *Contiguous*, devices in the order given: with z[p,s] = x[p,0] + … + x[p,s], z[to,s] ≤ z[from,s] for each edge. The z are
 * the columns then, and x[p,d] stands for z[p,d] − z[p,d−1]: constraints have two entries, and branching on z[p,s] decides
 * "in front of or behind a boundary".
 * *In any order* of unequal devices: before[d,e] for pairs of devices, a total order, and x[from,d] + x[to,e] ≤ 1 + before[d,e].
 *
 * *Symmetry*, not contiguous: equal devices may be renumbered, so they are numbered as parts in descending weight first
 * use them: part i of that order is on the r-th device of a class only if an earlier one is on the (r − 1)-th.
 */
export function placementMilp(
  flat: FlatProblem,
  { contiguous, lower, upper }: { readonly contiguous: boolean; readonly lower: number; readonly upper: number },
): PlacementMilp {
  const inGivenOrder = contiguous && !flat.anyOrder;
  const scale = unitOfLoads(upper);
  const rows = new RowList();
  const columns = new ColumnList();
  const load = columns.add(lower * scale, 1, false);
  const places = placeParts(flat, inGivenOrder, columns);
  onePlaceEach(flat, places, upper, rows);
  const crossings = crossBoundaries(flat, places, columns, rows);
  boundLoads(flat, { places, crossings, load, scale, upper }, rows);
  const numbering = contiguous ? undefined : numberDevices(flat, rows, places.columns);
  const before = contiguous && !inGivenOrder ? orderDevices(flat, columns, rows, places.columns) : undefined;
  if (inGivenOrder) keepOrder(flat, places, rows);
  return {
    model: { columns: columns.count, ...columns.data(), ...rows.data() },
    decode: (values) => places.columns.map((_, p) => deviceIn(values, p, places, flat.devices)),
    encode: (given) => {
      const deviceOf = numbering ? numbering(given) : given;
      const values = new Float64Array(columns.count);
      values[load] = 1;
      setPlaces(values, deviceOf, places);
      setCrossings(values, deviceOf, flat, crossings);
      before?.(deviceOf, values);
      return values;
    },
  };
}

/** Where each part is: by device the columns x, or by boundary the columns z. */
interface Places {
  readonly inGivenOrder: boolean;
  readonly columns: readonly Int32Array[];
  /** x[p,d] as columns: plus the first, minus the second, plus a constant. */
  readonly x: (p: number, d: number) => Term;
}

function placeParts({ parts, devices }: FlatProblem, inGivenOrder: boolean, list: ColumnList): Places {
  const columns = Array.from({ length: parts }, () =>
    Int32Array.from({ length: inGivenOrder ? devices - 1 : devices }, () => list.add(0, 1, true)),
  );
  const x = (p: number, d: number): Term => {
    if (!inGivenOrder) return { plus: columns[p]![d]!, minus: -1, constant: 0 };
    const minus = d > 0 ? columns[p]![d - 1]! : -1;
    return d === devices - 1 ? { plus: -1, minus, constant: 1 } : { plus: columns[p]![d]!, minus, constant: 0 };
  };
  return { inGivenOrder, columns, x };
}

/** A part is on one device, and none of those that it does not fit on, or takes longer on than the best that is known. */
function onePlaceEach(flat: FlatProblem, { inGivenOrder, columns, x }: Places, upper: number, rows: RowList): void {
  const { parts, devices, classes, classOf } = flat;
  for (let p = 0; p < parts; p++) {
    const own = columns[p]!;
    if (inGivenOrder) {
      for (let s = 1; s < devices - 1; s++) rows.add([own[s]!, own[s - 1]!], [1, -1], 0, Infinity);
    } else rows.add(Array.from(own), new Array<number>(devices).fill(1), 1, 1);
    for (let d = 0; d < devices; d++) {
      const { time, bytes, capacity } = classes[classOf[d]!]!;
      if (time[p]! <= upper && bytes[p]! <= capacity) continue;
      rows.combine([[x(p, d), 1]], Number.NEGATIVE_INFINITY, 0);
    }
  }
}

/** By value: the columns y, by device; −1 where transfers are free. `into` and `out` are the same where they add up. */
interface Crossing {
  readonly into: Int32Array;
  readonly out: Int32Array;
}

function crossBoundaries(flat: FlatProblem, { x }: Places, list: ColumnList, rows: RowList): Crossing[] {
  const { devices, classes, classOf, ends, cost, overlap } = flat;
  const column = () =>
    Int32Array.from({ length: devices }, (_, d) => (classes[classOf[d]!]!.transfer > 0 ? list.add(0, 1, false) : -1));
  /** y ≥ here − there */
  const atLeast = (y: number, here: Term, there: Term): void => {
    const difference: Entry[] = [
      [single(y), 1],
      [here, -1],
      [there, 1],
    ];
    rows.combine(difference, 0, Infinity);
  };
  return Array.from(cost, (_, v) => {
    const [begin, end] = [ends.start[v]!, ends.start[v + 1]!];
    const into = column();
    const out = overlap ? column() : into;
    for (let d = 0; d < devices; d++) {
      if (into[d] === -1) continue;
      const home = x(ends.items[begin]!, d);
      for (let e = begin + 1; e < end; e++) {
        const reader = x(ends.items[e]!, d);
        atLeast(into[d]!, reader, home);
        atLeast(out[d]!, home, reader);
      }
    }
    return { into, out };
  });
}

interface Loads {
  readonly places: Places;
  readonly crossings: readonly Crossing[];
  /** The column of L, in units of 1 / scale. */
  readonly load: number;
  readonly scale: number;
  readonly upper: number;
}

/** L is at least what every device computes and moves, and no device holds more than it can. */
function boundLoads(flat: FlatProblem, { places, crossings, load, scale, upper }: Loads, rows: RowList): void {
  const { parts, devices, classes, classOf, cost, overlap } = flat;
  for (let d = 0; d < devices; d++) {
    const { time, bytes, capacity, transfer } = classes[classOf[d]!]!;
    const computing: Entry[] = [];
    for (let p = 0; p < parts; p++) if (time[p]! <= upper) computing.push([places.x(p, d), -time[p]! * scale]);
    const moved = (way: keyof Crossing): Entry[] =>
      transfer > 0 ? crossings.map((of, v) => [single(of[way][d]!), -cost[v]! * transfer * scale]) : [];
    const least: Entry = [single(load), 1];
    if (overlap) {
      for (const terms of [computing, moved('into'), moved('out')]) rows.combine([least, ...terms], 0, Infinity);
    } else rows.combine([least, ...computing, ...moved('into')], 0, Infinity);
    if (capacity < Number.POSITIVE_INFINITY) {
      const whole = Math.max(capacity, 1);
      const held = Array.from(bytes, (b, p): Entry => [places.x(p, d), b / whole]).filter(([, b]) => b > 0);
      if (held.length > 0) rows.combine(held, Number.NEGATIVE_INFINITY, (capacity / whole) * (1 + 1e-12));
    }
  }
}

/** Nothing is read in front of where it is made. */
function keepOrder({ parts, devices, successors }: FlatProblem, { columns }: Places, rows: RowList): void {
  for (let p = 0; p < parts; p++) {
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      const to = columns[successors.items[e]!]!;
      for (let s = 0; s < devices - 1; s++) rows.add([columns[p]![s]!, to[s]!], [1, -1], 0, Infinity);
    }
  }
}

/** The device that most of a part is on: the solver's ones are not quite. */
function deviceIn(values: ArrayLike<number>, p: number, { x }: Places, devices: number): number {
  const on = (d: number): number => {
    const { plus, minus, constant } = x(p, d);
    return (plus < 0 ? 0 : values[plus]!) - (minus < 0 ? 0 : values[minus]!) + constant;
  };
  let best = 0;
  for (let d = 1; d < devices; d++) if (on(d) > on(best)) best = d;
  return best;
}

function setPlaces(values: Float64Array, deviceOf: readonly number[], { inGivenOrder, columns }: Places): void {
  columns.forEach((own, p) => {
    own.forEach((column, d) => {
      values[column] = (inGivenOrder ? deviceOf[p]! <= d : deviceOf[p] === d) ? 1 : 0;
    });
  });
}

function setCrossings(
  values: Float64Array,
  deviceOf: readonly number[],
  { ends }: FlatProblem,
  crossings: readonly Crossing[],
): void {
  crossings.forEach(({ into, out }, v) => {
    const home = deviceOf[ends.items[ends.start[v]!]!]!;
    for (let e = ends.start[v]! + 1; e < ends.start[v + 1]!; e++) {
      const d = deviceOf[ends.items[e]!]!;
      if (d === home) continue;
      if (into[d]! >= 0) values[into[d]!] = 1;
      if (out[home]! >= 0) values[out[home]!] = 1;
    }
  });
}

/** Parts to which the numbering of devices is tied: enough of the heaviest that they use most devices. */
const tied = 3;

/** Rows that number equal devices by first use; gives the renumbering of a placement. */
function numberDevices(
  flat: FlatProblem,
  rows: RowList,
  place: readonly Int32Array[],
): (deviceOf: readonly number[]) => number[] {
  const { parts, devices, classes, classOf, touching, cost, units } = flat;
  const weight = Float64Array.from(units, (u, p) => {
    let w = u;
    for (let t = touching.start[p]!; t < touching.start[p + 1]!; t++) w += cost[touching.items[t]!]!;
    return w;
  });
  const order = Array.from({ length: parts }, (_, p) => p).sort((a, b) => weight[b]! - weight[a]! || a - b);
  for (const { devices: equal } of classes) {
    for (let r = 1; r < equal.length; r++) {
      for (let i = 0; i < Math.min(parts, tied * devices); i++) {
        const earlier = order.slice(0, i).map((p) => place[p]![equal[r - 1]!]!);
        rows.add([place[order[i]!]![equal[r]!]!, ...earlier], [-1, ...earlier.map(() => 1)], 0, Infinity);
      }
    }
  }
  return (deviceOf) => {
    const name = new Map<number, number>();
    const used = classes.map(() => 0);
    for (const p of order) {
      const d = deviceOf[p]!;
      const c = classOf[d]!;
      if (!name.has(d)) name.set(d, classes[c]!.devices[used[c]!++]!);
    }
    return deviceOf.map((d) => name.get(d)!);
  };
}

/** Columns and rows for an order of the devices in which no edge leads backwards; gives what a placement sets. */
function orderDevices(
  flat: FlatProblem,
  columns: ColumnList,
  rows: RowList,
  place: readonly Int32Array[],
): (deviceOf: readonly number[], values: Float64Array) => void {
  const { parts, devices, successors } = flat;
  const before = Array.from({ length: devices }, (_, d) =>
    Array.from({ length: devices }, (_, e) => (d < e ? columns.add(0, 1, true) : -1)),
  );
  /** before[d,e], of which the half above the diagonal is stored: the other half is its complement. */
  const isBefore = (d: number, e: number): Term =>
    d < e ? { plus: before[d]![e]!, minus: -1, constant: 0 } : { plus: -1, minus: before[e]![d]!, constant: 1 };
  for (let d = 0; d < devices; d++) {
    for (let e = 0; e < devices; e++) {
      for (let f = 0; f < devices; f++) {
        if (d === e || e === f || d === f) continue;
        rows.combine(
          [
            [isBefore(d, e), 1],
            [isBefore(e, f), 1],
            [isBefore(d, f), -1],
          ],
          Number.NEGATIVE_INFINITY,
          1,
        );
      }
    }
  }
  for (let p = 0; p < parts; p++) {
    for (let s = successors.start[p]!; s < successors.start[p + 1]!; s++) {
      const q = successors.items[s]!;
      for (let d = 0; d < devices; d++) {
        for (let e = 0; e < devices; e++) {
          if (d === e) continue;
          rows.combine(
            [
              [single(place[p]![d]!), 1],
              [single(place[q]![e]!), 1],
              [isBefore(d, e), -1],
            ],
            Number.NEGATIVE_INFINITY,
            1,
          );
        }
      }
    }
  }
  return (deviceOf, values) => {
    // In a topological order of the parts a device of a contiguous placement is met when all in front of it are over.
    const rank = devicesInOrder(flat, deviceOf);
    for (let d = 0; d < devices; d++) {
      for (let e = d + 1; e < devices; e++) values[before[d]![e]!] = rank[d]! < rank[e]! ? 1 : 0;
    }
  };
}

function devicesInOrder(flat: FlatProblem, deviceOf: readonly number[]): number[] {
  const { devices, successors, parts } = flat;
  const reaches = Array.from({ length: devices }, () => new Set<number>());
  for (let p = 0; p < parts; p++) {
    for (let s = successors.start[p]!; s < successors.start[p + 1]!; s++) {
      const [d, e] = [deviceOf[p]!, deviceOf[successors.items[s]!]!];
      if (d !== e) reaches[d]!.add(e);
    }
  }
  const missing = new Array<number>(devices).fill(0);
  for (const set of reaches) for (const e of set) missing[e]!++;
  const rank = new Array<number>(devices).fill(0);
  const open = missing.flatMap((m, d) => (m === 0 ? [d] : []));
  for (let place = 0; open.length > 0; place++) {
    const d = open.shift()!;
    rank[d] = place;
    for (const e of reaches[d]!) if (--missing[e]! === 0) open.push(e);
  }
  return rank;
}
