/** Swept keys whose values have sizes, so that memory can be drawn against them. */
import type { MemoryLayoutRow } from './tables.ts';

export interface Scale {
  readonly key: string;
  /** `microbatches`; of lists of widths `entries of model.hidden`, or where all have the same length `width of model.hidden`. */
  readonly title: string;
  readonly of: (row: MemoryLayoutRow) => number;
}

export const scalesOf = (rows: readonly MemoryLayoutRow[], swept: readonly string[]): Scale[] =>
  swept.flatMap((key) => {
    const column = `sweep.${key}` as const;
    const values = rows.map((r) => numbersIn(r[column]));
    if (!values.every((v) => v !== undefined)) return [];
    const isList = rows.some((r) => typeof r[column] === 'string');
    const isDeep = new Set(values.map((v) => v.length)).size > 1;
    const sizes = values.map((v) => (isDeep ? v.length : Math.max(...v)));
    if (new Set(sizes).size < 2 || sizes.some((s) => !(s > 0))) return [];
    const title = !isList ? key : isDeep ? `entries of ${key}` : `width of ${key}`;
    const of = new Map(rows.map((r, i) => [r[column], sizes[i]!]));
    return [{ key, title, of: (row) => of.get(row[column])! }];
  });

/** A number, or a list of them as it stands in a table. */
function numbersIn(value: unknown): number[] | undefined {
  if (typeof value === 'number') return [value];
  if (typeof value !== 'string' || !value.startsWith('[')) return undefined;
  const list: unknown = JSON.parse(value);
  return Array.isArray(list) && list.length > 0 && list.every((v) => typeof v === 'number') ? list : undefined;
}
