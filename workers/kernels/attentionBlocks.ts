// Attention's blocks of queries and keys: how large they are, what room they take, and their products. Tiles of two queries and
// sixteen keys, and the pairs of a sum, that a causal block hides as a whole are not computed, and what else is hidden is 0.
import { MASK_STATE } from './attentionMasks';
import { spillTile, tileColumns, tileRows } from './attentionTile';
import { DROP_STATE } from './dropout';
import { packB16 } from './gemmPack';

export const QUERIES = 64; // queries a block
export const KEYS = 256; // keys a block: their panels and a block of scores lie in L2
export const GRADIENT_KEYS = 128; // keys a block of the gradient, which has three panels and two blocks
export const FEW = 2; // no more queries than pay for packing keys
export const EDGE = 128; // bytes of a whole 2×16 tile, where ragged edges are computed

/** Rows that are made weights at a time: what is hidden from all of them is not touched. */
export const ROWS_AT_ONCE = 16;

const ALL = 0x3fffffff; // keys that a block's first query sees, where none are hidden

@inline
export function up16(n: i32): i32 {
  return (n + 15) & ~15;
}

/** Elements from row to row of a block of scores of n keys: an odd number of cache lines, so that a column's lie in all sets. */
@inline
export function scoreStep(n: i32): i32 {
  return up16(n) | 16;
}

@inline
export function keysSeen(T: i32, S: i32, causal: i32): i32 {
  return causal ? min(T, S) : S;
}

/** Of the keys from j on, those that a block's first query sees, of any number. */
@inline
export function seenFirst(causal: i32, i: i32, j: i32): i32 {
  return causal ? i + 1 - j : ALL;
}

/**
 * Exact bytes of `ws`; every call writes the last of them. What stands in brackets twice is there with dropout or masks only.
 * Forward:  [[dropout]][[masks]][edge][scaled q][kᵀ][v][scores][f32 top a row][f64 sum a row]
 * Gradient: [[dropout]][[masks]][edge][scaled q][its panels][dy][kᵀ][vᵀ][k][weights][their cotangents][[factors of a row]]
 *           [f32 Σ dy·y a row]
 * Of few queries there is neither edge nor panel.
 */
export function attentionWorkspace(
  gradient: i32, T: i32, S: i32, D: i32, V: i32, causal: i32, drops: i32, masks: i32,
): i32 {
  const m = min(T, QUERIES);
  const n = min(keysSeen(T, S, causal), gradient ? GRADIENT_KEYS : KEYS);
  const scores = 4 * m * scoreStep(n);
  const states = (drops ? <i32>DROP_STATE : 0) + (masks ? <i32>MASK_STATE : 0);
  if (T <= FEW) {
    const rows = states + up16(4 * m * D) + scores + up16(4 * m);
    return gradient ? rows + scores + (drops ? 4 * up16(n) : 0) : rows + up16(8 * m);
  }
  const shared = states + EDGE + up16(4 * m * D) + scores + up16(4 * m) + 4 * D * up16(n);
  if (!gradient) return shared + 4 * n * up16(V) + up16(8 * m);
  return shared + scores + 4 * m * (up16(D) + up16(V)) + 4 * V * up16(n) + 4 * n * up16(D) + (drops ? 4 * up16(n) : 0);
}

/** Panels of sixteen of `cols` columns of x, k rows each, `kStep` bytes apart, columns `step`: [⌈cols / 16⌉][k][16]. */
export function panels(k: i32, cols: i32, x: usize, kStep: usize, step: usize, out: usize): void {
  for (; cols > 0; cols -= 16) {
    packB16(k, min(cols, 16), x, kStep, step, out);
    x += 16 * step;
    out += <usize>k * 64;
  }
}

/**
 * c[r][j] = a[r]·b[j] of two rows or keys each, b's keys in panels of k: what is hidden as a whole is left out, where the first
 * query sees `first` keys and each one more than the one before.
 */
export function scoreBlock(
  rows: i32, cols: i32, k: i32, a: usize, aRow: usize, b: usize, c: usize, cRow: usize, first: i32,
): void {
  for (let j = 0; j < cols; j += 16) {
    for (let r = max(0, j + 1 - first) & ~1; r < rows; r += 2) {
      const one = r + 1 == rows;
      tileRows(k, a + <usize>r * aRow, one ? 0 : aRow, b, c + <usize>r * cRow, one ? 0 : cRow, false);
    }
    b += <usize>k * 64;
    c += 64;
  }
}

/** c (=|+=) a·b: each pair of rows by the keys that one of them sees, of k, whose panels are `bStep` bytes apart. */
export function weighted(
  rows: i32, k: i32, cols: i32, a: usize, aRow: usize, b: usize, bStep: usize, c: usize, cRow: usize, add: bool,
  first: i32, edge: usize,
): void {
  for (; cols > 0; cols -= 16) {
    for (let r = 0; r < rows; r += 2) {
      const one = r + 1 == rows;
      const depth = min(k, first + r + 1);
      const at = a + <usize>r * aRow;
      const to = c + <usize>r * cRow;
      if (cols >= 16) {
        tileRows(depth, at, one ? 0 : aRow, b, to, one ? 0 : cRow, add);
      } else {
        tileRows(depth, at, one ? 0 : aRow, b, edge, one ? 0 : 64, false);
        spillTile(one ? 1 : 2, cols, edge, to, cRow, add);
      }
    }
    b += bStep;
    c += 64;
  }
}

/** c += aᵀ·b: each pair of n keys by the queries that see one of them, of m, b in panels of m rows. */
export function gathered(
  n: i32, m: i32, cols: i32, a: usize, aRow: usize, b: usize, c: usize, cRow: usize, first: i32, edge: usize,
): void {
  for (; cols > 0; cols -= 16) {
    for (let j = 0; j < n; j += 2) {
      const one = j + 1 == n;
      const r = max(0, j + 1 - first);
      const at = a + <usize>j * 4 + <usize>r * aRow;
      const to = c + <usize>j * cRow;
      if (cols >= 16) {
        tileColumns(m - r, at, aRow, b + <usize>r * 64, to, one ? 0 : cRow, true);
      } else {
        tileColumns(m - r, at, aRow, b + <usize>r * 64, edge, 64, false);
        spillTile(one ? 1 : 2, cols, edge, to, cRow, true);
      }
    }
    b += <usize>m * 64;
    c += 64;
  }
}
