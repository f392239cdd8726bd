// Orders that devices begin ahead of the host, at the cluster itself: two devices meet at a barrier, and each copies a word behind it.
import { setTimeout as sleep } from 'node:timers/promises';
import { MessagePort } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { Control } from '../../src/runtime/control.ts';
import type { ClusterOptions } from '../../src/runtime/device-cluster.ts';
import type { DeviceImage } from '../../src/runtime/device-image.ts';
import { type DeviceThread, startThread } from '../../src/runtime/device-threads.ts';
import { ThreadCluster } from '../../src/runtime/thread-cluster.ts';
import type { DeviceStart } from '../../src/runtime/wire.ts';
import { onBusyMachines } from '../support/busy.ts';
import { barrier, bufferOf, copy, deviceOf } from '../support/instructions.ts';

const DEVICES = [0, 1];
const [FROM, TO] = [0, 16];
const image: DeviceImage = {
  program: deviceOf(
    [bufferOf(0, 16, { persistent: 'from' }), bufferOf(1, 16, { persistent: 'to' })],
    [barrier, copy(0, 1)],
  ),
  offsets: [FROM, TO],
  peerOffsets: DEVICES.map(() => [FROM, TO]),
  deaths: [[], []],
  persistent: [FROM, TO].map((offset) => ({ offset, bytes: 16, category: 'parameters' })),
  feeds: [],
  results: [],
};

async function started(faults: ClusterOptions['faults'] = {}, taken: DeviceThread[] = []): Promise<ThreadCluster> {
  const spec = { backend: 'wasm', simd: 'strict', bytes: 65536, capacity: null } as const;
  const cluster = await ThreadCluster.start(
    DEVICES.map(() => spec),
    { faults, threads: { take: () => taken[taken.push(startThread()) - 1]! } },
  );
  await cluster.load(
    'copy',
    DEVICES.map(() => image),
  );
  for (const d of DEVICES) await cluster.fill(d, 0, 32, (bytes) => bytes.fill(0));
  return cluster;
}
/** Behind it the devices of an order have ended it, and the host, which has not let its event loop turn, has not heard. */
async function watched(faults: ClusterOptions['faults'] = {}) {
  const posted = vi.spyOn(MessagePort.prototype, 'postMessage');
  const cluster = await started(faults);
  const starts = posted.mock.calls.map(([message]) => message as Partial<DeviceStart>);
  posted.mockRestore();
  const control = new Control(starts.find((start) => start.control)!.control!, DEVICES.length);
  const waitForEnd = (devices: readonly number[]): void => {
    const end = performance.now() + 20_000;
    while (devices.some((d) => control.outcome(d, control.orders) === 'none')) {
      if (performance.now() > end) throw new Error('the devices do not end their step');
    }
  };
  return { cluster, waitForEnd };
}
const give = async (cluster: ThreadCluster, value: number): Promise<void> => {
  for (const d of DEVICES) await cluster.write(d, FROM, Uint8Array.of(value));
};
const copied = (cluster: ThreadCluster): Promise<number[]> =>
  Promise.all(DEVICES.map(async (d) => (await cluster.read(d, TO, 1))[0]!));
const predict = (): number => 1e-3;
const at = (step: number) => ({ program: 'copy', step });

describe('an order ahead', () => {
  it('is one at a time, changes nothing until it is asked for, and runs once', async () => {
    await using cluster = await started();
    await give(cluster, 7);
    expect([cluster.begin(at(0), predict), cluster.begin(at(1), predict)]).toEqual([true, false]);
    await sleep(20);
    expect(await copied(cluster)).toEqual([0, 0]);
    await cluster.step(at(0), predict);
    expect(await copied(cluster)).toEqual([7, 7]);
    await give(cluster, 8);
    await cluster.step(at(1), predict);
    expect(await copied(cluster)).toEqual([8, 8]);
  });

  it('that is forgone changes nothing, and makes room for another', async () => {
    await using cluster = await started();
    await cluster.forgo();
    await give(cluster, 7);
    for (let step = 0; step < 3; step++) {
      expect(cluster.begin(at(step), predict)).toBe(true);
      await cluster.forgo();
      expect(await copied(cluster)).toEqual([0, 0]);
    }
    expect(cluster.begin(at(3), predict)).toBe(true);
    await cluster.step(at(3), predict);
    expect(await copied(cluster)).toEqual([7, 7]);
  });

  it.each([0, 50])('in which a device fails is as if it had never begun once it is forgone %i ms later', async (ms) => {
    const faults = { 1: [0, 2].map((step) => ({ kind: 'throw', step, instruction: 0 }) as const) };
    await using cluster = await started(faults);
    await give(cluster, 7);
    expect(cluster.begin(at(0), predict)).toBe(true);
    if (ms > 0) await sleep(ms); // the other device waits at the barrier by now
    await cluster.forgo();
    await cluster.step(at(1), predict);
    expect(await copied(cluster)).toEqual([7, 7]);
    expect(cluster.begin(at(2), predict)).toBe(true);
    if (ms > 0) await sleep(ms);
    await expect(cluster.step(at(2), predict)).rejects.toMatchObject({ code: 'kernel-failed', fields: { device: 1 } });
  });

  it('in which a device fails leaves nothing behind that ends a later step', async () => {
    const rounds = Array.from({ length: 300 }, (_, round) => 2 * round);
    await using cluster = await started({ 1: rounds.map((step) => ({ kind: 'throw', step, instruction: 0 })) });
    for (const step of rounds) {
      await give(cluster, step % 256);
      expect(cluster.begin(at(step), predict)).toBe(true);
      await cluster.forgo();
      await cluster.step(at(step + 1), predict);
      expect(await copied(cluster)).toEqual([step % 256, step % 256]);
    }
  });

  it('is not given behind a step in which a device has failed, nor to a cluster that has', async () => {
    const faults = {
      0: [{ kind: 'delay', step: 0, instruction: 0, seconds: 0.5 } as const],
      1: [{ kind: 'throw', step: 0, instruction: 0 } as const],
    };
    const { cluster, waitForEnd } = await watched(faults);
    await using _ = cluster;
    const failed = expect(cluster.step(at(0), predict)).rejects.toMatchObject({ code: 'kernel-failed' });
    waitForEnd([1]);
    expect(cluster.begin(at(1), predict)).toBe(false);
    await failed;
    expect(cluster.begin(at(1), predict)).toBe(false);
    await cluster.forgo();
  });

  it('ends where the cluster is aborted', async () => {
    const cluster = await started();
    expect(cluster.begin(at(0), predict)).toBe(true);
    cluster.abort(new Error('enough'));
    await cluster.forgo();
    await expect(cluster.step(at(0), predict)).rejects.toMatchObject({ code: 'session-failed' });
    await cluster.close();
  });

  it('is let go where the cluster closes, whose threads end by themselves', onBusyMachines, async () => {
    const taken: DeviceThread[] = [];
    const cluster = await started({}, taken);
    expect(cluster.begin(at(0), predict)).toBe(true);
    const closing = cluster.close();
    expect(cluster.close()).toBe(closing);
    await closing;
    expect(await Promise.all(taken.map(({ task }) => task))).toEqual(DEVICES);
    expect(cluster.begin(at(1), predict)).toBe(false);
    await expect(cluster.step(at(1), predict)).rejects.toThrow('the session is closed');
  });
});

describe('a step', () => {
  const code = (code: string) => expect.objectContaining({ code });

  it('that is aborted before it begins leaves the cluster as it is', async () => {
    await using cluster = await started();
    await give(cluster, 7);
    await expect(cluster.step(at(0), predict, AbortSignal.abort())).rejects.toThrow(code('aborted'));
    expect(await copied(cluster)).toEqual([0, 0]);
    await cluster.step(at(0), predict);
    expect(await copied(cluster)).toEqual([7, 7]);
  });

  it('that is aborted when all devices have ended it, and the host has not heard of it, is aborted', async () => {
    const { cluster, waitForEnd } = await watched();
    await using _ = cluster;
    const controller = new AbortController();
    const ended = expect(cluster.step(at(0), predict, controller.signal)).rejects.toThrow(code('aborted'));
    waitForEnd(DEVICES);
    controller.abort();
    await ended;
    await expect(cluster.step(at(1), predict)).rejects.toThrow(code('session-failed'));
  });

  it('says that the cluster was closed where it was under way', async () => {
    const cluster = await started({ 0: [{ kind: 'delay', step: 0, instruction: 0, seconds: 0.2 }] });
    const message = 'the session was closed during a step';
    const ended = expect(cluster.step(at(0), predict)).rejects.toMatchObject({ code: 'closed', message });
    await cluster.close();
    await ended;
  });
});
