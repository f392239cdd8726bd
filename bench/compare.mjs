// Partita beside its peers: products of matrices, elementwise kernels, training steps of five models from the same parameters on
// the same batch, and the memory of attention.
//
//   node bench/compare.mjs [--only products,elementwise,attention,mlp,gpt,cnn,resnet,lstm] [--shapes 256x256x256,…]
//                          [--forms NN,NT,TN,TT] [--contenders partita,jax-js,tfjs,torch] [--devices 1,2] [--rounds 9] [--seconds 0.5]
//                          [--prototype FILE] [--python python3] [--results FILE.json] [--write] [--render]
//
//   --only        races; products stands for all shapes and forms (of an operand, T: stored transposed)
//   --contenders  who takes part beside Partita on one device
//   --devices     of Partita. With 1 there are no rows of two devices, whose plans are searched and tried for half a minute and more
//                 in front of each model's first window: for quick tries
//   --rounds, --seconds   windows of each contender, and their length (products and elementwise: a twentieth of it, twice as many)
//   --prototype   elementwise kernels to stand beside ours: WebAssembly, or AssemblyScript that is compiled first. Which ones, and
//                 how they are called, bench/peers/elementwise.mjs says; without it, cycles are compared with kept figures
//   --results     keeps each race in FILE as soon as it has ended, beside the races that are there
//   --write       the same in bench/compare.json, and renews docs/performance.md from it
//   --render      renews docs/performance.md from what is kept in bench/ and measures nothing
//
// Every contender is a process of its own that stays up; they take turns, window by window, in an order that changes from round
// to round. In front of each window and behind it stand the two register-only loops and the clock: clock rates drift, so only
// ratios within a round count, and a window in which the loops changed by more than 15 % is taken again (as often as there are
// rounds, for each contender). Nobody's time counts before its first losses agree to 1e-4 (of the loss, where that is above 1). Medians over the rounds, with
// quartiles. Whose step takes more than 5 s (a product: 0.5 s) is timed by its first steps alone. Two processes with one device
// each, at the same time, tell what two cores give. JavaScript peers: `npm install --prefix bench/peers --ignore-scripts` first;
// PyTorch: a python3 that has it. Who is missing is named. Run it on an idle machine; all of it takes some 20 minutes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Contender, Together } from './compare/contender.mjs';
import { prototypeNanoseconds } from './compare/goals.mjs';
import { startMachine } from './compare/looks.mjs';
import { conditionsHere } from './compare/machine.mjs';
import { agree, cyclesOf, nanosecondsOf, race, ratesOf, ratios, sharesOf } from './compare/race.mjs';
import { renewPage } from './compare/renew.mjs';
import { keptResults, merged, readResults, textOfResults, writeWhole } from './compare/results.mjs';
import { median, spreadOf } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf, refuse } from './flags.mjs';
import { modelNames, titles } from './peers/titles.mjs';

const self = import.meta.url;
const allShapes =
  '64x64x64,128x128x128,256x256x256,512x512x512,32x784x512,128x256x1024,100x77x200,9x512x33,1024x1024x1024';
const raceNames = ['products', 'elementwise', 'attention', ...modelNames];
const { values: flags } = flagsOf(self, {
  only: { type: 'string', default: raceNames.join() },
  shapes: { type: 'string', default: allShapes },
  forms: { type: 'string', default: 'NN,NT,TN,TT' },
  contenders: { type: 'string', default: 'partita,jax-js,tfjs,torch' },
  devices: { type: 'string', default: '1,2' },
  rounds: { type: 'string', default: '9' },
  seconds: { type: 'string', default: '0.5' },
  python: { type: 'string', default: existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3' },
  prototype: { type: 'string' },
  results: { type: 'string' },
  write: { type: 'boolean', default: false },
  render: { type: 'boolean', default: false },
});
const rounds = numberOf(self, 'rounds', flags.rounds, { atLeast: 1, whole: true });
const seconds = numberOf(self, 'seconds', flags.seconds, { atLeast: 0.001 });
const races = namesOf(self, 'only', flags.only, raceNames);
const forms = namesOf(self, 'forms', flags.forms, ['NN', 'NT', 'TN', 'TT']);
const guests = namesOf(self, 'contenders', flags.contenders, ['partita', 'jax-js', 'tfjs', 'torch']);
const withTwoDevices = namesOf(self, 'devices', flags.devices, ['1', '2']).includes('2');
const shapes = flags.shapes.split(',').filter(Boolean);
const strange = shapes.find((shape) => !/^[1-9]\d*(x[1-9]\d*){2}$/.test(shape));
if (strange !== undefined || shapes.length === 0)
  refuse(self, `--shapes ${flags.shapes}: M x K x N was expected, as in 256x256x256,32x784x512`);

if (flags.prototype !== undefined && !/\.(wasm|ts)$/.test(flags.prototype))
  refuse(self, `--prototype ${flags.prototype}: a file ending in .wasm or .ts was expected`);
if (flags.prototype !== undefined && !existsSync(flags.prototype))
  refuse(self, `--prototype ${flags.prototype}: there is no such file`);

if (flags.render) {
  renewPage();
  process.exit(0);
}

const { attentionPlans } = await import('./compare/attention.mjs');
const { hasImages, hasOwnStatistics, instanceOf, learningRateOf, writeInstance } = await import('./peers/instance.mjs');

const folder = mkdtempSync(join(tmpdir(), 'partita-compare-'));
const targets = [...(flags.results ? [flags.results] : []), ...(flags.write ? [keptResults] : [])];
const files = new Map(targets.map((file) => [file, readResults(file)]));

/** Keeps a race that has ended. */
function keep(part, name, found) {
  const whole = { ...found, ...conditionsHere(), rounds };
  for (const [file, results] of files) {
    files.set(file, merged(results, part, name, whole));
    writeWhole(file, textOfResults(files.get(file)));
  }
  if (flags.write) renewPage();
}

/** What a row of products or of elements tells beside its time. */
function rateOf(row) {
  if (row.flops) {
    const [share, low, high] = spreadOf(sharesOf(row)).map((s) => s.toFixed(2));
    return `  ${median(ratesOf(row)).toFixed(1)} GFLOP/s, of the loop ${share} [${low}, ${high}]`;
  }
  if (!row.elements) return '';
  return `  ${median(nanosecondsOf(row)).toFixed(3)} ns an element, ${median(cyclesOf(row)).toFixed(2)} cycles`;
}

function tell({ title, rows, declined }) {
  console.log(`\n${title}`);
  const [base] = rows;
  for (const row of rows) {
    const [chained, independent, ghz] = ['chained', 'independent', 'ghz'].map((name) => median(row.machine[name]));
    const [ratio, low, high] = spreadOf(ratios(row, base));
    const plan = row.schedule
      ? `  (${row.schedule}, M ${row.microbatches}, ideal ${row.idealSpeedUp?.toFixed(2)})`
      : row.setUp
        ? `  (${row.setUp})`
        : '';
    const again = row.discarded ? `  ${row.discarded} windows again` : '';
    const memory = row.peakResidentBytes ? `  ${(row.peakResidentBytes / 2 ** 20).toFixed(0)} MiB` : '';
    console.log(
      `  ${row.label.padEnd(32)} ${median(row.milliseconds).toFixed(2).padStart(9)} ms  × ${ratio.toFixed(2)} ` +
        `[${low.toFixed(2)}, ${high.toFixed(2)}]  loops ${chained.toFixed(1)}, ${independent.toFixed(1)} GFLOP/s, ` +
        `${ghz.toFixed(2)} GHz${rateOf(row)}${memory}${plan}${again}`,
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

  /** What two cores give: the contender, and a second of its kind, at the same time. */
  async double(contender, variant, spec) {
    const second = await Contender.start(spec);
    if (second.info.declined) throw new Error(`${contender.label} does not start twice: ${second.info.declined}`);
    this.runners.push(new Together(`Partita, two at once${variant}`, [contender, second], [second]));
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
  async function referenceOf(m, [blas, options]) {
    if (!hasOwnStatistics(model) || m === 1) return alone;
    if (!split.has(m)) {
      const one = await field.enter(partita(`Partita, one device, M = ${m}`, model, { microbatches: m }));
      split.set(m, one);
      if (has('torch')) await field.admit(await bestTorch(`torch, M = ${m}`, model, file, 1, { microbatches: m }), one);
    }
    const one = split.get(m);
    if (blas)
      await field.enter(partita(`Partita, one device, M = ${m}${blas}`, model, { microbatches: m, ...options }), one);
    return one;
  }

  if (has('partita')) {
    await field.enter(partita('Partita, relaxed', model, { simd: 'relaxed' }), alone);
    const withBlas = await field.enter(partita('Partita, BLAS', model, { blas: 'auto' }), alone);
    const variants = [
      [alone, '', {}],
      [withBlas, ', BLAS', { blas: 'auto' }],
    ];
    for (const [single, ...variant] of withTwoDevices ? variants : []) {
      const [blas, options] = variant;
      const pair = await Contender.start(partita(`Partita, 2 devices${blas}`, model, { devices: 2, ...options }));
      const takesPart = await field.admit(
        pair,
        pair.info.declined ? alone : await referenceOf(pair.info.microbatches, variant),
      );
      if (takesPart && single && !single.info.slow)
        await field.double(single, blas, partita('a second', model, options));
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

/** Windows of what takes a millisecond or less: short, so that the machine is the same in front and behind, and twice as many. */
const shortWindows = { rounds: 2 * rounds, seconds: seconds / 20, look: Math.min(0.05, seconds / 100) };
const impatient = { SLOWEST_STEP_SECONDS: '0.5' };

/** Tasks by the same processes, one race behind the other; each is kept as it is done. */
async function tasksOf(part, specs, tasks, machine, titleOf) {
  const started = [];
  const absent = [];
  for (const spec of specs) {
    const contender = await Contender.start({ ...spec, env: { ...impatient, ...spec.env } });
    if (contender.info.declined) absent.push({ label: contender.label, why: contender.info.declined });
    else started.push(contender);
  }
  try {
    const [ours] = started;
    if (ours?.label !== 'Partita') throw new Error(`Partita does not run ${part}: ${absent[0]?.why}`);
    for (const task of tasks) {
      const declined = [...absent];
      const taking = started.filter((contender) => {
        const same = agree(ours.info.tasks[task].losses, contender.info.tasks[task].losses);
        if (!same) declined.push({ label: contender.label, why: 'its results are others' });
        return same;
      });
      const rows = await race(taking, machine, { ...shortWindows, task });
      const found = { title: titleOf(task), rows, declined };
      tell(found);
      keep(part, task, found);
    }
  } finally {
    for (const contender of started) await contender.end();
  }
}

async function products(machine) {
  const tasks = shapes.flatMap((shape) => forms.map((form) => `${shape}-${form}`));
  const has = (name) => guests.includes(name);
  const specs = [
    script('Partita', 'gemm.mjs', ['partita', ...tasks]),
    ...(has('partita') ? [script('Partita, relaxed', 'gemm.mjs', ['partita-relaxed', ...tasks])] : []),
    ...(has('jax-js') ? [script('jax-js', 'gemm.mjs', ['jax-js', ...tasks])] : []),
    ...(has('tfjs') ? [script('tfjs-wasm', 'gemm.mjs', ['tfjs-wasm', ...tasks])] : []),
    ...(has('torch') ? [torch('torch', 'torch_gemm.py', [1, ...tasks], environments[1][0].env)] : []),
  ];
  await tasksOf('products', specs, tasks, machine, (task) => {
    const [shape, form] = task.split('-');
    return `Product ${shape.replaceAll('x', ' × ')} (M × K × N), ${form}`;
  });
}

/** A module of the prototype's kernels; AssemblyScript is compiled as ours are. */
function compiledPrototype(file) {
  if (file.endsWith('.wasm')) return resolve(file);
  const module = join(folder, 'prototype.wasm');
  const asc = fileURLToPath(new URL('../node_modules/.bin/asc', self));
  const memory = ['--importMemory', '--noExportMemory', '--sharedMemory', '--maximumMemory', '65536'];
  const options = ['--enable', 'simd,threads', ...memory, '--runtime', 'stub', '--noAssert', '-O3', '--converge'];
  const { status, stderr, error } = spawnSync(
    asc,
    [resolve(file), '--outFile', module, ...options, '--uncheckedBehavior', 'always'],
    { encoding: 'utf8' },
  );
  if (status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    refuse(self, `--prototype ${file} does not compile: ${error?.message ?? stderr.trim()}`);
  }
  return module;
}

async function elementwise(machine) {
  const names = Object.keys(prototypeNanoseconds);
  const specs = [
    script('Partita', 'elementwise.mjs', ['partita', ...names]),
    ...(prototype ? [script('prototype', 'elementwise.mjs', [prototype, ...names])] : []),
  ];
  await tasksOf('elementwise', specs, names, machine, (name) => `${name}, 16,384 elements`);
}

const prototype = flags.prototype === undefined ? undefined : compiledPrototype(flags.prototype);
const machine = await startMachine();
try {
  for (const name of races) {
    if (name === 'products') await products(machine);
    else if (name === 'elementwise') await elementwise(machine);
    else if (name === 'attention') {
      const plans = attentionPlans();
      const { fused, unfused } = plans.activationBytes;
      console.log(`\nPeak activation bytes: ${plans.title}`);
      for (const way of Object.keys(unfused))
        console.log(`  recompute ${way.padEnd(10)} unfused ${unfused[way]}, fused ${fused[way]}`);
      keep('plans', name, plans);
    } else {
      const found = await steps(name, machine);
      tell(found);
      keep('models', name, found);
    }
  }
} finally {
  await machine.end();
  rmSync(folder, { recursive: true, force: true });
}
