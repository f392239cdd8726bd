// What a step costs beside its kernels: calls, instructions, hand-overs, the step's own start and end.
//
//   node bench/overhead.mjs [--rounds 15] [--parts core,hand-over,ends,launch,models] [--models mlp,gpt,cnn] [--json FILE]
//                           [--write]
//
//   --json    writes what was found
//   --write   keeps the same in bench/overhead.json (parts and models that were not asked for stay), and renews
//             docs/performance.md
//
// 1. Device core: lists of instructions whose kernel is empty, one call and ten calls an instruction, and the bare call in
//    a loop, in turns. Two unknowns, two lists: what a call and what an instruction takes.
// 2. Hand-over: a value goes to and fro between two devices. Where the other looks already, and where it has fallen asleep
//    meanwhile, beside two bare threads that do the same with Atomics.wait and notify.
// 3. A step's start and end on two devices, beside a message to each of two bare threads and one back from each; and what a
//    step takes of them that is begun ahead, as a training's are.
// 4. Whole steps of the models in the peers' table against the sum of their kernels, as recorded in steps in between: asked
//    for one by one, and begun ahead.
// 5. From the launch of the command to its help and to the first step of the digits model, beside Node alone.
//
// Medians of several rounds, in alternation. In front of each of these and behind it stand the register-only loops and the
// clock, as in compare.mjs. Run it on an idle machine with at least two cores.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { between, startMachine } from './compare/looks.mjs';
import { conditionsHere } from './compare/machine.mjs';
import { partsOf } from './compare/overhead-page.mjs';
import { renewPage } from './compare/renew.mjs';
import { emptyOverheads, keptOverheads, readResults, textOfResults, writeWhole } from './compare/results.mjs';
import { median, spreadOf } from './compare/statistics.mjs';
import { loopsSentence } from './compare/text.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const partNames = ['core', 'hand-over', 'ends', 'launch', 'models'];
const modelNames = ['mlp', 'gpt', 'cnn'];
const self = import.meta.url;
const { values: flags } = flagsOf(self, {
  rounds: { type: 'string', default: '15' },
  json: { type: 'string' },
  write: { type: 'boolean', default: false },
  models: { type: 'string', default: modelNames.join() },
  parts: { type: 'string', default: partNames.join() },
});
const rounds = numberOf(self, 'rounds', flags.rounds, { atLeast: 1, whole: true });
const parts = namesOf(self, 'parts', flags.parts, partNames);
const chosenModels = namesOf(self, 'models', flags.models, modelNames);

const { Graph, makeOptimizer, makePlan, nn, ops, Session } = await import('partita');
const { close } = await import('../dist/backends/wasm/close.js');
const { Control } = await import('../dist/runtime/control.js');
const { Device } = await import('../dist/runtime/device.js');

const us = (seconds) => `${(seconds * 1e6).toFixed(seconds < 1e-6 ? 3 : 1)} µs`;
const device = { backend: 'wasm', memory: null, speed: 1 };

// 1 ─ Calls and instructions

/** (func (param i32 × 5)) and nothing in it, exported as `f`. */
const empty = new WebAssembly.Instance(
  new WebAssembly.Module(
    Uint8Array.of(
      0,
      97,
      115,
      109,
      1,
      0,
      0,
      0,
      1,
      9,
      1,
      96,
      5,
      127,
      127,
      127,
      127,
      127,
      0,
      3,
      2,
      1,
      0,
      7,
      5,
      1,
      1,
      102,
      0,
      0,
      10,
      4,
      1,
      2,
      0,
      11,
    ),
  ),
).exports.f;

function emptyProgram(instructions, calls) {
  const part = {
    signature: { op: 'empty', inputs: [], outputs: [], attrs: {} },
    calls: Array.from({ length: calls }, () => ({ kernel: 'empty', args: [0, 16, 32, 48, 4] })),
    inputs: [],
    outputs: [],
    repeat: 1,
  };
  const instruction = { kind: 'compute', task: '0F0', microbatch: 0, node: 'n', op: 'empty', parts: [part] };
  return {
    program: {
      device: 0,
      buffers: [],
      instructions: Array.from({ length: instructions }, () => ({
        ...instruction,
        inputs: [],
        outputs: [],
        workspace: null,
        overwrites: null,
      })),
    },
    offsets: [],
    peerOffsets: [],
    deaths: [],
    persistent: [],
    feeds: [],
    results: [],
  };
}

async function deviceCore() {
  const control = Control.create(1);
  const channel = { startStep() {}, waitedSeconds: 0 };
  const core = new Device({
    device: 0,
    memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    control,
    channel,
    backend: { name: 'wasm', bind: (call) => close(empty, call.args) },
    poison: 'standard',
    audit: false,
    faults: [],
    now: () => performance.now(),
    exit: () => {},
  });
  const n = 500;
  core.load('one', emptyProgram(n, 1));
  core.load('ten', emptyProgram(n, 10));
  const bare = () => {
    const begin = performance.now();
    for (let i = 0; i < n; i++) empty(0, 16, 32, 48, 4);
    return (performance.now() - begin) / 1000;
  };
  const times = { one: [], ten: [], bare: [] };
  for (let i = 0; i < 100 * rounds; i++) {
    for (const program of ['one', 'ten']) times[program].push((await core.step({ program, step: i })).seconds / n);
    times.bare.push(bare() / n);
  }
  const [one, ten, call] = ['one', 'ten', 'bare'].map((k) => median(times[k].slice(25 * rounds)));
  const perCall = (ten - one) / 9;
  console.log('Device core, empty kernel');
  console.log(
    `  a call within an instruction ${us(perCall)}, beyond the bare call ${us(perCall - call)} (goal ≤ 0.2 µs)`,
  );
  console.log(`  an instruction beside its calls ${us(one - perCall)} (goal ≤ 2 µs)`);
  return {
    call: { seconds: perCall, beyondSeconds: perCall - call, bareSeconds: call },
    instruction: { seconds: one - perCall },
  };
}

// 2 ─ Hand-overs

/** `hops` times to the other device and on, with `work` products of 96 squared before each. */
function pingPong(hops, work) {
  return {
    name: 'ping-pong',
    build(batch) {
      const graph = new Graph();
      const w = graph.parameter('w', [96, 96], { kind: 'ones' });
      let h = graph.input('x', { shape: [batch, 4] });
      for (let i = 0; i <= hops; i++) {
        graph.scope(`hop${i}`, () => {
          h = ops.add(h, 1);
          if (work > 0) {
            let p = graph.parameter('p', [96, 96], { kind: 'ones' });
            for (let k = 0; k < work; k++) p = ops.matmul(p, graph.parameter(`q${k}`, [96, 96], { kind: 'ones' }));
            h = ops.add(h, ops.sum(p));
          }
        });
      }
      graph.output('y', h);
      graph.output('w', ops.sum(w), { batchAxis: null });
      return { graph, objective: [] };
    },
  };
}

async function openPingPong(hops, work, lookSeconds) {
  const stages = Object.fromEntries(Array.from({ length: hops + 1 }, (_, i) => [`hop${i}.*`, i]));
  const plan = makePlan({
    model: pingPong(hops, work),
    programs: { forward: { batch: 1, mode: 'forward', outputs: true } },
    microbatches: 1,
    devices: [device, device],
    partition: { stages: { ...stages, '*': hops } },
    placement: Array.from({ length: hops + 1 }, (_, i) => i % 2),
  });
  return { plan, session: await Session.open(plan, { audit: false, lookSeconds }) };
}

const bell = `
  const { workerData: { words, me, hops } , parentPort } = require('node:worker_threads');
  const other = 1 - me;
  let turn = 0;
  const ring = () => { Atomics.add(words, 16 * other, 1); Atomics.notify(words, 16 * other); };
  const until = (goal, spins) => {
    for (let i = 0; i < spins; i++) if (Atomics.load(words, 16 * me) - goal >= 0) return;
    for (;;) { const seen = Atomics.load(words, 16 * me); if (seen - goal >= 0) return; Atomics.wait(words, 16 * me, seen); }
  };
  const work = (seconds) => { const end = performance.now() + seconds * 1000; while (performance.now() < end); };
  parentPort.on('message', ({ spins, seconds }) => {
    const begin = performance.now();
    for (let i = 0; i < hops; i++) {
      if (me === 0) { work(seconds); ring(); turn++; until(turn, spins); }
      else { turn++; until(turn, spins); work(seconds); ring(); }
    }
    parentPort.postMessage((performance.now() - begin) / 1000);
  });
`;

async function bareThreads(hops) {
  const words = new Int32Array(new SharedArrayBuffer(256));
  const threads = [0, 1].map((me) => new Worker(bell, { eval: true, workerData: { words, me, hops } }));
  return {
    run: async (options) =>
      Math.max(
        ...(await Promise.all(
          threads.map(
            (thread) =>
              new Promise((resolve) => {
                thread.once('message', resolve);
                thread.postMessage(options);
              }),
          ),
        )),
      ),
    close: () => Promise.all(threads.map((t) => t.terminate())),
  };
}

/** From the end of a send to the end of its receive, by the clock that both devices share. */
function latencies(plan, reports) {
  const programs = plan.programs.forward.devices;
  return programs.flatMap(({ instructions }, to) =>
    instructions.flatMap((i, at) => {
      if (i.kind !== 'receive') return [];
      const send = programs[i.from].instructions.findIndex(
        (s) => s.kind === 'send' && s.to === to && s.message === i.message,
      );
      return [(reports[to].times[2 * at + 1] - reports[i.from].times[2 * send + 1]) / 1000];
    }),
  );
}

async function handOver() {
  const hops = 64;
  const [quick, slow] = [await openPingPong(hops, 0), await openPingPong(hops, 60, 0)]; // the second's devices sleep at once
  const bare = await bareThreads(hops);
  const x = { x: { type: { dtype: 'f32', shape: [1, 4] }, data: new Float32Array(4) } };
  const instructions = quick.plan.programs.forward.devices.reduce((sum, d) => sum + d.instructions.length, 0);
  const times = { quick: [], bareQuick: [], asleep: [], bareAsleep: [] };
  // Compilers of JavaScript want some hundred steps.
  for (let i = 0; i < 300; i++) {
    await quick.session.run('forward', x, { step: i });
    await bare.run({ spins: 2000, seconds: 0 });
  }
  for (let i = 0; i < 20 * rounds; i++) {
    const { reports } = await quick.session.run('forward', x, { step: i });
    times.quick.push(Math.max(...reports.map((r) => r.seconds)) / hops);
    times.bareQuick.push((await bare.run({ spins: 2000, seconds: 0 })) / (2 * hops));
  }
  for (let i = 0; i < 4 * rounds; i++) {
    const recorded = await slow.session.run('forward', x, { step: i, profile: true });
    times.asleep.push(median(latencies(slow.plan, recorded.reports)));
    const work = 2e-3;
    times.bareAsleep.push((await bare.run({ spins: 2000, seconds: work })) / (2 * hops) - work);
  }
  await Promise.all([quick.session.close(), slow.session.close(), bare.close()]);
  const [q, bq, s, bs] = ['quick', 'bareQuick', 'asleep', 'bareAsleep'].map((k) => median(times[k].slice(rounds)));
  console.log('Hand-over of 16 bytes between two devices');
  console.log(
    `  in turns, ${(instructions / hops).toFixed(1)} instructions each: ${us(q)} (goal ≤ 5 µs); bare threads ${us(bq)}`,
  );
  console.log(`  to a device that sleeps: ${us(s)} from the end of the send; bare threads ${us(bs)}`);
  return {
    handOver: {
      seconds: q,
      bareSeconds: bq,
      asleepSeconds: s,
      bareAsleepSeconds: bs,
      instructionsPerHop: instructions / hops,
    },
  };
}

// 3 ─ A step's start and end

const echo = `require('node:worker_threads').parentPort.on('message', (ms) => {
  const end = performance.now() + ms; while (performance.now() < end);
  require('node:worker_threads').parentPort.postMessage(0);
});`;

/** Two milliseconds on each device, which waits for no other; `trained` adds what there is to update: a number each. */
const apart = (trained) => ({
  name: 'apart',
  build() {
    const objective = [];
    const graph = new Graph();
    for (const name of ['first', 'second']) {
      graph.scope(name, () => {
        let h = graph.parameter('w', [256, 256], { kind: 'ones' });
        for (let i = 0; i < 3; i++) h = ops.matmul(h, graph.parameter(`v${i}`, [256, 256], { kind: 'ones' }));
        graph.output(name, ops.sum(h), { batchAxis: null });
        if (!trained) return;
        const number = graph.parameter('number', [1], { kind: 'ones' });
        objective.push({ loss: ops.sum(ops.mul(number, number)), weight: 1 });
      });
    }
    return { graph, objective };
  },
});

/**
 * Steps that are asked for one by one, and steps that devices begin by themselves: wall time beyond the devices' own work, in
 * runs of ten that take turns.
 */
async function stepsAhead() {
  const plan = makePlan({
    model: apart(true),
    programs: { train: { batch: 1, mode: 'train', outputs: true } },
    microbatches: 1,
    devices: [device, device],
    partition: { stages: { 'first*': 0, '*': 1 } },
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0 }),
  });
  const session = await Session.open(plan, { audit: false });
  const run = async (ahead) => {
    let next = session.stage('train', {});
    let busy = 0;
    const begin = performance.now();
    for (let i = 0; i < 10; i++) {
      const last = i === 9;
      const meanwhile = () => {
        if (!last) next = session.stage('train', {}, { ahead });
      };
      const { reports } = await session.runStaged(next, { meanwhile });
      busy += Math.max(...reports.map((r) => r.busySeconds));
    }
    return ((performance.now() - begin) / 1000 - busy) / 10;
  };
  const times = { asked: [], ahead: [] };
  for (let i = 0; i < 4 * rounds + 15; i++) {
    times.asked.push(await run(false));
    times.ahead.push(await run(true));
  }
  await session.close();
  const [asked, ahead] = ['asked', 'ahead'].map((k) => median(times[k].slice(15)));
  console.log(
    `  beyond the devices' work, in ten steps: asked for one by one ${us(asked)}, begun ahead ${us(ahead)} each`,
  );
  return { ahead: { askedSeconds: asked, aheadSeconds: ahead } };
}

async function stepEnds() {
  const plan = makePlan({
    model: apart(false),
    programs: { forward: { batch: 1, mode: 'forward', outputs: true } },
    microbatches: 1,
    devices: [device, device],
    partition: { stages: { 'first*': 0, '*': 1 } },
  });
  const session = await Session.open(plan, { audit: false });
  const threads = [0, 1].map(() => new Worker(echo, { eval: true }));
  const messages = async () => {
    const begin = performance.now();
    await Promise.all(
      threads.map(
        (t) =>
          new Promise((resolve) => {
            t.once('message', resolve);
            t.postMessage(2);
          }),
      ),
    );
    return (performance.now() - begin - 2) / 1000;
  };
  const times = { host: [], late: [], messages: [] };
  for (let i = 0; i < 100 + 8 * rounds; i++) {
    const { seconds, reports } = await session.run('forward', {}, { step: i, profile: true });
    const begins = reports.map((r) => r.times[0]);
    times.host.push(seconds - (Math.max(...reports.map((r) => r.times.at(-1))) - Math.min(...begins)) / 1000);
    times.late.push(Math.abs(begins[1] - begins[0]) / 1000);
    times.messages.push(await messages());
  }
  await session.close();
  await Promise.all(threads.map((t) => t.terminate()));
  const [host, late, bare] = ['host', 'late', 'messages'].map((k) => median(times[k].slice(100)));
  console.log('A step of 2 ms on two devices');
  console.log(`  start and end ${us(host)}, the second device ${us(late)} behind the first; bare messages ${us(bare)}`);
  return { step: { hostSeconds: host, lateSeconds: late, messagesSeconds: bare } };
}

// 4 ─ Steps against their kernels

const models = {
  mlp: [{ kind: 'mlp', inputs: 784, classes: 10, hidden: [512, 512] }, 128, [784]],
  gpt: [{ kind: 'gpt', vocab: 96, context: 64, layers: 4, heads: 4, width: 128, tied: false }, 16, [64]],
  cnn: [{ kind: 'lenet', size: 28, classes: 10, widths: [6, 16], hidden: [120, 84] }, 64, [1, 28, 28]],
};

async function steps(name) {
  const [config, batch, shape] = models[name];
  const plan = makePlan({
    model: nn.models.modelOf(config),
    programs: { train: { batch, mode: 'train' } },
    microbatches: 1,
    devices: [device],
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.01 }),
  });
  const size = shape.reduce((a, b) => a * b, batch);
  const isText = name === 'gpt';
  const data = {
    x: isText
      ? {
          type: { dtype: 'i32', shape: [batch, ...shape] },
          data: Int32Array.from({ length: size }, (_, i) => (i * 7919) % 96),
        }
      : {
          type: { dtype: 'f32', shape: [batch, ...shape] },
          data: Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9) / 2),
        },
    y: {
      type: { dtype: 'i32', shape: isText ? [batch, ...shape] : [batch] },
      data: Int32Array.from({ length: isText ? size : batch }, (_, i) => (i * 31) % (isText ? 96 : 10)),
    },
  };
  const session = await Session.open(plan, { seed: 1, audit: false });
  const { instructions } = plan.programs.train.devices[0];
  const recordedKernels = (recorded) =>
    instructions.reduce(
      (sum, { kind }, at) => sum + (kind === 'compute' ? (recorded[2 * at + 1] - recorded[2 * at]) / 1000 : 0),
      0,
    );
  /** Seconds a step of three that are begun ahead, behind one that is asked for. */
  async function ahead() {
    const count = 4;
    let next = session.stage('train', data, { step: 0 });
    let begin;
    for (let i = 0; i < count; i++) {
      const isLast = i === count - 1;
      const meanwhile = () => {
        if (!isLast) next = session.stage('train', data, { step: i + 1, ahead: true });
      };
      await session.runStaged(next, { meanwhile });
      begin ??= performance.now();
    }
    return (performance.now() - begin) / 1000 / (count - 1);
  }
  const times = { step: [], wall: [], kernels: [], ratio: [], ahead: [] };
  const warm = 4;
  const count = name === 'gpt' ? rounds : 3 * rounds;
  for (let i = 0; i < warm + count; i++) {
    const begin = performance.now();
    const { reports } = await session.run('train', data, { step: 2 * i });
    const wall = (performance.now() - begin) / 1000;
    const recorded = (await session.run('train', data, { step: 2 * i + 1, profile: true })).reports[0].times;
    const begunAhead = await ahead();
    if (i < warm) continue;
    const kernels = recordedKernels(recorded);
    times.step.push(reports[0].seconds);
    times.wall.push(wall);
    times.kernels.push(kernels);
    times.ratio.push(wall / kernels);
    times.ahead.push(begunAhead / kernels);
  }
  await session.close();
  const [step, wall, kernels] = ['step', 'wall', 'kernels'].map((k) => median(times[k]));
  const [ratio, aheadRatio] = [spreadOf(times.ratio), spreadOf(times.ahead)];
  const ms = (s) => `${(s * 1e3).toFixed(2)} ms`;
  console.log(
    `  ${name}  ${instructions.length} instructions: kernels ${ms(kernels)}, device ${ms(step)}, with the host ${ms(wall)}; ` +
      `ratio ${ratio[0].toFixed(3)} (goal ≤ 1.10), begun ahead ${aheadRatio[0].toFixed(3)}`,
  );
  return { [name]: { instructions: instructions.length, step, wall, kernels, ratio, ahead: aheadRatio } };
}

// 5 ─ From launch to the first step

/** Seconds from the start of a process to its end, or to the first word on standard error that holds `until`. */
function launched(args, until) {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.on('error', reject);
    let [said, seen] = ['', until === undefined];
    let seconds;
    child.stderr.on('data', (chunk) => {
      said += chunk;
      if (seen || !said.includes(until)) return;
      seen = true;
      seconds = (performance.now() - begin) / 1000;
    });
    child.on('close', (code) => {
      if (code !== 0 || !seen) reject(new Error(`${args.join(' ')} ended with ${code}: ${said}`));
      else resolve(seconds ?? (performance.now() - begin) / 1000);
    });
  });
}

async function launch() {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const command = join(root, 'dist', 'cli', 'main.cjs');
  const folder = mkdtempSync(join(tmpdir(), 'partita-launch-'));
  const train = [
    command,
    'train',
    join(root, 'examples/mlp-digits/experiment.json'),
    '--steps',
    '1',
    '--run-dir',
    folder,
  ];
  const times = { bare: [], help: [], step: [] };
  for (let i = 0; i < rounds; i++) {
    times.bare.push(await launched(['-e', '0']));
    times.help.push(await launched([command, '--help']));
    times.step.push(await launched(train, 'step 1/'));
  }
  rmSync(folder, { recursive: true });
  const [bare, help, step] = ['bare', 'help', 'step'].map((k) => median(times[k]));
  const ms = (s) => `${(s * 1e3).toFixed(0)} ms`;
  console.log('From launch');
  console.log(`  --help ${ms(help)} (goal ≤ 150 ms), Node alone ${ms(bare)}`);
  console.log(`  to the first step of examples/mlp-digits ${ms(step)} (goal ≤ 1 s)`);
  return { launch: { bareSeconds: bare, helpSeconds: help, firstStepSeconds: step } };
}

const measures = {
  core: [deviceCore],
  'hand-over': [handOver],
  ends: [stepEnds, stepsAhead],
  launch: [launch],
};
const here = { ...conditionsHere(), rounds };
const machine = await startMachine();

/** What a measure finds, each part with the machine as it was beside it. */
async function besideMachine(measure) {
  const { found, looks } = await between(machine, measure);
  return Object.fromEntries(
    Object.entries(found).map(([part, figures]) => [part, { ...figures, machine: looks, ...here }]),
  );
}

const found = {};
try {
  for (const part of partNames.filter((name) => parts.includes(name)))
    for (const measure of measures[part] ?? []) Object.assign(found, await besideMachine(measure));
  if (parts.includes('models')) {
    console.log('Steps on one device against their kernels');
    found.steps = {};
    for (const name of chosenModels) Object.assign(found.steps, await besideMachine(() => steps(name)));
  }
} finally {
  await machine.end();
}
console.log(loopsSentence(partsOf(found)));
if (flags.json) writeWhole(flags.json, textOfResults({ ...emptyOverheads(), ...found }));
if (flags.write) {
  const before = readResults(keptOverheads, emptyOverheads());
  const models = { ...before.steps, ...found.steps };
  writeWhole(keptOverheads, textOfResults({ ...before, ...found, ...(found.steps ? { steps: models } : {}) }));
  renewPage();
}
