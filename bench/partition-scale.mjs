// How the search for contiguous placements grows with the graph and the number of stages.
//
//   node bench/partition-scale.mjs [seconds a search, default 20] [largest graph, default 10000]
//   node bench/partition-scale.mjs command [nodes, default 10000] [flags of the command]
//
// The second form writes graphs of five kinds in both foreign formats and runs the command on them, 64 stages, default time
// limit: seconds and memory are those of its process from start to end.
//
// Seeded synthetic graphs: `transformer` (blocks of attention with 8 parallel heads and a feed-forward part, residual
// connections around both) and `layered` (layers of up to 8 parallel parts, skips over up to 50 parts); for the command also
// `chain` (with short skips), `wide` (all parts between a first and a last) and `random` (up to three of all earlier parts
// are read). Prints CSV: the time of the first cut (a few orders, exact cuts), of the whole search, both objectives and the
// gap to the lower bound. One core; run it on an idle machine.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fastRandom, flatten } from '../dist/partition/flat.js';
import { solvePlacement } from '../dist/partition/methods.js';
import { searchOrders } from '../dist/partition/orders.js';
import { workBound } from '../dist/partition/work-bound.js';
import { flagsOf, numberOf } from './flags.mjs';

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

function chain(size, seed) {
  const graph = new Growing(size, seed);
  const { random } = graph;
  let last = graph.add(1);
  while (!graph.full) {
    const skip = random() < 0.1 && last > 3 ? [last - 2] : [];
    last = graph.add(0.1 + 5 * random() * random(), last, ...skip);
  }
  return graph;
}

function wide(size, seed) {
  const graph = new Growing(size, seed);
  const { random } = graph;
  const first = graph.add(1);
  const all = [];
  while (graph.work.length < size - 1) all.push(graph.add(0.1 + 5 * random() * random(), first));
  graph.add(1, ...all);
  return graph;
}

function random(size, seed) {
  const graph = new Growing(size, seed);
  const draw = graph.random;
  graph.add(1);
  while (!graph.full) {
    const made = graph.work.length;
    const inputs = Array.from({ length: 1 + Math.floor(3 * draw()) }, () => Math.floor(draw() * made));
    graph.add(0.1 + 5 * draw() * draw(), ...inputs);
  }
  return graph;
}

/** The problem as an operator graph, and as a layer profile whose transfers take as long over links of 1 GB/s. */
function filesOf({ parts, values, edges }) {
  const cost = new Map(values.map(({ producer, cost }) => [producer, cost]));
  const nodes = parts.map(({ work }, id) => ({ id, fpgaLatency: work, cpuLatency: 10 * work, size: 1 }));
  const layers = parts.map(
    ({ work }, p) =>
      `node${p} -- Part(${p}) -- forward_compute_time=${work / 3}, backward_compute_time=${(2 * work) / 3}, ` +
      `activation_size=${Math.round(5e5 * (cost.get(p) ?? 0))}.0, parameter_size=1.0`,
  );
  const links = edges.map(([a, b]) => `\tnode${a} -- node${b}`);
  return {
    json: JSON.stringify({ nodes, edges: edges.map(([a, b]) => ({ sourceId: a, destId: b, cost: cost.get(a) })) }),
    txt: `${[...layers, ...links].join('\n')}\n`,
  };
}

/** Tells its memory on the standard error as it ends. */
const meter = `data:text/javascript,${encodeURIComponent(
  "process.on('exit', () => process.stderr.write('KiB ' + process.resourceUsage().maxRSS + '\\n'))",
)}`;

/** The command's answer, and the seconds and MiB of its process. */
function partitionCommand(args) {
  const main = fileURLToPath(new URL('../dist/cli/main.cjs', import.meta.url));
  const begun = performance.now();
  const child = spawn(process.execPath, ['--import', meter, main, 'partition', ...args, '--json']);
  const [out, err] = [[], []];
  child.stdout.on('data', (data) => out.push(data));
  child.stderr.on('data', (data) => err.push(data));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => {
      const seconds = (performance.now() - begun) / 1000;
      const mebibytes = Number(/KiB (\d+)/.exec(err.join(''))?.[1]) / 1024;
      resolve({ ...JSON.parse(out.join('')), seconds, mebibytes });
    });
  });
}

async function commands(nodes, flags) {
  const folder = mkdtempSync(join(tmpdir(), 'partita-'));
  console.log('graph,format,nodes,stages,seconds,objective,lowerBound,gap,method,residentMiB');
  try {
    for (const make of [chain, transformer, layered, wide, random]) {
      const files = filesOf(make(nodes, 1).problem(64));
      for (const [format, text] of Object.entries(files)) {
        const file = join(folder, `${make.name}.${format}`);
        writeFileSync(file, text);
        const link = format === 'txt' ? ['--link-bandwidth', '1e9'] : [];
        const { error, ...found } = await partitionCommand([file, '--devices', '64', ...link, ...flags]);
        if (error) throw new Error(error.message);
        const { objective, lowerBound, gap, method, seconds, mebibytes } = found;
        const figures = [seconds.toFixed(1), objective.toFixed(3), lowerBound.toFixed(3), gap.toFixed(4)];
        console.log([make.name, format, nodes, 64, ...figures, method, mebibytes.toFixed(0)].join());
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function growth(seconds, largest) {
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
}

const [word, ...rest] = process.argv.slice(2);
if (word === 'command') {
  const nodes =
    rest.length > 0 && !rest[0].startsWith('-')
      ? numberOf(import.meta.url, 'nodes', rest.shift(), { atLeast: 1, whole: true })
      : 10_000;
  await commands(nodes, rest.length > 0 ? rest : ['--contiguous']);
} else {
  const [seconds = '20', largest = '10000'] = flagsOf(import.meta.url, {}, { positionals: 2 }).positionals;
  const read = (name, text) => numberOf(import.meta.url, name, text, { atLeast: 1 });
  await growth(read('seconds', seconds), read('largest', largest));
}
