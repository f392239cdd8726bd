// How many layers fit k devices, with and without recompute: GPipe's table 1 (Huang et al. 2019) beside the same for our plans.
//
//   node bench/largest-models.mjs [--devices 1,2,4,8,32,128] [--memory 16] [--batch 32] [--microbatches 32] [--verify 8]
//                                 [--out docs/largest-models.md]
//
// The model is theirs as far as they say what it is: L layers of width 2048, 8192 in the feed-forward part, 32 heads, a
// vocabulary of 32,000 that is not shared with the output, sequences of 1,024 tokens, a batch of 32. The schedule is gpipe,
// the optimizer RMSProp, values are f32. Nothing is estimated: every number is the largest that a compiled plan, laid out
// to the byte, has room for, found by bisection; stages are whole layers. With gpipe every stage holds all microbatches, so
// what a device needs depends on its own layers only, and on whether it has the embedding or the output: beyond three
// devices the plans of three say how many layers each takes. For up to --verify devices the whole plan is compiled too, and
// one layer more anywhere must not fit.
import { readFileSync, writeFileSync } from 'node:fs';
import { flagsOf, numberOf, wholesOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  devices: { type: 'string', default: '1,2,4,8,32,128' },
  memory: { type: 'string', default: '16' },
  batch: { type: 'string', default: '32' },
  microbatches: { type: 'string', default: '32' },
  verify: { type: 'string', default: '8' },
  out: { type: 'string' },
});
const self = import.meta.url;
const capacity = numberOf(self, 'memory', flags.memory, { atLeast: 0.001 }) * 2 ** 30;
const [batch, manyMicrobatches] = ['batch', 'microbatches'].map((name) =>
  numberOf(self, name, flags[name], { atLeast: 1, whole: true }),
);
const verify = numberOf(self, 'verify', flags.verify, { whole: true });
const deviceCounts = wholesOf(self, 'devices', flags.devices);
const { draftPlan, formatCount, makeOptimizer, nn } = await import('partita');

const parameters = (layers) => 2 * 32_000 * 2048 + 1024 * 2048 + 2 * 2048 + layers * (12 * 2048 ** 2 + 13 * 2048);

let compiled = 0;
/** Largest peak of a device with so many layers on each. */
function peaks(counts, { recompute, microbatches }) {
  const layers = counts.reduce((a, b) => a + b, 0);
  const cuts = counts.slice(0, -1).map((_, s) => `block.${counts.slice(0, s + 1).reduce((a, b) => a + b, 0)}`);
  const model = nn.models.modelOf({
    kind: 'gpt',
    vocab: 32_000,
    context: 1024,
    layers,
    heads: 32,
    width: 2048,
    tied: false,
  });
  compiled++;
  const plan = draftPlan({
    model,
    programs: { train: { batch, mode: 'train' } },
    microbatches,
    schedule: 'gpipe',
    partition: cuts.length === 0 ? { stages: { '*': 0 } } : { cuts },
    recompute,
    optimizer: makeOptimizer({ kind: 'rmsprop' }),
    devices: counts.map(() => ({ backend: 'null', memory: null, speed: 1 })),
  });
  return plan.memory.map((m) => m.peakBytes);
}

/** The largest n from 1 on for which `fits`; 0 where none does. */
function largest(fits, guess) {
  let [low, high] = [0, undefined];
  for (let n = guess; high === undefined || high - low > 1; ) {
    if (fits(n)) low = n;
    else high = n;
    n = high === undefined ? low + Math.max(1, low >> 2) : (low + high) >> 1;
    if (high === 1) return 0;
  }
  return low;
}

/** Layers of the only, the first, an inner and the last device. */
function rolesOf(options) {
  const fitsAt = (device, of) => (n) => peaks(of(n), options)[device] <= capacity;
  const only = largest(
    fitsAt(0, (n) => [n]),
    8,
  );
  if (deviceCounts.every((count) => count === 1)) return { only };
  const inner = largest(
    fitsAt(1, (n) => [1, n, 1]),
    Math.max(2, only),
  );
  const first = largest(
    fitsAt(0, (n) => [n, 1, 1]),
    Math.max(1, inner),
  );
  const last = largest(
    fitsAt(2, (n) => [1, 1, n]),
    Math.max(1, only),
  );
  return { only, first, inner, last };
}

function countsOf({ only, first, inner, last }, devices) {
  if (devices === 1) return only > 0 ? [only] : undefined;
  return first > 0 && inner > 0 && last > 0 ? [first, ...new Array(devices - 2).fill(inner), last] : undefined;
}

const rows = [];
for (const [name, options] of [
  ['none, M = 1', { recompute: 'none', microbatches: 1 }],
  ['none', { recompute: 'none', microbatches: manyMicrobatches }],
  ['stage', { recompute: 'stage', microbatches: manyMicrobatches }],
]) {
  const roles = rolesOf(options);
  process.stderr.write(`${name}: ${JSON.stringify(roles)}, ${compiled} plans so far\n`);
  for (const devices of deviceCounts) {
    const counts = countsOf(roles, devices);
    const layers = counts?.reduce((a, b) => a + b, 0) ?? 0;
    let verified = false;
    if (counts && devices <= verify) {
      const found = peaks(counts, options);
      const over = found.findIndex((bytes) => bytes > capacity);
      if (over >= 0) throw new Error(`${name}, ${devices} devices: device ${over} needs ${found[over]} bytes`);
      verified = true;
    }
    rows.push({ name, devices, layers, verified });
    process.stderr.write(`${name}, ${devices} devices: ${layers} layers${verified ? ', compiled whole' : ''}\n`);
  }
}

const theirs = { 1: [13, '785.8M'], 8: [103, '5.3B'], 32: [415, '21.0B'], 128: [1663, '83.9B'] };
const sizeOf = (layers) => {
  const n = parameters(layers);
  return n >= 1e9 ? `${(n / 1e9).toFixed(1)}B` : `${(n / 1e6).toFixed(1)}M`;
};
const cell = (row) => (row.layers === 0 ? 'none fits' : `${formatCount(row.layers)} (${sizeOf(row.layers)})`);
const by = (name, devices) => rows.find((r) => r.name === name && r.devices === devices);
const lines = [
  '| devices | GPipe: L | ours, `recompute` `stage`: L | `none`: L | `none`, M = 1: L |',
  '|---|---|---|---|---|',
];
for (const devices of deviceCounts) {
  const [layers, size] = theirs[devices] ?? [];
  const published = layers ? `${formatCount(layers)} (${size})` : '–';
  const own = ['stage', 'none', 'none, M = 1'].map((name) => cell(by(name, devices)));
  lines.push(`| ${devices} | ${published} | ${own.join(' | ')} |`);
}
const text = lines.join('\n');
process.stdout.write(`${text}\n${compiled} plans compiled\n`);
if (flags.out) {
  const doc = readFileSync(flags.out, 'utf8');
  const [begin, end] = ['<!-- table -->\n', '\n<!-- end -->'];
  writeFileSync(flags.out, `${doc.slice(0, doc.indexOf(begin) + begin.length)}${text}${doc.slice(doc.indexOf(end))}`);
}
