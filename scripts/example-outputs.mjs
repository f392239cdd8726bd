// Runs the examples and puts what they print into their READMEs: `npm run build && node scripts/example-outputs.mjs`. Names
// behind it choose among them; those that train for minutes (fashion-cnn, char-transformer) are run by name only.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const command = join(root, 'dist', 'cli', 'main.cjs');

// What was measured of this machine is not to show in what is printed.
const env = { ...process.env, PARTITA_CACHE: 'off' };

const named = process.argv.slice(2);
const short = ['mlp-digits', 'cnn-digits', 'gpt-text', 'lstm-alphabet', 'textbook', 'memory-study', 'too-large'];
// Not trainings whose progress is shown.
const others = ['textbook', 'memory-study', 'too-large'];
const chosen = named.length > 0 ? named : short;

for (const name of chosen.filter((n) => !others.includes(n))) {
  // A fresh folder, so that the run's is the first of its name.
  const cwd = mkdtempSync(join(tmpdir(), 'partita-examples-'));
  symlinkSync(join(root, 'examples'), join(cwd, 'examples'));
  const args = ['train', join('examples', name, 'experiment.json')];
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  const progress = stderr.split('\n').filter((line) => line.includes('held-out'));
  const [plan, closing] = stdout.split(/\n\n+(?=device {2}planned)/);
  const output = [plan.trimEnd(), progress.join('\n'), closing.trimEnd()].join('\n\n');
  const file = join(root, 'examples', name, 'README.md');
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    text.replace(/(?<=^```text\n).*?(?=^```$)/ms, () => `${output}\n`),
  );
  console.log(file);
}

// The textbook examples: every command of the README stands before the output it prints.
const textbook = join(root, 'examples', 'textbook', 'README.md');
const rewritten = () =>
  readFileSync(textbook, 'utf8').replace(/(?<=^```sh\n)([^\n]+)\n```\n\n```text\n.*?^```$/gms, (_, line) => {
    const args = line.split(' ');
    const program = args.shift() === 'npx' ? [command, ...args.slice(1)] : args;
    const { status, stdout, stderr } = spawnSync(process.execPath, program, { cwd: root, env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${line}: ${stderr || stdout}`);
    return `${line}\n\`\`\`\n\n\`\`\`text\n${stdout.trimEnd()}\n\`\`\``;
  });
if (chosen.includes('textbook')) {
  writeFileSync(textbook, rewritten());
  console.log(textbook);
}

// A study on paper: its answers, without the caveats and where it was written.
if (chosen.includes('memory-study')) {
  const cwd = mkdtempSync(join(tmpdir(), 'partita-examples-'));
  const experiment = join(root, 'examples', 'memory-study', 'experiment.json');
  const args = ['study', 'memory', experiment, '--study-dir', 'study'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`memory-study: ${stderr}`);
  const file = join(root, 'examples', 'memory-study', 'README.md');
  const [answers] = stdout.split('\n\nHow far to trust this');
  const text = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    text.replace(/(?<=^```text\n).*?(?=^```$)/ms, () => `${answers}\n`),
  );
  console.log(file);
}

// A refusal, what it says on standard error, and a study's answers: the first and the last command that are followed by output.
if (chosen.includes('too-large')) {
  const cwd = mkdtempSync(join(tmpdir(), 'partita-examples-'));
  symlinkSync(join(root, 'examples'), join(cwd, 'examples'));
  const file = join(root, 'examples', 'too-large', 'README.md');
  const text = readFileSync(file, 'utf8');
  const lines = [...text.matchAll(/^npx partita .*$/gm)].map(([line]) => line);
  const outputs = [lines[0], lines.find((l) => l.includes(' study '))].map((line) => {
    const run = spawnSync(process.execPath, [command, ...line.split(' ').slice(2)], { cwd, env, encoding: 'utf8' });
    return run.status === 0 ? `${run.stdout.split('\n\nHow far to trust this')[0]}\n` : run.stderr;
  });
  writeFileSync(
    file,
    text.replace(/(?<=^```text\n).*?(?=^```$)/gms, () => outputs.shift()),
  );
  console.log(file);
}
