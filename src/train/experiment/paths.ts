import { isAbsolute, resolve } from 'node:path';
import { setPath } from '../../core/schema-flags.ts';

/** Keys of the experiment that hold a path. */
export const pathKeys = [
  'model.file',
  'data.file',
  'data.dir',
  'eval.data.file',
  'eval.data.dir',
  'schedule.file',
] as const;

export const isPathKey = (key: string): boolean => (pathKeys as readonly string[]).includes(key);

/** Makes an experiment's paths absolute: those in a file are meant relative to it, those in flags to the current folder. */
export function resolvePaths(raw: Record<string, unknown>, folder: string): void {
  for (const key of pathKeys) {
    const value = key
      .split('.')
      .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], raw);
    if (typeof value === 'string' && !isAbsolute(value)) setPath(raw, key, resolve(folder, value));
  }
}
