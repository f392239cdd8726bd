/** Numbers as people read them: bytes, seconds, counts. */
import { requireKinds } from './options.ts';

/** `12.3 KiB`, exact below 1 KiB. */
export function formatBytes(bytes: number): string {
  requireKinds('formatBytes', { bytes: ['figure', bytes] });
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1024;
    unit++;
  } while (value >= 1024 && unit < units.length - 1);
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Grouped digits: `1,048,576`. */
export function formatCount(n: number): string {
  requireKinds('formatCount', { n: ['figure', n] });
  return n.toLocaleString('en-US');
}

/** `1.23 ms` with the unit that leaves one to three digits before the point. */
export function formatSeconds(seconds: number): string {
  requireKinds('formatSeconds', { seconds: ['figure', seconds] });
  const abs = Math.abs(seconds);
  if (abs === 0) return '0 s';
  if (abs < 1e-6) return `${(seconds * 1e9).toFixed(1)} ns`;
  if (abs < 1e-3) return `${(seconds * 1e6).toFixed(1)} µs`;
  if (abs < 1) return `${(seconds * 1e3).toFixed(2)} ms`;
  if (abs < 120) return `${seconds.toFixed(2)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function formatPercent(fraction: number, digits = 1): string {
  requireKinds('formatPercent', { fraction: ['figure', fraction], digits: ['index', digits] });
  return `${(fraction * 100).toFixed(digits)} %`;
}

/**
 * Lines of at most `width` characters, each behind `indent`, broken at blanks but not between a number and its unit; a
 * longer word gets a line of its own.
 */
export function wrap(text: string, indent = '', width = 100): string {
  requireKinds('wrap', { text: ['text', text], indent: ['text', indent], width: ['positive', width] });
  const lines: string[] = [];
  for (const word of text.split(/\s+(?![KMGTP]?i?B\b)/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(indent + word);
  }
  return lines.join('\n');
}

/** A number for reading: integers in full, others in `digits` significant digits without trailing zeros. */
export const formatValue = (value: number, digits = 6): string =>
  Number.isInteger(value) ? `${value + 0}` : `${Number(value.toPrecision(digits)) + 0}`;

/** The first values of a tensor: `1 2 3 4 … (12)`. */
export function formatValues(values: ArrayLike<number>, most = 4, digits = 6): string {
  const shown = Array.from({ length: Math.min(values.length, most) }, (_, i) => formatValue(values[i]!, digits));
  return values.length > most ? `${shown.join(' ')} … (${values.length})` : shown.join(' ');
}

/** A tensor's values with its axes as brackets, `[[1, 2], [3, 4]]`; the first ones only where there are more than `most`. */
export function formatTensor(values: ArrayLike<number>, shape: readonly number[], most = 16): string {
  if (values.length > most) return formatValues(values, Math.min(8, most));
  let next = 0;
  const nested = (axis: number): string =>
    axis === shape.length
      ? formatValue(values[next++]!)
      : `[${Array.from({ length: shape[axis]! }, () => nested(axis + 1)).join(', ')}]`;
  return nested(0);
}

/** `1.2 G`: the unit's letter alone. */
export function formatFlops(flops: number): string {
  const units = ['', 'K', 'M', 'G', 'T', 'P'];
  let unit = 0;
  while (flops >= 1000 && unit < units.length - 1) {
    flops /= 1000;
    unit++;
  }
  return `${unit === 0 ? flops : flops.toFixed(1)} ${units[unit]}`.trimEnd();
}
