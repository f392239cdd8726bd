// GFLOP/s of the gemm kernel, beside the register-only multiply-and-add loop that bounds 128-bit SIMD on this machine.
//   node bench/gemm.mjs [sizes, e.g. 64,512] [rounds]
// Two such loops: independent multiply and add streams, and twelve chained multiply-adds (the higher bound where a
// processor has separate multipliers and adders). All are timed in alternation, since clock rates drift; medians over the
// rounds. The ratios are the shares reached. Run it on an idle machine.
import { readFileSync } from 'node:fs';
import { median } from './compare/statistics.mjs';
import { flagsOf, numberOf } from './flags.mjs';

const { positionals } = flagsOf(import.meta.url, {}, { positionals: 2 });
const whole = (name, text) => numberOf(import.meta.url, name, text, { atLeast: 1, whole: true });
const sizes = (positionals[0] ?? '64,128,256,512,1024').split(',').map((size) => whole('sizes', size));
const rounds = whole('rounds', positionals[1] ?? '9');
const largest = Math.max(...sizes);

const module = new WebAssembly.Module(readFileSync(new URL('../dist/kernels.wasm', import.meta.url)));
const pages = Math.ceil((3 * 4 * largest * largest + 8 * 2 ** 20) / 65536);
const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
const { gemm, gemmWorkspace, peakMulAdd, peakMulAddChained } = new WebAssembly.Instance(module, { env: { memory } })
  .exports;

const a = 64;
const b = a + 4 * largest * largest;
const c = b + 4 * largest * largest;
const ws = c + 4 * largest * largest;
const operands = new Float32Array(memory.buffer, a, 2 * largest * largest);
for (const i of operands.keys()) operands[i] = Math.sin(i);

const PEAK_ROUNDS = 400_000;
const PEAK_FLOP = 48 * PEAK_ROUNDS;

/** GFLOP/s of one timed call. */
function rate(flop, call) {
  const start = performance.now();
  call();
  return flop / (performance.now() - start) / 1e6;
}

for (let i = 0; i < 20; i++) {
  peakMulAdd(20_000);
  peakMulAddChained(10_000);
}
console.log('size   form  GFLOP/s  independent  share  chained  share');
for (const n of sizes) {
  const repeats = Math.max(1, Math.round(60e6 / (2 * n ** 3)));
  for (const [form, ta, tb] of [
    ['NN', 0, 0],
    ['NT', 0, 1],
    ['TN', 1, 0],
    ['TT', 1, 1],
  ]) {
    const call = () => {
      for (let i = 0; i < repeats; i++) {
        gemm(n, n, n, a, ta ? 1 : n, ta ? n : 1, b, tb ? 1 : n, tb ? n : 1, c, n, 0, ws);
      }
    };
    if (gemmWorkspace(n, n, n) > 8 * 2 ** 20 - 64) throw new Error('workspace larger than planned');
    call();
    const ours = [];
    const bound = [];
    const chained = [];
    for (let i = 0; i < rounds; i++) {
      bound.push(rate(PEAK_FLOP, () => peakMulAdd(PEAK_ROUNDS)));
      chained.push(rate(PEAK_FLOP, () => peakMulAddChained(PEAK_ROUNDS / 2)));
      ours.push(rate(2 * n ** 3 * repeats, call));
    }
    const [o, p, q] = [median(ours), median(bound), median(chained)];
    const share = (limit) => `${((100 * o) / limit).toFixed(0)} %`.padStart(6);
    const cell = (value, width) => value.toFixed(1).padStart(width);
    console.log(
      `${String(n).padEnd(6)} ${form}    ${cell(o, 7)}  ${cell(p, 11)} ${share(p)}  ${cell(q, 7)} ${share(q)}`,
    );
  }
}
