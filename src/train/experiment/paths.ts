import { existsSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { isBareName } from '../../backends/blas/library.ts';
import { setPath } from '../../core/schema-flags.ts';

/** Keys of the experiment that hold a path; `*`: every key of a record. */
export const pathKeys = [
  'model.file',
  'data.file',
  'data.dir',
  'data.files.*',
  'eval.data.file',
  'eval.data.dir',
  'eval.data.files.*',
  'schedule.file',
  'checkpoint.dir',
  'resume',
  'blas',
] as const;

/** Words that stand where a path may. */
const words: Readonly<Record<string, readonly string[]>> = { blas: ['off', 'auto'] };

/**
 * Whether a key's value is a path. A library's name that is no file here is none: the loader looks for it, and what refuses a
 * misspelled word names what was written. Nor is an empty text.
 */
export const isPath = (key: string, value: unknown, folder: string): value is string =>
  typeof value === 'string' && value !== '' && isPathKey(key) && !(key in words && isWord(words[key]!, value, folder));

const isWord = (known: readonly string[], value: string, folder: string): boolean =>
  known.includes(value) || value === '' || (isBareName(value) && !existsSync(resolve(folder, value)));

/** Each as a pattern: a name that stands for `*` may hold dots itself. */
const patterns = pathKeys.map((key) => (key.endsWith('.*') ? { prefix: key.slice(0, -1) } : { key }));

export const isPathKey = (key: string): boolean =>
  patterns.some((p) => (p.key === undefined ? key.startsWith(p.prefix) && key !== p.prefix : key === p.key));

/** What an experiment's path keys hold, each by its key; their paths may be of files or of folders. */
export function pathsIn(experiment: object): [key: string, path: string][] {
  return patterns.flatMap(({ key, prefix }): [string, string][] => {
    const at = valueAt(experiment, key ?? prefix.slice(0, -1));
    const entries: [string, unknown][] =
      key !== undefined
        ? [[key, at]]
        : Object.entries(typeof at === 'object' && at !== null ? at : {}).map(([name, path]) => [prefix + name, path]);
    return entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  });
}

/** Makes an experiment's paths, which are meant relative to `folder`, absolute; those among the values of a sweep too. */
export function resolvePaths(raw: Record<string, unknown>, folder: string): void {
  resolveOwn(raw, folder);
  if ('sweep' in raw) raw.sweep = absoluteSweep(raw.sweep, folder);
}

/** The value of one key with the paths in it made absolute, as `resolvePaths` does. */
export function absoluteAt(key: string, value: unknown, folder: string): unknown {
  if (key === 'sweep') return absoluteSweep(value, folder);
  if (!holdsPaths(key)) return value;
  const one: Record<string, unknown> = {};
  setPath(one, key, value);
  resolveOwn(one, folder);
  return valueAt(one, key);
}

function absoluteSweep(sweep: unknown, folder: string): unknown {
  if (typeof sweep !== 'object' || sweep === null || Array.isArray(sweep)) return sweep; // told by the schema
  const lists = Object.entries(sweep).map(([key, values]) => [
    key,
    Array.isArray(values) ? values.map((value) => absoluteAt(key, value, folder)) : values,
  ]);
  return Object.fromEntries(lists);
}

/** Whether a key is that of a path, or of an object with paths in it. */
const holdsPaths = (key: string): boolean => isPathKey(key) || pathKeys.some((path) => path.startsWith(`${key}.`));

function resolveOwn(raw: Record<string, unknown>, folder: string): void {
  const absolute = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  for (const { key, prefix } of patterns) {
    const value = valueAt(raw, key ?? prefix.slice(0, -1));
    if (key !== undefined && isPath(key, value, folder)) setPath(raw, key, absolute(value));
    if (prefix === undefined || typeof value !== 'object' || value === null) continue;
    for (const [name, path] of Object.entries(value)) {
      if (typeof path === 'string' && path !== '') (value as Record<string, unknown>)[name] = absolute(path);
    }
  }
}

const valueAt = (experiment: object, key: string): unknown =>
  key.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], experiment);
