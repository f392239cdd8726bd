import type { FlatProblem, Rows } from './flat.ts';
import { FlowNetwork } from './min-cut.ts';

/**
 * Lower bounds of the largest load that cost little on any graph; all of them hold for every placement but the last, which
 * is for contiguous ones.
 *
 * 1. *Work*: Σ work / Σ speeds, and the part that takes longest on its best device (`workBound`).
 * 2. *Crowding*: of the m·k + 1 longest parts, some device of k equal ones holds m + 1.
 * 3. *Company*: the device of part p has at least the load of the lightest set that holds p, transfers included: a minimum
 *    cut, as computing and transfers are together a submodular function of the set. Where they overlap, so is any mean of
 *    computing and one direction of transfers, which the largest of them is not below.
 * 4. *Boundaries*, contiguous: see `boundaryBound`.
 */
export function partBound(flat: FlatProblem, deadline: number): number {
  return Math.max(0, ...crowds(flat, 1).map(({ together }) => together), company(flat, deadline)) * (1 - margin);
}

/** Sums round. */
const margin = 1e-9;

/** Of these parts some device holds `least` at least; together they are `together` long or longer. */
export interface Crowd {
  readonly of: readonly number[];
  readonly least: number;
  readonly together: number;
}

/** The crowds of equal devices that give most, the best first. */
export function crowds({ parts, devices, classes }: FlatProblem, most = 2): Crowd[] {
  if (classes.length > 1 || devices < 2) return [];
  const { time } = classes[0]!;
  const longest = Array.from({ length: parts }, (_, p) => p).sort((a, b) => time[b]! - time[a]!);
  const found: Crowd[] = [];
  for (let m = 1; m * devices < parts && m <= 256; m++) {
    let together = 0;
    for (let i = m * (devices - 1); i <= m * devices; i++) together += time[longest[i]!]!;
    found.push({ of: longest.slice(0, m * devices + 1), least: m + 1, together });
  }
  return found.sort((a, b) => b.together - a.together).slice(0, most);
}

/** Parts whose cut is computed: those with the largest work and transfers, which alone can give much. */
const companions = 32;

/** What counts of a load, and how much: where transfers overlap with computing, any weights whose sum is 1 bound it. */
interface Mix {
  readonly work: number;
  readonly incoming: number;
  readonly outgoing: number;
}

const added: Mix = { work: 1, incoming: 1, outgoing: 1 };

/** max(work, in, out) ≥ a · work + (1 − a) · in, and the same with out. */
const overlapped: readonly Mix[] = [0.5, 0.7, 0.3].flatMap((work) => [
  { work, incoming: 1 - work, outgoing: 0 },
  { work, incoming: 0, outgoing: 1 - work },
]);

function company(flat: FlatProblem, deadline: number): number {
  const { classes, overlap, devices, cost } = flat;
  // A device that pays no transfers adds none.
  if (devices < 2 || cost.length === 0 || classes.some(({ transfer }) => transfer === 0)) return 0;
  const mixes = overlap ? overlapped : [added];
  let bound = 0;
  for (const mix of mixes) bound = companyOf(flat, mix, bound, Math.ceil(companions / mixes.length), deadline);
  return bound;
}

function companyOf(flat: FlatProblem, mix: Mix, atLeast: number, most: number, deadline: number): number {
  const { parts, classes, touching, ends, cost } = flat;
  const alone = Float64Array.from({ length: parts }, (_, p) => {
    let load = mix.work * Math.min(...classes.map(({ time }) => time[p]!));
    for (let t = touching.start[p]!; t < touching.start[p + 1]!; t++) {
      const v = touching.items[t]!;
      load += cost[v]! * (ends.items[ends.start[v]!] === p ? mix.outgoing : mix.incoming);
    }
    return load;
  });
  const likely = Array.from({ length: parts }, (_, p) => p).sort((a, b) => alone[b]! - alone[a]!);
  let bound = atLeast;
  let networks: FlowNetwork[] | undefined;
  for (const p of likely.slice(0, most)) {
    if (alone[p]! <= bound || performance.now() > deadline) break;
    networks ??= classes.map((_, c) => setNetwork(flat, c, mix));
    let lightest = Number.POSITIVE_INFINITY;
    classes.forEach(({ time }, c) => {
      if (time[p]! < Number.POSITIVE_INFINITY) {
        lightest = Math.min(lightest, networks![c]!.maximumFlow(p, parts, { deadline }));
      }
    });
    bound = Math.max(bound, lightest);
  }
  return bound;
}

/**
 * Sets of parts as cuts: what lies on the source's side of a cut is a set, and the cut costs its load on a device of the
 * class. Nodes 0 … parts − 1 are the parts, node `parts` is the sink, and the arc from part p to it has the number 2p.
 */
export function setNetwork({ parts, classes, ends, cost }: FlatProblem, c: number, mix: Mix = added): FlowNetwork {
  const { time, transfer } = classes[c]!;
  const network = new FlowNetwork(1 + parts + 2 * cost.length);
  for (let p = 0; p < parts; p++) network.connect(p, parts, time[p]! * mix.work);
  for (let v = 0; v < cost.length; v++) {
    const node = parts + 1 + 2 * v;
    if (mix === added) addValue(network, ends, v, cost[v]! * transfer, node, (p) => p);
    else addDirected(network, ends, v, cost[v]! * transfer, node, mix);
  }
  return network;
}

/** A value whose two directions cost differently: in where an end that reads it is in the set and its producer is not. */
function addDirected(network: FlowNetwork, ends: Rows, value: number, cost: number, node: number, mix: Mix): void {
  const begin = ends.start[value]!;
  const producer = ends.items[begin]!;
  const [into, out] = [cost * mix.incoming, cost * mix.outgoing];
  const end = ends.start[value + 1]!;
  if (end - begin === 2) {
    network.connect(producer, ends.items[begin + 1]!, out, into);
    return;
  }
  if (into > 0) network.connect(node, producer, into);
  if (out > 0) network.connect(producer, node + 1, out);
  for (let e = begin + 1; e < end; e++) {
    if (into > 0) network.connect(ends.items[e]!, node, Number.POSITIVE_INFINITY);
    if (out > 0) network.connect(node + 1, ends.items[e]!, Number.POSITIVE_INFINITY);
  }
}

/**
 * A value is cut where some of its ends, and not all, lie on the source's side. Two further nodes: the first is on that
 * side as soon as one end is, the second only if all are.
 */
function addValue(
  network: FlowNetwork,
  ends: Rows,
  value: number,
  cost: number,
  node: number,
  nodeOf: (part: number) => number,
): void {
  const begin = ends.start[value]!;
  const end = ends.start[value + 1]!;
  if (end - begin === 2) {
    network.connect(nodeOf(ends.items[begin]!), nodeOf(ends.items[begin + 1]!), cost, cost);
    return;
  }
  network.connect(node, node + 1, cost);
  for (let e = begin; e < end; e++) {
    const part = nodeOf(ends.items[e]!);
    network.connect(part, node, Number.POSITIVE_INFINITY);
    network.connect(node + 1, part, Number.POSITIVE_INFINITY);
  }
}

/**
 * A bound for contiguous placements that knows what cuts cost. If all loads are at most L, the parts on the first s
 * devices, a down-set I(s), have work in the window
 *
 *     work − L · (rates of the other devices)  ≤  work of I(s)  ≤  L · (rates of the first s)
 *
 * so a part whose ancestors and itself are more work than the upper end is never in I(s), and one without whose descendants
 * and itself too little is left always is. Between the two lies a minimum cut over down-sets, of cost c(s) at least. Every
 * value cut is charged to two devices or more, and a value that several I(s) may cut gives each an equal share of its cost:
 *
 *     L · Σ rates  ≥  work + 2 · Σ over s of c(s) · (least transfer cost per rate)
 *
 * An L that breaks this is too small. The widths of the windows shrink with L, so the largest such L is found by bisection
 * below a load that is reached.
 */
export function boundaryBound(flat: FlatProblem, lower: number, reached: number, deadline: number): number {
  const { devices, classes, classOf, overlap, units, rates, cost } = flat;
  const share = Math.min(...Array.from(rates, (rate, d) => rate * classes[classOf[d]!]!.transfer));
  if (overlap || devices < 2 || cost.length === 0 || !(share > 0) || !(reached < Number.POSITIVE_INFINITY))
    return lower;
  const total = sum(units);
  const sorted = rates.toSorted().reverse();
  // Rates of s devices: the first s, or the s fastest where the order is free.
  const rateOf = flat.anyOrder
    ? (s: number) => [sum(sorted.subarray(0, s)), sum(sorted.subarray(0, devices - s))] as const
    : (s: number) => [sum(rates.subarray(0, s)), sum(rates.subarray(s))] as const;
  const before = reachableUnits(flat, 'predecessors', deadline);
  const behind = reachableUnits(flat, 'successors', deadline);

  /** What the loads come to together if none is above L, over the rates. */
  const implied = (limit: number): number => {
    const windows = Array.from({ length: devices - 1 }, (_, i) => {
      const [front, back] = rateOf(i + 1);
      return { least: total - limit * back * (1 + margin), most: limit * front * (1 + margin) };
    });
    const sides = windows.map(({ least, most }) =>
      // 1: always in front of the boundary, −1: never, 0: either.
      Int8Array.from(before, (ancestors, p) => (ancestors > most ? -1 : total - behind[p]! < least ? 1 : 0)),
    );
    const crossings = new Int32Array(cost.length);
    for (const side of sides) {
      for (let v = 0; v < cost.length; v++) if (mayCross(flat.ends, v, side)) crossings[v]!++;
    }
    let cuts = 0;
    for (const side of sides) {
      if (performance.now() > deadline) break;
      cuts += leastCut(flat, side, crossings, deadline);
    }
    return (total + 2 * share * cuts) / sum(rates);
  };

  let low = Math.max(lower, Math.min(reached, implied(reached) * (1 - margin)));
  let high = reached;
  for (let round = 0; round < 12 && high - low > 1e-4 * high && performance.now() < deadline; round++) {
    const middle = (low + high) / 2;
    const found = implied(middle) * (1 - margin);
    // What holds for all loads up to `middle` bounds the optimum by the lesser of the two.
    if (found > middle) low = middle;
    else {
      high = middle;
      low = Math.max(low, found);
    }
  }
  return low;
}

const sum = (xs: Float64Array): number => xs.reduce((a, b) => a + b, 0);

function mayCross(ends: Rows, value: number, side: Int8Array): boolean {
  let [front, back] = [true, true];
  for (let e = ends.start[value]!; e < ends.start[value + 1]!; e++) {
    const s = side[ends.items[e]!]!;
    if (s !== 1) front = false;
    if (s !== -1) back = false;
  }
  return !front && !back;
}

/** Least cost of the values that a down-set cuts which keeps to the sides; a value's cost is shared among its crossings. */
function leastCut(flat: FlatProblem, side: Int8Array, crossings: Int32Array, deadline: number): number {
  const { parts, ends, cost, successors } = flat;
  const node = new Int32Array(parts);
  let count = 2; // 0: always in front, 1: never
  for (let p = 0; p < parts; p++) node[p] = side[p] === 1 ? 0 : side[p] === -1 ? 1 : count++;
  const crossing: number[] = [];
  for (let v = 0; v < cost.length; v++) if (mayCross(ends, v, side)) crossing.push(v);
  const network = new FlowNetwork(count + 2 * crossing.length);
  crossing.forEach((v, i) => {
    addValue(network, ends, v, cost[v]! / crossings[v]!, count + 2 * i, (p) => node[p]!);
  });
  for (let p = 0; p < parts; p++) {
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      const [from, to] = [node[p]!, node[successors.items[e]!]!];
      if (from !== to && to !== 1 && from !== 0) network.connect(to, from, Number.POSITIVE_INFINITY);
    }
  }
  return network.maximumFlow(0, 1, { deadline });
}

/**
 * Work of each part and of all that reach it (or that it reaches), each once: transitive closure, 32 columns at a time. At
 * the deadline the columns so far, which is less, and so excludes less.
 */
function reachableUnits(flat: FlatProblem, direction: 'predecessors' | 'successors', deadline: number): Float64Array {
  const { parts, units } = flat;
  const links = flat[direction];
  const order = topological(flat);
  if (direction === 'successors') order.reverse();
  const found = new Float64Array(parts);
  const bits = new Int32Array(parts);
  const table = new Float64Array(4 * 256);
  for (let base = 0; base < parts && performance.now() < deadline; base += 32) {
    for (let byte = 0; byte < 4; byte++) {
      for (let set = 1; set < 256; set++) {
        const low = 31 - Math.clz32(set & -set);
        table[byte * 256 + set] =
          table[byte * 256 + (set & (set - 1))]! + (units[order[base + byte * 8 + low] ?? -1] ?? 0);
      }
    }
    bits.fill(0);
    // In topological order nothing in front of the block is reached by it.
    for (let i = base; i < parts; i++) {
      const p = order[i]!;
      let set = i < base + 32 ? 1 << (i - base) : 0;
      for (let e = links.start[p]!; e < links.start[p + 1]!; e++) set |= bits[links.items[e]!]!;
      if (set === 0) continue;
      bits[p] = set;
      found[p]! +=
        table[set & 255]! +
        table[256 + ((set >>> 8) & 255)]! +
        table[512 + ((set >>> 16) & 255)]! +
        table[768 + (set >>> 24)]!;
    }
  }
  return found;
}

function topological({ parts, successors, predecessors }: FlatProblem): Int32Array {
  const missing = Int32Array.from({ length: parts }, (_, p) => predecessors.start[p + 1]! - predecessors.start[p]!);
  const order = new Int32Array(parts);
  let write = 0;
  for (let p = 0; p < parts; p++) if (missing[p] === 0) order[write++] = p;
  for (let read = 0; read < write; read++) {
    const p = order[read]!;
    for (let e = successors.start[p]!; e < successors.start[p + 1]!; e++) {
      if (--missing[successors.items[e]!]! === 0) order[write++] = successors.items[e]!;
    }
  }
  return order;
}
