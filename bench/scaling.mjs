// How a training step grows: over batch, depth, width, microbatches and devices, with exponents fitted to each curve.
//
//   node bench/scaling.mjs [--only batch,depth,width,microbatches,devices] [--rounds 7] [--seconds 0.1] [--json FILE] [--write]
//                          [--render]
//
//   --seconds   a window of each size in each round, and at least one step
//   --json      writes what was found
//   --write     the same to bench/scaling.json (curves that were not asked for stay), and renews docs/performance.md and
//               docs/images/scaling.svg
//   --render    renews page and picture from bench/scaling.json and measures nothing
//
// A transformer on this machine; one size is changed, the others stay. Sizes of a curve take turns, every other round in
// reverse, since the machine's speed changes: an exponent is fitted to each round (least squares of the logarithms), and told
// are the median and the quartiles of the rounds. In front of them and behind stand the register-only loops and the clock. R² is that of the median times. Peaks are planned ones, which are exact.
// Steps on more devices than there are cores are played by the simulator with the kernels' measured times. Two minutes; run it
// on an idle machine.
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { between, startMachine } from './compare/looks.mjs';
import { conditionsHere } from './compare/machine.mjs';
import { renewPage } from './compare/renew.mjs';
import { emptyCurves, keptCurves, readResults, textOfResults, writeWhole } from './compare/results.mjs';
import { fitCurve, scalingPicture } from './compare/scaling-page.mjs';
import { median } from './compare/statistics.mjs';
import { loopsSentence } from './compare/text.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const self = import.meta.url;
const base = { batch: 16, layers: 4, width: 128, microbatches: 1, devices: 1 };
const curves = {
  batch: { sizes: [2, 4, 8, 16, 32, 64] },
  depth: { key: 'layers', sizes: [1, 2, 4, 8, 16] },
  width: { sizes: [32, 64, 128, 256] },
  microbatches: { sizes: [1, 2, 4, 8, 16] },
  // As many layers as devices at most; microbatches enough for a pipeline of eight.
  devices: { sizes: [1, 2, 4, 8], with: { layers: 8, microbatches: 16, batch: 32 }, schedule: '1f1b' },
};

const { values: flags } = flagsOf(self, {
  only: { type: 'string', default: Object.keys(curves).join() },
  rounds: { type: 'string', default: '7' },
  seconds: { type: 'string', default: '0.1' },
  json: { type: 'string' },
  write: { type: 'boolean', default: false },
  render: { type: 'boolean', default: false },
});
const rounds = numberOf(self, 'rounds', flags.rounds, { atLeast: 1, whole: true });
const seconds = numberOf(self, 'seconds', flags.seconds);
const chosen = namesOf(self, 'only', flags.only, Object.keys(curves));

const { drawChart, makeOptimizer, makePlan, nn, profile, profiledCosts, Session } = await import('partita');

const [context, vocab] = [32, 96];
const device = { backend: 'wasm', memory: null, speed: 1 };

const requestOf = ({ batch, layers, width, microbatches, devices, schedule = '1f1b' }) => ({
  model: nn.models.modelOf({ kind: 'gpt', vocab, context, layers, width, heads: 4 }),
  programs: { train: { batch, mode: 'train' } },
  microbatches,
  schedule,
  partition: 'auto',
  devices: Array.from({ length: devices }, () => device),
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.01 }),
});

function tokens({ batch }) {
  const type = { dtype: 'i32', shape: [batch, context] };
  const of = (shift) => ({
    type,
    data: Int32Array.from({ length: batch * context }, (_, i) => ((i + shift) * 31) % vocab),
  });
  return { x: of(0), y: of(1) };
}

/** Milliseconds of steps for so long, or of one that is longer. */
async function window({ session, feeds, count }, length) {
  const times = [];
  const end = performance.now() + 1000 * length;
  do {
    const start = performance.now();
    await session.run('train', feeds, { step: count.next++ });
    times.push(performance.now() - start);
  } while (performance.now() < end);
  return median(times);
}

async function measure(name, machine) {
  const { key = name, sizes, with: other = {}, schedule } = curves[name];
  const cases = sizes.map((size) => ({ ...base, ...other, schedule, [key]: size }));
  const requests = cases.map(requestOf);
  let costs;
  if (name === 'devices') {
    const rates = await profile.measureMachine();
    // One device's graph has the kernels of all: cuts come between nodes.
    costs = profiledCosts(
      await profile.profileModels([requests[0]], { tensorsAt: () => tokens(cases[0]) }, rates, { busyDevices: 1 }),
    );
  }
  const points = [];
  for (const [i, request] of requests.entries()) {
    const plan = makePlan(costs ? { ...request, costs } : request);
    const runs = plan.request.devices.length <= availableParallelism();
    const peakBytes = Math.max(...plan.memory.map((d) => d.peakBytes));
    const predicted = costs ? { predictedMilliseconds: 1000 * plan.prediction.stepSeconds } : {};
    const session = runs ? await Session.open(plan, { seed: 0 }) : undefined;
    points.push({
      size: sizes[i],
      peakBytes,
      ...predicted,
      session,
      feeds: tokens(cases[i]),
      count: { next: 0 },
      milliseconds: [],
    });
  }
  const timed = points.filter((p) => p.session);
  let looks;
  try {
    // The first hundred steps run code that is not compiled yet.
    for (const point of timed) await window(point, 2 * seconds);
    ({ looks } = await between(machine, async () => {
      for (let round = 0; round < rounds; round++)
        for (const point of round % 2 === 0 ? timed : [...timed].reverse())
          point.milliseconds.push(await window(point, seconds));
    }));
  } finally {
    for (const { session } of timed) await session.close();
  }
  return {
    points: points.map(({ session: _, feeds: __, count: ___, ...point }) => point),
    fixed: { ...base, ...other, [key]: undefined },
    machine: looks,
    ...conditionsHere(),
    rounds,
  };
}

const picture = fileURLToPath(new URL('../docs/images/scaling.svg', self));

async function render() {
  const { curves: found } = readResults(keptCurves, emptyCurves());
  renewPage();
  writeWhole(
    picture,
    `${await drawChart({ label: 'Time of a training step over five sizes', spec: scalingPicture(found) })}\n`,
  );
}

async function measureAll(machine) {
  const targets = [...(flags.json ? [flags.json] : []), ...(flags.write ? [keptCurves] : [])];
  const found = {};
  for (const name of chosen) {
    found[name] = await measure(name, machine);
    const { time, memory } = fitCurve(found[name]);
    console.log(
      `${name.padEnd(13)} time ^ ${time.exponent.toFixed(2)} [${time.low.toFixed(2)}, ${time.high.toFixed(2)}], ` +
        `R² ${time.r2.toFixed(3)}   peak ^ ${memory.exponent.toFixed(2)}, R² ${memory.r2.toFixed(3)}`,
    );
    for (const file of targets) {
      const before = file === keptCurves ? readResults(keptCurves, emptyCurves()).curves : {};
      writeWhole(file, textOfResults({ ...emptyCurves(), curves: { ...before, ...found } }));
    }
  }
  console.log(loopsSentence(Object.values(found)));
}

if (!flags.render) {
  const machine = await startMachine();
  try {
    await measureAll(machine);
  } finally {
    await machine.end();
  }
}
if (flags.write || flags.render) await render();
