/** Files that are whole or absent: a reader never sees half of one, a crash leaves the old one. */
import { randomBytes } from 'node:crypto';
import { open, realpath, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PartitaError } from '../core/errors.ts';

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
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new PartitaError('write-failed', `cannot write ${path}: ${message}`, {
      fields: { path, cause: code ?? null },
      remedy: code === 'ENOENT' ? `mkdir -p ${dirname(path)}` : undefined,
      cause,
    });
  }
}

async function replace(target: string, content: Uint8Array | string, mode: number | undefined): Promise<void> {
  const folder = dirname(target);
  const temporary = join(folder, `.${basename(target)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  const file = await open(temporary, 'wx');
  try {
    try {
      if (mode !== undefined) await file.chmod(mode & 0o777);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary).catch(absent);
    throw error;
  }
  await syncFolder(folder);
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
