// A step's start and end on two devices, beside a message to each of two bare threads and one back from each; and what a step
// takes of them that is begun ahead, as a training's are.
import { Worker } from 'node:worker_threads';
import { Graph, makeOptimizer, makePlan, ops, Session } from 'partita';
import { median } from '../compare/statistics.mjs';
import { device, us } from './text.mjs';

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
export async function stepsAhead(rounds) {
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

/** A step of 2 ms on two devices, `rounds` times 8, in turns with a message to each of two bare threads and back. */
export async function stepEnds(rounds) {
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
