import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * The folder, made with all above it where they are missing. Level by level: where a file system refuses new folders
 * (/proc), Node's own recursive mkdir never returns.
 */
export function makeFolder(path: string): string {
  if (existsSync(path)) return path;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
    syncFolder(parent);
  } catch (error) {
    // Somebody else has made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return path;
}

/** What is synced into a new folder is lost with it unless its own name is synced too, where the system lets one do so. */
function syncFolder(path: string): void {
  try {
    const handle = openSync(path, 'r');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch {
    // A folder that cannot be opened or synced (Windows, some network drives) is as durable as the system makes it.
  }
}
