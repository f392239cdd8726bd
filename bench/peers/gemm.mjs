// node gemm.mjs partita|partita-fused|jax-js|tfjs-wasm M K N: products of f32 matrices, as contenders of compare.mjs. A "step" is as many
// products as make some 20 million operations; its "loss" the first element, which all must agree on.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { uniform } from './instance.mjs';
import { decline, serve } from './serve.mjs';

const peer = process.argv[2];
const [m, k, n] = process.argv.slice(3).map(Number);
const times = Math.max(1, Math.round(20e6 / (2 * m * k * n)));
const next = uniform(3);
const a = Float32Array.from({ length: m * k }, () => next() * 2 - 1);
const b = Float32Array.from({ length: k * n }, () => next() * 2 - 1);

const contenders = {
  partita: (file = 'kernels.wasm') => {
    const module = new WebAssembly.Module(readFileSync(new URL(`../../dist/${file}`, import.meta.url)));
    const probe = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
    const at = (memory) => new WebAssembly.Instance(module, { env: { memory } }).exports;
    const workspace = at(probe).gemmWorkspace(m, k, n);
    const offsets = [64];
    for (const bytes of [4 * a.length, 4 * b.length, 4 * m * n]) offsets.push((offsets.at(-1) + bytes + 63) & ~63);
    const pages = Math.ceil((offsets[3] + workspace) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const { gemm } = at(memory);
    new Float32Array(memory.buffer, offsets[0], a.length).set(a);
    new Float32Array(memory.buffer, offsets[1], b.length).set(b);
    const c = new Float32Array(memory.buffer, offsets[2], m * n);
    return () => {
      for (let i = 0; i < times; i++) gemm(m, n, k, offsets[0], k, 1, offsets[1], n, 1, offsets[2], n, 0, offsets[3]);
      return c[0];
    };
  },
  'partita-fused': () => {
    setFlagsFromString('--experimental-wasm-relaxed-simd');
    return contenders.partita('kernels-relaxed.wasm');
  },
  async 'jax-js'() {
    const jax = await import('@jax-js/jax');
    await jax.init('wasm');
    jax.defaultDevice('wasm');
    const { numpy: np } = jax;
    const [left, right] = [np.array(a).reshape([m, k]), np.array(b).reshape([k, n])];
    const product = jax.jit((p, q) => np.matmul(p, q));
    const [first] = await product(left.ref, right.ref).data();
    return async () => {
      for (let i = 0; i < times; i++) {
        const c = product(left.ref, right.ref);
        await c.blockUntilReady();
        c.dispose();
      }
      return first;
    };
  },
  async 'tfjs-wasm'() {
    const require = createRequire(import.meta.url);
    const tf = require('@tensorflow/tfjs');
    const wasm = require('@tensorflow/tfjs-backend-wasm');
    wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
    await tf.setBackend('wasm');
    await tf.ready();
    const [left, right] = [tf.tensor2d(a, [m, k]), tf.tensor2d(b, [k, n])];
    const [first] = tf.matMul(left, right).dataSync();
    return () => {
      for (let i = 0; i < times; i++) tf.matMul(left, right).dispose();
      return first;
    };
  },
};

try {
  const product = await contenders[peer]();
  await serve({ peer, flops: 2 * m * k * n * times }, product);
} catch (error) {
  decline(error);
}
