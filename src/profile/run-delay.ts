import { readdirSync, readFileSync } from 'node:fs';
import { requireKinds } from '../core/options.ts';

/** Threads that have run for less than this share of a while are not what was measured. */
const IDLE_SHARE = 0.02;

/** Nanoseconds for which each of this process's threads has run so far, and was ready to run and had no core. */
type Account = ReadonlyMap<string, readonly [ran: number, waited: number]>;

/** By the system's own account (Linux: /proc/PID/task/TID/schedstat); undefined where it keeps none. */
function readAccount(): Account | undefined {
  try {
    const account = new Map<string, readonly [number, number]>();
    for (const thread of readdirSync('/proc/self/task')) {
      try {
        const [ran, waited] = readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ').map(Number);
        if (!Number.isFinite(ran! + waited!)) return undefined;
        account.set(thread, [ran!, waited!]);
      } catch {
        // A thread that has ended since the folder was read.
      }
    }
    return account;
  } catch {
    return undefined;
  }
}

/**
 * Begins to watch whether others take the cores. What it returns gives the longest, in seconds, that since then any thread
 * that works was ready to run and had no core: 0 where the system does not tell. The host's own thread does not count,
 * which waits for the devices and gives way to them where they have all cores.
 */
export function watchRunDelay(): () => number {
  const [begin, before] = [performance.now(), readAccount()];
  return () => {
    const after = readAccount();
    if (!before || !after) return 0;
    const least = IDLE_SHARE * 1e6 * (performance.now() - begin);
    let longest = 0;
    for (const [thread, [ran, waited]] of after) {
      const [ranBefore, waitedBefore] = before.get(thread) ?? [0, 0];
      if (thread !== String(process.pid) && ran - ranBefore > least) longest = Math.max(longest, waited - waitedBefore);
    }
    return longest / 1e9;
  };
}

/** A measurement with the seconds for which it was held up. */
export interface Timed {
  readonly seconds: number;
  readonly delaySeconds: number;
}

/** A step counts as undisturbed where no thread waited for a core for more than this share of it. */
const TOLERATED = 0.02;

const delayShare = ({ seconds, delaySeconds }: Timed): number => delaySeconds / seconds;

export const isUndisturbed = (run: Timed): boolean => delayShare(run) < TOLERATED;

/** The measurements that nobody disturbed; where they are few, the least disturbed third, of at least `least`. */
export function leastDisturbed<T extends Timed>(runs: readonly T[], least = 3): T[] {
  requireKinds('leastDisturbed', { runs: ['list', runs], least: ['index', least] });
  const quiet = runs.filter(isUndisturbed);
  const wanted = Math.min(runs.length, Math.max(least, Math.ceil(runs.length / 3)));
  if (quiet.length >= wanted) return quiet;
  return [...runs].sort((a, b) => delayShare(a) - delayShare(b)).slice(0, wanted);
}
