import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { CoreWatch } from '../../src/runtime/core-watch.ts';

const busyFor = (milliseconds: number) => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};

describe('whether others want the cores', () => {
  it.skipIf(process.platform !== 'linux')(
    'is told by the system: a thread among three times as many as there are cores waits most of its time',
    async () => {
      const isOver = new Int32Array(new SharedArrayBuffer(4));
      const spin =
        'const { parentPort, workerData } = require("node:worker_threads"); parentPort.postMessage(0); while (Atomics.load(workerData, 0) === 0);';
      const options = { eval: true, workerData: isOver };
      const workers = Array.from({ length: 3 * availableParallelism() }, () => new Worker(spin, options));
      const begun = workers.map((w) => new Promise((resolve) => w.once('message', resolve)));
      const ended = workers.map((w) => new Promise((resolve) => w.once('exit', resolve)));
      await Promise.all(begun);
      const cores = new CoreWatch();
      busyFor(200);
      const share = cores.waitedShare();
      cores.close();
      Atomics.store(isOver, 0, 1);
      await Promise.all(ended);
      expect(share).toBeGreaterThan(0.3);
      expect(share).toBeLessThanOrEqual(1.01);
    },
  );

  it.skipIf(process.platform !== 'linux')('counts from the last look on: who sleeps waits for no core', async () => {
    const cores = new CoreWatch();
    busyFor(20);
    cores.waitedShare();
    // However busy the others are: a thread that sleeps is ready for the few moments at its end.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(cores.waitedShare()).toBeLessThan(0.5);
    cores.close();
  });

  it('is taken for granted where nobody tells', () => {
    const cores = new CoreWatch();
    cores.close();
    cores.close();
    expect(cores.waitedShare()).toBe(1);
  });
});
