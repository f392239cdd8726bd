// A thread that is ended from outside, at any moment of a training: within a step, between two, or while it is ahead of the
// host. The training ends within 2 s and names the device, nothing is read afterwards, and all threads are joined.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { PartitaError } from '../../src/core/errors.ts';
import { type DeviceThread, DeviceThreads, startThread } from '../../src/runtime/device-threads.ts';
import { Session } from '../../src/train/session.ts';
import { train } from '../../src/train/trainer.ts';
import { onBusyMachines } from '../support/busy.ts';
import { stateful } from '../support/stateful.ts';

class WatchedThreads extends DeviceThreads {
  readonly taken: DeviceThread[] = [];
  override take(): DeviceThread {
    const thread = startThread();
    this.taken.push(thread);
    return thread;
  }
}

const moments = ['within a step', 'between steps', 'ahead of the host'] as const;

describe('a thread that is ended from outside', onBusyMachines, () => {
  it.each(moments.flatMap((moment) => [0, 1].map((victim) => [moment, victim] as const)))(
    '%s: device %i',
    async (moment, victim) => {
      const { plan, seed, training } = stateful({ devices: 2, rule: { kind: 'constant' } });
      await using threads = new WatchedThreads();
      const session = await Session.open(plan, { seed, threads, audit: false });
      let ended = 0;
      const end = () => {
        ended = performance.now();
        void threads.taken[victim]!.pool.threads[0]!.terminate();
      };
      const steps: number[] = [];
      let error: PartitaError | undefined;
      let tookSeconds = 0;
      try {
        if (moment === 'within a step') setTimeout(end, 30 + 40 * victim);
        for await (const { step } of train({ session, ...training, steps: 1e6 })) {
          steps.push(step);
          if (step !== 4 || moment === 'within a step') continue;
          if (moment === 'between steps') await sleep(30); // whoever is ahead waits at its barrier by now
          end();
          if (moment === 'between steps') await sleep(30); // known before the next step is asked for
        }
      } catch (thrown) {
        error = thrown as PartitaError;
        tookSeconds = (performance.now() - ended) / 1000;
      }
      expect(error?.message).toContain(`device ${victim} was lost`);
      expect(['device-lost', 'session-failed']).toContain(error!.code);
      expect(error!.fields.device).toBe(victim);
      expect(tookSeconds).toBeLessThan(2);
      expect(steps).toEqual(steps.map((_, i) => i));
      await expect(session.parameters()).rejects.toMatchObject({ code: 'session-failed' });
      await session.close();
      expect(threads.taken.map(({ pool }) => pool.threads.length)).toEqual([0, 0]);
    },
  );
});
