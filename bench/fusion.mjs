// What one pass over memory for elementwise chains is worth: training steps with and without `fusion`, in alternation.
//
//   node bench/fusion.mjs [--models mlp,gpt,cnn,lstm,chain] [--seconds 8]
//
// One device, Adam, the sizes of bench/peers; `chain`: a network whose activation is a chain of ten elementwise ops.
// Medians of the ratios of neighbouring steps, with quartiles, and the planned bytes. Only ratios count: run it on an idle
// machine.
import { quantile } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  models: { type: 'string', default: 'mlp,gpt,cnn,lstm,chain' },
  seconds: { type: 'string', default: '8' },
});

/** Ten elementwise ops a layer: scale, shift, x·σ(x) + tanh(x)/2, and so on. */
const chain = {
  name: 'chain',
  build: (batch) => {
    const graph = new Graph();
    let h = graph.input('x', { shape: [batch, 256] });
    for (let i = 0; i < 4; i++) {
      const z = nn.linear(h, 256, { name: `layer.${i}` });
      const gated = ops.mul(z, ops.sigmoid(ops.mul(z, 1.702)));
      h = ops.add(ops.add(gated, ops.mul(ops.tanh(z), 0.5)), ops.mul(h, 0.9));
    }
    graph.output('y', h);
    return { graph, objective: [{ loss: losses.mse(h, graph.input('t', { shape: [batch, 256] })), weight: 1 }] };
  },
};

const models = {
  mlp: () => [nn.models.modelOf({ kind: 'mlp', inputs: 784, classes: 10, hidden: [512, 512] }), 128],
  gpt: () => [
    nn.models.modelOf({ kind: 'gpt', vocab: 96, context: 64, layers: 4, heads: 4, width: 128, tied: false }),
    16,
  ],
  cnn: () => [nn.models.modelOf({ kind: 'lenet', size: 28, classes: 10, widths: [6, 16], hidden: [120, 84] }), 64],
  lstm: () => [nn.models.modelOf({ kind: 'lstm', vocab: 96, context: 64, hidden: 128 }), 16],
  chain: () => [chain, 256],
};

const seconds = numberOf(import.meta.url, 'seconds', flags.seconds);
const chosen = namesOf(import.meta.url, 'models', flags.models, Object.keys(models));

const { Graph, losses, makeOptimizer, makePlan, nn, ops, Session } = await import('partita');

function planOf([model, batch], fusion) {
  return makePlan({
    model,
    programs: { train: { batch, mode: 'train' } },
    microbatches: 1,
    partition: 'auto',
    devices: [{ backend: 'wasm', memory: null, speed: 1 }],
    optimizer: makeOptimizer({ kind: 'adam', lr: 1e-3 }),
    fusion,
  });
}

const batchOf = (plan) =>
  Object.fromEntries(
    plan.programs.train.feeds
      .filter(({ name }) => !name.includes('/') && name !== 'scale')
      .filter(({ name }) => ['x', 't', 'y'].includes(name) || name.length === 1)
      .map(({ name, type }) => {
        const n = type.shape.reduce((a, b) => a * b, 1);
        const data =
          type.dtype === 'f32'
            ? Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 0.5)
            : Int32Array.from({ length: n }, (_, i) => (i * 7) % 10);
        return [name, { type, data }];
      }),
  );

const mebibytes = (plan) => `${(plan.memory[0].peakBytes / 2 ** 20).toFixed(2)} MiB`;

for (const name of chosen) {
  const plans = { off: planOf(models[name](), 'off'), on: planOf(models[name](), 'on') };
  const sessions = { off: await Session.open(plans.off, { seed: 1 }), on: await Session.open(plans.on, { seed: 1 }) };
  const data = batchOf(plans.off);
  const ratios = [];
  const times = { off: [], on: [] };
  const end = performance.now() + 1000 * seconds;
  for (let step = 0; performance.now() < end || step < 6; step++) {
    const took = {};
    for (const mode of step % 2 ? ['on', 'off'] : ['off', 'on']) {
      took[mode] = (await sessions[mode].run('train', data, { step })).seconds;
      times[mode].push(took[mode]);
    }
    if (step >= 3) ratios.push(took.off / took.on);
  }
  const count = ({ programs }) => programs.train.devices[0].instructions.filter((i) => i.kind === 'compute').length;
  console.log(
    `${name.padEnd(6)} off/on ${quantile(ratios, 0.5).toFixed(3)} [${quantile(ratios, 0.25).toFixed(3)}–${quantile(ratios, 0.75).toFixed(3)}] of ${ratios.length}; ` +
      `${(1e3 * quantile(times.off, 0.5)).toFixed(2)} ms off, ${(1e3 * quantile(times.on, 0.5)).toFixed(2)} on; ` +
      `nodes ${count(plans.off)} → ${count(plans.on)}; planned ${mebibytes(plans.off)} → ${mebibytes(plans.on)}`,
  );
  for (const session of Object.values(sessions)) await session.close();
}
