// How near two devices come to the schedule's ideal, and what an instruction costs beyond its work.
//
//   node bench/pipeline.mjs
//
// 1. Speed-up: an MLP whose two halves cost the same, on one device and on two (1f1b, M = 8), in alternation on this
//    machine; ideal = 2 · (1 − (p − 1) / (M + p − 1)) for equal stages.
// 2. Overhead: a step of many tiny ops, divided by its instructions.
// Medians of several rounds; run it on an idle machine with at least two cores.
import { Graph, losses, makeOptimizer, makePlan, nn, ops, Session } from 'partita';
import { median } from './compare/statistics.mjs';
import { flagsOf } from './flags.mjs';

flagsOf(import.meta.url);

const device = { backend: 'wasm', memory: null, speed: 1 };

function deepMlp(width, layers) {
  return {
    name: 'deep mlp',
    build: (batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, width] });
      let h = x;
      for (let i = 0; i < layers; i++) h = nn.tanh(nn.linear(h, width, { name: `layer.${i}` }));
      graph.output('y', h);
      return { graph, objective: [{ loss: losses.mse(h, graph.input('t', { shape: [batch, width] })), weight: 1 }] };
    },
  };
}

async function open(model, batch, devices, microbatches, cuts) {
  const plan = makePlan({
    model,
    programs: { train: { batch, mode: 'train' } },
    microbatches,
    schedule: '1f1b',
    partition: cuts ? { cuts } : 'auto',
    devices: Array.from({ length: devices }, () => device),
    optimizer: makeOptimizer({ kind: 'sgd', lr: 1e-3 }),
  });
  return { plan, session: await Session.open(plan, { seed: 1 }) };
}

const random = (shape) => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 12.9898) * 0.5),
});

async function speedUp() {
  const [width, layers, batch, M] = [256, 8, 512, 8];
  const model = deepMlp(width, layers);
  const data = { x: random([batch, width]), t: random([batch, width]) };
  const one = await open(model, batch, 1, M);
  const two = await open(model, batch, 2, M, [`layer.${layers / 2}`]);
  const times = { one: [], two: [] };
  for (let i = 0; i < 40; i++) {
    for (const [name, { session }] of [
      ['one', one],
      ['two', two],
    ]) {
      const { seconds } = await session.run('train', data, { step: i });
      if (i >= 8) times[name].push(seconds);
    }
  }
  await one.session.close();
  await two.session.close();
  const speed = median(times.one) / median(times.two);
  const ideal = 2 * (1 - 1 / (M + 1));
  console.log(`${layers} × ${width} MLP, batch ${batch}, M = ${M}`);
  console.log(
    `  1 device  ${(median(times.one) * 1e3).toFixed(2)} ms a step   2 devices  ${(median(times.two) * 1e3).toFixed(2)} ms`,
  );
  console.log(
    `  speed-up ${speed.toFixed(3)}, ideal of the schedule ${ideal.toFixed(3)}: ${((100 * speed) / ideal).toFixed(1)} %`,
  );
}

async function overhead() {
  const model = {
    name: 'tiny ops',
    build: (batch) => {
      const graph = new Graph();
      let h = graph.input('x', { shape: [batch, 4] });
      const w = graph.parameter('w', [4], { kind: 'ones' });
      for (let i = 0; i < 400; i++) h = ops.mul(h, i % 2 ? w : 0.999);
      graph.output('y', h);
      return { graph, objective: [{ loss: ops.sum(h), weight: 1 }] };
    },
  };
  const { plan, session } = await open(model, 4, 1, 1);
  const instructions = plan.programs.train.devices[0].instructions.length;
  const times = [];
  for (let i = 0; i < 300; i++) {
    const { reports } = await session.run('train', { x: random([4, 4]) }, { step: i });
    if (i >= 100) times.push(reports[0].seconds);
  }
  await session.close();
  console.log(
    `${instructions} tiny instructions: ${((median(times) / instructions) * 1e6).toFixed(2)} µs each (goal ≤ 10)`,
  );
}

await speedUp();
await overhead();
