import type { Node } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { RecomputeChain } from './chain.ts';
import { blockLeader, type ForwardValue, type StageForward } from './stage-forward.ts';

/** Blocks of a chain at most: the dynamic programme takes their cube. */
export const MOST_BLOCKS = 40;

/** A value with its life in the order of a stage's nodes. */
interface Life extends ForwardValue {
  readonly made: number;
  /** The last node that reads it, or whose derivative does. */
  readonly until: number;
  /** Block of `made` and of `until`. */
  from: number;
  to: number;
  /** Whether the derivative of its own block reads it. */
  readByOwn: boolean;
}

/** A stage's forward pass in the graph's order, cut into blocks where little passes. */
export interface Blocks {
  readonly blockOf: ReadonlyMap<string, number>;
  readonly count: number;
  readonly seconds: readonly number[];
  /** Names of what passes the boundary in front of a block, and of what the block makes that is read behind it or going back. */
  readonly passing: (block: number) => string[];
  readonly kept: (block: number) => string[];
  /** Bytes of all that is kept where nothing is computed again. */
  readonly bytes: number;
  /** In units of so many bytes, rounded up. */
  readonly chain: (unitBytes: number) => RecomputeChain;
}

/** `worth`: names of the values that are worth keeping where nothing has to be saved; default: all that are read going back. */
export function blocksOf({ nodes, values, seconds }: StageForward, worth?: ReadonlySet<string>): Blocks {
  const place = new Map(nodes.map((n, i) => [n, i]));
  const lives = livesOf(nodes, values, place);
  const starts = boundaries(nodes, lives, seconds, MOST_BLOCKS);
  const blockAt = (i: number): number => {
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= i) low = middle;
      else high = middle;
    }
    return low;
  };
  for (const life of lives) {
    life.from = blockAt(life.made);
    life.to = blockAt(life.until);
    life.readByOwn = life.backward.some((n) => {
      const leader = place.get(blockLeader(n)!);
      return leader === undefined || blockAt(leader) <= life.from;
    });
  }
  const blockSeconds = starts.map(() => 0);
  nodes.forEach((n, i) => {
    blockSeconds[blockAt(i)]! += seconds(n);
  });
  const count = starts.length;
  const isWorth = (l: Life): boolean => (worth ? worth.has(l.root.name) : l.backward.length > 0);
  const isKept = (l: Life): boolean => isWorth(l) || l.to > l.from;
  const sum = (of: readonly Life[]): number => of.reduce((bytes, l) => bytes + l.bytes, 0);
  const checkpoint = starts.map((_, s) =>
    starts.map((_, c) => sum(lives.filter((l) => l.from >= s && l.from < c && l.to >= c))),
  );
  const own = starts.map((_, s) => lives.filter((l) => l.from === s));
  return {
    blockOf: new Map(nodes.map((n, i) => [n.name, blockAt(i)])),
    count,
    seconds: blockSeconds,
    passing: (c) => lives.filter((l) => l.from < c && l.to >= c).map((l) => l.root.name),
    kept: (s) => own[s]!.filter(isKept).map((l) => l.root.name),
    bytes: sum(lives.filter(isWorth)),
    chain: (unit) => {
      const units = (bytes: number): number => Math.ceil(bytes / unit);
      return {
        seconds: blockSeconds,
        checkpoint: (s, c) => units(checkpoint[s]![c]!),
        saved: (s) => units(sum(own[s]!.filter(isKept))),
        inner: (s) => units(sum(own[s]!.filter((l) => l.readByOwn))),
      };
    },
  };
}

function livesOf(nodes: readonly Node[], values: StageForward['values'], place: ReadonlyMap<Node, number>): Life[] {
  const last = new Map<ForwardValue, number>();
  const note = (v: ForwardValue, at: number | undefined): void => {
    if (at !== undefined) last.set(v, Math.max(last.get(v) ?? 0, at));
  };
  nodes.forEach((node, i) => {
    for (const t of node.inputs) {
      const value = values.get(rootOf(t));
      if (value && !node.op!.alias) note(value, i);
    }
  });
  for (const value of values.values()) for (const n of value.backward) note(value, place.get(blockLeader(n)!));
  return [...values.values()].flatMap((v) => {
    if (v.arrives) return [];
    const made = place.get(v.root.node)!;
    return [{ ...v, made, until: Math.max(made, last.get(v) ?? made), from: 0, to: 0, readByOwn: false }];
  });
}

/**
 * Where blocks begin: in front of every node where those are few, else where less passes than before and behind, and of these
 * so many that each block takes about as long.
 */
function boundaries(
  nodes: readonly Node[],
  lives: readonly Life[],
  seconds: (node: Node) => number,
  most: number,
): number[] {
  const change = new Array<number>(nodes.length + 2).fill(0);
  for (const { made, until, bytes } of lives) {
    change[made + 1]! += bytes;
    change[until + 1]! -= bytes;
  }
  const passing: number[] = [];
  let live = 0;
  for (let i = 0; i < nodes.length; i++) passing.push((live += change[i]!));
  const candidates = nodes.flatMap((n, i) => (i > 0 && !n.op!.alias ? [i] : []));
  if (candidates.length < most) return [0, ...candidates];
  const chosen = narrowest(candidates, (at) => passing[at]!);
  if (chosen.length < most) return [0, ...chosen];
  const total = nodes.reduce((sum, n) => sum + seconds(n), 0);
  const starts = [0];
  let [done, k] = [0, 0];
  for (let i = 0; i < nodes.length && starts.length < most; i++) {
    while (k < chosen.length && chosen[k]! < i) k++;
    if (i > 0 && chosen[k] === i && done >= (total * starts.length) / most) starts.push(i);
    done += seconds(nodes[i]!);
  }
  return starts;
}

/** Places where no more passes than at the ones before and behind; all of a row where as much passes. */
function narrowest(places: readonly number[], passing: (at: number) => number): number[] {
  const found: number[] = [];
  for (let from = 0, to = 0; from < places.length; from = to) {
    const bytes = passing(places[from]!);
    while (to < places.length && passing(places[to]!) === bytes) to++;
    const isMore = (at: number | undefined): boolean => at === undefined || passing(at) > bytes;
    if (isMore(places[from - 1]) && isMore(places[to])) found.push(...places.slice(from, to));
  }
  return found;
}
