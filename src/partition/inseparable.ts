import { circles } from './components.ts';
import { flatten } from './flat.ts';
import { fusedName, Groups } from './groups.ts';
import { setNetwork } from './placement-bound.ts';
import type { Part, PlacementProblem } from './problem.ts';

/** A problem with fewer parts, and what its placements mean for the one it came from. */
export interface Fused {
  readonly problem: PlacementProblem;
  /** Part of the smaller problem by part of the larger. */
  readonly partOf: readonly number[];
}

export interface FuseOptions {
  /** Only placements with a smaller objective count. */
  readonly below: number;
  readonly contiguous: boolean;
  /** `performance.now()` at which it stops with what it has joined. */
  readonly deadline: number;
}

/**
 * Joins parts that share a device in every placement with an objective below a given one.
 *
 * If p and q lie on different devices, one device holds p and not q, another q and not p. The lightest set that holds p and
 * not q is a minimum cut (`setNetwork`); if it, or that of q without p, is no lighter than `below` on any class of device,
 * a better placement has p and q together. Ends of one value are tried, costly values first, until nothing more joins: a
 * set of joined parts has heavier cuts than each of them. Contiguous devices also hold a cycle of joined parts whole.
 *
 * Values that overlap with computing do not add to its load, so that nothing is joined there.
 */
export function fuseInseparable(problem: PlacementProblem, { below, contiguous, deadline }: FuseOptions): Fused {
  let fused: Fused = { problem, partOf: problem.parts.map((_, p) => p) };
  if (problem.load !== 'sum' || problem.devices.length < 2 || !(below < Number.POSITIVE_INFINITY)) return fused;
  for (;;) {
    const groups = joinOnce(fused.problem, below, deadline);
    if (!groups) return fused;
    const step = fuse(fused.problem, groups, contiguous);
    fused = { problem: step.problem, partOf: fused.partOf.map((p) => step.partOf[p]!) };
  }
}

/** Placements of the smaller problem for the larger. */
export const unfuse = ({ partOf }: Fused, deviceOf: ArrayLike<number>): number[] => partOf.map((p) => deviceOf[p]!);

/** A placement of the larger problem for the smaller; undefined where it parts what is joined. */
export function fusePlacement({ problem, partOf }: Fused, deviceOf: readonly number[]): number[] | undefined {
  const fused = new Array<number>(problem.parts.length).fill(-1);
  for (let p = 0; p < partOf.length; p++) {
    const at = partOf[p]!;
    if (fused[at] !== -1 && fused[at] !== deviceOf[p]) return undefined;
    fused[at] = deviceOf[p]!;
  }
  return fused;
}

function joinOnce(problem: PlacementProblem, below: number, deadline: number): Groups | undefined {
  const flat = flatten(problem);
  const { parts, classes, ends, cost } = flat;
  const enough = below * (1 - 1e-9);
  const networks = classes.map((_, c) => setNetwork(flat, c));
  /** No device holds p and not q, nor any part that has been joined to q. */
  const never = (p: number, q: number): boolean =>
    networks.every((network) => network.maximumFlow(p, parts, { enough, open: 2 * q, deadline }) >= enough);
  const groups = new Groups(parts);
  let joined = false;
  const costly = Array.from(cost, (_, v) => v).sort((a, b) => cost[b]! - cost[a]!);
  for (const v of costly) {
    const first = ends.items[ends.start[v]!]!;
    for (let e = ends.start[v]! + 1; e < ends.start[v + 1]!; e++) {
      const other = ends.items[e]!;
      if (groups.find(first) === groups.find(other)) continue;
      if (performance.now() > deadline) return joined ? groups : undefined;
      if (!never(first, other) && !never(other, first)) continue;
      groups.join(first, other);
      joined = true;
    }
  }
  return joined ? groups : undefined;
}

export function fuse(problem: PlacementProblem, groups: Groups, contiguous: boolean): Fused {
  if (contiguous) {
    const edges = problem.edges.map(([a, b]) => [groups.find(a), groups.find(b)] as const);
    for (const cycle of circles(problem.parts.length, edges)) {
      for (const p of cycle) groups.join(cycle[0]!, p);
    }
  }
  const members = groups.members();
  const partOf = new Array<number>(problem.parts.length).fill(0);
  members.forEach((group, g) => {
    for (const p of group) partOf[p] = g;
  });
  const parts = members.map((group): Part => {
    const of = group.map((p) => problem.parts[p]!);
    const sum = (term: (part: Part) => number) => of.reduce((a, part) => a + term(part), 0);
    return {
      name: fusedName(of.map(({ name }) => name)),
      work: sum(({ work }) => work),
      cpuWork: sum(({ work, cpuWork = work }) => cpuWork),
      bytes: sum(({ bytes }) => bytes),
      heldBytes: sum(({ heldBytes = 0 }) => heldBytes),
    };
  });
  const values = problem.values.flatMap(({ producer, consumers, cost }) => {
    const from = partOf[producer]!;
    const to = new Set(consumers.map((c) => partOf[c]!));
    to.delete(from);
    return to.size > 0 ? [{ producer: from, consumers: [...to], cost }] : [];
  });
  // Where any placement will do, edges say nothing, and fused parts may have made cycles of them.
  const seen = new Set<string>();
  const edges = contiguous
    ? problem.edges
        .map(([a, b]) => [partOf[a]!, partOf[b]!] as const)
        .filter(([a, b]) => a !== b && !seen.has(`${a},${b}`) && seen.add(`${a},${b}`))
    : [];
  return { problem: { ...problem, parts, values, edges }, partOf };
}
