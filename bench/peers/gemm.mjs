// node gemm.mjs partita|partita-relaxed|jax-js|tfjs-wasm TASK …: products of f32 matrices, as contenders of compare.mjs. Tasks
// are words `MxKxN-FORM`; in FORM each operand is N (as it is) or T (stored transposed). A "step" is as many products as make
// some 20 million operations; its "loss" the sum of the product's first row, on which all must agree.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { uniform } from './instance.mjs';
import { decline, serveTasks } from './serve.mjs';

const [peer, ...words] = process.argv.slice(2);

let stock = new Float32Array(0);
/** The first `size` of the numbers that all contenders draw. */
function numbers(size) {
  if (stock.length < size) {
    const next = uniform(3);
    stock = new Float32Array(size);
    for (let i = 0; i < size; i++) stock[i] = next() * 2 - 1;
  }
  return stock;
}

/** One product: the operands as they are stored, and how often it is taken in a step. */
function operands(word) {
  const [shape, form] = word.split('-');
  const [m, k, n] = shape.split('x').map(Number);
  const drawn = numbers(m * k + k * n);
  const [a, b] = [drawn.slice(0, m * k), drawn.slice(m * k, m * k + k * n)];
  const times = Math.max(1, Math.round(20e6 / (2 * m * k * n)));
  return { m, k, n, a, b, ta: form[0] === 'T', tb: form[1] === 'T', times };
}

const sum = (row) => row.reduce((total, value) => total + value, 0);

const contenders = {
  partita(file = 'kernels.wasm') {
    const module = new WebAssembly.Module(readFileSync(new URL(`../../dist/${file}`, import.meta.url)));
    const at = (memory) => new WebAssembly.Instance(module, { env: { memory } }).exports;
    const probe = at(new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true }));
    return ({ m, k, n, a, b, ta, tb, times }) => {
      const offsets = [64];
      for (const bytes of [4 * a.length, 4 * b.length, 4 * m * n]) offsets.push((offsets.at(-1) + bytes + 63) & ~63);
      const pages = Math.ceil((offsets[3] + probe.gemmWorkspace(m, n, k)) / 65536);
      const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
      const { gemm } = at(memory);
      const [pa, pb, pc, ws] = offsets;
      new Float32Array(memory.buffer, pa, a.length).set(a);
      new Float32Array(memory.buffer, pb, b.length).set(b);
      const row = new Float32Array(memory.buffer, pc, n);
      const [ars, acs] = ta ? [1, m] : [k, 1];
      const [brs, bcs] = tb ? [1, k] : [n, 1];
      return () => {
        for (let i = 0; i < times; i++) gemm(m, n, k, pa, ars, acs, pb, brs, bcs, pc, n, 0, ws);
        return sum(row);
      };
    };
  },
  'partita-relaxed'() {
    setFlagsFromString('--experimental-wasm-relaxed-simd');
    return contenders.partita('kernels-relaxed.wasm');
  },
  async 'jax-js'() {
    const jax = await import('@jax-js/jax');
    await jax.init('wasm');
    jax.defaultDevice('wasm');
    const { numpy: np } = jax;
    return async ({ m, k, n, a, b, ta, tb, times }) => {
      const left = np.array(a).reshape(ta ? [k, m] : [m, k]);
      const right = np.array(b).reshape(tb ? [n, k] : [k, n]);
      const turned = (v, is) => (is ? v.transpose([1, 0]) : v);
      const product = jax.jit((p, q) => np.matmul(turned(p, ta), turned(q, tb)));
      const first = sum((await product(left.ref, right.ref).data()).subarray(0, n));
      return async () => {
        for (let i = 0; i < times; i++) {
          const c = product(left.ref, right.ref);
          await c.blockUntilReady();
          c.dispose();
        }
        return first;
      };
    };
  },
  async 'tfjs-wasm'() {
    const require = createRequire(import.meta.url);
    const tf = require('@tensorflow/tfjs');
    const wasm = require('@tensorflow/tfjs-backend-wasm');
    wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
    await tf.setBackend('wasm');
    await tf.ready();
    return ({ m, k, n, a, b, ta, tb, times }) => {
      const left = tf.tensor2d(a, ta ? [k, m] : [m, k]);
      const right = tf.tensor2d(b, tb ? [n, k] : [k, n]);
      const first = sum(tf.matMul(left, right, ta, tb).dataSync().subarray(0, n));
      return () => {
        for (let i = 0; i < times; i++) tf.matMul(left, right, ta, tb).dispose();
        return first;
      };
    };
  },
};

try {
  const prepare = await contenders[peer]();
  const tasks = {};
  for (const word of words) {
    const product = operands(word);
    tasks[word] = { step: await prepare(product), flops: 2 * product.m * product.k * product.n * product.times };
  }
  await serveTasks({ peer }, tasks);
} catch (error) {
  decline(error);
}
