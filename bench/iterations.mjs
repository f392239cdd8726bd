// Predicts iterations of GPT-like models on up to 8 A100 with pipelines from iterations without.
//
//   node bench/iterations.mjs [a100-single-node.csv] [--out bench/iterations.md]
//
// Data: vTrain (Bang et al., MICRO 2024), 1,440 iterations, half of them with pipeline parallelism 1. Everything fitted is
// fitted to that half; what a pipeline does is played by the 1F1B clock. vTrain's published error is 8.37 %.
//
// Two calibrations:
//   machine   12 parameters of an accelerator (src/cost/transformer.ts), the same for all sizes. How strongly outliers count
//             and how products speed up with size is chosen by cross-validation that leaves whole operating points out.
//   profiled  the seconds of a layer and of the head for each operating point (hidden size, microbatch, tensor
//             parallelism), as one who profiles the layers at hand would know them; updates from the machine.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fitPositive } from '../dist/cost/fit-positive.js';
import { transformerTimes } from '../dist/cost/transformer.js';
import { transformerIteration } from '../dist/simulate/transformer-iteration.js';
import { flagsOf } from './flags.mjs';

const {
  values: { out },
  positionals: args,
} = flagsOf(import.meta.url, { out: { type: 'string' } }, { positionals: 1 });
const file =
  args[0] ?? fileURLToPath(new URL('../../shared/instances/measured-iterations/a100-single-node.csv', import.meta.url));

// GPT-2's 50,257 tokens, padded to a multiple of 1,024 as Megatron does for eight-way tensor parallelism.
const vocabulary = 51_200;

const rows = readFileSync(file, 'utf8')
  .replace(/^\uFEFF/, '')
  .trim()
  .split(/\r?\n/)
  .slice(1)
  .map((line) => {
    const [gpus, batch, microbatch, hidden, heads, layers, sequence, tensor, data, pipeline, ms] = line
      .split(',')
      .map(Number);
    return {
      shape: { hidden, heads, layers, sequence, vocabulary },
      layout: { tensor, data, pipeline, microbatch, microbatches: batch / (microbatch * data) },
      gpus,
      batch,
      seconds: ms / 1000,
    };
  });
const calibration = rows.filter((r) => r.layout.pipeline === 1);
const test = rows.filter((r) => r.layout.pipeline > 1);

// First guess and name of each parameter; the order of the vector that is fitted.
const guess = {
  flopsPerSecond: 2e14,
  halfElements: 3e5,
  bytesPerSecond: 1e12,
  layerSeconds: 3e-3,
  layerSecondsPerDoubling: 3e-4,
  tensorLinkBytesPerSecond: 1e11,
  headFlopsPerSecond: 1.5e14,
  splitLogitBytesPerSecond: 1e12,
  wholeLogitBytesPerSecond: 1e12,
  headSeconds: 1e-3,
  updatedParametersPerSecond: 5e10,
  dataLinkBytesPerSecond: 2e11,
};

const predict = (row, times, machine) =>
  transformerIteration(row.shape, row.layout, times, {
    link: { bytesPerSecond: machine.dataLinkBytesPerSecond, secondsLatency: 0 },
  });

function fitMachine(train, { outlier, fixed }) {
  const names = Object.keys(guess).filter((name) => !(name in fixed));
  const machineOf = (values) => ({ ...fixed, ...Object.fromEntries(names.map((name, i) => [name, values[i]])) });
  const { parameters } = fitPositive(
    (values) => {
      const machine = machineOf(values);
      return train.map((row) => {
        // Without a pipeline the clock is this sum; the fit runs it some ten thousand times a row.
        const t = transformerTimes(row.shape, row.layout, machine);
        const { layers } = row.shape;
        const seconds =
          row.layout.microbatches * (layers * t.layerSeconds + t.headSeconds) +
          layers * t.layerUpdateSeconds +
          t.embeddingUpdateSeconds;
        return Math.log(seconds / row.seconds);
      });
    },
    names.map((name) => guess[name]),
    { outlier },
  );
  return machineOf(parameters);
}

const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const errorOf = (row, predicted) => predicted / row.seconds - 1;
const mape = (errors) => mean(errors.map(Math.abs));
const pointOf = ({ shape, layout }) => `${shape.hidden} ${layout.microbatch} ${layout.tensor}`;
const byMachine = (machine) => (row) => predict(row, transformerTimes(row.shape, row.layout, machine), machine);

// The matrix products: faster as they grow, towards a fitted limit (which may lie beyond what the sizes at hand can tell) or
// the A100's 312 TFLOP/s (its data sheet, 16 bits); or all at one fitted speed.
const productRules = {
  'faster with size': {},
  'faster with size up to 312 TFLOP/s': { flopsPerSecond: 312e12 },
  'equally fast': { halfElements: 0 },
};

// Cross-validation: eight folds of whole operating points, so that an error is one of sizes never seen.
const points = [...new Set(calibration.map(pointOf))].sort();
const foldOf = new Map(points.map((point, i) => [point, (i * 5) % 8]));
const candidates = [0.02, 0.05, 0.1, Number.POSITIVE_INFINITY].flatMap((outlier) =>
  Object.entries(productRules).map(([rule, fixed]) => ({
    outlier,
    fixed,
    name: `products ${rule}, ${Number.isFinite(outlier) ? `errors beyond ${100 * outlier} % are outliers` : 'no outliers'}`,
  })),
);
const validated = candidates.map((candidate) => {
  const errors = [];
  for (let fold = 0; fold < 8; fold++) {
    const machine = fitMachine(
      calibration.filter((r) => foldOf.get(pointOf(r)) !== fold),
      candidate,
    );
    const predicted = byMachine(machine);
    for (const row of calibration) if (foldOf.get(pointOf(row)) === fold) errors.push(errorOf(row, predicted(row)));
  }
  return { ...candidate, error: mape(errors) };
});
const chosen = validated.reduce((a, b) => (b.error < a.error ? b : a));
const machine = fitMachine(calibration, chosen);

// The same for each operating point by itself: two unknowns, least squares of relative errors, none negative.
const profile = new Map(
  points.map((point) => {
    const sums = { ll: 0, lh: 0, hh: 0, ly: 0, hy: 0 };
    for (const row of calibration.filter((r) => pointOf(r) === point)) {
      const t = transformerTimes(row.shape, row.layout, machine);
      const { layers } = row.shape;
      const target = 1 - (layers * t.layerUpdateSeconds + t.embeddingUpdateSeconds) / row.seconds;
      const h = row.layout.microbatches / row.seconds;
      const l = h * layers;
      sums.ll += l * l;
      sums.lh += l * h;
      sums.hh += h * h;
      sums.ly += l * target;
      sums.hy += h * target;
    }
    const { ll, lh, hh, ly, hy } = sums;
    const determinant = ll * hh - lh * lh;
    const head = (ll * hy - lh * ly) / determinant;
    return [
      point,
      head > 0
        ? { layerSeconds: (hh * ly - lh * hy) / determinant, headSeconds: head }
        : { layerSeconds: ly / ll, headSeconds: 0 },
    ];
  }),
);
const byProfile = (row) =>
  predict(row, { ...transformerTimes(row.shape, row.layout, machine), ...profile.get(pointOf(row)) }, machine);

const percent = (x) => `${(100 * x).toFixed(2)} %`;
const methods = { machine: byMachine(machine), profiled: byProfile };
const errors = Object.fromEntries(
  Object.entries(methods).map(([name, of]) => [
    name,
    { calibration: calibration.map((r) => errorOf(r, of(r))), test: test.map((r) => errorOf(r, of(r))) },
  ]),
);
const lines = [];
const print = (...cells) => lines.push(`| ${cells.join(' | ')} |`);
const head = (...cells) => {
  lines.push('');
  print(...cells);
  print(...cells.map((_, i) => (i === 0 ? '---' : '---:')));
};

lines.push('# Iterations with a pipeline, predicted from iterations without', '');
lines.push(
  `\`node bench/iterations.mjs\`: ${rows.length} iterations of GPT-like models on up to 8 A100 (vTrain, MICRO 2024; MIT). Fitted to the ${calibration.length} rows with pipeline parallelism 1, tested on the ${test.length} rows above; errors are of the iteration time, absolute and relative, averaged. vTrain's published error is 8.37 %.`,
);
head('', 'machine, 12 parameters', 'profiled layers');
print('**pipelines (test)**', percent(mape(errors.machine.test)), percent(mape(errors.profiled.test)));
print('mean signed error', percent(mean(errors.machine.test)), percent(mean(errors.profiled.test)));
const sorted = (name) => errors[name].test.map(Math.abs).sort((a, b) => a - b);
print('median', ...['machine', 'profiled'].map((n) => percent(sorted(n)[test.length >> 1])));
print('95th percentile', ...['machine', 'profiled'].map((n) => percent(sorted(n)[Math.floor(0.95 * test.length)])));
print('worst', ...['machine', 'profiled'].map((n) => percent(sorted(n).at(-1))));
print(
  'no pipeline (calibration)',
  percent(mape(errors.machine.calibration)),
  percent(mape(errors.profiled.calibration)),
);
print('no pipeline, sizes left out (cross-validation)', percent(chosen.error), '');

const groups = {
  pipeline: (r) => r.layout.pipeline,
  tensor: (r) => r.layout.tensor,
  data: (r) => r.layout.data,
  microbatch: (r) => r.layout.microbatch,
  microbatches: (r) => r.layout.microbatches,
  hidden: (r) => r.shape.hidden,
  layers: (r) => r.shape.layers,
};
lines.push('', '## Where the errors lie (test rows)');
head('', 'rows', 'machine', 'signed', 'profiled', 'signed');
for (const [name, of] of Object.entries(groups)) {
  for (const value of [...new Set(test.map(of))].sort((a, b) => a - b)) {
    const at = test.flatMap((r, i) => (of(r) === value ? [i] : []));
    const pick = (n) => at.map((i) => errors[n].test[i]);
    print(
      `${name} ${value}`,
      at.length,
      ...['machine', 'profiled'].flatMap((n) => [percent(mape(pick(n))), percent(mean(pick(n)))]),
    );
  }
}

lines.push('', '## Worst rows of the machine');
head(
  'hidden',
  'layers',
  'tensor',
  'data',
  'pipeline',
  'microbatch',
  'M',
  'measured / ms',
  'predicted / ms',
  'error',
  'profiled',
);
const worst = test.map((_, i) => i).sort((a, b) => Math.abs(errors.machine.test[b]) - Math.abs(errors.machine.test[a]));
for (const i of worst.slice(0, 10)) {
  const { shape, layout, seconds } = test[i];
  print(
    shape.hidden,
    shape.layers,
    layout.tensor,
    layout.data,
    layout.pipeline,
    layout.microbatch,
    layout.microbatches,
    (1000 * seconds).toFixed(1),
    (1000 * seconds * (1 + errors.machine.test[i])).toFixed(1),
    percent(errors.machine.test[i]),
    percent(errors.profiled.test[i]),
  );
}

lines.push('', '## What was fitted');
head('parameter of the machine', 'value');
for (const [name, value] of Object.entries(machine)) print(`\`${name}\``, value.toPrecision(3));
lines.push('', '## Cross-validation (rows without a pipeline, whole operating points left out)');
head('candidate', 'error');
for (const { name, error } of validated) print(name === chosen.name ? `**${name}**` : name, percent(error));

// How well any model can do: rows of one operating point and layout differ in layers L and microbatches M only.
lines.push('', '## A remark on the data', '');
const exact = exactness();
lines.push(
  `Rows that differ in layers L and microbatches M alone are reproduced by a·M·L + b·M + c·L + d with a mean error of ${percent(exact.mean)} (largest ${percent(exact.largest)}, ${exact.groups} groups of ${exact.rows} rows). Single timings of a real machine scatter more than that, so the published times seem to be composed of measured parts; an error here says how well a model agrees with them.`,
);
const text = `${lines.join('\n')}\n`;
process.stdout.write(text);
if (out) writeFileSync(out, text);

function exactness() {
  const found = new Map();
  for (const row of rows) {
    const { tensor, data, pipeline, microbatch } = row.layout;
    const key = [row.shape.hidden, tensor, data, pipeline, microbatch].join(' ');
    found.set(key, [...(found.get(key) ?? []), row]);
  }
  const all = [];
  let groups = 0;
  for (const group of found.values()) {
    if (new Set(group.map((r) => r.layout.microbatches)).size < 2) continue;
    groups++;
    // Four unknowns by weighted least squares, as logarithms would need positive ones.
    const features = group.map(({ shape: { layers: L }, layout: { microbatches: M }, seconds }) =>
      [M * L, M, L, 1].map((x) => x / seconds),
    );
    const weights = leastSquares(features);
    for (const f of features) all.push(Math.abs(f.reduce((sum, x, i) => sum + x * weights[i], 0) - 1));
  }
  return { groups, rows: all.length, mean: mean(all), largest: Math.max(...all) };
}

// Modified Gram–Schmidt for features · x = 1; a column that the others span is left out.
function leastSquares(features) {
  const n = features[0].length;
  const columns = Array.from({ length: n }, (_, j) => features.map((f) => f[j]));
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const right = features.map(() => 1);
  const q = [];
  const r = Array.from({ length: n }, () => new Array(n).fill(0));
  const y = new Array(n).fill(0);
  for (let j = 0; j < n; j++) {
    const v = [...columns[j]];
    const size = Math.sqrt(dot(v, v));
    for (let k = 0; k < j; k++) {
      r[k][j] = dot(q[k], v);
      for (let i = 0; i < v.length; i++) v[i] -= r[k][j] * q[k][i];
    }
    const left = Math.sqrt(dot(v, v));
    r[j][j] = left > 1e-9 * size ? left : Number.POSITIVE_INFINITY;
    q.push(v.map((x) => x / r[j][j]));
    y[j] = dot(q[j], right);
    for (let i = 0; i < right.length; i++) right[i] -= y[j] * q[j][i];
  }
  const x = new Array(n).fill(0);
  for (let j = n - 1; j >= 0; j--) {
    let sum = y[j];
    for (let k = j + 1; k < n; k++) sum -= r[j][k] * x[k];
    x[j] = Number.isFinite(r[j][j]) ? sum / r[j][j] : 0;
  }
  return x;
}
