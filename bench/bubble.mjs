/**
 * Idle share of devices, measured: 1F1B beside schedules that split the backward, on a model whose stages are unequal.
 *
 *     node bench/bubble.mjs [--rounds 7] [--steps 5] [--microbatches 8] [--schedules 1f1b,zb-h1,zb-v,auto]
 *
 * Every schedule has four stages of the same cut on two devices, placed as the schedule has them: 1f1b and zb-h1 in blocks,
 * zb-v and auto there and back. The stages weigh about 1 : 2 : 1 : 2, so that either way both devices have as much to do. All
 * compute the same bits, which is checked. Rounds are interleaved, every other one in
 * reverse, so that a machine that slows down slows all of them; medians are over all timed steps. Two cores must be free:
 * where they are shared, waiting for a core counts as computing, and the figures say nothing.
 */
import { scheduleNames } from '../dist/schedule/named.js';
import { median } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const { values } = flagsOf(import.meta.url, {
  rounds: { type: 'string', default: '7' },
  steps: { type: 'string', default: '5' },
  microbatches: { type: 'string', default: '8' },
  schedules: { type: 'string', default: '1f1b,zb-h1,zb-v,auto' },
});
const [rounds, steps, microbatches] = ['rounds', 'steps', 'microbatches'].map((name) =>
  numberOf(import.meta.url, name, values[name], { atLeast: 1, whole: true }),
);
const names = namesOf(import.meta.url, 'schedules', values.schedules, scheduleNames);
const batch = 64 * microbatches;

const { makeOptimizer, makePlan, nn, Session } = await import('partita');

const model = nn.models.modelOf({ kind: 'mlp', inputs: 256, hidden: [512, 512, 256, 896], classes: 10 });
const device = { backend: 'wasm', memory: null, speed: 1 };
const plans = new Map(
  names.map((name) => [
    name,
    makePlan({
      model,
      programs: { train: { batch, mode: 'train' } },
      microbatches,
      schedule: name,
      devices: [device, device],
      stagesPerDevice: 2,
      partition: { cuts: ['layer.1', 'layer.2', 'layer.3'] },
      optimizer: makeOptimizer({ kind: 'sgd', lr: 0.01 }),
    }),
  ]),
);

const x = Float32Array.from({ length: batch * 256 }, (_, i) => Math.sin(i));
const y = Int32Array.from({ length: batch }, (_, i) => i % 10);
const data = {
  x: { type: { dtype: 'f32', shape: [batch, 256] }, data: x },
  y: { type: { dtype: 'i32', shape: [batch] }, data: y },
};

const sessions = new Map();
for (const [name, plan] of plans) sessions.set(name, await Session.open(plan, { seed: 0 }));
const measured = new Map(names.map((name) => [name, { seconds: [], bubbles: [] }]));
const losses = new Map();
let step = 0;
for (let round = -1; round < rounds; round++) {
  for (const name of round % 2 === 0 ? names : [...names].reverse()) {
    for (let i = 0; i < steps; i++) {
      const { seconds, reports, results } = await sessions.get(name).run('train', data, { step: step + i });
      if (round < 0) continue; // the first round warms up
      const busy = reports.reduce((sum, r) => sum + r.busySeconds, 0);
      measured.get(name).seconds.push(seconds);
      measured.get(name).bubbles.push(1 - busy / (reports.length * seconds));
      losses.set(name, results.get('loss').data[0]);
    }
  }
  step += steps;
}
for (const session of sessions.values()) await session.close();

const percent = (share) => `${(100 * share).toFixed(1)} %`.padStart(8);
console.log(`${microbatches} microbatches, 4 unequal stages on 2 devices; medians of ${rounds * steps} steps`);
console.log('schedule           step ms   bubble  predicted ms   bubble   peak KiB');
for (const name of names) {
  const { seconds, bubbles } = measured.get(name);
  const { prediction, memory } = plans.get(name);
  const peak = Math.max(...memory.map((m) => m.peakBytes));
  console.log(
    name.padEnd(17),
    (1000 * median(seconds)).toFixed(2).padStart(8),
    percent(median(bubbles)),
    (1000 * prediction.stepSeconds).toFixed(2).padStart(13),
    percent(prediction.bubbleFraction),
    String(Math.round(peak / 1024)).padStart(10),
  );
}
if (new Set(losses.values()).size > 1) throw new Error(`losses differ: ${[...losses].join(' ')}`);
