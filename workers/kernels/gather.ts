// Rows of a table by i32 index: embedding look-up and its gradient. An index outside 0…rows − 1 traps.
import { copyRow } from './lanes';
import { accumulate } from './elementwise';

@inline
function rowAt(idx: usize, rows: i32, dim: i32): usize {
  const i = load<i32>(idx);
  if (<u32>i >= <u32>rows) unreachable();
  return <usize>i * <usize>dim * 4;
}

/** y[i, :] = table[idx[i], :]. */
export function gatherRows(n: i32, rows: i32, dim: i32, table: usize, idx: usize, y: usize): void {
  for (; n > 0; n--) {
    copyRow(dim, table + rowAt(idx, rows, dim), y);
    idx += 4;
    y += <usize>dim * 4;
  }
}

/** y = 0, then y[idx[i], :] += dy[i, :] in ascending order of i. */
export function scatterAddRows(n: i32, rows: i32, dim: i32, idx: usize, dy: usize, y: usize): void {
  memory.fill(y, 0, <usize>rows * <usize>dim * 4);
  for (; n > 0; n--) {
    accumulate(dim, y + rowAt(idx, rows, dim), dy);
    idx += 4;
    dy += <usize>dim * 4;
  }
}
