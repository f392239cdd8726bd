import { MessagePort, Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LOOK_SECONDS } from '../../src/cost/analytic.ts';
import { Control } from '../../src/runtime/control.ts';
import { DeviceThreads } from '../../src/runtime/device-threads.ts';
import { Session } from '../../src/train/session.ts';
import { onBusyMachines } from '../support/busy.ts';
import { f32, planOf, threeLayers, toHex } from '../support/models.ts';

const plan = planOf(threeLayers, {
  devices: 2,
  microbatches: 2,
  programs: { train: { batch: 8, mode: 'train' }, forward: { batch: 8, mode: 'forward', outputs: true } },
  partition: { cuts: ['matmul_2'] },
});
const batchOf = (step: number) => ({ x: f32([8, 6], 2 * step + 1), t: f32([8, 3], 2 * step + 2) });

describe.each(['threads', 'local'] as const)('a batch staged while the devices compute (%s)', (transport) => {
  let [session, plain] = [] as unknown as [Session, Session];
  beforeEach(async () => {
    [session, plain] = await Promise.all([Session.open(plan, { transport }), Session.open(plan, { transport })]);
  });
  afterEach(async () => {
    await Promise.all([session.close(), plain.close()]);
  });

  it('gives the same bits, whatever the source does to its tensors, with other runs in between', async () => {
    const buffer = batchOf(0);
    let staged = session.stage('train', buffer, { step: 0 });
    for (let step = 0; step < 4; step++) {
      const result = await session.runStaged(staged, {
        lr: 0.1 / (step + 1),
        meanwhile: () => {
          const next = batchOf(step + 1);
          buffer.x.data.set(next.x.data);
          buffer.t.data.set(next.t.data);
          staged = session.stage('train', buffer, { step: step + 1 });
          buffer.x.data.fill(Number.NaN);
        },
      });
      const expected = await plain.run('train', batchOf(step), { step, lr: 0.1 / (step + 1) });
      expect(result.loss).toBe(expected.loss);
      // Neither eats what is staged.
      const [a, b] = await Promise.all([session.run('forward', batchOf(9)), plain.run('forward', batchOf(9))]);
      expect(toHex(a.results.get('output/y')!)).toBe(toHex(b.results.get('output/y')!));
    }
    expect(await session.parameters()).toEqual(await plain.parameters());
  });

  it('runs once, and not when another has taken its place', async () => {
    const first = session.stage('train', batchOf(0));
    const second = session.stage('train', batchOf(1));
    await expect(session.runStaged(first)).rejects.toMatchObject({ code: 'staged-batch' });
    expect((await session.runStaged(second)).loss).toBe((await plain.run('train', batchOf(1))).loss);
    await expect(session.runStaged(second)).rejects.toMatchObject({ code: 'staged-batch' });
  });

  it('is lost where the next one cannot be staged: its area is half overwritten', async () => {
    const first = session.stage('train', batchOf(0));
    expect(() => session.stage('train', { ...batchOf(1), t: f32([8, 4], 1) })).toThrow('input t is');
    await expect(session.runStaged(first)).rejects.toMatchObject({ code: 'staged-batch' });
    expect((await session.run('train', batchOf(0))).loss).toBe((await plain.run('train', batchOf(0))).loss);
  });

  it('leaves the step whole where what the host does meanwhile fails', async () => {
    const failing = session.run('train', batchOf(0), {
      meanwhile: () => {
        throw new Error('no more');
      },
    });
    await expect(failing).rejects.toThrow('no more');
    await plain.run('train', batchOf(0));
    expect(await session.parameters()).toEqual(await plain.parameters());
    expect((await session.run('train', batchOf(1))).loss).toBe((await plain.run('train', batchOf(1))).loss);
  });
});

it('the host is at its own work while devices compute, not behind them', onBusyMachines, async () => {
  const faults = { 1: [{ kind: 'delay', step: 0, instruction: 0, seconds: 0.3 }] } as const;
  await using session = await Session.open(plan, { faults });
  const began = performance.now();
  let meanwhile = Number.NaN;
  await session.run('train', batchOf(0), { meanwhile: () => (meanwhile = performance.now() - began) });
  expect(performance.now() - began).toBeGreaterThan(300);
  expect(meanwhile).toBeLessThan(250);
});

it('calls are answered between steps, while devices sleep', async () => {
  await using session = await Session.open(plan);
  for (let step = 0; step < 5; step++) {
    await session.run('train', batchOf(step), { step });
    await new Promise((resolve) => setTimeout(resolve, step * 10)); // asleep, or not yet
    expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  }
});

it(
  'a bell wakes who sleeps, between steps and within one: nobody waits for the backstop of a second',
  onBusyMachines,
  async () => {
    const delays = [0, 1, 2].map((step) => ({ kind: 'delay', step, instruction: 0, seconds: 0.05 }) as const);
    await using session = await Session.open(plan, { audit: false, faults: { 0: delays } });
    const seconds: number[] = [];
    for (let step = 0; step < 3; step++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      const begin = performance.now();
      await session.run('train', batchOf(step), { step });
      seconds.push((performance.now() - begin) / 1000);
    }
    expect(Math.min(...seconds)).toBeLessThan(0.5);
  },
);

describe('a device that waits', () => {
  it('is told by the session for how long it looks on', async () => {
    const told = vi.spyOn(MessagePort.prototype, 'postMessage');
    for (const [lookSeconds, expected] of [
      [undefined, LOOK_SECONDS],
      [0, 0],
      [0.05, 0.05],
    ]) {
      told.mockClear();
      await (await Session.open(plan, { lookSeconds })).close();
      const starts = told.mock.calls.flatMap(([m]) => (m && typeof m === 'object' && 'memories' in m ? [m] : []));
      expect(starts).toMatchObject([{ lookSeconds: expected }, { lookSeconds: expected }]);
    }
    told.mockRestore();
  });

  it('looks on for no longer than a tenth of a second, or would be taken for stuck', async () => {
    for (const lookSeconds of [-1, Number.NaN, 0.2]) {
      for (const transport of ['threads', 'local'] as const) {
        await expect(Session.open(plan, { lookSeconds, transport })).rejects.toMatchObject({ code: 'look-seconds' });
      }
    }
  });
});

it('recorded times are one for each instruction, in their order', async () => {
  await using session = await Session.open(plan, { audit: false });
  for (const profile of [true, false, true]) {
    const { reports } = await session.run('train', batchOf(0), { profile });
    for (const [device, { times, seconds, busySeconds }] of reports.entries()) {
      expect(busySeconds).toBeGreaterThan(0);
      expect(busySeconds).toBeLessThanOrEqual(seconds);
      if (!profile) expect(times).toBeNull();
      else {
        expect(times).toHaveLength(2 * plan.programs.train!.devices[device]!.instructions.length);
        expect([...times!]).toEqual([...times!].sort((a, b) => a - b));
        expect((times!.at(-1)! - times![0]!) / 1000).toBeLessThanOrEqual(seconds);
      }
    }
  }
});

describe('the control block between steps', () => {
  it('tells mail that is read from mail that is not, whichever is counted first', () => {
    const control = Control.create(2);
    expect(control.hasMail(1, 0)).toBe(false);
    control.countMail(1);
    expect(control.hasMail(1, 0)).toBe(true);
    expect(control.hasMail(0, 0)).toBe(false);
    expect(control.hasMail(1, 1)).toBe(false);
    expect(control.hasMail(1, 2)).toBe(false); // read before it was counted
  });

  it('carries an order and how each device has ended it', () => {
    const control = Control.create(2);
    const first = { program: 1, step: 7, profile: true, area: 1, isAhead: false };
    const second = { program: 2, step: 8, profile: false, area: 0, isAhead: true };
    expect([control.give(first), control.orders, control.orderAt(1)]).toEqual([1, 1, first]);
    expect(control.outcome(1, 1)).toBe('none');
    expect(control.end(1, 1, 'plain', 0.5, 0.25)).toBe(false);
    // The next is given, and ended by one device, before the other has ended the first.
    expect([control.give(second), control.orders, control.orderAt(2), control.orderAt(1)]).toEqual([
      2,
      2,
      second,
      first,
    ]);
    expect([control.outcome(1, 1), control.outcome(1, 2)]).toEqual(['plain', 'none']);
    expect(control.end(1, 2, 'detailed', 4, 3)).toBe(false);
    expect(control.end(0, 1, 'detailed')).toBe(true);
    expect([control.outcome(0, 1), control.outcome(1, 1)]).toEqual(['detailed', 'plain']);
    expect(control.seconds(1, 1)).toEqual({ seconds: 0.5, busySeconds: 0.25 });
    expect(control.seconds(1, 2)).toEqual({ seconds: 4, busySeconds: 3 });
    control.give(first);
    expect([control.outcome(1, 3), control.outcome(1, 2)]).toEqual(['none', 'detailed']);
  });

  it.each(['give', 'countMail'] as const)('%s wakes a device that sleeps', async (wake) => {
    const control = Control.create(1);
    // Waits as a device does between steps: says that it sleeps for work, and waits on the first word of its block until that changes.
    const sleeper = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
       const bell = new Int32Array(workerData);
       Atomics.store(bell, 16 + 23, -1);
       parentPort.postMessage('asleep');
       parentPort.postMessage(Atomics.wait(bell, 16, 0, 10000));`,
      { eval: true, workerData: control.buffer },
    );
    const messages: string[] = [];
    await new Promise<void>((resolve, reject) => {
      sleeper.on('error', reject);
      sleeper.on('message', (message: string) => {
        if (messages.push(message) === 2) resolve();
        else
          setTimeout(
            () =>
              wake === 'give'
                ? control.give({ program: 0, step: 0, profile: false, area: 0, isAhead: false })
                : control.countMail(0),
            20,
          );
      });
    });
    expect(messages[1]).not.toBe('timed-out');
    await sleeper.terminate();
  });
});

describe('threads that were started before their plan', () => {
  it('are taken by the session, and the rest end', async () => {
    const threads = new DeviceThreads();
    threads.start(3);
    const session = await Session.open(plan, { threads });
    const { loss } = await session.run('train', batchOf(0));
    await using plain = await Session.open(plan);
    expect(loss).toBe((await plain.run('train', batchOf(0))).loss);
    await session.close();
    const left = threads.take()!;
    expect(threads.take()).toBeUndefined();
    await threads[Symbol.asyncDispose]();
    left.port.close();
    await left.pool.destroy();
    await left.task.catch(() => {});
  });

  it('end where there is no session', async () => {
    const threads = new DeviceThreads();
    threads.start(1);
    await threads[Symbol.asyncDispose]();
    expect(threads.take()).toBeUndefined();
  });

  it('say that they are lost where that was before the session', async () => {
    const threads = new DeviceThreads();
    threads.start(1);
    const thread = threads.take()!;
    await thread.pool.destroy();
    await thread.task.catch(() => {});
    await expect(Session.open(planOf(threeLayers), { threads: { take: () => thread } })).rejects.toMatchObject({
      code: 'device-lost',
    });
  });
});
