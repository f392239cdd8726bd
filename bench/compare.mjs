// Partita beside its peers: products of matrices, and training steps of five models from the same parameters on the same batch.
//
//   node bench/compare.mjs [--models mlp,gpt] [--gemm 256x256x256] [--rounds 9] [--seconds 0.5] [--python python3]
//                          [--write docs/performance.md] [--json results.json]
//
// Every contender is a process of its own that stays up; they take turns, window by window, in an order that changes from
// round to round, with the register-only loop between them: clock rates drift, so only ratios within a round count. Nobody's
// time counts before its first losses agree with Partita's to 1e-4. Medians over the rounds, with quartiles. JavaScript peers:
// `npm install --prefix bench/peers` first; PyTorch: a python3 that has it. Who is missing is named. Run it on an idle machine.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { instanceOf, modelNames, titles, writeInstance } from './peers/instance.mjs';

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: modelNames.join() },
    gemm: {
      type: 'string',
      default: '64x64x64,128x128x128,256x256x256,512x512x512,1024x1024x1024,32x784x512,128x256x1024',
    },
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '0.5' },
    python: { type: 'string', default: existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3' },
    write: { type: 'string' },
    json: { type: 'string' },
  },
});
const rounds = Number(flags.rounds);
const seconds = Number(flags.seconds);
const listOf = (text) => text.split(',').filter(Boolean);
const unknown = listOf(flags.models).find((name) => !modelNames.includes(name));
if (unknown || !(rounds >= 1) || !(seconds > 0)) {
  console.error(
    unknown ? `no model ${unknown}; there are ${modelNames.join(', ')}` : '--rounds and --seconds must be > 0',
  );
  process.exit(2);
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const quantile = (values, q) => sorted(values)[Math.min(values.length - 1, Math.floor(q * values.length))];
const median = (values) => quantile(values, 0.5);

const peers = fileURLToPath(new URL('./peers/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'partita-compare-'));

/** A contender's process: lines of JSON in, lines of JSON out (peers/serve.mjs). */
class Contender {
  static async start({ label, command, args, env = {} }) {
    const child = spawn(command, args, {
      cwd: peers,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const self = new Contender(label, child);
    self.info = await self.next();
    return self;
  }

  constructor(label, child) {
    this.label = label;
    this.child = child;
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.errors = '';
    child.stderr.on('data', (text) => (this.errors += text));
    child.on('error', (error) => (this.errors += error.message));
    child.stdin.on('error', () => {}); // told by the missing answer
  }

  /** The next line that is JSON: libraries greet. */
  async next() {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) return { declined: this.errors.trim().split('\n').at(-1) || 'its process ended' };
      if (value.startsWith('{')) return JSON.parse(value);
    }
  }

  async window(length) {
    this.child.stdin.write(`run ${length}\n`);
    const { milliseconds, declined } = await this.next();
    if (declined) throw new Error(`${this.label}: ${declined}`);
    return median(milliseconds);
  }

  async end() {
    this.child.stdin.write('end\n');
    const { peakResidentBytes } = await this.next();
    this.child.kill();
    return peakResidentBytes;
  }
}

const node = (label, script, args) => ({ label, command: process.execPath, args: [join(peers, script), ...args] });

/** OpenBLAS reads its number of threads from the environment; PyTorch's own call does not reach it. */
const oneThread = { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' };
const openmpBlas = '/usr/lib/x86_64-linux-gnu/openblas-openmp';
/** Spinning threads of the pthread build take each other's cores: the OpenMP build where there is one. */
const twoThreads = existsSync(openmpBlas)
  ? { LD_LIBRARY_PATH: openmpBlas, OMP_NUM_THREADS: '2', OMP_PROC_BIND: 'true' }
  : { OPENBLAS_NUM_THREADS: '2', OMP_NUM_THREADS: '2', OMP_WAIT_POLICY: 'passive' };
const torch = (script, args, threads) => ({
  label: threads === 1 ? 'torch' : `torch, ${threads} threads`,
  command: flags.python,
  args: [join(peers, script), ...args, String(threads)],
  env: threads === 1 ? oneThread : twoThreads,
});

const agree = (ours, theirs) =>
  ours.every((loss, i) => Math.abs(loss - theirs[i]) <= 1e-4 * Math.max(1, Math.abs(loss)));

/**
 * Windows in turn. Of each contender: milliseconds of a step and, round by round, its time over the first one's and the
 * register loop's GFLOP/s beside it; or why it does not take part.
 */
async function race(title, specs) {
  console.log(`\n${title}`);
  const loop = await Contender.start(node('register loop', 'register-loop.mjs', []));
  const runners = [];
  const declined = [];
  for (const spec of specs) {
    const contender = await Contender.start(spec);
    const { declined: why, losses } = contender.info;
    const off = !why && runners.length > 0 && !agree(runners[0].contender.info.losses, losses);
    if (!why && !off) runners.push({ contender, medians: [], beside: [] });
    else {
      declined.push({ label: spec.label, why: why ?? `its losses differ: ${losses.slice(0, 3)}` });
      if (off) await contender.end();
    }
  }
  try {
    for (let round = -1; round < rounds; round++) {
      const order = runners.map((_, i) => runners[(i + Math.max(0, round)) % runners.length]);
      for (const runner of round % 2 === 0 ? order : order.reverse()) {
        const before = await loop.window(0.05);
        const time = await runner.contender.window(seconds);
        if (round < 0) continue; // warm-up
        runner.medians.push(time);
        runner.beside.push(loop.info.flops / (before * 1e6));
      }
    }
  } finally {
    for (const { contender } of runners) contender.peak = await contender.end();
    await loop.end();
  }
  const base = runners[0]?.medians;
  const rows = runners.map(({ contender, medians, beside }) => {
    const ratios = medians.map((time, i) => time / base[i]);
    const rates = contender.info.flops && medians.map((time) => contender.info.flops / (time * 1e6));
    return {
      label: contender.label,
      info: contender.info,
      milliseconds: median(medians),
      ratio: median(ratios),
      quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
      registerLoop: median(beside),
      ...(rates && { gflops: median(rates), share: median(rates.map((rate, i) => rate / beside[i])) }),
      peakResidentBytes: contender.peak,
    };
  });
  for (const row of rows) {
    const plan = row.info.schedule ? `  (${row.info.schedule}, M ${row.info.microbatches})` : '';
    console.log(
      `  ${row.label.padEnd(28)} ${row.milliseconds.toFixed(2).padStart(9)} ms  × ${row.ratio.toFixed(2)} ` +
        `[${row.quartiles.map((q) => q.toFixed(2)).join(', ')}]  loop ${row.registerLoop.toFixed(1)} GFLOP/s` +
        `${row.share ? `  share ${row.share.toFixed(2)}` : ''}  ${(row.peakResidentBytes / 2 ** 20).toFixed(0)} MiB${plan}`,
    );
  }
  for (const { label, why } of declined) console.log(`  ${label.padEnd(28)} not there: ${why}`);
  return { title, rows, declined };
}

const fused = { simd: 'relaxed' };
const blas = { blas: 'auto' };
const partita = (label, model, options = {}) => node(label, 'partita.mjs', [model, JSON.stringify(options)]);

async function steps(model) {
  const file = join(folder, `${model}.safetensors`);
  writeFileSync(file, writeInstance(instanceOf(model)));
  return race(titles[model], [
    partita('Partita', model),
    partita('Partita, fused', model, fused),
    partita('Partita, BLAS', model, blas),
    partita('Partita, 2 devices', model, { devices: 2 }),
    partita('Partita, 2 devices, BLAS', model, { devices: 2, ...blas }),
    node('jax-js', 'jax.mjs', [model, file]),
    node('tfjs-wasm, tuned by hand', 'tfjs.mjs', [model, file, 'tuned']),
    node('tfjs-wasm', 'tfjs.mjs', [model, file, 'native']),
    torch('torch_step.py', [model, file], 1),
    torch('torch_step.py', [model, file], 2),
  ]);
}

const products = (shape) =>
  race(`Product ${shape.replaceAll('x', ' × ')} (M × K × N)`, [
    node('Partita', 'gemm.mjs', ['partita', ...shape.split('x')]),
    node('Partita, fused', 'gemm.mjs', ['partita-fused', ...shape.split('x')]),
    node('jax-js', 'gemm.mjs', ['jax-js', ...shape.split('x')]),
    node('tfjs-wasm', 'gemm.mjs', ['tfjs-wasm', ...shape.split('x')]),
    torch('torch_gemm.py', shape.split('x'), 1),
  ]);

const spread = ({ ratio, quartiles: [low, high] }) => `${ratio.toFixed(2)} [${low.toFixed(2)}–${high.toFixed(2)}]`;

/** The tables of the document: one of products, one a model. */
function markdown(gemms, models) {
  const lines = [];
  if (gemms.length > 0) {
    const labels = [...new Set(gemms.flatMap(({ rows }) => rows.map((row) => row.label)))];
    lines.push(`| M × K × N | register loop | ${labels.map((l) => `${l}, GFLOP/s`).join(' | ')} | share of the loop |`);
    lines.push(`|---|---|${labels.map(() => '---').join('|')}|---|`);
    for (const { title, rows } of gemms) {
      const cells = labels.map((label) => rows.find((row) => row.label === label)?.gflops.toFixed(1) ?? '–');
      const [ours] = rows;
      lines.push(
        `| ${title.replace(/^Product | \(.*$/g, '')} | ${ours.registerLoop.toFixed(1)} | ${cells.join(' | ')} | ${ours.share.toFixed(2)} |`,
      );
    }
    lines.push('');
  }
  for (const { title, rows, declined } of models) {
    lines.push(`**${title}**`, '');
    lines.push(
      '| | ms a step | over Partita on one device | register loop, GFLOP/s | peak resident, MiB |',
      '|---|---|---|---|---|',
    );
    for (const row of rows) {
      const plan = row.info.schedule ? ` (${row.info.schedule}, M = ${row.info.microbatches})` : '';
      lines.push(
        `| ${row.label}${plan} | ${row.milliseconds.toFixed(2)} | ${spread(row)} | ${row.registerLoop.toFixed(1)} | ${(row.peakResidentBytes / 2 ** 20).toFixed(0)} |`,
      );
    }
    if (declined.length > 0) lines.push('', declined.map(({ label, why }) => `${label}: ${why}.`).join(' '));
    lines.push('');
  }
  return lines.join('\n').trim();
}

try {
  const [gemms, models] = [[], []];
  for (const shape of listOf(flags.gemm)) gemms.push(await products(shape));
  for (const model of listOf(flags.models)) models.push(await steps(model));
  if (flags.json)
    writeFileSync(flags.json, `${JSON.stringify({ processor: cpus()[0].model, gemms, models }, null, 1)}\n`);
  if (flags.write) {
    const text = readFileSync(flags.write, 'utf8');
    const [begin, end] = ['<!-- compare -->', '<!-- /compare -->'];
    if (!text.includes(begin) || !text.includes(end)) throw new Error(`${flags.write} has no ${begin} … ${end}`);
    const [before, after] = [text.split(begin)[0], text.split(end)[1]];
    writeFileSync(flags.write, `${before}${begin}\n${markdown(gemms, models)}\n${end}${after}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
