// Feeds damaged files to the parsers of ONNX (building graphs included) and safetensors:
// `node scripts/fuzz.mjs [files] [seed]`, 100000 files and seed 1 by default. Prints how many were read and refused, with
// which errors, the slowest file and the growth of memory; exits 1 where a file led to an error that is not ours, took more
// than a second, or never ended. A file is made again from the seed and its index.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [files = '100000', seed = '1'] = process.argv.slice(2);
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'partita-fuzz-'));
const progress = join(folder, 'progress');
writeFileSync(progress, '');
/** A parser that does not end cannot be stopped from within: this process looks whether it goes on. */
const patienceSeconds = 120;

const child = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/formats/fuzz'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, FUZZ_FILES: files, FUZZ_SEED: seed, FUZZ_PROGRESS: progress },
});
let last = '';
let still = 0;
const watch = setInterval(() => {
  const now = readFileSync(progress, 'utf8').trim();
  still = now === last ? still + 1 : 0;
  last = now;
  if (still < patienceSeconds) return;
  console.error(`file ${last} of seed ${seed} does not end`);
  child.kill('SIGKILL');
}, 1000);
child.on('close', (code) => {
  clearInterval(watch);
  rmSync(folder, { recursive: true });
  process.exitCode = code === 0 ? 0 : 1;
});
