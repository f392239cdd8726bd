// All that docs/performance.md is made of, measured anew: what stands beside the kernels, the races with the peers, and how a
// step grows.
//
//   npm run bench -- [--quick] [--only overhead,compare,scaling] [--python python3] [--prototype FILE]
//
//   --quick                  a short try of each, which writes nothing: some rows, few windows
//   --python, --prototype    as bench/compare.mjs has them
//
// Each is a script of this folder, called with --write: it keeps what it has found in bench/*.json as soon as it has it, and
// renews the page. One that fails ends the run; what the others have found stays. Some half an hour on an idle machine.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { commandsOf, parts } from './compare/commands.mjs';
import { flagsOf, namesOf } from './flags.mjs';

const self = import.meta.url;
const { values: flags } = flagsOf(self, {
  quick: { type: 'boolean', default: false },
  only: { type: 'string', default: Object.keys(parts).join() },
  python: { type: 'string' },
  prototype: { type: 'string' },
});
const only = namesOf(self, 'only', flags.only, Object.keys(parts));

for (const { name, takes, args } of commandsOf({ ...flags, only })) {
  console.log(`\nbench/${name}.mjs ${args.join(' ')}: ${takes}`);
  const script = fileURLToPath(new URL(`${name}.mjs`, self));
  const { status, signal } = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' });
  if (status === 0) continue;
  console.error(`bench/all.mjs: bench/${name}.mjs has ended with ${signal ?? status}`);
  process.exit(status ?? 1);
}
