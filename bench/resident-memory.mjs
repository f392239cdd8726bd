// Does the operating system see the bytes that the plan knows? The resident memory of the process (VmRSS of
// /proc/self/status, Linux) is read when the workers and their kernels are up and nothing is loaded, when everything is
// loaded, and behind steps; what it has grown by stands beside the planned peaks. docs/memory.md says what else grows.
//
//   node --expose-gc bench/resident-memory.mjs [--steps 6] [--models gpt,resnet,mlp] [--devices 1,2,3]
//
// Exit code 1 where growth and plan differ by more than 3 % and by more than 4 MB a device.
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { experiment, makePlan, Session, table } from 'partita';

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '6' },
    models: { type: 'string', default: 'mlp,gpt,resnet' },
    devices: { type: 'string', default: '1,2,3' },
  },
});
if (!globalThis.gc)
  throw new Error('garbage of the JavaScript heap would be counted: node --expose-gc bench/resident-memory.mjs');

const models = {
  // Parameters are nearly all of it; activations are; and both.
  mlp: { model: { kind: 'mlp', hidden: [1536, 1536, 1536, 1536, 1536] }, data: { kind: 'digits', batchSize: 64 } },
  gpt: {
    model: { kind: 'gpt', layers: 4, width: 128, heads: 4, context: 128 },
    data: { kind: 'text', batchSize: 32 },
    optimizer: { kind: 'adam', lr: 1e-3 },
  },
  resnet: { model: { kind: 'resnet', widths: [16, 32, 64], blocks: 2 }, data: { kind: 'digits', batchSize: 256 } },
};

/** Bytes, when the JavaScript heap has given back what it can. */
async function resident() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await pause(20);
  }
  return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
}

async function measure(name, devices) {
  const parsed = experiment.parseExperiment({ ...models[name], devices, microbatches: 2 }, 'bench');
  const prepared = experiment.prepareExperiment(parsed, { where: 'bench' });
  const { programs, ...request } = experiment.planRequestOf(prepared, 'train');
  const made = makePlan({ ...request, programs: { train: programs.train } });
  const batch = prepared.source.batchAt(0).tensors;
  let baseline = 0;
  const onStart = async () => {
    baseline = await resident();
  };
  const session = await Session.open(made, { seed: 0, onStart });
  try {
    const loaded = (await resident()) - baseline;
    for (let step = 0; step < Number(flags.steps); step++) await session.run('train', batch, { step });
    const stepped = (await resident()) - baseline;
    return { planned: made.memory.reduce((sum, m) => sum + m.peakBytes, 0), loaded, stepped };
  } finally {
    await session.close();
  }
}

// Once before it counts: code that is compiled, and heaps that grow to their usual size, are not the devices' memory.
const most = Math.max(...flags.devices.split(',').map(Number));
for (const name of flags.models.split(',')) await measure(name, most);
const rows = [];
let failed = 0;
const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
for (const name of flags.models.split(',')) {
  for (const devices of flags.devices.split(',').map(Number)) {
    const { planned, loaded, stepped } = await measure(name, devices);
    const off = stepped - planned;
    const holds = Math.abs(off) <= Math.max(0.03 * planned, 4e6 * devices);
    if (!holds) failed++;
    rows.push([
      name,
      devices,
      mb(planned),
      mb(loaded),
      mb(stepped),
      mb(off),
      `${((100 * off) / planned).toFixed(1)} %`,
      holds ? 'ok' : 'NO',
    ]);
  }
}
console.log(table(['model', 'devices', 'planned', 'loaded', 'stepped', 'difference', '', ''], rows));
process.exitCode = failed > 0 ? 1 : 0;
