import type { MemoryRow } from './tables.ts';

/** Of every layout the row of its fullest device. */
export function fullestDevices(rows: readonly MemoryRow[]): MemoryRow[] {
  const fullest = new Map<string, MemoryRow>();
  for (const row of rows) {
    const key = `${row.series} ${row.batch} ${row.microbatches}`;
    const before = fullest.get(key);
    if (!before || row.peakBytesPlanned > before.peakBytesPlanned) fullest.set(key, row);
  }
  return [...fullest.values()];
}
