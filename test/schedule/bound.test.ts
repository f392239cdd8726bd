import { describe, expect, it } from 'vitest';
import { Bounds } from '../../src/schedule/auto/bound.ts';
import { compileInstance } from '../../src/schedule/auto/instance.ts';
import { drawProblem } from '../support/scheduling-problem.ts';

interface Node {
  readonly kind: number;
  readonly stage: number;
  readonly m: number;
}

/** The tasks, what each takes at least, and the ways from one to another, straight from the definitions. */
function graphOf(p: ReturnType<typeof drawProblem>) {
  const { stages, microbatches: M, placement, dependencies, splitBackward, durations, link, hold, keep, budget } = p;
  const time = ({ kind, stage, m }: Node): number => {
    const [f, b, w, both] = (['F', 'B', 'W', 'BW'] as const).map((k) => durations({ kind: k, stage, microbatch: m }));
    const first = splitBackward ? Math.min(b!, both!) : both!;
    const all = splitBackward ? Math.min(b! + w!, both!) : both!;
    return [f!, first, all - first][kind]!;
  };
  /** The fewest of the m tasks before that must be over for F(m) to have room. */
  const fewest = (m: number, fits: (over: number) => boolean): number => {
    let n = 0;
    while (n < m && !fits(n)) n++;
    return n;
  };
  const leadsTo = (from: number, to: number): boolean =>
    dependencies.some(([a, b]) => a === from && (b === to || leadsTo(b, to)));
  const edges: { from: Node; to: Node; delay: number }[] = [];
  const add = (from: Node, to: Node, delay = 0): number => edges.push({ from, to, delay });
  for (let s = 0; s < stages; s++) {
    const room = budget[placement[s]!]!;
    const others = hold.filter((_, x) => placement[x] === placement[s] && leadsTo(x, s)).reduce((a, b) => a + b, 0);
    const each = hold[s]! + others;
    for (let m = 0; m < M; m++) {
      const [f, b, w] = [0, 1, 2].map((kind): Node => ({ kind, stage: s, m }));
      add(f!, b!);
      add(b!, w!);
      for (const [kind, node] of [f, b, w].entries()) if (m > 0) add({ kind, stage: s, m: m - 1 }, node!);
      for (const [from, to] of dependencies) {
        if (to === s) add({ kind: 0, stage: from, m }, f!, link(from, s));
        if (from === s) add({ kind: 1, stage: to, m }, b!, link(to, s));
      }
      const left = splitBackward ? Math.min(keep[s]!, hold[s]!) : 0;
      const bs = fewest(m, (over) => (m + 1 - over) * each <= room);
      const ws = left === 0 ? 0 : fewest(m, (over) => (m - over) * left + each <= room);
      if (bs > 0) add({ kind: 1, stage: s, m: bs - 1 }, f!);
      if (ws > 0) add({ kind: 2, stage: s, m: ws - 1 }, f!);
    }
  }
  return { time, edges };
}

describe('the bounds of a scheduling problem', () => {
  const cases = Array.from({ length: 120 }, (_, seed) => drawProblem(seed + 1)).flatMap((p) => {
    const memory = { perMicrobatch: p.hold, perWeightGradient: p.keep, budget: p.budget };
    return [{ ...p, bounds: new Bounds(compileInstance(p, { ...p, memory })), graph: graphOf(p) }];
  });
  const tasksOf = ({ stages, microbatches: M }: { stages: number; microbatches: number }): Node[] =>
    [0, 1, 2].flatMap((kind) =>
      Array.from({ length: stages * M }, (_, i) => ({ kind, stage: Math.floor(i / M), m: i % M })),
    );
  const keyOf = ({ kind, stage, m }: Node) => `${kind} ${stage} ${m}`;

  /** Longest ways to the start of each task, from all tasks or from the one given. */
  const headsOf = (c: (typeof cases)[number], from?: Node): number[] => {
    const known = new Map<string, number>();
    const head = (n: Node): number => {
      const key = keyOf(n);
      if (!known.has(key)) {
        const ways = c.graph.edges
          .filter((e) => keyOf(e.to) === key)
          .map((e) => head(e.from) + c.graph.time(e.from) + e.delay);
        const own = from === undefined || keyOf(from) === key ? 0 : -Infinity;
        known.set(key, Math.max(own, ...ways));
      }
      return known.get(key)!;
    };
    return tasksOf(c).map(head);
  };
  const tailsOf = (c: (typeof cases)[number], device?: number): number[] => {
    const known = new Map<string, number>();
    const tail = (n: Node): number => {
      const key = keyOf(n);
      if (!known.has(key)) {
        const ways = c.graph.edges
          .filter((e) => keyOf(e.from) === key)
          .map((e) => e.delay + c.graph.time(e.to) + tail(e.to));
        const own = device === undefined || c.placement[n.stage] === device ? 0 : -Infinity;
        known.set(key, Math.max(own, ...ways));
      }
      return known.get(key)!;
    };
    return tasksOf(c).map(tail);
  };
  /** Of any set of a machine's tasks: the least head, all their times, the least tail (Carlier 1982). */
  const machineBound = (c: (typeof cases)[number], device: number, heads: number[], tails: number[]): number => {
    const own = tasksOf(c).flatMap((n, i) =>
      c.placement[n.stage] === device && heads[i]! > -Infinity && tails[i]! > -Infinity
        ? [{ head: heads[i]!, tail: tails[i]!, time: c.graph.time(n) }]
        : [],
    );
    let bound = 0;
    for (const { head } of own) {
      for (const { tail } of own) {
        const set = own.filter((t) => t.head >= head && t.tail >= tail);
        if (set.length > 0) bound = Math.max(bound, head + set.reduce((sum, t) => sum + t.time, 0) + tail);
      }
    }
    return bound;
  };

  it('start from the longest ways to each task and from it', () => {
    for (const c of cases) {
      expect([...c.bounds.heads()]).toEqual(headsOf(c));
      expect([...c.bounds.tails()]).toEqual(tailsOf(c));
      expect([...c.bounds.leastTimes()]).toEqual(tasksOf(c).map(c.graph.time));
      // BW goes by what is behind its B.
      const n = c.stages * c.microbatches;
      const ranks = [...c.bounds.ranks()];
      expect(ranks).toEqual([...tailsOf(c), ...tailsOf(c).slice(n, 2 * n)]);
      for (let s = 0; s < c.stages; s++)
        expect([...c.bounds.heads(s)]).toEqual(headsOf(c, { kind: 0, stage: s, m: 0 }));
      for (let d = 0; d < c.devices; d++) expect([...c.bounds.tails(d)]).toEqual(tailsOf(c, d));
    }
  });

  it('take what is full to the last byte for full, though its parts round', () => {
    // Three tenths hold three of a tenth; in floating point they are a hair less.
    for (const c of cases) {
      const of = (unit: number): Bounds => {
        const [perMicrobatch, perWeightGradient, budget] = [c.hold, c.keep, c.budget].map((xs) =>
          xs.map((x) => x * unit),
        );
        const memory = { perMicrobatch: perMicrobatch!, perWeightGradient: perWeightGradient!, budget: budget! };
        return new Bounds(compileInstance(c, { ...c, memory }));
      };
      expect([...of(0.1).heads()]).toEqual(headsOf(c));
    }
  });

  it('are what the sets of tasks of one device come to', () => {
    for (const c of cases) {
      const [heads, tails] = [headsOf(c), tailsOf(c)];
      const devices = Array.from({ length: c.devices }, (_, d) => d);
      expect(c.bounds.makespan()).toBe(Math.max(...devices.map((d) => machineBound(c, d, heads, tails))));
      let span = 0;
      c.placement.forEach((d, stage) => {
        const from = headsOf(c, { kind: 0, stage, m: 0 });
        const to = tailsOf(c, d);
        for (const other of devices) span = Math.max(span, machineBound(c, other, from, to));
      });
      expect(c.bounds.span()).toBe(span);
    }
  });
});
