// The machine's arithmetic limit as a contender of compare.mjs: multiply-adds on four lanes that touch registers only (the
// better of two arrangements), and the clock, by a chain of dependent operations of one cycle each.
import { readFileSync } from 'node:fs';
import { serve } from './serve.mjs';

const module = new WebAssembly.Module(readFileSync(new URL('../../dist/kernels.wasm', import.meta.url)));
const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const { peakMulAdd, peakMulAddChained } = new WebAssembly.Instance(module, { env: { memory } }).exports;
const ROUNDS = 100_000;
const time = (call) => {
  const start = performance.now();
  call();
  return performance.now() - start;
};
const loops = [() => peakMulAdd(2 * ROUNDS), () => peakMulAddChained(ROUNDS)];
for (let i = 0; i < 20; i++) loops.forEach(time);
const totals = loops.map((loop) => Array.from({ length: 20 }, () => time(loop)).reduce((a, b) => a + b));
const best = loops[totals[0] < totals[1] ? 0 : 1];
await serve({ peer: 'register loop', flops: 96 * ROUNDS }, () => {
  best();
  return 0;
});
