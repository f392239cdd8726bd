// Partita beside its peers: products of matrices, and training steps of five models from the same parameters on the same batch.
//
//   node bench/compare.mjs [--only products,mlp,gpt,cnn,resnet,lstm] [--shapes 256x256x256,…] [--forms NN,NT,TN,TT]
//                          [--contenders partita,jax-js,tfjs,torch] [--rounds 9] [--seconds 0.5] [--python python3]
//                          [--results FILE.json] [--write] [--render]
//
//   --only        races; products stands for all shapes and forms (of an operand, T: stored transposed)
//   --contenders  who takes part beside Partita on one device
//   --rounds, --seconds   windows of each contender, and their length (products: a fifth of it)
//   --results     keeps each race in FILE as soon as it has ended, beside the races that are there
//   --write       the same in bench/compare.json, and renews docs/performance.md from it
//   --render      renews docs/performance.md from bench/compare.json and measures nothing
//
// Every contender is a process of its own that stays up; they take turns, window by window, in an order that changes from
// round to round, with the two register-only loops and the clock between them: clock rates drift, so only ratios within a round
// count. Nobody's time counts before its first losses agree to 1e-4. Medians over the rounds, with quartiles. Whose step takes
// more than 5 s is timed by its first steps alone. JavaScript peers: `npm install --prefix bench/peers --ignore-scripts` first;
// PyTorch: a python3 that has it. Who is missing is named. Run it on an idle machine; all of it takes some 15 minutes.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Contender } from './compare/contender.mjs';
import { rateOf } from './compare/goals.mjs';
import { renderPage } from './compare/page.mjs';
import { agree, race, ratios } from './compare/race.mjs';
import { merged, readResults, textOfResults, writeWhole } from './compare/results.mjs';
import { median, spreadOf } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf, refuse } from './flags.mjs';
import {
  hasImages,
  hasOwnStatistics,
  instanceOf,
  learningRateOf,
  modelNames,
  titles,
  writeInstance,
} from './peers/instance.mjs';

const self = import.meta.url;
const allShapes =
  '64x64x64,128x128x128,256x256x256,512x512x512,32x784x512,128x256x1024,100x77x200,9x512x33,1024x1024x1024';
const { values: flags } = flagsOf(self, {
  only: { type: 'string', default: ['products', ...modelNames].join() },
  shapes: { type: 'string', default: allShapes },
  forms: { type: 'string', default: 'NN,NT,TN,TT' },
  contenders: { type: 'string', default: 'partita,jax-js,tfjs,torch' },
  rounds: { type: 'string', default: '9' },
  seconds: { type: 'string', default: '0.5' },
  python: { type: 'string', default: existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3' },
  results: { type: 'string' },
  write: { type: 'boolean', default: false },
  render: { type: 'boolean', default: false },
});
const rounds = numberOf(self, 'rounds', flags.rounds, { atLeast: 1, whole: true });
const seconds = numberOf(self, 'seconds', flags.seconds, { atLeast: 0.001 });
const races = namesOf(self, 'only', flags.only, ['products', ...modelNames]);
const forms = namesOf(self, 'forms', flags.forms, ['NN', 'NT', 'TN', 'TT']);
const guests = namesOf(self, 'contenders', flags.contenders, ['partita', 'jax-js', 'tfjs', 'torch']);
const shapes = flags.shapes.split(',').filter(Boolean);
const strange = shapes.find((shape) => !/^[1-9]\d*(x[1-9]\d*){2}$/.test(shape));
if (strange !== undefined || shapes.length === 0)
  refuse(self, `--shapes ${flags.shapes}: M x K x N was expected, as in 256x256x256,32x784x512`);

const page = fileURLToPath(new URL('../docs/performance.md', self));
const kept = fileURLToPath(new URL('compare.json', self));
const renew = () => writeWhole(page, renderPage(readFileSync(page, 'utf8'), readResults(kept)));
if (flags.render) {
  renew();
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'partita-compare-'));
const targets = [...(flags.results ? [flags.results] : []), ...(flags.write ? [kept] : [])];
const files = new Map(targets.map((file) => [file, readResults(file)]));

/** Keeps a race that has ended. */
function keep(part, name, found) {
  const whole = { ...found, processor: cpus()[0].model, node: process.versions.node, rounds };
  for (const [file, results] of files) {
    files.set(file, merged(results, part, name, whole));
    writeWhole(file, textOfResults(files.get(file)));
  }
  if (flags.write) renew();
}

function tell({ title, rows, declined }) {
  console.log(`\n${title}`);
  const [base] = rows;
  for (const row of rows) {
    const { chained, independent, ghz } = row.machine;
    const [ratio, low, high] = spreadOf(ratios(row, base));
    const rate = row.flops ? `  ${rateOf(row).toFixed(1)} GFLOP/s` : '';
    const plan = row.schedule
      ? `  (${row.schedule}, M ${row.microbatches}, ideal ${row.idealSpeedUp?.toFixed(2)})`
      : row.setUp
        ? `  (${row.setUp})`
        : '';
    const memory = row.peakResidentBytes ? `  ${(row.peakResidentBytes / 2 ** 20).toFixed(0)} MiB` : '';
    console.log(
      `  ${row.label.padEnd(32)} ${median(row.milliseconds).toFixed(2).padStart(9)} ms  × ${ratio.toFixed(2)} ` +
        `[${low.toFixed(2)}, ${high.toFixed(2)}]  loops ${chained.toFixed(1)}, ${independent.toFixed(1)} GFLOP/s, ` +
        `${ghz.toFixed(2)} GHz${rate}${memory}${plan}`,
    );
  }
  for (const { label, why } of declined) console.log(`  ${label.padEnd(32)} not there: ${why}`);
}

const script = (label, file, args) => ({
  label,
  command: process.execPath,
  args: [fileURLToPath(new URL(`peers/${file}`, self)), ...args],
});
const partita = (label, model, options = {}) => script(label, 'partita.mjs', [model, JSON.stringify(options)]);

/**
 * Ways to run PyTorch; OpenBLAS reads its number of threads from the environment, PyTorch's own call does not reach it.
 * Spinning threads of OpenBLAS's pthread build take the cores of PyTorch's own, so that several ways are tried with two.
 */
const openmp = '/usr/lib/x86_64-linux-gnu/openblas-openmp';
const environments = {
  1: [{ setUp: '', env: { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' } }],
  2: [
    { setUp: 'waiting threads', env: { OPENBLAS_NUM_THREADS: '2', OMP_NUM_THREADS: '2', OMP_WAIT_POLICY: 'passive' } },
    { setUp: 'one BLAS thread', env: { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '2', OMP_PROC_BIND: 'true' } },
    ...(existsSync(openmp)
      ? [{ setUp: 'OpenMP BLAS', env: { LD_LIBRARY_PATH: openmp, OMP_NUM_THREADS: '2', OMP_PROC_BIND: 'true' } }]
      : []),
  ],
};
const torch = (label, file, args, env) => ({
  label,
  command: flags.python,
  args: [fileURLToPath(new URL(`peers/${file}`, self)), ...args.map(String)],
  env,
});

/** PyTorch with so many threads as it is fastest here: each way of running it in turn, a few short windows. */
async function bestTorch(label, model, file, threads, more = {}) {
  const ways = environments[threads].flatMap(({ setUp, env }) =>
    (hasImages(model) ? [false, true] : [false]).map((channelsLast) => ({
      setUp: [setUp, channelsLast ? 'channels last' : ''].filter(Boolean).join(', '),
      spec: torch(
        label,
        'torch_step.py',
        [model, file, threads, JSON.stringify({ rate: learningRateOf(model), channelsLast, ...more })],
        env,
      ),
    })),
  );
  const tried = [];
  for (const { setUp, spec } of ways) {
    const contender = await Contender.start(spec);
    if (contender.info.declined) return contender;
    tried.push({ setUp, contender, times: [] });
  }
  for (let round = 0; tried.length > 1 && round < 3; round++)
    for (const { contender, times } of tried) times.push(await contender.window(0.25));
  const best = tried.reduce((a, b) => (median(b.times) < median(a.times) ? b : a));
  for (const { contender } of tried) if (contender !== best.contender) await contender.end();
  if (best.setUp) best.contender.info.setUp = best.setUp;
  return best.contender;
}

/** Contenders of one race: those whose losses agree with who has the same semantics, and the others with the reason. */
class Field {
  runners = [];
  declined = [];

  /** Takes a started contender in; returns it where it takes part. */
  async admit(contender, reference, task) {
    const { declined } = contender.info;
    const told = task === undefined ? contender.info : contender.info.tasks?.[task];
    const off = !declined && reference && !agree(reference.info.losses, told.losses);
    if (!declined && !off) {
      this.runners.push(contender);
      return contender;
    }
    const ours = reference?.info.losses.at(-1)?.toFixed(5);
    const why = declined ?? `its losses differ: ${told.losses.at(-1).toFixed(5)} instead of ${ours} after ten steps`;
    this.declined.push({ label: contender.label, why });
    if (off) await contender.end();
    return undefined;
  }

  /** Starts and takes in, one behind the other. */
  async enter(spec, reference) {
    return this.admit(await Contender.start(spec), reference);
  }

  async end(rows) {
    for (const contender of this.runners) {
      const bytes = await contender.end();
      const row = rows?.find((r) => r.label === contender.label);
      if (row) row.peakResidentBytes = bytes;
    }
  }
}

async function steps(model, machine) {
  const file = join(folder, `${model}.safetensors`);
  writeFileSync(file, writeInstance(instanceOf(model)));
  const field = new Field();
  const alone = await field.enter(partita('Partita', model));
  if (!alone) throw new Error(`Partita does not run ${model}: ${field.declined[0].why}`);
  const has = (name) => guests.includes(name);

  /** What has the losses of a step in M microbatches: our own device and PyTorch, with statistics of each. */
  const split = new Map([[1, alone]]);
  async function referenceOf(m) {
    if (!hasOwnStatistics(model)) return alone;
    if (!split.has(m)) {
      const one = await field.enter(partita(`Partita, one device, M = ${m}`, model, { microbatches: m }));
      split.set(m, one);
      if (has('torch')) await field.admit(await bestTorch(`torch, M = ${m}`, model, file, 1, { microbatches: m }), one);
    }
    return split.get(m);
  }

  if (has('partita')) {
    await field.enter(partita('Partita, fused', model, { simd: 'relaxed' }), alone);
    await field.enter(partita('Partita, BLAS', model, { blas: 'auto' }), alone);
    for (const [label, options] of [
      ['Partita, 2 devices', {}],
      ['Partita, 2 devices, BLAS', { blas: 'auto' }],
    ]) {
      const pair = await Contender.start(partita(label, model, { devices: 2, ...options }));
      await field.admit(pair, pair.info.declined ? alone : await referenceOf(pair.info.microbatches));
    }
  }
  if (has('jax-js')) await field.enter(script('jax-js', 'jax.mjs', [model, file]), alone);
  if (has('tfjs')) {
    await field.enter(script('tfjs-wasm, tuned by hand', 'tfjs.mjs', [model, file, 'tuned']), alone);
    await field.enter(script('tfjs-wasm', 'tfjs.mjs', [model, file, 'native']), alone);
  }
  if (has('torch')) {
    await field.admit(await bestTorch('torch', model, file, 1), alone);
    await field.admit(await bestTorch('torch, 2 threads', model, file, 2), alone);
  }
  let rows;
  try {
    rows = await race(field.runners, machine, { rounds, seconds });
  } finally {
    await field.end(rows);
  }
  return { title: titles[model], rows, declined: field.declined };
}

/** All shapes and forms by the same processes; each is kept as it is done. */
async function products(machine) {
  const tasks = shapes.flatMap((shape) => forms.map((form) => `${shape}-${form}`));
  const has = (name) => guests.includes(name);
  const specs = [
    script('Partita', 'gemm.mjs', ['partita', ...tasks]),
    ...(has('partita') ? [script('Partita, fused', 'gemm.mjs', ['partita-fused', ...tasks])] : []),
    ...(has('jax-js') ? [script('jax-js', 'gemm.mjs', ['jax-js', ...tasks])] : []),
    ...(has('tfjs') ? [script('tfjs-wasm', 'gemm.mjs', ['tfjs-wasm', ...tasks])] : []),
    ...(has('torch') ? [torch('torch', 'torch_gemm.py', [1, ...tasks], environments[1][0].env)] : []),
  ];
  const started = [];
  const absent = [];
  for (const spec of specs) {
    const contender = await Contender.start(spec);
    if (contender.info.declined) absent.push({ label: contender.label, why: contender.info.declined });
    else started.push(contender);
  }
  try {
    const [ours] = started;
    for (const task of tasks) {
      const declined = [...absent];
      const taking = started.filter((contender) => {
        const same = agree(ours.info.tasks[task].losses, contender.info.tasks[task].losses);
        if (!same) declined.push({ label: contender.label, why: 'its product is another' });
        return same;
      });
      const rows = await race(taking, machine, { rounds, seconds: seconds / 5, task, look: 0.02 });
      const [shape, form] = task.split('-');
      const found = { title: `Product ${shape.replaceAll('x', ' × ')} (M × K × N), ${form}`, rows, declined };
      tell(found);
      keep('products', task, found);
    }
  } finally {
    for (const contender of started) await contender.end();
  }
}

const machine = await Contender.start(script('the machine', 'register-loop.mjs', []));
if (machine.info.declined) throw new Error(`the register loops do not run: ${machine.info.declined}`);
try {
  for (const name of races) {
    if (name === 'products') await products(machine);
    else {
      const found = await steps(name, machine);
      tell(found);
      keep('models', name, found);
    }
  }
} finally {
  await machine.end();
  rmSync(folder, { recursive: true, force: true });
}
