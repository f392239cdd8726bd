/** Files that are whole or absent: a reader never sees half of one, a crash leaves the old one. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeFailed } from './write-failed.ts';

/**
 * Writes to a temporary file in the same folder, syncs and renames it over `path` (over its target where `path` is a
 * link). What exists and is not a regular file (/dev/null, a pipe) is written directly.
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  try {
    const existing = await stat(path).catch(absent);
    if (existing && !existing.isFile()) return await writeFile(path, content);
    await replace(existing ? await realpath(path) : path, content, existing?.mode);
  } catch (cause) {
    throw writeFailed(path, cause);
  }
}

async function replace(target: string, content: Uint8Array | string, mode: number | undefined): Promise<void> {
  const folder = dirname(target);
  const temporary = temporaryFor(target);
  try {
    await writeSynced(temporary, content, mode);
    await rename(temporary, target);
  } catch (error) {
    // Best effort: the first error is the one to tell.
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncFolder(folder);
}

async function writeSynced(path: string, content: Uint8Array | string, mode?: number): Promise<void> {
  const file = await open(path, 'wx');
  try {
    if (mode !== undefined) await file.chmod(mode & 0o777);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A hidden name beside `target` that says whose it is: `.NAME.PID.RANDOM.tmp`. */
const temporaryFor = (target: string): string =>
  join(dirname(target), `.${basename(target)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);

/**
 * Makes a folder of files that is whole or absent: written and synced under a temporary name, then renamed. A folder that
 * has the name already is replaced. What a kill leaves behind is for `removeLeftovers`.
 */
export async function writeFolderAtomic(path: string, files: ReadonlyMap<string, Uint8Array | string>): Promise<void> {
  const temporary = temporaryFor(path);
  try {
    await mkdir(temporary);
    for (const [name, content] of files) await writeSynced(join(temporary, name), content);
    await syncFolder(temporary);
    await moveInto(path, temporary);
  } catch (error) {
    // Best effort: the first error is the one to tell.
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Gives a new folder its name. It cannot be renamed over one that holds files: the old one steps aside for that moment. */
async function moveInto(path: string, made: string): Promise<void> {
  const old = (await stat(path).catch(absent)) && temporaryFor(path);
  if (old) await rename(path, old);
  try {
    await rename(made, path);
  } catch (error) {
    // As it was; the first error is the one to tell.
    if (old) await rename(old, path).catch(() => undefined);
    throw error;
  }
  if (old) await rm(old, { recursive: true, force: true });
}

/** Removes a folder so that its name never stands for a part of it: it is given a temporary name first. */
export async function removeFolder(path: string): Promise<void> {
  const doomed = temporaryFor(path);
  await rename(path, doomed);
  await rm(doomed, { recursive: true, force: true });
}

/** Removes temporary files and folders in `folder` whose processes have ended. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^\..+\.(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** Whether another process has this id. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Makes the rename itself durable, where the system lets a folder be opened. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

function absent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
}
