// C (=|+=) A·B in the loop order of BLIS (Van Zee, van de Geijn 2015) with packed blocks and a 2×16 register tile; of few rows or
// columns, operands stay where they lie (gemmDirect.ts).
//
// Order of every sum, depending on K alone: for each block of KC consecutive k, in ascending order, the block's products
// are added from zero in ascending k; the block's total is then added to C once (the first block overwrites C if beta is 0).
//
// Workspace, in bytes:  [edge tile 128][packed B][packed A]
// Packed A comes last because its first block is always written to its end, zero padding included. Of a tall C, packed B comes
// last, in pairs of columns, and a panel of A's rows in front. What packs less uses less, and writes the last byte all the same.
import { crossedBlock, directBlock, panelBlock, tileColumns } from './gemmDirect';
import { isDense, packA, packB16, packB8, packPlaces16, packPlaces8 } from './gemmPack';
import { loadTail, storeTail } from './lanes';
import { tile1x16, tile2x16, tile2x16at, tile2x16of, tile2x8 } from './gemmTile';

export const MC = 128; // rows of A a block: MC·KC·4 = 128 KiB, in L2
export const KC = 256; // depth of a block: a panel of B, KC·16·4 = 16 KiB, in L1
const NC = 1024; // columns of B a block
const EDGE = 128; // bytes of a whole 2×16 tile, where ragged edges are computed

/** With no more than this many rows, a panel of B is used too seldom to be worth packing. */
const FEW_ROWS = 8;

/** Columns of B packed at a time: if A is one block, each panel can be used up while it is in L1. */
@inline
function columnBlock(M: i32): i32 {
  return M <= MC ? 16 : NC;
}

/** Columns rounded up to whole panels: 16 wide, the last 8 if that is enough. */
@inline
function padded(n: i32): i32 {
  return (n + 7) & ~7;
}

/** Exact bytes of `ws` that gemm uses; every call writes the last of them. */
export function gemmWorkspace(M: i32, N: i32, K: i32): i32 {
  const k = min(K, KC);
  return EDGE + 4 * k * (padded(min(N, columnBlock(M))) + ((min(M, MC) + 1) & ~1));
}

/** Copies m × n of the edge tile (row step in bytes) to C. */
function spill(m: i32, n: i32, tile: usize, tileStep: usize, c: usize, ldc: usize, add: bool): void {
  for (; m > 0; m--) {
    let s = tile;
    let d = c;
    let left = n;
    for (; left >= 4; left -= 4) {
      v128.store(d, add ? f32x4.add(v128.load(d), v128.load(s)) : v128.load(s));
      s += 16;
      d += 16;
    }
    if (left > 0) storeTail(d, left, add ? f32x4.add(loadTail(d, left), v128.load(s)) : v128.load(s));
    tile += tileStep;
    c += ldc;
  }
}

/** All rows of one panel of up to 16 columns. */
function rows16(m: i32, n: i32, k: i32, a: usize, b: usize, c: usize, ldc: usize, add: bool, edge: usize): void {
  const aStep = <usize>k * 8;
  if (n >= 16) {
    for (; m >= 2; m -= 2) {
      tile2x16(k, a, b, c, ldc, add);
      a += aStep;
      c += 2 * ldc;
    }
    if (m > 0) tile1x16(k, a, b, 64, c, add);
    return;
  }
  for (; m > 0; m -= 2) {
    tile2x16(k, a, b, edge, 64, false);
    spill(min(m, 2), n, edge, 64, c, ldc, add);
    a += aStep;
    c += 2 * ldc;
  }
}

/** All rows of 16 columns of B where it lies, `bStep` bytes from row to row. */
function rows16of(m: i32, k: i32, a: usize, b: usize, bStep: usize, c: usize, ldc: usize, add: bool): void {
  for (; m >= 2; m -= 2) {
    tile2x16of(k, a, b, bStep, c, ldc, add);
    a += <usize>k * 8;
    c += 2 * ldc;
  }
  if (m > 0) tile1x16(k, a, b, bStep, c, add);
}

/** All rows of 16 columns side by side of a B by places, whose rows lie at b + places[k]. */
function rows16at(m: i32, k: i32, a: usize, b: usize, places: usize, c: usize, ldc: usize, add: bool): void {
  for (; m > 0; m -= 2) {
    // Of a single row: A's second is zeros, and what comes of them goes where the first's sums then go.
    tile2x16at(k, a, b, places, c, m > 1 ? ldc : 0, add);
    a += <usize>k * 8;
    c += 2 * ldc;
  }
}

/** All rows of one panel of up to 8 columns. */
function rows8(m: i32, n: i32, k: i32, a: usize, b: usize, c: usize, ldc: usize, add: bool, edge: usize): void {
  const aStep = <usize>k * 8;
  if (n >= 8) {
    for (; m >= 2; m -= 2) {
      tile2x8(k, a, b, c, ldc, add);
      a += aStep;
      c += 2 * ldc;
    }
  }
  for (; m > 0; m -= 2) {
    tile2x8(k, a, b, edge, 32, false);
    spill(min(m, 2), n, edge, 32, c, ldc, add);
    a += aStep;
    c += 2 * ldc;
  }
}

/** Up to 16 columns of B, strided or by places, as a panel. */
@inline
function packPanel(
  placed: bool, k: i32, cols: i32, b: usize, bRow: usize, bCol: usize, rows: usize, columns: usize, out: usize,
): void {
  if (placed) {
    if (cols > 8) packPlaces16(k, cols, b, rows, columns, out);
    else packPlaces8(k, cols, b, rows, columns, out);
  } else if (cols > 8) {
    packB16(k, cols, b, bRow, bCol, out);
  } else {
    packB8(k, cols, b, bRow, bCol, out);
  }
}

/** C (=|+=) of a packed A of at most MC rows and k ≤ KC: each panel of B is used up while it is in L1. */
@inline
function panels(
  placed: bool, M: i32, N: i32, k: i32, packedA: usize, b: usize, bRow: usize, bCol: usize, rows: usize, columns: usize,
  c: usize, cRow: usize, add: bool, panel: usize, edge: usize,
): void {
  const direct = M <= FEW_ROWS && (placed || bCol == 4);
  for (; N > 0; N -= 16) {
    const cols = min(16, N);
    if (direct && cols == 16 && (!placed || isDense(16, columns))) {
      if (placed) rows16at(M, k, packedA, b + <usize>load<i32>(columns), rows, c, cRow, add);
      else rows16of(M, k, packedA, b, bRow, c, cRow, add);
    } else {
      packPanel(placed, k, cols, b, bRow, bCol, rows, columns, panel);
      if (cols > 8) rows16(M, cols, k, packedA, panel, c, cRow, add, edge);
      else rows8(M, cols, k, packedA, panel, c, cRow, add, edge);
    }
    if (placed) columns += 64;
    else b += 16 * bCol;
    c += 64;
  }
}

/**
 * C[M, N] = beta·C + A[M, K]·B[K, N], beta 0 or 1; strides and ldc in elements, C's column stride is 1. `placed`: B[k, n] lies
 * at b + kPlaces[k] + nPlaces[n], tables of bytes.
 */
@inline
function product(
  placed: bool, M: i32, N: i32, K: i32, a: usize, ars: i32, acs: i32, b: usize, brs: i32, bcs: i32,
  kPlaces: usize, nPlaces: usize, c: usize, ldc: i32, beta: i32, ws: usize,
): void {
  const aRow = <usize>ars * 4;
  const aCol = <usize>acs * 4;
  const bRow = <usize>brs * 4;
  const bCol = <usize>bcs * 4;
  const cRow = <usize>ldc * 4;
  const packedB = ws + EDGE;
  const packedA = packedB + <usize>(min(K, KC) * padded(min(N, columnBlock(M)))) * 4;
  for (let pc = 0; pc < K; pc += KC) {
    const k = min(KC, K - pc);
    const add = pc > 0 || beta != 0;
    const aBlock = a + <usize>pc * aCol;
    const bBlock = b + <usize>pc * bRow;
    const rows = kPlaces + <usize>pc * 4;
    if (M <= MC) {
      packA(M, k, aBlock, aRow, aCol, packedA);
      panels(placed, M, N, k, packedA, bBlock, bRow, bCol, rows, nPlaces, c, cRow, add, packedB, ws);
      continue;
    }
    for (let jc = 0; jc < N; jc += NC) {
      const n = min(NC, N - jc);
      let out = packedB;
      for (let j = jc; j < jc + n; j += 16) {
        const cols = min(16, jc + n - j);
        packPanel(placed, k, cols, bBlock + <usize>j * bCol, bRow, bCol, rows, nPlaces + <usize>j * 4, out);
        out += <usize>k * 64;
      }
      for (let ic = 0; ic < M; ic += MC) {
        const m = min(MC, M - ic);
        packA(m, k, aBlock + <usize>ic * aRow, aRow, aCol, packedA);
        let panel = packedB;
        for (let j = 0; j < n; j += 16) {
          const cols = min(16, n - j);
          const cTile = c + <usize>ic * cRow + <usize>(jc + j) * 4;
          if (cols > 8) rows16(m, cols, k, packedA, panel, cTile, cRow, add, ws);
          else rows8(m, cols, k, packedA, panel, cTile, cRow, add, ws);
          panel += <usize>k * 64;
        }
      }
    }
  }
}

/** Whether C is so narrow that its columns take the place of rows: Cᵀ = Bᵀ·Aᵀ needs fewer tiles, and no more workspace. */
@inline
function isTall(M: i32, N: i32, K: i32, bCol: usize): bool {
  return N <= 4 && M >= (N == 3 && bCol == 4 ? 14 : 3 * N) && gemmWorkspace(N, M, K) <= gemmWorkspace(M, N, K);
}

/** m rows by n columns of the edge tile become (or are added to) m columns by n rows of C. */
function spillAcross(m: i32, n: i32, tile: usize, tileStep: usize, c: usize, ldc: usize, add: bool): void {
  for (; m > 0; m--) {
    let s = tile;
    let d = c;
    for (let j = n; j > 0; j--) {
      store<f32>(d, add ? load<f32>(d) + load<f32>(s) : load<f32>(s));
      s += 4;
      d += ldc;
    }
    tile += tileStep;
    c += 4;
  }
}

/** gemm of a tall C, in the same order of sums: panels of sixteen rows of A, and B's columns in pairs. */
function tall(
  M: i32, N: i32, K: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, bCol: usize, c: usize, cRow: usize,
  beta: i32, ws: usize, wsEnd: usize,
): void {
  const packedB = wsEnd - <usize>(min(K, KC) * ((N + 1) & ~1)) * 4;
  const panel = ws + EDGE;
  for (let pc = 0; pc < K; pc += KC) {
    const k = min(KC, K - pc);
    const add = pc > 0 || beta != 0;
    packA(N, k, b, bCol, bRow, packedB);
    for (let i = 0; i < M; i += 16) {
      const m = min(16, M - i);
      const rows = a + <usize>i * aRow;
      if (m > 8) packB16(k, m, rows, aCol, aRow, panel);
      else packB8(k, m, rows, aCol, aRow, panel);
      let columns = packedB;
      for (let j = 0; j < N; j += 2) {
        const tileStep: usize = m > 8 ? 64 : 32;
        if (m > 8) tile2x16(k, columns, panel, ws, tileStep, false);
        else tile2x8(k, columns, panel, ws, tileStep, false);
        spillAcross(min(2, N - j), m, ws, tileStep, c + <usize>i * cRow + <usize>j * 4, cRow, add);
        columns += <usize>k * 8;
      }
    }
    a += <usize>k * aCol;
    b += <usize>k * bRow;
  }
}

/**
 * Whether A stays where it lies, and B if its rows are contiguous. Of a narrow C, packing and the rest of a tile cost more than
 * the product, but for 5 to 8 columns that are packed anyway. Of more columns, whole tiles take contiguous rows of A alone,
 * enough of them to matter; beyond 64 columns, packing A is a small part of the product.
 */
@inline
function isDirect(M: i32, N: i32, K: i32, aCol: usize, bCol: usize): bool {
  if (M == 1) return true;
  if (N >= 16) return N <= 64 && K >= 32 && M > 2 && M <= MC && aCol == 4;
  const narrow = bCol == 4 ? N != 8 || M > 2 : N == 4 || N > 8;
  return narrow && (M <= MC || (aCol & 4095) != 0);
}

/** gemm with A where it lies. */
function direct(
  M: i32, N: i32, K: i32, a: usize, aRow: usize, aCol: usize, b: usize, bRow: usize, bCol: usize, c: usize, cRow: usize,
  beta: i32, panel: usize,
): void {
  for (let pc = 0; pc < K; pc += KC) {
    const k = min(KC, K - pc);
    const add = pc > 0 || beta != 0;
    if (bCol == 4) {
      directBlock(M, N, k, a, aRow, aCol, b, bRow, c, cRow, add);
    } else if (M == 1 && bRow == 4) {
      crossedBlock(N, k, a, aCol, b, bCol, c, add);
    } else {
      for (let j = 0; j < N; ) {
        const cols = tileColumns(N - j);
        panelBlock(M, cols, k, a, aRow, aCol, b + <usize>j * bCol, bRow, bCol, c + <usize>j * 4, cRow, add, panel);
        j += cols;
      }
    }
    a += <usize>k * aCol;
    b += <usize>k * bRow;
  }
}

export function gemm(
  M: i32, N: i32, K: i32, a: usize, ars: i32, acs: i32, b: usize, brs: i32, bcs: i32, c: usize, ldc: i32, beta: i32,
  ws: usize,
): void {
  const end = ws + <usize>gemmWorkspace(M, N, K);
  const aRow = <usize>ars * 4;
  const aCol = <usize>acs * 4;
  const bRow = <usize>brs * 4;
  const bCol = <usize>bcs * 4;
  const cRow = <usize>ldc * 4;
  if (N == 1 && ldc == 1 && (ars == 1 || acs == 1)) {
    // A single column is a row: Cᵀ = Bᵀ·Aᵀ.
    store<u8>(end - 1, 0);
    direct(1, M, K, b, bCol, bRow, a, aCol, aRow, c, 0, beta, ws + EDGE);
  } else if (isTall(M, N, K, bCol)) {
    tall(M, N, K, a, aRow, aCol, b, bRow, bCol, c, cRow, beta, ws, end);
  } else if (isDirect(M, N, K, aCol, bCol)) {
    store<u8>(end - 1, 0);
    direct(M, N, K, a, aRow, aCol, b, bRow, bCol, c, cRow, beta, ws + EDGE);
  } else {
    product(false, M, N, K, a, ars, acs, b, brs, bcs, 0, 0, c, ldc, beta, ws);
  }
}

/** gemm of a B by places: of windows of an image, say, whose columns are never built. A and C are of contiguous rows. */
export function gemmOfPlaces(
  M: i32, N: i32, K: i32, a: usize, b: usize, kPlaces: usize, nPlaces: usize, c: usize, beta: i32, ws: usize,
): void {
  product(true, M, N, K, a, K, 1, b, 0, 0, kPlaces, nPlaces, c, N, beta, ws);
}

/**
 * For many products with one A: the caller packs a block of A, at most MC rows by KC, where `packedBlock` says, once for all
 * products, and calls blockOfPlaces for each; blocks of k in ascending order, adding from the second on, give gemm's sums.
 */
@inline
export function packedBlock(N: i32, K: i32, ws: usize): usize {
  return ws + EDGE + <usize>(min(K, KC) * padded(min(N, 16))) * 4;
}

/** Exact bytes of `ws` for products with A packed once: gemm's of so many rows. */
@inline
export function packedWorkspace(M: i32, N: i32, K: i32): i32 {
  return gemmWorkspace(min(M, MC), N, K);
}

/** A block's part of C[M, N], contiguous rows: B by places, tables of the block's k and of all columns. */
export function blockOfPlaces(
  M: i32, N: i32, k: i32, packedA: usize, b: usize, kPlaces: usize, nPlaces: usize, c: usize, add: bool, ws: usize,
): void {
  panels(true, M, N, k, packedA, b, 0, 0, kPlaces, nPlaces, c, <usize>N * 4, add, ws + EDGE, ws);
}

/** B products; batch strides in elements, 0 repeats an operand. */
export function gemmBatched(
  B: i32, M: i32, N: i32, K: i32, a: usize, abs: i32, ars: i32, acs: i32, b: usize, bbs: i32, brs: i32, bcs: i32,
  c: usize, cbs: i32, ldc: i32, beta: i32, ws: usize,
): void {
  for (; B > 0; B--) {
    gemm(M, N, K, a, ars, acs, b, brs, bcs, c, ldc, beta, ws);
    a += <usize>abs * 4;
    b += <usize>bbs * 4;
    c += <usize>cbs * 4;
  }
}
