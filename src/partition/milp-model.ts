import type { FlatProblem } from './flat.ts';
import { ColumnList, type Entry, type MilpModel, RowList, single, type Term } from './milp-rows.ts';

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
  const { parts, devices, classes, classOf, ends, cost, overlap } = flat;
  const ordered = contiguous && !flat.anyOrder;
  const scale = 1 / Math.max(upper, Number.MIN_VALUE); // loads in units of what is reached
  const rows = new RowList();
  const columns = new ColumnList();
  const load = columns.add(lower * scale, 1, false);
  const place = Array.from({ length: parts }, () =>
    Int32Array.from({ length: ordered ? devices - 1 : devices }, () => columns.add(0, 1, true)),
  );
  /** x[p,d] as columns: plus the first, minus the second, plus a constant. */
  const x = (p: number, d: number): Term => {
    if (!ordered) return { plus: place[p]![d]!, minus: -1, constant: 0 };
    if (d === devices - 1) return { plus: -1, minus: d > 0 ? place[p]![d - 1]! : -1, constant: 1 };
    return { plus: place[p]![d]!, minus: d > 0 ? place[p]![d - 1]! : -1, constant: 0 };
  };
  for (let p = 0; p < parts; p++) {
    if (ordered) {
      for (let s = 1; s < devices - 1; s++) rows.add([place[p]![s]!, place[p]![s - 1]!], [1, -1], 0, Infinity);
    } else rows.add(Array.from(place[p]!), new Array<number>(devices).fill(1), 1, 1);
    for (let d = 0; d < devices; d++) {
      const { time, bytes, capacity } = classes[classOf[d]!]!;
      if (time[p]! <= upper && bytes[p]! <= capacity) continue;
      rows.combine([[x(p, d), 1]], Number.NEGATIVE_INFINITY, 0);
    }
  }

  const y: { into: Int32Array; out: Int32Array }[] = [];
  for (let v = 0; v < cost.length; v++) {
    const begin = ends.start[v]!;
    const end = ends.start[v + 1]!;
    const producer = ends.items[begin]!;
    const column = () =>
      Int32Array.from({ length: devices }, (_, d) =>
        classes[classOf[d]!]!.transfer > 0 ? columns.add(0, 1, false) : -1,
      );
    const into = column();
    const out = overlap ? column() : into;
    y.push({ into, out });
    for (let d = 0; d < devices; d++) {
      if (into[d] === -1) continue;
      const home = x(producer, d);
      for (let e = begin + 1; e < end; e++) {
        const reader = x(ends.items[e]!, d);
        rows.combine(
          [
            [single(into[d]!), 1],
            [reader, -1],
            [home, 1],
          ],
          0,
          Infinity,
        );
        rows.combine(
          [
            [single(out[d]!), 1],
            [home, -1],
            [reader, 1],
          ],
          0,
          Infinity,
        );
      }
    }
  }

  for (let d = 0; d < devices; d++) {
    const { time, bytes, capacity, transfer } = classes[classOf[d]!]!;
    const computing: Entry[] = [];
    for (let p = 0; p < parts; p++) if (time[p]! <= upper) computing.push([x(p, d), -time[p]! * scale]);
    const moved = (columns: 'into' | 'out'): Entry[] =>
      transfer > 0 ? y.map((of, v) => [single(of[columns][d]!), -cost[v]! * transfer * scale]) : [];
    const least: Entry = [single(load), 1];
    if (overlap) {
      for (const terms of [computing, moved('into'), moved('out')]) rows.combine([least, ...terms], 0, Infinity);
    } else rows.combine([least, ...computing, ...moved('into')], 0, Infinity);
    if (capacity < Number.POSITIVE_INFINITY) {
      const whole = Math.max(capacity, 1);
      const held = Array.from(bytes, (b, p): Entry => [x(p, d), b / whole]).filter(([, b]) => b > 0);
      if (held.length > 0) rows.combine(held, Number.NEGATIVE_INFINITY, (capacity / whole) * (1 + 1e-12));
    }
  }

  const numbering = contiguous ? undefined : numberDevices(flat, rows, place);
  const before = contiguous && !ordered ? orderDevices(flat, columns, rows, place) : undefined;
  if (ordered) {
    for (let p = 0; p < parts; p++) {
      for (let e = flat.successors.start[p]!; e < flat.successors.start[p + 1]!; e++) {
        const to = place[flat.successors.items[e]!]!;
        for (let s = 0; s < devices - 1; s++) rows.add([place[p]![s]!, to[s]!], [1, -1], 0, Infinity);
      }
    }
  }

  const on = (values: ArrayLike<number>, p: number, d: number): number => {
    const { plus, minus, constant } = x(p, d);
    return (plus < 0 ? 0 : values[plus]!) - (minus < 0 ? 0 : values[minus]!) + constant;
  };
  return {
    model: { columns: columns.count, ...columns.data(), ...rows.data() },
    decode: (values) =>
      place.map((_, p) => {
        let best = 0;
        for (let d = 1; d < devices; d++) if (on(values, p, d) > on(values, p, best)) best = d;
        return best;
      }),
    encode: (given) => {
      const deviceOf = numbering ? numbering(given) : given;
      const values = new Float64Array(columns.count);
      values[load] = 1;
      for (let p = 0; p < parts; p++) {
        place[p]!.forEach((column, d) => {
          values[column] = (ordered ? deviceOf[p]! <= d : deviceOf[p] === d) ? 1 : 0;
        });
      }
      for (let v = 0; v < cost.length; v++) {
        const home = deviceOf[ends.items[ends.start[v]!]!]!;
        const { into, out } = y[v]!;
        for (let e = ends.start[v]! + 1; e < ends.start[v + 1]!; e++) {
          const d = deviceOf[ends.items[e]!]!;
          if (d === home) continue;
          if (into[d]! >= 0) values[into[d]!] = 1;
          if (out[home]! >= 0) values[out[home]!] = 1;
        }
      }
      before?.(deviceOf, values);
      return values;
    },
  };
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
