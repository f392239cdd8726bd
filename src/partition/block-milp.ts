import type { FlatProblem } from './flat.ts';
import { ColumnList, type Entry, type MilpModel, RowList, single, type Term, unitOfLoads } from './milp-rows.ts';

/** What some device of every placement holds. */
export type BlockDemand =
  /** So much work, in the units of `workUnits`. */
  | { readonly kind: 'units'; readonly least: number }
  /** So many of some parts. */
  | { readonly kind: 'crowd'; readonly of: readonly number[]; readonly least: number };

/**
 * The lightest set of parts that meets a demand, on a device of a class: a lower bound of the largest load wherever the
 * demand must be met by some device. One device instead of all of them: k times fewer columns, and no symmetry. The
 * bottleneck formulation of Archer et al. (ICML 2024) is this with the demand work ≥ work of the graph / k.
 *
 *     minimize Σ time · x + transfer · Σ cost[v] · y[v],   y[v] ≥ |x[producer] − x[consumer]|
 *
 * A contiguous device holds what lies between two down-sets: x = behind − before, both closed under predecessors.
 * Where transfers overlap with computing, the objective is a column above each of the three sums.
 */
export function blockMilp(
  flat: FlatProblem,
  c: number,
  demand: BlockDemand,
  { contiguous, lower, upper }: { readonly contiguous: boolean; readonly lower: number; readonly upper: number },
): MilpModel {
  const { parts, classes, ends, cost, overlap, units, successors } = flat;
  const { time, bytes, capacity, transfer } = classes[c]!;
  const scale = unitOfLoads(upper);
  const columns = new ColumnList();
  const rows = new RowList();
  const load = columns.add(lower * scale, 1, false);
  const up = Int32Array.from({ length: parts }, () => columns.add(0, 1, true));
  const down = contiguous ? Int32Array.from({ length: parts }, () => columns.add(0, 1, true)) : undefined;
  const x = (p: number): Term => ({ plus: up[p]!, minus: down ? down[p]! : -1, constant: 0 });
  for (let p = 0; p < parts; p++) {
    if (time[p]! > upper || bytes[p]! > capacity) rows.combine([[x(p), 1]], Number.NEGATIVE_INFINITY, 0);
    if (!down) continue;
    rows.add([up[p]!, down[p]!], [1, -1], 0, Number.POSITIVE_INFINITY);
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      const to = successors.items[e]!;
      for (const set of [up, down]) rows.add([set[p]!, set[to]!], [1, -1], 0, Number.POSITIVE_INFINITY);
    }
  }
  const into: Entry[] = [];
  const out: Entry[] = [];
  for (let v = 0; v < cost.length && transfer > 0; v++) {
    const begin = ends.start[v]!;
    const inward = columns.add(0, 1, false);
    const outward = overlap ? columns.add(0, 1, false) : inward;
    const home = x(ends.items[begin]!);
    for (let e = begin + 1; e < ends.start[v + 1]!; e++) {
      const reader = x(ends.items[e]!);
      rows.combine(
        [
          [single(inward), 1],
          [reader, -1],
          [home, 1],
        ],
        0,
        Number.POSITIVE_INFINITY,
      );
      rows.combine(
        [
          [single(outward), 1],
          [home, -1],
          [reader, 1],
        ],
        0,
        Number.POSITIVE_INFINITY,
      );
    }
    const charge = -cost[v]! * transfer * scale;
    into.push([single(inward), charge]);
    if (overlap) out.push([single(outward), charge]);
  }
  const computing = Array.from(time, (t, p): Entry => [x(p), -t * scale]).filter((_, p) => time[p]! <= upper);
  const least: Entry = [single(load), 1];
  for (const terms of overlap ? [computing, into, out] : [[...computing, ...into]]) {
    rows.combine([least, ...terms], 0, Number.POSITIVE_INFINITY);
  }
  if (demand.kind === 'units') {
    const whole = Math.max(demand.least, Number.MIN_VALUE);
    const done = Array.from(units, (u, p): Entry => [x(p), u / whole]);
    rows.combine(done, 1 - 1e-9, Number.POSITIVE_INFINITY);
  } else {
    rows.combine(
      demand.of.map((p) => [x(p), 1]),
      demand.least,
      Number.POSITIVE_INFINITY,
    );
  }
  return { columns: columns.count, ...columns.data(), ...rows.data() };
}
