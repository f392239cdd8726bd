/** Memory sizes as people write them. */
import { nearest, UsageError } from './errors.ts';

const units: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

export const memorySizeText = 'a memory size: bytes, or a number with KiB, MiB or GiB ("64MiB")';

/**
 * Bytes from a whole number, its digits, or `64MiB`, `1.5 GiB`; a fraction of a byte is cut off. `where` names the key or
 * flag.
 */
export function parseBytes(value: unknown, where = 'memory'): number {
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value) : null;
  const [amount, unit] = match ? [Number(match[1]), match[2]!] : [value, ''];
  const scale = unit === '' ? 1 : Object.hasOwn(units, unit) ? units[unit]! : undefined;
  if (typeof amount === 'number' && scale !== undefined) {
    const bytes = unit === '' ? amount : Math.floor(amount * scale);
    if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
  }
  const guess = match && scale === undefined ? (binaryUnit(unit) ?? nearest(unit, Object.keys(units))) : undefined;
  const corrected = guess === undefined ? undefined : `${match![1]}${guess}`;
  const hint = corrected === undefined ? '' : `; did you mean "${corrected}"?`;
  throw new UsageError('memory-size', `${where}: expected ${memorySizeText}, got ${JSON.stringify(value)}${hint}`, {
    fields: { key: where, expected: memorySizeText, got: value, nearest: corrected ?? null },
    remedy: corrected,
  });
}

/** kb, K, MB, gib … → KiB, MiB, GiB. */
function binaryUnit(unit: string): string | undefined {
  return Object.keys(units).find((known) => new RegExp(`^${known[0]}i?b?$`, 'i').test(unit));
}
