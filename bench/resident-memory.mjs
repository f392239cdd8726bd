// Does the operating system see the bytes that the plan knows? The resident memory of a process (VmRSS of /proc/self/status,
// Linux) is read when the workers and their kernels are up and nothing is loaded, when everything is loaded, and behind
// steps; what it has grown by stands beside the planned peaks. docs/memory.md says what else grows.
//
//   node bench/resident-memory.mjs [--steps 4] [--models mlp,gpt,resnet] [--devices 1,2,3]
//
// Each case has a process of its own, which first trains a small model of the kind, so that code is compiled and heaps have
// their usual size. Exit code 1 where growth and plan differ by more than 3 % and by more than 4 MB a device.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { flagsOf, namesOf, numberOf, refuse, wholesOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  steps: { type: 'string', default: '4' },
  models: { type: 'string', default: 'mlp,gpt,resnet' },
  devices: { type: 'string', default: '1,2,3' },
  /** Of a process of its own. */
  case: { type: 'string' },
});

// Parameters are nearly all of the first, activations of the last; the second has both. Beside each a small one.
const models = {
  mlp: [
    { model: { kind: 'mlp', hidden: [1536, 1536, 1536, 1536, 1536] }, data: { kind: 'digits', batchSize: 64 } },
    { model: { kind: 'mlp', hidden: [48, 48, 48, 48, 48] }, data: { kind: 'digits', batchSize: 64 } },
  ],
  gpt: [
    { model: { kind: 'gpt', layers: 4, width: 128, heads: 4, context: 128 }, data: { kind: 'text', batchSize: 32 } },
    { model: { kind: 'gpt', layers: 4, width: 32, heads: 4, context: 16 }, data: { kind: 'text', batchSize: 4 } },
  ].map((m) => ({ ...m, optimizer: { kind: 'adam', lr: 1e-3 } })),
  resnet: [
    { model: { kind: 'resnet', widths: [16, 32, 64], blocks: 2 }, data: { kind: 'digits', batchSize: 256 } },
    { model: { kind: 'resnet', widths: [4, 8, 16], blocks: 2 }, data: { kind: 'digits', batchSize: 8 } },
  ],
};

const self = import.meta.url;
const steps = numberOf(self, 'steps', flags.steps, { atLeast: 1, whole: true });
const chosen = namesOf(self, 'models', flags.models, Object.keys(models));
const devicesOfCases = wholesOf(self, 'devices', flags.devices);
const oneCase = /^(\w+)\/([1-9]\d*)$/.exec(flags.case ?? 'mlp/1');
if (!oneCase || !Object.hasOwn(models, oneCase[1]))
  refuse(self, `--case ${flags.case}: a model and a number of devices were expected, as in mlp/2`);

const { experiment, makePlan, Session, table } = await import('partita');

/** Garbage collection by hand, and a young generation that does not grow to 32 MB and shrink again behind the baseline. */
const engine = ['--expose-gc', '--max-semi-space-size=1'];

/** Bytes, when the JavaScript heap has given back what it can: garbage is collected until the figure stands still. */
async function resident() {
  let before = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 30; i++) {
    globalThis.gc();
    await pause(60);
    const now = 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    if (i > 4 && before - now < 50_000) return now;
    before = now;
  }
  return before;
}

async function measure(config, devices) {
  const parsed = experiment.parseExperiment({ ...config, devices, microbatches: 2 }, 'bench');
  const prepared = experiment.prepareExperiment(parsed, { where: 'bench' });
  const { programs, ...request } = experiment.planRequestOf(prepared, 'train');
  const plan = makePlan({ ...request, programs: { train: programs.train } });
  const batch = prepared.source.batchAt(0).tensors;
  let baseline = 0;
  const onStart = async () => {
    baseline = await resident();
  };
  const session = await Session.open(plan, { seed: 0, onStart });
  try {
    const loaded = (await resident()) - baseline;
    for (let step = 0; step < steps; step++) await session.run('train', batch, { step });
    const stepped = (await resident()) - baseline;
    return { planned: plan.memory.reduce((sum, m) => sum + m.peakBytes, 0), loaded, stepped };
  } finally {
    await session.close();
  }
}

if (flags.case !== undefined) {
  const [, name, devices] = oneCase;
  const [large, small] = models[name];
  await measure(small, Number(devices));
  process.stdout.write(JSON.stringify(await measure(large, Number(devices))));
} else {
  const rows = [];
  let failed = 0;
  const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  for (const name of chosen) {
    for (const devices of devicesOfCases) {
      const own = [...engine, fileURLToPath(self), '--case', `${name}/${devices}`, '--steps', flags.steps];
      const { status, stdout, stderr } = spawnSync(process.execPath, own, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${name} on ${devices} devices: ${stderr}`);
      const { planned, loaded, stepped } = JSON.parse(stdout);
      const off = stepped - planned;
      const holds = Math.abs(off) <= Math.max(0.03 * planned, 4e6 * devices);
      if (!holds) failed++;
      const share = `${((100 * off) / planned).toFixed(1)} %`;
      rows.push([name, devices, mb(planned), mb(loaded), mb(stepped), mb(off), share, holds ? 'ok' : 'NO']);
    }
  }
  console.log(table(['model', 'devices', 'planned', 'loaded', 'stepped', 'difference', '', ''], rows));
  process.exitCode = failed > 0 ? 1 : 0;
}
