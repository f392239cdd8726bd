import { existsSync, mkdirSync } from 'node:fs';
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
  } catch (error) {
    // Somebody else has made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return path;
}
