// Triangles of [batch, rows, columns]: what lies on the other side of diagonal k becomes 0.
import { copyPart, fillRow, LONG_ROW } from './lanes';

/** size: bytes of an element. */
@inline
function clearPart(size: usize, bytes: usize, y: usize): void {
  if (size == 4 && bytes < LONG_ROW) fillRow(<i32>(bytes / 4), i32x4.splat(0), y);
  else memory.fill(y, 0, bytes);
}

/** size: bytes of an element. k in −rows … columns. */
@inline
function triangle(size: usize, batch: i32, rows: i32, columns: i32, upper: i32, k: i32, x: usize, y: usize): void {
  const row = <usize>columns * size;
  for (; batch > 0; batch--) {
    for (let i = 0; i < rows; i++) {
      // The columns before `edge` are the lower part: without diagonal k where the upper is kept, else with it.
      const edge = <usize>max(0, min(columns, upper ? i + k : i + k + 1)) * size;
      if (upper) {
        clearPart(size, edge, y);
        copyPart(size, row - edge, x + edge, y + edge);
      } else {
        copyPart(size, edge, x, y);
        clearPart(size, row - edge, y + edge);
      }
      x += row;
      y += row;
    }
  }
}

/** y = x where column − row ≥ k (upper 1) or ≤ k (upper 0), else 0; elements of 4 bytes. */
export function trilu32(batch: i32, rows: i32, columns: i32, upper: i32, k: i32, x: usize, y: usize): void {
  triangle(4, batch, rows, columns, upper, k, x, y);
}

/** trilu32 for elements of 1 byte. */
export function trilu8(batch: i32, rows: i32, columns: i32, upper: i32, k: i32, x: usize, y: usize): void {
  triangle(1, batch, rows, columns, upper, k, x, y);
}
