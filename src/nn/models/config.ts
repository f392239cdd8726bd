import { nearest, UsageError } from '../../core/errors.ts';
import { shown } from '../../core/options.ts';
import { MOST_LAYERS } from '../most-layers.ts';

/** What a key of a model's configuration must be. Returns what was expected where it is not. */
export type Check = (value: unknown) => string | undefined;

export const positive: Check = (v) => (Number.isInteger(v) && (v as number) >= 1 ? undefined : 'a positive integer');
export const layerCount: Check = (v) =>
  positive(v) || (v as number) > MOST_LAYERS ? `a positive integer of at most ${MOST_LAYERS}` : undefined;
export const flag: Check = (v) => (typeof v === 'boolean' ? undefined : 'true or false');
export const sizes: Check = (v) =>
  Array.isArray(v) && v.length <= MOST_LAYERS && v.every((d) => !positive(d))
    ? undefined
    : `a list of positive integers, at most ${MOST_LAYERS}`;
export const nonEmptySizes: Check = (v) =>
  sizes(v) || (v as unknown[]).length === 0
    ? `a list of one or more positive integers, at most ${MOST_LAYERS}`
    : undefined;
export const layerCounts: Check = (v) =>
  nonEmptySizes(v) || (v as unknown[]).some((n) => layerCount(n))
    ? `a list of one or more positive integers, each at most ${MOST_LAYERS}`
    : undefined;
export const positiveNumber: Check = (v) =>
  typeof v === 'number' && v > 0 && v < Infinity ? undefined : 'a positive number';
export const share: Check = (v) =>
  typeof v === 'number' && v >= 0 && v < 1 ? undefined : 'a number from 0 to below 1';
export const either =
  (...checks: Check[]): Check =>
  (v) => {
    const expected = checks.map((check) => check(v));
    return expected.includes(undefined) ? undefined : expected.join(' or ');
  };
export const oneOf =
  (...values: readonly string[]): Check =>
  (v) =>
    values.includes(v as string) ? undefined : values.map((s) => `"${s}"`).join(' or ');

/** Checks a model's configuration: every key known and of its kind, required keys there. Throws UsageError. */
export function checkConfig(
  kind: string,
  config: Readonly<Record<string, unknown>>,
  checks: Readonly<Record<string, Check>>,
  required: readonly string[],
): void {
  for (const [key, value] of Object.entries(config)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (!check) {
      const near = nearest(key, Object.keys(checks));
      throw new UsageError('unknown-key', `model ${kind} has no key ${key}${near ? `; did you mean ${near}?` : ''}`, {
        fields: { key: `model.${key}`, nearest: near ?? null, known: Object.keys(checks) },
        remedy: near ?? `keys: ${Object.keys(checks).join(', ')}`,
      });
    }
    const expected = value === undefined ? undefined : check(value);
    if (expected) {
      throw new UsageError('bad-value', `model.${key} must be ${expected}, got ${shown(value)}`, {
        fields: { key: `model.${key}`, expected },
        remedy: `${key}: ${expected}`,
      });
    }
  }
  for (const key of required) {
    if (config[key] === undefined) {
      throw new UsageError('missing-key', `model ${kind} needs ${key}`, {
        fields: { key: `model.${key}` },
        remedy: `keys that must be there: ${required.join(', ')}`,
      });
    }
  }
}
