// A value goes to and fro between two devices: where the other looks already, and where it has fallen asleep meanwhile, beside two
// bare threads that do the same with Atomics.wait and notify.
import { Worker } from 'node:worker_threads';
import { Graph, makePlan, ops, Session } from 'partita';
import { median } from '../compare/statistics.mjs';
import { device, us } from './text.mjs';

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

/** To and fro 64 times, `rounds` times 20 where the other looks already and `rounds` times 4 where it sleeps. */
export async function handOver(rounds) {
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
