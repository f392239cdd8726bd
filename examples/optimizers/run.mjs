// All optimizers on one task: `node examples/optimizers/run.mjs [--out FILE.svg] [--sweep [NAME]]`. Trains the same
// perceptron on handwritten digits from the same first values with the same batches, each optimizer at the rate that suits
// it, and draws the loss of every epoch. `--sweep` looks for those rates: it trains at every rate of a grid and prints the
// last losses.
import { writeFileSync } from 'node:fs';
import {
  cyclesMomentum,
  epochsOf,
  Graph,
  holdOut,
  losses,
  makeEvaluator,
  makeLearningRate,
  makeMomentum,
  makeOptimizer,
  makePlan,
  nn,
  openDataset,
  Session,
  table,
  train,
} from 'partita';
import * as vega from 'vega';
import { compile } from 'vega-lite';

const [batch, epochs, seed] = [64, 12, 0];

const model = {
  name: 'mlp',
  build: (samples) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [samples, 1, 8, 8] });
    const hidden = nn.relu(nn.linear(nn.flatten(x), 64, { name: 'first' }));
    const logits = graph.output('logits', nn.linear(hidden, 10, { name: 'second' }));
    return { graph, objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }] };
  },
};

const { train: samples, heldOut } = holdOut(openDataset({ kind: 'digits' }), 0.2, seed);
const data = epochsOf(samples, { batchSize: batch, seed });
const steps = epochs * data.stepsPerEpoch;
const evaluate = makeEvaluator({
  batches: [
    { size: heldOut.size, tensors: () => heldOut.batch(Int32Array.from({ length: heldOut.size }, (_, i) => i)) },
  ],
  terms: [{ output: 'logits', target: 'y', classes: 10, ignoreIndex: null, values: 'logits' }],
  single: true,
  perplexity: false,
});

/** The rate of each is the best of the grid (`--sweep`) by the loss of the last epoch. */
const entrants = [
  { name: 'sgd', optimizer: { kind: 'sgd' }, lr: 1 },
  { name: 'sgd, momentum', optimizer: { kind: 'sgd', momentum: 0.9 }, lr: 0.2 },
  { name: 'adagrad', optimizer: { kind: 'adagrad' }, lr: 0.1 },
  { name: 'adadelta', optimizer: { kind: 'adadelta' }, lr: 10 },
  { name: 'rmsprop', optimizer: { kind: 'rmsprop' }, lr: 0.01 },
  { name: 'adam', optimizer: { kind: 'adam' }, lr: 0.05 },
  { name: 'adamw', optimizer: { kind: 'adamw' }, lr: 0.02 },
  { name: 'sgd, oneCycle, clip', optimizer: { kind: 'sgd' }, lr: 0.5, cycle: true, clip: { globalNorm: 1 } },
];
const grid = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];

/** Trains one of them over two devices; the bits do not depend on that. */
async function run({ optimizer: config, lr, cycle, clip }) {
  const rule = cycle ? { kind: 'oneCycle', maxLr: lr, totalSteps: steps } : { kind: 'constant' };
  const optimizer = makeOptimizer({ ...config, lr }, { cyclesMomentum: cyclesMomentum(rule) });
  const plan = makePlan({
    model,
    programs: {
      train: { batch, mode: 'train' },
      tail: { batch: samples.size % batch, mode: 'train' }, // an epoch's last batch
      eval: { batch: heldOut.size, mode: 'forward', outputs: true },
    },
    devices: [0, 1].map(() => ({ backend: 'wasm', memory: null, speed: 1 })),
    microbatches: 1,
    schedule: '1f1b',
    partition: { cuts: ['second'] },
    optimizer,
    clip,
  });
  const session = await Session.open(plan, { seed });
  try {
    const byEpoch = Array.from({ length: epochs }, () => []);
    const options = { learningRate: makeLearningRate(rule, lr), momentum: makeMomentum(rule) };
    for await (const { epoch, loss } of train({ session, data, steps, ...options })) byEpoch[epoch].push(loss);
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const { accuracy } = await evaluate(session);
    return { losses: byEpoch.map(mean), accuracy, stateBytes: 4 * optimizer.stateNames.length };
  } finally {
    await session.close();
  }
}

const titleOf = ({ name, lr, cycle }) => `${name}, ${cycle ? 'up to ' : ''}${lr}`;

/** One line a run: colours of Okabe and Ito, which colour-blind readers tell apart, and a dash and a mark of its own. */
function chartOf(results) {
  const names = entrants.map(titleOf);
  const scales = {
    color: ['#000000', '#0072B2', '#E69F00', '#56B4E9', '#D55E00', '#009E73', '#999999', '#CC79A7'],
    strokeDash: [
      [1, 0],
      [1, 0],
      [6, 3],
      [6, 3],
      [2, 2],
      [1, 0],
      [2, 2],
      [8, 2, 2, 2],
    ],
    shape: ['circle', 'square', 'triangle-up', 'diamond', 'cross', 'triangle-down', 'triangle-left', 'triangle-right'],
  };
  const by = (channel) => ({
    field: 'optimizer',
    type: 'nominal',
    scale: { domain: names, range: scales[channel] },
    legend: { title: 'optimizer, rate', labelLimit: 0, symbolSize: 80, symbolStrokeWidth: 2 },
  });
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: 'A perceptron on digits: mean training loss of each epoch',
    width: 460,
    height: 320,
    background: 'white',
    data: {
      values: entrants.flatMap((entrant, i) =>
        results[i].losses.map((loss, epoch) => ({
          optimizer: titleOf(entrant),
          epoch: epoch + 1,
          loss: Number(loss.toPrecision(5)),
        })),
      ),
    },
    mark: { type: 'line', point: { filled: true, size: 40 }, strokeWidth: 2 },
    encoding: {
      x: { field: 'epoch', type: 'quantitative', title: 'epoch', axis: { tickMinStep: 1, grid: false } },
      y: {
        field: 'loss',
        type: 'quantitative',
        title: 'mean cross entropy (log scale)',
        scale: { type: 'log', nice: false },
        axis: { tickCount: 6 },
      },
      color: by('color'),
      strokeDash: by('strokeDash'),
      shape: by('shape'),
    },
  };
}

if (process.argv.includes('--sweep')) {
  const only = process.argv[process.argv.indexOf('--sweep') + 1];
  for (const entrant of entrants.filter((e) => only === undefined || e.name === only)) {
    const last = [];
    for (const lr of grid) last.push([lr, (await run({ ...entrant, lr })).losses.at(-1)]);
    console.log(`${entrant.name}: ${last.map(([lr, loss]) => `${lr} ${loss.toFixed(4)}`).join(', ')}`);
  }
  process.exit(0);
}

const results = [];
for (const entrant of entrants) results.push(await run(entrant));
console.log(
  `${samples.size} digits, ${epochs} epochs of ${data.stepsPerEpoch} steps, ${heldOut.size} digits held out\n`,
);
console.log(
  table(
    ['optimizer', 'rate', 'state bytes a parameter', 'loss, epoch 1', `epoch ${epochs}`, 'held-out accuracy'],
    entrants.map(({ name, lr, cycle }, i) => {
      const { losses: l, accuracy, stateBytes } = results[i];
      const rate = cycle ? `up to ${lr}` : String(lr);
      return [name, rate, stateBytes, l[0].toFixed(4), l.at(-1).toFixed(4), `${(100 * accuracy).toFixed(1)} %`];
    }),
  ),
);
const at = process.argv.indexOf('--out');
if (at >= 0) {
  const svg = await new vega.View(vega.parse(compile(chartOf(results)).spec), { renderer: 'none' }).toSVG();
  writeFileSync(process.argv[at + 1], `${svg}\n`);
  console.log(`\nwritten to ${process.argv[at + 1]}`);
}
