// Entries of an axis by i32 index, and their sum by index. x is [outer, size, inner]; a negative index counts from the end,
// one outside −size … size − 1 traps.
import { accumulate } from './elementwise';
import { copyRow, loadTail, storeTail } from './lanes';

/** The entry that the index at `p` names. */
@inline
export function entryAt(p: usize, size: i32): i32 {
  const i = load<i32>(p);
  const entry = i < 0 ? i + size : i;
  if (<u32>entry >= <u32>size) unreachable();
  return entry;
}

/** Moves 1–3 elements. */
@inline
function moveFew(n: i32, x: usize, y: usize): void {
  if (n == 1) store<u32>(y, load<u32>(x));
  else if (n == 2) store<u64>(y, load<u64>(x));
  else storeTail(y, n, loadTail(x, n));
}

/** gather32 of rows of 1–3 elements: four outer places at once, so that an index is looked up once for four rows. */
@inline
function gatherFew(inner: i32, outer: i32, size: i32, n: i32, x: usize, idx: usize, y: usize): void {
  const row = <usize>inner * 4;
  const from = <usize>size * row;
  const to = <usize>n * row;
  const end = idx + <usize>n * 4;
  for (; outer >= 4; outer -= 4) {
    for (let p = idx; p < end; p += 4) {
      const s = x + <usize>entryAt(p, size) * row;
      moveFew(inner, s, y);
      moveFew(inner, s + from, y + to);
      moveFew(inner, s + 2 * from, y + 2 * to);
      moveFew(inner, s + 3 * from, y + 3 * to);
      y += row;
    }
    x += 4 * from;
    y += 3 * to;
  }
  for (; outer > 0; outer--) {
    for (let p = idx; p < end; p += 4) {
      moveFew(inner, x + <usize>entryAt(p, size) * row, y);
      y += row;
    }
    x += from;
  }
}

/** y[o, i, :] = x[o, idx[i], :], n indices; elements of 4 bytes. */
export function gather32(outer: i32, size: i32, inner: i32, n: i32, x: usize, idx: usize, y: usize): void {
  if (inner == 1) return gatherFew(1, outer, size, n, x, idx, y);
  if (inner == 2) return gatherFew(2, outer, size, n, x, idx, y);
  if (inner == 3) return gatherFew(3, outer, size, n, x, idx, y);
  const row = <usize>inner * 4;
  const end = idx + <usize>n * 4;
  for (; outer > 0; outer--) {
    for (let p = idx; p < end; p += 4) {
      copyRow(inner, x + <usize>entryAt(p, size) * row, y);
      y += row;
    }
    x += <usize>size * row;
  }
}

/** gather32 for elements of 1 byte. */
export function gather8(outer: i32, size: i32, inner: i32, n: i32, x: usize, idx: usize, y: usize): void {
  const end = idx + <usize>n * 4;
  for (; outer > 0; outer--) {
    for (let p = idx; p < end; p += 4) {
      const from = x + <usize>entryAt(p, size) * <usize>inner;
      for (let k = 0; k < inner; k++) store<u8>(y + k, load<u8>(from + k));
      y += inner;
    }
    x += <usize>size * <usize>inner;
  }
}

/** y += x of 1–3 elements. */
@inline
function addFew(n: i32, x: usize, y: usize): void {
  if (n == 1) store<f32>(y, load<f32>(y) + load<f32>(x));
  else storeTail(y, n, f32x4.add(loadTail(y, n), loadTail(x, n)));
}

/** scatterAdd of rows of 1–3 elements to zeros: four outer places at once, so that none waits for its last sum. */
@inline
function scatterFew(inner: i32, outer: i32, size: i32, n: i32, idx: usize, dy: usize, y: usize): void {
  const row = <usize>inner * 4;
  const from = <usize>n * row;
  const to = <usize>size * row;
  const end = idx + <usize>n * 4;
  for (; outer >= 4; outer -= 4) {
    for (let p = idx; p < end; p += 4) {
      const d = y + <usize>entryAt(p, size) * row;
      addFew(inner, dy, d);
      addFew(inner, dy + from, d + to);
      addFew(inner, dy + 2 * from, d + 2 * to);
      addFew(inner, dy + 3 * from, d + 3 * to);
      dy += row;
    }
    dy += 3 * from;
    y += 4 * to;
  }
  for (; outer > 0; outer--) {
    for (let p = idx; p < end; p += 4) {
      addFew(inner, dy, y + <usize>entryAt(p, size) * row);
      dy += row;
    }
    y += to;
  }
}

/** y = 0, then y[o, idx[i], :] += dy[o, i, :] in ascending order of i; n indices, f32. */
export function scatterAdd(outer: i32, size: i32, inner: i32, n: i32, idx: usize, dy: usize, y: usize): void {
  const row = <usize>inner * 4;
  const end = idx + <usize>n * 4;
  memory.fill(y, 0, <usize>outer * <usize>size * row);
  if (inner == 1) return scatterFew(1, outer, size, n, idx, dy, y);
  if (inner == 2) return scatterFew(2, outer, size, n, idx, dy, y);
  if (inner == 3) return scatterFew(3, outer, size, n, idx, dy, y);
  for (; outer > 0; outer--) {
    for (let p = idx; p < end; p += 4) {
      accumulate(inner, y + <usize>entryAt(p, size) * row, dy);
      dy += row;
    }
    y += <usize>size * row;
  }
}
