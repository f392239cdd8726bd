import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { accountOfThread, CoreWatch } from '../../src/runtime/core-watch.ts';

const busyFor = (milliseconds: number) => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};

afterEach(() => {
  vi.restoreAllMocks();
});

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
      // As if this thread were the host as well: what it runs is taken off.
      const besideHost = new CoreWatch(accountOfThread());
      busyFor(200);
      const [share, others] = [cores.waitedShare(), besideHost.waitedShare()];
      cores.close();
      besideHost.close();
      Atomics.store(isOver, 0, 1);
      await Promise.all(ended);
      expect(share).toBeGreaterThan(0.3);
      expect(share).toBeLessThanOrEqual(1.01);
      // It either runs or waits.
      expect(Math.abs(others - Math.max(0, share - (1 - share)))).toBeLessThan(0.15);
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

describe('a thread that may look on', () => {
  /** What it is told at looks at the system's account which say these shares of waiting. */
  function told(shares: readonly number[]): string {
    const cores = new CoreWatch();
    vi.spyOn(performance, 'now').mockReturnValue(Number.MAX_SAFE_INTEGER); // the next look is due
    const share = vi.spyOn(cores, 'waitedShare');
    const answers = shares.map((s) => {
      share.mockReturnValueOnce(s);
      return cores.isFree() ? 'y' : 'n';
    });
    vi.restoreAllMocks();
    cores.close();
    return answers.join('');
  }
  const [free, taken] = [0.05, 0.5];
  const times = (n: number, s: number) => new Array<number>(n).fill(s);

  it('does while nobody else wants its core, and not while others do', () => {
    expect(told(times(4, free))).toBe('yyyy');
    expect(told(times(4, taken))).toBe('nnnn');
    expect(told([...times(4, taken), free])).toBe('nnnny');
  });

  it('pauses twice as long each time that it is found out anew, and half as long behind each look that it was not', () => {
    // Beside one who wants the core whenever this thread looks on.
    expect(told([free, taken, free, taken, free, free, taken, ...times(4, free)])).toBe('ynynnynnnny');
    // Twice not found out in between: a pause of one again.
    expect(told([free, taken, free, taken, free, free, free, free, taken, free])).toBe('ynynnyyyny');
  });

  it('pauses for no more than 128 looks', () => {
    const cores = new CoreWatch();
    vi.spyOn(performance, 'now').mockReturnValue(Number.MAX_SAFE_INTEGER);
    // Beside one who is in its way whenever it looks on, and never else.
    let isFree = false;
    vi.spyOn(cores, 'waitedShare').mockImplementation(() => (isFree ? taken : free));
    const pauses: number[] = [0];
    for (let look = 0; look < 1000; look++) {
      isFree = cores.isFree();
      if (isFree) pauses.push(0);
      else pauses[pauses.length - 1]!++;
    }
    vi.restoreAllMocks();
    cores.close();
    expect(pauses.slice(0, 11)).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 128, 128, 128]);
  });

  it.skipIf(process.platform !== 'linux')('asks the system again after a while, not at every step', () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    const cores = new CoreWatch();
    const share = vi.spyOn(cores, 'waitedShare');
    const asked = [0, 4, 6, 6, 10, 12, 12, 100].map((now) => {
      clock.mockReturnValue(now);
      cores.isFree();
      return share.mock.calls.length;
    });
    cores.close();
    expect(asked).toEqual([0, 0, 1, 1, 1, 2, 2, 3]);
  });

  it('does not where nobody tells of the host', () => {
    const cores = new CoreWatch('/proc/none');
    expect([cores.waitedShare(), cores.isFree()]).toEqual([1, false]);
    cores.close();
  });

  it('does not where nobody tells', () => {
    const cores = new CoreWatch();
    cores.close();
    expect([cores.isFree(), cores.isFree()]).toEqual([false, false]);
  });
});
