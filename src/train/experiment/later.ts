/**
 * Values of the experiment format that this version has not got. They are refused by name, with what there is instead: an
 * experiment written for a later version must not run here as something else.
 */
import type { Problem } from '../../core/schema.ts';

interface Later {
  /** Dotted; `*` stands for every index of a list. */
  readonly path: string;
  /** Values that later versions know. */
  readonly values: (value: unknown) => boolean;
  /** What this version has. */
  readonly has: string;
}

const among =
  (...names: readonly string[]) =>
  (value: unknown): boolean =>
    names.includes(value as string);

const later: readonly Later[] = [
  { path: 'devices.*.backend', values: among('webgpu'), has: '"wasm", "reference", "null"' },
];

/** A refused value. `covers`: other problems at or below this key come from the same. */
export interface Refusal extends Problem {
  readonly covers: string;
  readonly sentence: string;
}

/** What an experiment asks for that this version has not got. */
export function findLater(raw: unknown): Refusal[] {
  return later.flatMap(({ path, values, has }) =>
    places(raw, path.split('.'), '').flatMap(({ key, value }) => {
      if (value === undefined || value === null || !values(value)) return [];
      return [
        {
          key,
          expected: has,
          got: JSON.stringify(value),
          covers: key.replace(/\.kind$/, ''),
          sentence: `${key}: this version has not got ${JSON.stringify(value)}; it has ${has}`,
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
