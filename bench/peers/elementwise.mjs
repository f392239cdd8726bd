// node elementwise.mjs partita|FILE.wasm KERNEL …: elementwise kernels, kernels of rows and an update, on 64 KiB an operand, as
// contenders of compare.mjs. FILE is a prototype of the same kernels, which imports env.memory and exports
//   exp, tanh, gelu (n, x, y), gelu by tanh;  softmax (rows, columns, x, y);  layernorm (rows, columns, x, gamma, beta, y);
//   adam (n, w, g, m, v, lr, beta1, beta2, eps), the corrections of first steps folded into lr and eps.
// A "step" is 64 calls; its "loss" the mean of the first 64 results, on which both must agree.
import { readFileSync } from 'node:fs';
import { decline, serveTasks } from './serve.mjs';

const [peer, ...names] = process.argv.slice(2);

const ELEMENTS = 16_384;
const CALLS = 64;
const ADAM = { lr: 1e-6, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
const NONE = -1;

const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536, shared: true });
const area = (i) => 64 + i * 4 * ELEMENTS;
const [x, y, z, u, out, hyper] = [0, 1, 2, 3, 4, 5].map(area);
const [mean, rstd] = [6, 7].map(area);
for (const [i, at] of [x, y, z, u].entries())
  new Float32Array(memory.buffer, at, ELEMENTS).forEach((_, k, all) => {
    all[k] = 0.5 + 0.49 * Math.sin(1.7 * k + i);
  });
// The rate, corrections of first steps (none: as folded), beta1 and 1 − beta1.
new Float32Array(memory.buffer, hyper, 5).set([ADAM.lr, 1, 1, ADAM.beta1, 1 - ADAM.beta1]);

const softmaxRows = [ELEMENTS / 64, 64];
const normRows = [ELEMENTS / 128, 128];

const ours = (k) => ({
  exp: () => k.exp(ELEMENTS, x, out),
  tanh: () => k.tanh(ELEMENTS, x, out),
  gelu: () => k.geluTanh(ELEMENTS, x, out),
  softmax: () => k.softmax(...softmaxRows, x, out),
  layerNorm: () => k.layerNorm(...normRows, x, y, z, out, mean, rstd, 1e-5),
  adam: () => k.adam(ELEMENTS, out, x, z, u, NONE, hyper, NONE, ADAM.beta2, 1 - ADAM.beta2, ADAM.eps, 0, 0),
});
const prototype = (k) => ({
  exp: () => k.exp(ELEMENTS, x, out),
  tanh: () => k.tanh(ELEMENTS, x, out),
  gelu: () => k.gelu(ELEMENTS, x, out),
  softmax: () => k.softmax(...softmaxRows, x, out),
  layerNorm: () => k.layernorm(...normRows, x, y, z, out),
  adam: () => k.adam(ELEMENTS, out, x, z, u, ADAM.lr, ADAM.beta1, ADAM.beta2, ADAM.eps),
});

try {
  const isOurs = peer === 'partita';
  const file = isOurs ? new URL('../../dist/kernels.wasm', import.meta.url) : peer;
  const kernels = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), { env: { memory } }).exports;
  const calls = (isOurs ? ours : prototype)(kernels);
  const results = new Float32Array(memory.buffer, out, 64);
  const tasks = {};
  for (const name of names) {
    const call = calls[name];
    results.fill(1); // adam's weights
    call(); // a missing export declines here
    tasks[name] = {
      elements: ELEMENTS * CALLS,
      step: () => {
        for (let i = 0; i < CALLS; i++) call();
        return results.reduce((sum, value) => sum + value, 0) / results.length;
      },
    };
  }
  await serveTasks({ peer: isOurs ? 'partita' : 'prototype' }, tasks);
} catch (error) {
  decline(error);
}
