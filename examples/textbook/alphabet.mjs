// An LSTM reads three letters of the alphabet and learns the next one: windows ABC → D, BCD → E, …, WXY → Z. Trained on two
// devices, the recurrence on the first and the output layer on the second.
import { Graph, losses, makeOptimizer, makePlan, nn, ops, Session, train } from 'partita';
import { check, say } from './lib.mjs';

const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
const [window, hidden] = [3, 16];
const windows = letters.slice(window).map((_, i) => letters.slice(i, i + window));
const count = windows.length;

const model = {
  name: 'alphabet',
  build: (n) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [n, window], dtype: 'i32' });
    const steps = nn.embedding(x, { rows: letters.length, dim: 8, name: 'letter' }); // [N, T, 8]
    const { hN } = nn.lstm(steps, hidden, { batchFirst: true, name: 'lstm' }); // [1, N, hidden]
    const logits = graph.output('logits', nn.linear(ops.squeeze(hN, { axes: 0 }), letters.length, { name: 'head' }));
    return { graph, objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }] };
  },
};

const i32 = (shape, values) => ({ type: { dtype: 'i32', shape }, data: Int32Array.from(values) });
const indexOf = (letter) => letters.indexOf(letter);
const batch = {
  x: i32([count, window], windows.flat().map(indexOf)),
  y: i32([count], letters.slice(window).map(indexOf)),
};
const data = {
  name: 'windows',
  steps: Infinity,
  stepsPerEpoch: 1,
  batchAt: (step) => ({ epoch: step, step, tensors: batch }),
};

/** Trains on so many devices; the losses, and the letter that each window is followed by. */
async function learn(devices) {
  const plan = makePlan({
    model,
    programs: { train: { batch: count, mode: 'train' }, predict: { batch: count, mode: 'forward', outputs: true } },
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 })),
    microbatches: 4,
    schedule: '1f1b',
    partition: devices === 1 ? 'auto' : { cuts: ['head'] },
    optimizer: makeOptimizer({ kind: 'adam', lr: 0.03 }),
  });
  const session = await Session.open(plan, { seed: 0 });
  try {
    const steps = [];
    for await (const { loss } of train({ session, data, steps: 100 })) steps.push(loss);
    const { results } = await session.run('predict', batch);
    const logits = results.get('output/logits').data;
    const answers = windows.map((_, i) => {
      const row = logits.subarray(i * letters.length, (i + 1) * letters.length);
      return letters[row.indexOf(Math.max(...row))];
    });
    return { steps, answers, peaks: await session.measuredPeaks(), planned: session.plannedPeaks() };
  } finally {
    await session.close();
  }
}

const two = await learn(2);
say(`${count} windows of ${window} letters, ${hidden} units, two devices\n`);
for (const step of [0, 20, 40, 60, 80, 99])
  say(`  step ${String(step).padStart(2)}  loss ${two.steps[step].toFixed(4)}`);
say();
const lines = windows.map((w, i) => `${w.join('')} → ${two.answers[i]}`);
for (let i = 0; i < lines.length; i += 8) say(`  ${lines.slice(i, i + 8).join('   ')}`);
say();
const right = two.answers.filter((letter, i) => letter === letters[i + window]).length;
// 26 letters, each as likely at first: ln 26 = 3.26.
check(Math.abs(two.steps[0] - Math.log(26)) < 0.2, 'the first loss is about ln 26');
check(right === count, `all ${count} next letters are right`, `${right} of ${count} letters are right`);
check(two.peaks.join() === two.planned.join(), 'both devices used exactly the planned memory');
const one = await learn(1);
check(
  one.steps.every((loss, i) => Object.is(loss, two.steps[i])),
  'one device: the same 100 losses, bit for bit',
);
