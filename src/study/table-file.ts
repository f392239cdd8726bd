/** Tables of a study as CSV: rows are appended as they are found, so that an interrupted study keeps them. */
import { rmSync } from 'node:fs';
import { appendWhole } from '../formats/append.ts';

export type Value = string | number | boolean | null;
export type Row = Readonly<Record<string, Value>>;

/** RFC 4180; null is an empty field, numbers are written in full. */
export function csvLine(values: readonly Value[]): string {
  return `${values
    .map((value) => {
      const text = value === null ? '' : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',')}\n`;
}

export const csvText = (columns: readonly string[], rows: readonly Row[]): string =>
  [csvLine(columns), ...rows.map((row) => csvLine(columns.map((c) => row[c] ?? null)))].join('');

/** Begins the file with its head; each call appends one row. */
export function tableFile(file: string, columns: readonly string[]): (row: Row) => void {
  rmSync(file, { force: true });
  appendWhole(file, csvLine(columns));
  return (row) => appendWhole(file, csvLine(columns.map((c) => row[c] ?? null)));
}
