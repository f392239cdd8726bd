import { dirname } from 'node:path';
import { PartitaError } from '../core/errors.ts';

/** What to do where the system refuses to write, by its error's code. */
export const writeRemedies: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space',
  EDQUOT: 'free some space',
  EACCES: 'make the folder writable',
  EPERM: 'make the folder writable',
  EROFS: 'give a folder that can be written to',
};

/** The system's error with the path in front, and what to do about it. */
export function writeFailed(path: string, cause: unknown): PartitaError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new PartitaError('write-failed', `cannot write ${path}: ${message}`, {
    fields: { path, cause: code ?? null },
    remedy: code === 'ENOENT' ? `mkdir -p ${dirname(path)}` : writeRemedies[code ?? ''],
    cause,
  });
}
