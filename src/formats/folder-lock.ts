/**
 * One writer a folder: of two trainings, or two studies, that write into one, each would replace or remove the other's files.
 *
 * The lock is a file that only one process can make; it says who holds it. A process that was killed leaves its own, which
 * the next one on this machine takes over: the process is gone, or its number belongs to one that began at another time.
 */
import { randomBytes } from 'node:crypto';
import { constants, copyFileSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { PartitaError } from '../core/errors.ts';

/** What a folder is held for. A folder may be held for several uses at once: their files have other names. */
export interface FolderUse {
  /** Of the lock: `.lock`. */
  readonly file: string;
  /** Of the error where the folder is held. */
  readonly code: string;
  /** Stands behind the folder's name: `a training`, `writes its checkpoints there`. */
  readonly who: string;
  readonly does: string;
  /** Names another folder: `--checkpoint.dir`. */
  readonly flag: string;
}

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

/** Throws PartitaError where the folder is held for this use. */
export function refuseHeldFolder(dir: string, use: FolderUse): void {
  const text = readLock(join(dir, use.file));
  if (text !== undefined) refuseHolder(dir, use, text);
}

/** Takes the lock of a folder that exists. Throws PartitaError where another process, or this one, holds it for the same use. */
export function lockFolder(dir: string, use: FolderUse): FolderLock {
  const file = join(dir, use.file);
  const own = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    began: statusOf(process.pid)?.began ?? null,
  } satisfies Holder);
  for (;;) {
    if (makeLock(file, own)) break;
    const text = readWhole(file);
    if (text === undefined) continue;
    refuseHolder(dir, use, text);
    takeAway(file, text);
  }
  return {
    dir,
    [Symbol.dispose]: () => {
      if (readLock(file) === own) rmSync(file, { force: true });
    },
  };
}

/**
 * False where there is a lock already. It has its content before it has its name, so that nobody reads half of one; without
 * hard links, its name a moment earlier.
 */
function makeLock(file: string, content: string): boolean {
  // A name by which `removeLeftovers` knows it, should this process be killed here.
  const made = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    writeFileSync(made, content);
    try {
      linkSync(made, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
      // File systems without hard links (FAT, some network drives) say so in many ways.
      writeFileSync(file, content, { flag: 'wx' });
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(made, { force: true });
  }
}

/**
 * Removes a stale lock. Somebody else may have done so and hold the folder by now: that one's lock is left, or where it came in
 * the moment between, put back. (Who makes a third in that moment's moment is not kept out.)
 */
function takeAway(file: string, stale: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    if (readLock(file) !== stale) return;
    renameSync(file, aside);
    if (readFileSync(aside, 'utf8') !== stale) putBack(aside, file);
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function putBack(aside: string, file: string): void {
  try {
    linkSync(aside, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    copyFileSync(aside, file, constants.COPYFILE_EXCL);
  }
}

/** An empty lock is one that is being written, where there are no hard links; who leaves it so was killed. */
function readWhole(file: string): string | undefined {
  if (readLock(file) === '') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MILLISECONDS_TO_WRITE);
  return readLock(file);
}

const MILLISECONDS_TO_WRITE = 50;

function readLock(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function refuseHolder(dir: string, { file, code, who, does, flag }: FolderUse, text: string): void {
  const holder = parseHolder(text);
  // Without hard links, a kill between making the file and writing it leaves it empty.
  if (holder === undefined) return;
  const { pid, host } = holder;
  const isHere = host === hostname();
  if (isHere && !isRunning(holder)) return;
  const wasAsked = statusOf(pid) !== undefined; // else its number may have been given again
  const holds = isHere ? (pid === process.pid ? 'this process' : `process ${pid}`) : `process ${pid} on ${host}`;
  throw new PartitaError(code, `${dir}: ${who} of ${holds} ${does}`, {
    fields: { dir, pid, host },
    remedy: isHere
      ? `wait until it has ended, or give another ${flag}${wasAsked ? '' : `; where it is another process, remove ${join(dir, file)}`}`
      : `give another ${flag}, or where that process has ended, remove ${join(dir, file)}`,
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
  const now = statusOf(pid);
  return now === undefined || (!now.hasEnded && (began === null || now.began === began));
}

/**
 * Fields 3 and 22 of Linux's /proc/PID/stat, which stand behind a name in parentheses; undefined where the system has none.
 * A process that has ended keeps its number until its parent asks for it, which in a container may be never.
 */
function statusOf(pid: number): { hasEnded: boolean; began: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { hasEnded: ['Z', 'X'].includes(fields[0]!), began: fields[19]! };
  } catch {
    return undefined;
  }
}
