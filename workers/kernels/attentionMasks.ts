// Masks of attention hide keys, whose scores become −∞ and whose weights are 0, or are added to scores. What there is to know of
// two of them lies in a state, which is set for a call and turned to each matrix of it.
import { loadBool, loadTail, storeTail } from './lanes';

/** Where there is no mask, dropout or key. */
export const NONE: usize = usize.MAX_VALUE;

// What a mask says: where a key is hidden (bool), where it is seen (bool), what is added to its score (f32; −∞ hides).
const HIDDEN = 0;

const SEEN = 1;
const ADDED = 2;

/** Of each of two masks: its kind, bytes from row to row, its first row for this matrix, then what finds that. */
const MASK_BYTES: usize = 32;

const ROW_STEP = 4;
const ROWS = 8;
const BASE = 12;
const INNER = 16;
const OUTER_STEP = 20;
const INNER_STEP = 24;
export const MASK_STATE: usize = 2 * MASK_BYTES;

/**
 * Sets one of two masks; steps in elements. The rows of matrix m are ⌊m / inner⌋·outer + (m mod inner)·innerStep behind `base`,
 * and `row` apart.
 */
@inline
function setMask(state: usize, kind: i32, inner: i32, outer: i32, innerStep: i32, row: i32, base: usize): void {
  const size = kind == ADDED ? 4 : 1;
  store<i32>(state, kind);
  store<i32>(state, row * size, ROW_STEP);
  store<usize>(state, base, BASE);
  store<i32>(state, inner, INNER);
  store<i32>(state, outer * size, OUTER_STEP);
  store<i32>(state, innerStep * size, INNER_STEP);
}

export function maskState(
  state: usize, kind0: i32, inner0: i32, outer0: i32, step0: i32, row0: i32, kind1: i32, inner1: i32, outer1: i32,
  step1: i32, row1: i32, mask0: usize, mask1: usize,
): void {
  setMask(state, kind0, inner0, outer0, step0, row0, mask0);
  setMask(state + MASK_BYTES, kind1, inner1, outer1, step1, row1, mask1);
}

export function maskMatrix(state: usize, matrix: i32): void {
  for (let i = 0; i < 2; i++, state += MASK_BYTES) {
    const inner = load<i32>(state, INNER);
    const outer = <usize>(matrix / inner) * <usize>load<i32>(state, OUTER_STEP);
    const base = load<usize>(state, BASE);
    const rows = base + outer + <usize>(matrix % inner) * <usize>load<i32>(state, INNER_STEP);
    store<usize>(state, base == NONE ? NONE : rows, ROWS);
  }
}

/** Four scores x, or r of them, by a mask of a kind. */
@inline
function maskVector(kind: i32, r: i32, mask: usize, x: v128): v128 {
  const nothing = f32x4.splat(-Infinity);
  if (kind == HIDDEN) return v128.bitselect(nothing, x, loadBool(mask, r));
  if (kind == SEEN) return v128.bitselect(x, nothing, loadBool(mask, r));
  const m = r == 4 ? v128.load(mask) : loadTail(mask, r);
  return v128.bitselect(nothing, f32x4.add(x, m), f32x4.eq(m, nothing));
}

@inline
function maskOne(kind: i32, n: i32, mask: usize, x: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(x, maskVector(kind, 4, mask, v128.load(x)));
    x += 16;
    mask += kind == ADDED ? 16 : 4;
  }
  if (n > 0) storeTail(x, n, maskVector(kind, n, mask, loadTail(x, n)));
}

/** n scores x of query `row` and keys from `key` on, by both masks. */
export function maskRow(n: i32, state: usize, row: i32, key: i32, x: usize): void {
  for (let i = 0; i < 2; i++, state += MASK_BYTES) {
    const kind = load<i32>(state);
    const rows = load<usize>(state, ROWS);
    if (rows == NONE) continue;
    const at = rows + <usize>row * <usize>load<i32>(state, ROW_STEP);
    if (kind == HIDDEN) maskOne(HIDDEN, n, at + <usize>key, x);
    else if (kind == SEEN) maskOne(SEEN, n, at + <usize>key, x);
    else maskOne(ADDED, n, at + <usize>key * 4, x);
  }
}
