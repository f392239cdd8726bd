// The machine itself as a contender of compare.mjs: the two loops of multiplies and adds on four lanes that touch registers
// only, and the clock, by a chain of dependent operations of one cycle each. A window tells the medians of all three.
import { readFileSync } from 'node:fs';
import { median } from '../compare/statistics.mjs';
import { serveTasks } from './serve.mjs';

const module = new WebAssembly.Module(readFileSync(new URL('../../dist/kernels.wasm', import.meta.url)));
const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const { peakMulAdd, peakMulAddChained, clockChain } = new WebAssembly.Instance(module, { env: { memory } }).exports;

/** Operations in a nanosecond of a call. */
function rate(operations, call) {
  const start = performance.now();
  call();
  return operations / ((performance.now() - start) * 1e6);
}

const ROUNDS = 40_000;
const loops = {
  chained: () => rate(96 * ROUNDS, () => peakMulAddChained(ROUNDS)),
  independent: () => rate(96 * ROUNDS, () => peakMulAdd(2 * ROUNDS)),
  ghz: () => rate(16 * ROUNDS, () => clockChain(ROUNDS, 1)),
};
const names = Object.keys(loops);
const empty = () => Object.fromEntries(names.map((name) => [name, []]));

for (let i = 0; i < 30; i++) for (const name of names) loops[name]();
let read = empty();
const step = () => {
  for (const name of names) read[name].push(loops[name]());
  return 0;
};
const readings = () => {
  const told = Object.fromEntries(names.map((name) => [name, median(read[name])]));
  read = empty();
  return told;
};
await serveTasks({ peer: 'the machine' }, { '': { step, readings } });
