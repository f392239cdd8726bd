// From the launch of the command to its help and to the first step of the digits model, beside Node alone.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../compare/statistics.mjs';
import { ms } from './text.mjs';

/** Seconds from the start of a process to its end, or to the first word on standard error that holds `until`. */
function launched(args, until) {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.on('error', reject);
    let [said, seen] = ['', until === undefined];
    let seconds;
    child.stderr.on('data', (chunk) => {
      said += chunk;
      if (seen || !said.includes(until)) return;
      seen = true;
      seconds = (performance.now() - begin) / 1000;
    });
    child.on('close', (code) => {
      if (code !== 0 || !seen) reject(new Error(`${args.join(' ')} ended with ${code}: ${said}`));
      else resolve(seconds ?? (performance.now() - begin) / 1000);
    });
  });
}

export async function launch(rounds) {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const command = join(root, 'dist', 'cli', 'main.cjs');
  const folder = mkdtempSync(join(tmpdir(), 'partita-launch-'));
  const train = [
    command,
    'train',
    join(root, 'examples/mlp-digits/experiment.json'),
    '--steps',
    '1',
    '--run-dir',
    folder,
  ];
  const times = { bare: [], help: [], step: [] };
  for (let i = 0; i < rounds; i++) {
    times.bare.push(await launched(['-e', '0']));
    times.help.push(await launched([command, '--help']));
    times.step.push(await launched(train, 'step 1/'));
  }
  rmSync(folder, { recursive: true });
  const [bare, help, step] = ['bare', 'help', 'step'].map((k) => median(times[k]));
  console.log('From launch');
  console.log(`  --help ${ms(help, 0)} (goal ≤ 150 ms), Node alone ${ms(bare, 0)}`);
  console.log(`  to the first step of examples/mlp-digits ${ms(step, 0)} (goal ≤ 1 s)`);
  return { launch: { bareSeconds: bare, helpSeconds: help, firstStepSeconds: step } };
}
