// Draws how the time of partitioning and simulating grows, from the tables of the two benches:
//
//   node bench/partition-scale.mjs 6 > docs/partition-scale.csv
//   node bench/simulate-scale.mjs --csv bench/simulate-scale.csv --out bench/simulate-scale.md
//   node bench/growth-charts.mjs
//
// Both axes are logarithmic: a straight line of slope 1 is linear growth. The exponents fitted to the larger half of each line
// are printed.
import { readFileSync, writeFileSync } from 'node:fs';
import { drawChart } from 'partita';
import { flagsOf } from './flags.mjs';

flagsOf(import.meta.url);

const rowsOf = (file) => {
  const [head, ...lines] = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
    .trim()
    .split('\n');
  const names = head.split(',');
  return lines.map((line) =>
    Object.fromEntries(line.split(',').map((text, i) => [names[i], Number.isNaN(Number(text)) ? text : Number(text)])),
  );
};

/** Slope of log y over log x by least squares, of the larger half of the points. */
function exponent(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0]);
  const logs = sorted.slice(Math.floor((sorted.length - 1) / 2)).map(([x, y]) => [Math.log(x), Math.log(y)]);
  const mean = (i) => logs.reduce((sum, p) => sum + p[i], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  return logs.reduce((s, [x, y]) => s + (x - mx) * (y - my), 0) / logs.reduce((s, [x]) => s + (x - mx) ** 2, 0);
}

const series = (rows, by, x, y) => {
  const found = new Map();
  for (const row of rows) found.set(row[by], [...(found.get(row[by]) ?? []), [row[x], row[y]]]);
  return found;
};

const log = (field, title, values) => ({
  field,
  type: 'quantitative',
  title,
  scale: { type: 'log' },
  axis: { values },
});
const lines = (x, y, colour, title) => ({
  mark: { type: 'line', point: true },
  encoding: {
    x,
    y,
    color: { field: colour, type: 'ordinal', title },
    shape: { field: colour, type: 'ordinal', title },
  },
});

async function draw(file, label, spec) {
  writeFileSync(new URL(`../${file}`, import.meta.url), `${await drawChart({ label, spec })}\n`);
  console.log(file);
}

const partitions = rowsOf('docs/partition-scale.csv');
for (const graph of new Set(partitions.map((r) => r.graph))) {
  const rows = partitions.filter((r) => r.graph === graph);
  for (const [stages, points] of series(rows, 'stages', 'parts', 'firstSeconds')) {
    console.log(`first cut of ${graph} graphs into ${stages} stages: nodes^${exponent(points).toFixed(2)}`);
  }
}
await draw('docs/images/partition-growth.svg', 'Seconds to the first cut over nodes, by stages', {
  data: { values: partitions },
  facet: { column: { field: 'graph', title: null } },
  spec: {
    width: 300,
    height: 240,
    ...lines(
      log('parts', 'nodes', [1000, 2000, 5000, 10000]),
      log('firstSeconds', 'seconds to the first cut'),
      'stages',
      'stages',
    ),
  },
});

const simulations = rowsOf('bench/simulate-scale.csv');
for (const [devices, points] of series(simulations, 'devices', 'microbatches', 'cpuSeconds')) {
  console.log(`${devices} devices: microbatches^${exponent(points).toFixed(2)}`);
}
for (const [microbatches, points] of series(simulations, 'microbatches', 'devices', 'cpuSeconds')) {
  console.log(`${microbatches} microbatches: devices^${exponent(points).toFixed(2)}`);
}
const sizes = [...new Set(simulations.map((r) => r.devices))];
const counts = [...new Set(simulations.map((r) => r.microbatches))];
await draw('docs/images/simulate-growth.svg', 'Seconds to simulate a step over devices and microbatches', {
  data: { values: simulations },
  hconcat: [
    lines(
      log('devices', 'devices', sizes),
      log('seconds', 'seconds to simulate a step'),
      'microbatches',
      'microbatches',
    ),
    lines(
      log('microbatches', 'microbatches', counts),
      log('seconds', 'seconds to simulate a step'),
      'devices',
      'devices',
    ),
  ].map((chart) => ({ width: 300, height: 240, ...chart })),
  resolve: { scale: { color: 'independent', shape: 'independent' } },
});
