// How the search for contiguous placements grows with the graph and the number of stages.
//
//   node bench/partition-scale.mjs [seconds a search, default 20] [largest graph, default 10000]
//
// Seeded synthetic graphs: `transformer` (blocks of attention with 8 parallel heads and a feed-forward part, residual
// connections around both) and `layered` (layers of up to 8 parallel parts, skips over up to 50 parts). Prints CSV: the
// time of the first cut (a few orders, exact cuts), of the whole search, both objectives and the gap to the lower bound.
// One core; run it on an idle machine.
import { fastRandom, flatten } from '../dist/partition/flat.js';
import { solvePlacement } from '../dist/partition/methods.js';
import { searchOrders } from '../dist/partition/orders.js';
import { workBound } from '../dist/partition/work-bound.js';

const seconds = Number(process.argv[2] ?? 20);
const largest = Number(process.argv[3] ?? 10_000);

/** A graph that grows part by part until it has `size`. */
class Growing {
  constructor(size, seed) {
    this.size = size;
    this.random = fastRandom(seed);
    this.work = [];
    this.edges = [];
  }

  get full() {
    return this.work.length >= this.size;
  }

  /** A part behind others; once the graph is full, the last of them. */
  add(work, ...inputs) {
    if (this.full) return this.work.length - 1;
    for (const from of new Set(inputs)) this.edges.push([from, this.work.length]);
    return this.work.push(work) - 1;
  }

  problem(stages) {
    const consumers = this.work.map(() => []);
    for (const [from, to] of this.edges) consumers[from].push(to);
    const cost = this.work.map(() => 0.1 + 2 * this.random());
    return {
      parts: this.work.map((work, p) => ({ name: `part${p}`, work, bytes: 1 })),
      values: consumers.flatMap((to, p) => (to.length > 0 ? [{ producer: p, consumers: to, cost: cost[p] }] : [])),
      edges: this.edges,
      devices: Array.from({ length: stages }, () => ({
        kind: 'accelerator',
        speed: 1,
        capacity: Infinity,
        linkSpeed: 1,
      })),
      load: 'sum',
      unit: 'ms',
    };
  }
}

function transformer(size, seed) {
  const graph = new Growing(size, seed);
  const { random } = graph;
  let x = graph.add(1);
  while (!graph.full) {
    const [q, k, v] = [0, 1, 2].map(() => graph.add(4 + random(), x));
    const heads = Array.from({ length: 8 }, () => {
      const scores = graph.add(1 + 0.3 * random(), q, k);
      const weights = graph.add(0.5, scores);
      return graph.add(1 + 0.3 * random(), weights, v);
    });
    const attended = graph.add(0.2, graph.add(4, ...heads), x);
    const wide = graph.add(8 + random(), graph.add(0.2, attended));
    x = graph.add(0.2, graph.add(8 + random(), graph.add(0.3, wide)), attended);
  }
  return graph;
}

function layered(size, seed) {
  const graph = new Growing(size, seed);
  const { random } = graph;
  const below = (n) => Math.floor(random() * n);
  let layer = [graph.add(1)];
  while (!graph.full) {
    const width = 1 + below(8);
    const next = [];
    for (let i = 0; i < width && !graph.full; i++) {
      const inputs = [layer[below(layer.length)]];
      if (random() < 0.5) inputs.push(layer[below(layer.length)]);
      const made = graph.work.length;
      if (random() < 0.1 && made > 50) inputs.push(made - 1 - below(50));
      next.push(graph.add(0.1 + 5 * random() * random(), ...inputs.filter((from) => from < made)));
    }
    layer = next;
  }
  return graph;
}

console.log('graph,parts,stages,firstSeconds,firstObjective,seconds,objective,lowerBound,gap,residentMiB');
for (const make of [transformer, layered]) {
  for (const parts of [1000, 2000, 5000, 10_000].filter((n) => n <= largest)) {
    for (const stages of [8, 16, 32, 64]) {
      const problem = make(parts, 1).problem(stages);
      const begun = performance.now();
      const flat = flatten(problem);
      const deadline = begun + 1000 * seconds;
      const search = { problem, flat, seed: 0, deadline, bound: workBound(problem), refine: false };
      const first = await searchOrders(search);
      const firstSeconds = (performance.now() - begun) / 1000;
      const found = await solvePlacement(problem, { method: 'orders', timeLimitSeconds: seconds });
      const gap = 1 - found.lowerBound / found.objective;
      const resident = process.memoryUsage().rss / 2 ** 20;
      console.log(
        [
          make.name,
          parts,
          stages,
          firstSeconds.toFixed(2),
          first.objective.toFixed(3),
          found.seconds.toFixed(2),
          found.objective.toFixed(3),
          found.lowerBound.toFixed(3),
          gap.toFixed(4),
          resident.toFixed(0),
        ].join(),
      );
    }
  }
}
