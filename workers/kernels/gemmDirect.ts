// Products whose A is read where it lies: of few rows packing it costs as much as it saves, and of many it saves little. So is a B
// whose rows are contiguous, if few rows of C share it; otherwise B is packed in panels, or turned around in registers for a
// single row. Strides in bytes.
import { crossed1x12, crossed1x16, crossed1x4, crossed1x8 } from './gemmCrossedTile';
import { direct2x16, ragged1x16, ragged2x12, ragged2x16, ragged4x3, ragged4x4, ragged4x8 } from './gemmDirectTile';
import { packB12, packB16, packB4, packB8 } from './gemmPack';

/** Columns of the next tile. Of more than 16 that are left, four or more remain, for the last vector of a tile to reach back. */
@inline
export function tileColumns(left: i32): i32 {
  return left <= 16 ? left : left < 20 ? 12 : 16;
}

/** Those columns in whole vectors: the width of their panel. */
@inline
function panelColumns(cols: i32): i32 {
  return (cols + 3) & ~3;
}

/** All rows of 16 columns of C, A's contiguous. */
function whole(
  M: i32, k: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  for (; M >= 2; M -= 2) {
    direct2x16(k, a, aRow, b, bRow, c, cRow, add);
    a += 2 * aRow;
    c += 2 * cRow;
  }
  if (M > 0) ragged1x16(16, k, a, 4, b, bRow, c, add);
}

/** All rows of up to 16 columns of C. */
function columns(
  M: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  if (cols == 16 && aCol == 4) {
    whole(M, k, a, aRow, b, bRow, c, cRow, add);
  } else if (cols > 12) {
    for (; M >= 2; M -= 2) {
      ragged2x16(cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
      a += 2 * aRow;
      c += 2 * cRow;
    }
    if (M > 0) ragged1x16(cols, k, a, aCol, b, bRow, c, add);
  } else if (cols > 8) {
    for (; M > 0; M -= 2) {
      ragged2x12(M, cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
      a += 2 * aRow;
      c += 2 * cRow;
    }
  } else {
    for (; M > 0; M -= 4) {
      if (cols > 4) ragged4x8(M, cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
      else if (cols == 4) ragged4x4(M, k, a, aRow, aCol, b, bRow, c, cRow, add);
      else ragged4x3(M, cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
      a += 4 * aRow;
      c += 4 * cRow;
    }
  }
}

/** A block of k of C (=|+=) A·B, B's rows contiguous and read where they lie. */
@inline
export function directBlock(
  M: i32, N: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, c: usize, cRow: usize, add: bool,
): void {
  while (N > 0) {
    const cols = tileColumns(N);
    columns(M, cols, k, a, aRow, aCol, b, bRow, c, cRow, add);
    N -= cols;
    b += <usize>cols * 4;
    c += <usize>cols * 4;
  }
}

/** The same of a single row and a B whose columns are contiguous. */
@inline
export function crossedBlock(
  N: i32, k: i32, a: usize, aCol: usize, b: usize, bCol: usize, c: usize, add: bool,
): void {
  while (N > 0) {
    const cols = tileColumns(N);
    if (cols > 12) crossed1x16(cols, k, a, aCol, b, bCol, c, add);
    else if (cols > 8) crossed1x12(cols, k, a, aCol, b, bCol, c, add);
    else if (cols > 4) crossed1x8(cols, k, a, aCol, b, bCol, c, add);
    else crossed1x4(cols, k, a, aCol, b, bCol, c, add);
    N -= cols;
    b += <usize>cols * bCol;
    c += <usize>cols * 4;
  }
}

/** A block of k of up to 16 columns of C, B's packed at `panel`. */
export function panelBlock(
  M: i32, cols: i32, k: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, bCol: usize, c: usize, cRow: usize,
  add: bool, panel: usize,
): void {
  if (cols > 12) packB16(k, cols, b, bRow, bCol, panel);
  else if (cols > 8) packB12(k, cols, b, bRow, bCol, panel);
  else if (cols > 4) packB8(k, cols, b, bRow, bCol, panel);
  else packB4(k, cols, b, bRow, bCol, panel);
  columns(M, cols, k, a, aRow, aCol, panel, panelColumns(cols) * 4, c, cRow, add);
}
