// Numbers and tables as the page has them.
import { median } from './statistics.mjs';

export const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

export const two = (value) => value.toFixed(2);

/** Enough digits to tell, no more than were measured, and so many more. */
export const digits = (value, more = 0) =>
  value.toFixed((value >= 20 ? 0 : value >= 5 ? 1 : value >= 0.1 || value <= 0 ? 2 : 3) + more);

/** A median and its quartiles, with so many digits more. */
export const spread = ([middle, low, high], more = 0) =>
  `${digits(middle, more)}${low === undefined ? '' : ` [${digits(low, more)}–${digits(high, more)}]`}`;

/** Digits beyond the usual ones without which a figure that misses a goal would look as if it were there. */
export function digitsToMiss(value, goal) {
  let more = 0;
  while (value !== goal && more < 6 && Number(digits(value, more)) === goal) more++;
  return more;
}

/** GFLOP/s of the chained and the independent register loop and the clock beside figures, where they were measured. */
export function loopsSentence(parts) {
  const looks = parts.flatMap(({ machine }) => machine ?? []);
  if (looks.length === 0) return '';
  const middle = (name, places) => median(looks.flatMap((look) => look[name])).toFixed(places);
  const [chained, independent, ghz] = [middle('chained', 1), middle('independent', 1), middle('ghz', 2)];
  return `Beside these: loops ${chained}, ${independent} GFLOP/s; ${ghz} GHz.`;
}
