import { readdirSync, readFileSync } from 'node:fs';

/**
 * Seconds that threads of this process have so far been ready to run and had no core, by the system's own account
 * (Linux: second figure of /proc/PID/task/TID/schedstat). undefined where the system does not tell. The difference around
 * a step says whether others have disturbed it.
 */
export function runDelaySeconds(): number | undefined {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync('/proc/self/task')) {
      try {
        nanoseconds += Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ')[1]);
      } catch {
        // A thread that has ended since the folder was read.
      }
    }
    return Number.isFinite(nanoseconds) ? nanoseconds / 1e9 : undefined;
  } catch {
    return undefined;
  }
}

/** A measurement with the seconds for which it was held up. */
export interface Timed {
  readonly seconds: number;
  readonly delaySeconds: number;
}

/** A step counts as undisturbed where its threads waited for cores for less than this share of it. */
const TOLERATED = 0.01;

const delayShare = ({ seconds, delaySeconds }: Timed): number => delaySeconds / seconds;

export const isUndisturbed = (run: Timed): boolean => delayShare(run) < TOLERATED;

/** The measurements that nobody disturbed; where they are few, the least disturbed third, of at least `least`. */
export function leastDisturbed<T extends Timed>(runs: readonly T[], least = 3): T[] {
  const quiet = runs.filter(isUndisturbed);
  const wanted = Math.min(runs.length, Math.max(least, Math.ceil(runs.length / 3)));
  if (quiet.length >= wanted) return quiet;
  return [...runs].sort((a, b) => delayShare(a) - delayShare(b)).slice(0, wanted);
}
