import type { Part, PlacementProblem, Value } from './problem.ts';

export interface Gathered {
  readonly problem: PlacementProblem;
  /** Part of the smaller problem that each part of the given one went into. */
  readonly into: readonly number[];
}

/** Of all work, and of all bytes: what a part may have at most to be thought light. */
const LIGHT = 2e-3;

/**
 * Joins light parts that hang on the graph by one neighbour to that neighbour (running statistics beside a normalisation,
 * a constant prepared for one reader). Alone they could lie on any stage behind or before it, which changes next to nothing
 * and doubles the number of down-sets each time.
 */
export function gatherHanging(problem: PlacementProblem): Gathered {
  const { parts, edges, values } = problem;
  const total = (of: (part: Part) => number) => parts.reduce((sum, p) => sum + (Number.isFinite(of(p)) ? of(p) : 0), 0);
  const most = { work: LIGHT * total((p) => p.work), bytes: LIGHT * total((p) => p.bytes) };
  // With what has joined it: many light parts one behind the other are a heavy one.
  const joint = parts.map(({ work, bytes }) => ({ work, bytes }));
  const isLight = (i: number): boolean => joint[i]!.work <= most.work && joint[i]!.bytes <= most.bytes;
  const neighbours = parts.map(() => new Set<number>());
  for (const [a, b] of edges) {
    neighbours[a]!.add(b);
    neighbours[b]!.add(a);
  }
  const host = parts.map((_, i) => i);
  const queue = parts.map((_, i) => i);
  for (let i = queue.pop(); i !== undefined; i = queue.pop()) {
    if (!isLight(i) || neighbours[i]!.size !== 1 || host[i] !== i) continue;
    const [neighbour] = neighbours[i]!;
    host[i] = neighbour!;
    joint[neighbour!]!.work += joint[i]!.work;
    joint[neighbour!]!.bytes += joint[i]!.bytes;
    neighbours[i]!.clear();
    neighbours[neighbour!]!.delete(i);
    queue.push(neighbour!);
  }
  const root = (i: number): number => {
    let at = i;
    while (host[at] !== at) {
      host[at] = host[host[at]!]!;
      at = host[at]!;
    }
    return at;
  };
  const kept = parts.flatMap((_, i) => (host[i] === i ? [i] : []));
  if (kept.length === parts.length) return { problem, into: host };
  const place = new Map(kept.map((i, at) => [i, at]));
  const into = parts.map((_, i) => place.get(root(i))!);
  const joined = kept.map((i) => ({ ...parts[i]!, work: 0, bytes: 0, heldBytes: 0 }));
  parts.forEach((part, i) => {
    const sum = joined[into[i]!]!;
    sum.work += part.work;
    sum.bytes += part.bytes;
    sum.heldBytes += part.heldBytes ?? 0;
  });
  return {
    into,
    problem: {
      ...problem,
      parts: joined,
      edges: [
        ...new Map(
          edges
            .map(([a, b]) => [into[a]!, into[b]!] as const)
            .filter(([a, b]) => a !== b)
            .map((edge) => [edge.join(), edge] as const),
        ).values(),
      ],
      values: together(
        values.map((v) => ({ ...v, producer: into[v.producer]!, consumers: v.consumers.map((c) => into[c]!) })),
      ),
    },
  };
}

/** Values that always move together as one, and none that stay within a part. */
export function together(values: readonly Value[]): Value[] {
  const found = new Map<string, { producer: number; consumers: number[]; cost: number }>();
  for (const { producer, consumers, cost } of values) {
    const others = [...new Set(consumers)].filter((c) => c !== producer).sort((a, b) => a - b);
    if (others.length === 0) continue;
    const key = `${producer}>${others.join()}`;
    const known = found.get(key);
    if (known) known.cost += cost;
    else found.set(key, { producer, consumers: others, cost });
  }
  return [...found.values()];
}
