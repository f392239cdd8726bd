/**
 * Keys and values of the experiment format that this version has not got. They are refused by name, with what there is
 * instead: an experiment written for a later version must not run here as something else.
 */
import type { Problem } from '../../core/schema.ts';
import { scheduleNames } from '../../schedule/named.ts';

interface Later {
  /** Dotted; `*` stands for every index of a list. */
  readonly path: string;
  /** Values that later versions know; every value but null where it is left out. */
  readonly values?: (value: unknown) => boolean;
  /** What this version has. */
  readonly has: string;
}

const among =
  (...names: readonly string[]) =>
  (value: unknown): boolean =>
    names.includes(value as string);

const quoted = (names: readonly string[]): string => names.map((n) => JSON.stringify(n)).join(', ');

const later: readonly Later[] = [
  {
    path: 'schedule',
    values: among('interleaved-1f1b', 'looped-bfs', 'zb-h1', 'zb-h2', 'zb-v', 'dualpipe-v', 'auto'),
    has: '"gpipe", "1f1b" and {"file": "s.csv"}',
  },
  { path: 'stagesPerDevice', has: 'one stage a device, or several by "partition": {…, "placement"}' },
  { path: 'devices.*.backend', values: among('webgpu'), has: '"wasm", "reference"' },
  { path: 'links', values: Array.isArray, has: 'one {"bandwidth", "latency"} for all links' },
  { path: 'recompute', values: among('stage', 'selective', 'optimal'), has: '"none"' },
  { path: 'simd', values: among('relaxed'), has: '"strict"' },
  { path: 'blas', values: (v) => typeof v === 'string' && v !== 'off', has: '"off"' },
];

/** First names of keys that only later versions have: the command line takes flags for them, to refuse them properly. */
export const laterKeys: ReadonlySet<string> = new Set(
  later.filter(({ values }) => values === undefined).map(({ path }) => path),
);

/** A refused key or value. `covers`: other problems at or below this key come from the same. */
export interface Refusal extends Problem {
  readonly covers: string;
  readonly sentence: string;
}

/** What an experiment asks for that this version has not got. */
export function findLater(raw: unknown): Refusal[] {
  return later.flatMap(({ path, values, has }) =>
    places(raw, path.split('.'), '').flatMap(({ key, value }) => {
      if (value === undefined || value === null || (values && !values(value))) return [];
      const what = values ? JSON.stringify(value) : 'this key';
      return [
        {
          key,
          expected: has,
          got: JSON.stringify(value),
          covers: key.replace(/\.kind$/, ''),
          sentence: `${key}: this version has not got ${what}; it has ${has}`,
        },
      ];
    }),
  );
}

interface Place {
  readonly key: string;
  readonly value: unknown;
}

function places(holder: unknown, [first, ...rest]: readonly string[], prefix: string): Place[] {
  if (typeof holder !== 'object' || holder === null) return [];
  const names = first === '*' ? (Array.isArray(holder) ? Object.keys(holder) : []) : [first!];
  return names.flatMap((name) => {
    if (!Object.hasOwn(holder, name)) return [];
    const key = prefix === '' ? name : `${prefix}.${name}`;
    const value = (holder as Record<string, unknown>)[name];
    return rest.length === 0 ? [{ key, value }] : places(value, rest, key);
  });
}
