// A thread of a native library's test: begins when the others are here, and tells what is wrong.
import { parentPort, workerData } from 'node:worker_threads';
import { openBlas } from '../src/backends/blas/library.ts';
import type { SelfTestTask } from '../src/backends/blas/self-test.ts';
import { tryProducts } from '../src/backends/blas/try-products.ts';

const { file, gate, threads, seed, milliseconds } = workerData as SelfTestTask;
const blas = openBlas(file);
const here = new Int32Array(gate);
if (Atomics.add(here, 0, 1) + 1 === threads) Atomics.notify(here, 0);
for (let count = Atomics.load(here, 0); count < threads; count = Atomics.load(here, 0)) {
  Atomics.wait(here, 0, count, 1000);
}
parentPort!.postMessage(tryProducts(blas, seed, milliseconds));
