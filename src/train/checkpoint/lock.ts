/**
 * One training a folder of checkpoints: two that write into one would remove each other's.
 *
 * The lock is a file that only one process can make; it says who holds it. A training that was killed leaves its own, which
 * the next one on this machine takes over: the process is gone, or its number belongs to one that began at another time.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { PartitaError } from '../../core/errors.ts';

const lockName = '.lock';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, in the system's own unit; null where the system does not tell. */
  readonly began: string | null;
}

/** A lock that is held until it is disposed of. */
export interface FolderLock extends Disposable {
  readonly dir: string;
}

/** Throws PartitaError where another training holds the folder. */
export function refuseHeldFolder(dir: string): void {
  const text = readLock(dir);
  if (text !== undefined) refuseHolder(dir, text);
}

/** Takes the lock of a folder that exists. Throws PartitaError where another training holds it. */
export function lockFolder(dir: string): FolderLock {
  const own = JSON.stringify({ pid: process.pid, host: hostname(), began: beginOf(process.pid) } satisfies Holder);
  for (;;) {
    try {
      writeFileSync(join(dir, lockName), own, { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const text = readLock(dir);
    if (text === undefined) continue;
    refuseHolder(dir, text);
    takeAway(dir, text);
  }
  return {
    dir,
    [Symbol.dispose]: () => {
      if (readLock(dir) === own) rmSync(join(dir, lockName), { force: true });
    },
  };
}

/** Removes a stale lock. Somebody else may have done so and hold the folder by now: that one's lock is put back. */
function takeAway(dir: string, stale: string): void {
  const aside = join(dir, `${lockName}.${process.pid}`);
  try {
    renameSync(join(dir, lockName), aside);
    if (readFileSync(aside, 'utf8') !== stale) linkSync(aside, join(dir, lockName));
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function readLock(dir: string): string | undefined {
  try {
    return readFileSync(join(dir, lockName), 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function refuseHolder(dir: string, text: string): void {
  const holder = parseHolder(text);
  // A kill between making the file and writing it leaves it empty.
  if (holder === undefined) return;
  const { pid, host } = holder;
  const isHere = host === hostname();
  if (isHere && !isRunning(holder)) return;
  const who = isHere ? (pid === process.pid ? 'this process' : `process ${pid}`) : `process ${pid} on ${host}`;
  throw new PartitaError('checkpoint-dir-locked', `${dir}: a training of ${who} writes its checkpoints there`, {
    fields: { dir, pid, host },
    remedy: isHere
      ? 'wait until it has ended, or give another --checkpoint.dir'
      : `give another --checkpoint.dir, or where that training has ended, remove ${join(dir, lockName)}`,
  });
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Holder;
    return Number.isInteger(holder.pid) && typeof holder.host === 'string' ? holder : undefined;
  } catch {
    return undefined;
  }
}

function isRunning({ pid, began }: Holder): boolean {
  try {
    process.kill(pid, 0); // sends nothing
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const now = beginOf(pid);
  return began === null || now === null || now === began;
}

/** Field 22 of Linux's /proc/PID/stat, which stand behind a name in parentheses. */
function beginOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
