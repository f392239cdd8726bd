// Published optima of placements beside ours, as the tables of docs/partition.md.
//
//   node bench/partition.mjs INSTANCES [operator|layers|balancers]
//
// INSTANCES is the folder with operator-graphs/ (Tarnawski et al., NeurIPS 2020) and layer-profiles/ (PipeDream, SOSP 2019).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { partition } from 'partita';
import { flagsOf, namesOf, refuse } from './flags.mjs';

const { balancerRatios, readLayerProfile, readOperatorGraph, solvePlacement, tryPlacement } = partition;
const {
  positionals: [folder, only],
} = flagsOf(import.meta.url, {}, { positionals: 2 });
if (!folder) refuse(import.meta.url, 'the folder of the instances is missing');
if (only) namesOf(import.meta.url, 'tables', only, ['operator', 'layers', 'balancers']);

const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);
const head = (...cells) => {
  row(...cells);
  row(...cells.map(() => '---'));
};
const read = (...path) => readFileSync(join(folder, ...path), 'utf8');

async function operatorGraphs() {
  head(
    'graph',
    'devices',
    'published',
    'ours',
    'seconds',
    'with a CPU',
    'ours',
    'seconds',
    'PipeDream',
    'ours',
    'one device',
    'ours',
  );
  const optima = JSON.parse(read('operator-graphs', 'optima.json'));
  for (const [name, published] of Object.entries(optima)) {
    const text = read('operator-graphs', `${name}.json`);
    const { problem } = readOperatorGraph(text, name);
    const alone = await solvePlacement(problem);
    const withCpu = await solvePlacement(readOperatorGraph(text, name, { cpus: 1 }).problem);
    const baseline = async (method) => (await tryPlacement(problem, { method }))?.objective.toFixed(4) ?? '–';
    row(
      name,
      published.devices,
      published.optimumContiguous,
      proved(alone, 4),
      alone.seconds.toFixed(2),
      published.optimumContiguousWithOneCpu,
      proved(withCpu, 4),
      withCpu.seconds.toFixed(2),
      published.pipedreamBaseline,
      await baseline('pipedream'),
      published.singleDevice,
      await baseline('single'),
    );
  }
}

const proved = ({ objective, lowerBound }, digits, scale = 1) =>
  `${(objective / scale).toFixed(digits)}${lowerBound < objective ? ` (bound ${(lowerBound / scale).toFixed(digits)})` : ''}`;

/** Bottlenecks of PipeDream's own optimizer, seconds: links of 10 GB/s, and no communication. */
const pipedream = {
  alexnet: [
    [0.0431, 0.0431],
    [0.0322, 0.0287],
    [0.0322, 0.0287],
  ],
  vgg16: [
    [0.3709, 0.3709],
    [0.2356, 0.2165],
    [0.2356, 0.1595],
  ],
  resnet18: [
    [0.1302, 0.1302],
    [0.0718, 0.0695],
    [0.0584, 0.0352],
  ],
  resnet50: [
    [0.2219, 0.2219],
    [0.1115, 0.1115],
    [0.0822, 0.0567],
  ],
  densenet121: [
    [0.1631, 0.1631],
    [0.082, 0.082],
    [0.0422, 0.0416],
  ],
};

async function layerProfiles() {
  head('model', 'devices', 'PipeDream, 10 GB/s', 'ours', 'PipeDream, no communication', 'ours', 'seconds');
  for (const [name, table] of Object.entries(pipedream)) {
    for (const [i, devices] of [2, 4, 8].entries()) {
      const cells = [];
      let seconds = 0;
      for (const [j, linkBandwidth] of [10e9, undefined].entries()) {
        const { problem } = readLayerProfile(read('layer-profiles', `${name}.txt`), name, { devices, linkBandwidth });
        const ours = await solvePlacement(problem);
        seconds = Math.max(seconds, ours.seconds);
        cells.push(table[i][j].toFixed(4), proved(ours, 4, 1000));
      }
      row(name, devices, ...cells, seconds.toFixed(2));
    }
  }
}

/**
 * Other balancers as ratios to an optimum, forward and backward time, no communication. `own order`: each against the best
 * cut of the sequence of layers that it sees (as they are published); the others against the best of the whole graph.
 */
async function balancers() {
  head(
    'model',
    'devices',
    'ours',
    'torchgpipe, own order',
    'DeepSpeed, own order',
    'blocks (torchgpipe)',
    'parameters (DeepSpeed)',
    'equal',
  );
  for (const file of readdirSync(join(folder, 'layer-profiles')).sort()) {
    if (file.startsWith('LICENSE')) continue;
    const name = file.replace('.txt', '');
    for (const devices of [2, 4, 8]) {
      const text = read('layer-profiles', file);
      const { problem } = readLayerProfile(text, name, { devices });
      const own = balancerRatios(text, name, devices);
      const best = await solvePlacement(problem);
      const ratios = [];
      for (const method of ['blocks', 'parameters', 'equal']) {
        const other = await tryPlacement(problem, { method });
        ratios.push(other ? (other.objective / best.objective).toFixed(3) : '–');
      }
      row(
        name,
        devices,
        (best.objective / best.lowerBound).toFixed(3),
        own.blocks.toFixed(3),
        own.parameters.toFixed(3),
        ...ratios,
      );
    }
  }
}

for (const [name, print] of Object.entries({ operator: operatorGraphs, layers: layerProfiles, balancers })) {
  if (only !== undefined && only !== name) continue;
  console.log(`\n## ${name}\n`);
  await print();
}
