// Triangles of [batch, rows, columns]: what lies on the other side of diagonal k becomes 0.

/** size: bytes of an element. k in −rows … columns. */
@inline
function triangle(size: usize, batch: i32, rows: i32, columns: i32, upper: i32, k: i32, x: usize, y: usize): void {
  const row = <usize>columns * size;
  for (; batch > 0; batch--) {
    for (let i = 0; i < rows; i++) {
      // The columns before `edge` are the lower part: without diagonal k where the upper is kept, else with it.
      const edge = <usize>max(0, min(columns, upper ? i + k : i + k + 1)) * size;
      if (upper) {
        memory.fill(y, 0, edge);
        memory.copy(y + edge, x + edge, row - edge);
      } else {
        memory.copy(y, x, edge);
        memory.fill(y + edge, 0, row - edge);
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
