// A start that is ended: no further thread is started, the signal's reason is the error, and all threads are joined.
import { describe, expect, it } from 'vitest';
import { type DeviceThread, DeviceThreads, startThread } from '../../src/runtime/device-threads.ts';
import { ThreadCluster } from '../../src/runtime/thread-cluster.ts';
import { Session } from '../../src/train/session.ts';
import { onBusyMachines } from '../support/busy.ts';
import { stateful } from '../support/stateful.ts';

class CountedThreads extends DeviceThreads {
  readonly taken: DeviceThread[] = [];
  readonly #onTake: (count: number) => void;

  constructor(onTake: (count: number) => void) {
    super();
    this.#onTake = onTake;
  }

  override take(): DeviceThread {
    const thread = startThread();
    this.taken.push(thread);
    this.#onTake(this.taken.length);
    return thread;
  }

  get alive(): number {
    return this.taken.reduce((sum, { pool }) => sum + pool.threads.length, 0);
  }
}

const reason = new Error('SIGINT');
const spec = { backend: 'wasm', simd: 'strict', bytes: 65536, capacity: null } as const;

it('devices that have no program yet hold nothing, and play nothing', async () => {
  await using cluster = await ThreadCluster.start([spec]);
  await expect(cluster.read(0, 0, 4)).rejects.toMatchObject({ code: 'nothing-loaded' });
  await expect(cluster.step({ program: 'train', step: 0 }, () => 1)).rejects.toMatchObject({ code: 'unknown-program' });
});

describe('a start that is ended', onBusyMachines, () => {
  it('starts no more threads', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    await using threads = new CountedThreads((count) => count === 2 && controller.abort(reason));
    const specs = Array.from({ length: 12 }, () => spec);
    await expect(ThreadCluster.start(specs, { threads, signal })).rejects.toBe(reason);
    expect(threads.taken.length).toBeLessThan(specs.length);
    expect(threads.alive).toBe(0);
  });

  it('lets signals be heard between threads', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    // A signal's handler is a callback of the event loop.
    await using threads = new CountedThreads((count) => count === 1 && setImmediate(() => controller.abort(reason)));
    const specs = Array.from({ length: 12 }, () => spec);
    await expect(ThreadCluster.start(specs, { threads, signal })).rejects.toBe(reason);
    expect(threads.taken.length).toBeLessThan(specs.length);
    expect(threads.alive).toBe(0);
  });

  it.each(['comes up', 'is loaded', 'has been loaded'])('while a session %s', async (moment) => {
    const { plan, seed } = stateful({ devices: 2, rule: { kind: 'constant' } });
    const controller = new AbortController();
    await using threads = new CountedThreads((count) => {
      if (moment === 'comes up' && count === 2) setImmediate(() => controller.abort(reason));
    });
    const { signal } = controller;
    const onStart = () => {
      if (moment === 'is loaded') controller.abort(reason);
    };
    const opened = Session.open(plan, { seed, threads, signal, onStart });
    if (moment === 'has been loaded') {
      await using session = await opened;
      controller.abort(reason); // too late: who trains looks at the signal
      expect((await session.parameters()).size).toBeGreaterThan(0);
    } else {
      await expect(opened).rejects.toBe(reason);
    }
    if (moment !== 'has been loaded') expect(threads.alive).toBe(0);
  });
});
