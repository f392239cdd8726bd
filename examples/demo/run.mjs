// The demo: `npm run demo`. Trains a small convolutional network on handwritten digits, cut over three devices; trains it
// again on one device and compares every bit; then takes memory away until one device is refused and three still train.
// Written with the public API, so that it is an example of it too.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  epochsOf,
  figuresOf,
  formatBytes,
  formatCount,
  formatPercent,
  formatSeconds,
  Graph,
  holdOut,
  losses,
  makeEvaluator,
  makeLearningRate,
  makeOptimizer,
  makePlan,
  meanOfSteps,
  nn,
  openDataset,
  PlanError,
  plan as plans,
  printFigures,
  printPlan,
  programFor,
  Session,
  stepTrace,
  train,
  wrap,
  writeSafetensors,
} from 'partita';

const seed = Number(process.argv[2] ?? 0);
const [devices, microbatches, batch, epochs, lr] = [3, 8, 96, 15, 0.004];
const width = 100;
const say = (text = '') => console.log(text);
const heading = (text) => say(`\n== ${text} ${'='.repeat(Math.max(0, width - text.length - 4))}\n`);
const begin = performance.now();

// The model: a function of the batch size, since every microbatch is a smaller batch of its own.
const block = (channels) => (x) => nn.relu(nn.conv2d(x, channels, { kernel: 3, padding: 1 }));
const halve = (x) => nn.maxPool2d(x, { kernel: 2 });
const layers = { conv1: block(16), conv2: block(32), pool2: halve, conv3: block(64), pool3: halve, conv4: block(64) };
const model = {
  name: 'cnn',
  build: (samples) => {
    const graph = new Graph();
    const image = graph.input('x', { shape: [samples, 1, 8, 8] });
    const features = nn.flatten(nn.sequential(layers)(image));
    const logits = graph.output('logits', nn.linear(features, 10, { name: 'head' }));
    return { graph, objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }] };
  },
};

// The data: 1,797 digits of 8×8 pixels, a fifth of them held out.
const { train: samples, heldOut } = holdOut(openDataset({ kind: 'digits' }), 0.2, seed);
const data = epochsOf(samples, { batchSize: batch, seed });
const steps = epochs * data.stepsPerEpoch;
const learningRate = makeLearningRate({ kind: 'warmupCosine', warmupSteps: data.stepsPerEpoch, totalSteps: steps }, lr);
// Held-out batches in order; the last one is smaller, never dropped.
const heldOutBatches = Array.from({ length: Math.ceil(heldOut.size / batch) }, (_, i) => {
  const indices = Int32Array.from({ length: Math.min(batch, heldOut.size - i * batch) }, (_, j) => i * batch + j);
  return { size: indices.length, tensors: () => heldOut.batch(indices) };
});
const evaluate = makeEvaluator({
  batches: heldOutBatches,
  terms: [{ output: 'logits', target: 'y', classes: 10, ignoreIndex: null, values: 'logits' }],
  single: true,
  perplexity: false,
});

/** A plan for `count` devices of `memory` bytes each (null: as much as they need). Nothing runs yet. */
const planFor = (count, memory = null) =>
  makePlan({
    model,
    programs: {
      train: { batch, mode: 'train' },
      tail: { batch: samples.size % batch, mode: 'train' }, // an epoch's last batch
      eval: { batch, mode: 'forward', outputs: true },
      evalTail: { batch: heldOutBatches.at(-1).size, mode: 'forward', outputs: true },
    },
    devices: Array.from({ length: count }, () => ({ backend: 'wasm', memory, speed: 1 })),
    microbatches,
    schedule: '1f1b',
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'adamw', lr }),
  });

/** Trains under a plan; what came out of it, with what the devices measured. */
async function run(plan, { onStep, ...options } = {}) {
  const session = await Session.open(plan, { seed });
  try {
    const records = [];
    const evaluation = { evaluate, every: 3 * data.stepsPerEpoch };
    for await (const record of train({ session, data, steps, learningRate, evaluation, ...options })) {
      records.push(record);
      onStep?.(record);
    }
    const parameters = await session.parameters();
    const peaks = await session.measuredPeaks();
    // One more step, recorded instruction by instruction, for the timeline; the parameters are read already.
    const next = data.batchAt(steps);
    const recorded = { step: steps, lr: 0, profile: true };
    const { reports } = await session.run(programFor(plan, 'train', next), next.tensors, recorded);
    return { records, parameters, reports, figures: figuresOf(plan, { ...meanOfSteps(records), peaks }) };
  } finally {
    await session.close();
  }
}

const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
const sameBits = (a, b) => bytesOf(a).equals(bytesOf(b));
const lossesOf = ({ records }) => Float64Array.from(records, (r) => r.loss);

/** Prints `ok` or ends the demo with exit code 1. */
function check(holds, claim, otherwise) {
  say(holds ? `ok  ${claim}` : `NOT OK  ${otherwise}`);
  if (!holds) process.exit(1);
}

heading(`The plan: one network over ${devices} devices`);
const threePlan = planFor(devices);
say(printPlan(threePlan, { width }));

heading(`Training: ${samples.size} digits, ${epochs} epochs, ${microbatches} microbatches a step`);
const three = await run(threePlan, {
  onStep: ({ step, loss, evaluation: e }) => {
    if (!e) return;
    const row = `epoch ${String((step + 1) / data.stepsPerEpoch).padStart(2)}  loss ${loss.toFixed(4)}`;
    say(`${row}  held-out loss ${e.loss.toFixed(4)}  accuracy ${formatPercent(e.accuracy)}`);
  },
});
const { accuracy } = three.records.at(-1).evaluation;
say(`\n${printFigures(three.figures)}`);
say(
  `\nA step took ${formatSeconds(three.figures.stepSeconds)}. Predicted times assume a core a device; with fewer, waiting for`,
);
say('a core counts as busy.\n');
check(accuracy >= 0.97, `${formatPercent(accuracy)} of ${heldOut.size} held-out digits are right`, 'less than 97 %');
const exact = (d) => d.peakBytesMeasured === d.peakBytesPlanned;
check(three.figures.devices.every(exact), 'every device used exactly the planned memory', 'a peak is not as planned');

heading('The same training on one device');
const one = await run(planFor(1));
say(`${printFigures(one.figures)}\n`);
const differing = [...three.parameters].filter(([name, t]) => !sameBits(t.data, one.parameters.get(name).data));
const scalars = [...three.parameters.values()].reduce((n, t) => n + t.data.length, 0);
check(sameBits(lossesOf(three), lossesOf(one)), `all ${steps} losses are bit-identical`, 'a loss differs');
check(
  differing.length === 0 && one.parameters.size === three.parameters.size,
  `all ${three.parameters.size} parameters (${formatCount(scalars)} numbers) are bit-identical`,
  `these parameters differ: ${differing.map(([name]) => name).join(', ')}`,
);

// The least memory, in pages of 64 KiB, that the most loaded of the three devices can live with.
const page = 65536;
const capacity = Math.ceil(Math.max(...threePlan.memory.map((m) => m.peakBytes)) / page) * page;
heading(`Devices of ${formatBytes(capacity)}: too small for one, enough for three`);
try {
  planFor(1, capacity);
  check(false, '', 'one device was not refused');
} catch (error) {
  if (!(error instanceof PlanError)) throw error;
  say(`one device, before anything runs:\n${wrap(`${error.name}: ${error.message}`, '  ', width)}`);
  say(`  try: ${error.remedy}\n`);
}
const fewSteps = 2 * data.stepsPerEpoch;
const small = await run(planFor(devices, capacity), { steps: fewSteps });
const lossesAlike = sameBits(lossesOf(small), lossesOf(three).slice(0, fewSteps));
say(`three devices, ${fewSteps} steps in memories that cannot grow:\n${printFigures(small.figures)}\n`);
const fits = (d) => exact(d) && d.peakBytesMeasured <= capacity;
check(small.figures.devices.every(fits), 'it fits', 'it does not fit');
check(lossesAlike, `its ${fewSteps} losses are those from above, bit for bit`, 'a loss differs');

heading('Files');
const folder = join('runs', 'demo');
mkdirSync(folder, { recursive: true });
const result = { version: 1, seed, accuracy, losses: [...lossesOf(three)], three: three.figures, one: one.figures };
const trace = stepTrace(threePlan, 'train', three.reports, { step: steps });
const files = {
  'params.safetensors': [writeSafetensors(three.parameters), 'the trained parameters'],
  'trace.json': [JSON.stringify(trace), 'one step as a timeline: open it in https://ui.perfetto.dev'],
  'result.json': [JSON.stringify(result, null, 2), 'losses, accuracy and the figures of both runs'],
  'plan.json': [JSON.stringify(plans.summarizePlan(threePlan), null, 2), 'stages, devices and memory by category'],
};
for (const [name, [content, about]] of Object.entries(files)) {
  writeFileSync(join(folder, name), content);
  say(`${join(folder, name).padEnd(30)}${about}`);
}
say('\nTry next:');
say('  npx partita train examples/cnn-digits/experiment.json --devices 2 --schedule gpipe');
say('  npx partita train examples/gpt-text/experiment.json');
say('  npx partita plan examples/gpt-text/experiment.json --devices 4 --memory 8MiB');
say('  npx partita trace examples/cnn-digits/experiment.json --out trace.json');
say(`\nDone in ${formatSeconds((performance.now() - begin) / 1000)}.`);
