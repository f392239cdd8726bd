/** Aligned tables for the terminal: no frames, no trailing blanks, colour only where a terminal asks for it. */

import CliTable from 'cli-table3';
import { requireKinds } from '../core/options.ts';

export type Cell = string | number | null;

export interface TableOptions {
  /** Default: right for columns that hold numbers or nothing else, left for others. */
  readonly align?: readonly ('left' | 'right')[];
  /** Bold heads. Default: `colourAllowed()`. */
  readonly colour?: boolean;
  /** Blanks before every line. */
  readonly indent?: number;
}

/** Lines joined by line feeds, without one at the end. null prints as `-`. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[], options: TableOptions = {}): string {
  requireKinds('table', {
    head: ['texts', head],
    rows: ['list', rows],
    options: ['record', options],
    indent: ['index', options?.indent ?? 0],
  });
  rows.forEach((row, i) => {
    requireKinds('table', { [`rows.${i}`]: ['list', row] });
  });
  const bold = options.colour ?? colourAllowed();
  const columns = Math.max(head.length, ...rows.map((row) => row.length));
  const drawn = new CliTable({
    head: Array.from({ length: columns }, (_, c) => (bold && head[c] ? `\x1b[1m${head[c]}\x1b[22m` : (head[c] ?? ''))),
    chars: noFrame,
    // Empty styles: cli-table3 would colour heads and frames whatever the terminal.
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
    colAligns: Array.from({ length: columns }, (_, c) => options.align?.[c] ?? alignment(rows, c)),
  });
  for (const row of rows) {
    drawn.push(Array.from({ length: columns }, (_, c) => (row[c] === undefined ? '' : String(row[c] ?? '-'))));
  }
  const indent = ' '.repeat(options.indent ?? 0);
  return drawn
    .toString()
    .split('\n')
    .map((line) => (indent + line).trimEnd())
    .join('\n');
}

const noFrame = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
    .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'])
    .map((part) => [part, '']),
);

/** A number with or without sign, grouping and unit: `1,024`, `12.3 KiB`, `5.0 %`, `-`. */
const quantity = /^(-|[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?( ?\S{1,6}(\/s)?)?)$/;

function alignment(rows: readonly (readonly Cell[])[], column: number): 'left' | 'right' {
  const cells = rows.map((row) => row[column]).filter((cell) => cell !== undefined && cell !== '');
  return cells.length > 0 && cells.every((cell) => typeof cell !== 'string' || quantity.test(cell)) ? 'right' : 'left';
}

/** Whether colour codes may be written: a terminal, no NO_COLOR (https://no-color.org), not a dumb one. */
export function colourAllowed(
  stream: { readonly isTTY?: boolean } | undefined = globalThis.process?.stdout,
  environment: Readonly<Record<string, string | undefined>> = globalThis.process?.env ?? {},
): boolean {
  return stream?.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb';
}
