// The machine beside what is measured: its register loops and its clock, in front and behind.
import { fileURLToPath } from 'node:url';
import { Contender } from './contender.mjs';

/** Seconds of a look. */
const lookSeconds = 0.05;

/** The machine as a contender: a process that waits until it is asked. */
export async function startMachine() {
  const loop = fileURLToPath(new URL('../peers/register-loop.mjs', import.meta.url));
  const machine = await Contender.start({ label: 'the machine', command: process.execPath, args: [loop] });
  if (machine.info.declined) throw new Error(`the register loops do not run: ${machine.info.declined}`);
  return machine;
}

/** What `measure` has found, and two `looks`: GFLOP/s of both loops and GHz, in front of it and behind, as a race's row has them. */
export async function between(machine, measure) {
  const before = await machine.ask(lookSeconds);
  const found = await measure();
  const after = await machine.ask(lookSeconds);
  const names = ['chained', 'independent', 'ghz'];
  return { found, looks: Object.fromEntries(names.map((name) => [name, [before[name], after[name]]])) };
}
