// Entries of an axis by i32 index, and their sum by index. x is [outer, size, inner]; a negative index counts from the end,
// one outside −size … size − 1 traps.
import { accumulate } from './elementwise';
import { copyRow } from './lanes';

/** The entry that the index at `p` names. */
@inline
export function entryAt(p: usize, size: i32): i32 {
  const i = load<i32>(p);
  const entry = i < 0 ? i + size : i;
  if (<u32>entry >= <u32>size) unreachable();
  return entry;
}

/** y[o, i, :] = x[o, idx[i], :], n indices; elements of 4 bytes. */
export function gather32(outer: i32, size: i32, inner: i32, n: i32, x: usize, idx: usize, y: usize): void {
  const row = <usize>inner * 4;
  const end = idx + <usize>n * 4;
  for (; outer > 0; outer--) {
    if (inner == 1) {
      for (let p = idx; p < end; p += 4) {
        store<u32>(y, load<u32>(x + <usize>entryAt(p, size) * 4));
        y += 4;
      }
    } else {
      for (let p = idx; p < end; p += 4) {
        copyRow(inner, x + <usize>entryAt(p, size) * row, y);
        y += row;
      }
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

/** y = 0, then y[o, idx[i], :] += dy[o, i, :] in ascending order of i; n indices, f32. */
export function scatterAdd(outer: i32, size: i32, inner: i32, n: i32, idx: usize, dy: usize, y: usize): void {
  const row = <usize>inner * 4;
  const end = idx + <usize>n * 4;
  memory.fill(y, 0, <usize>outer * <usize>size * row);
  for (; outer > 0; outer--) {
    if (inner == 1) {
      for (let p = idx; p < end; p += 4) {
        const to = y + <usize>entryAt(p, size) * 4;
        store<f32>(to, load<f32>(to) + load<f32>(dy));
        dy += 4;
      }
    } else {
      for (let p = idx; p < end; p += 4) {
        accumulate(inner, y + <usize>entryAt(p, size) * row, dy);
        dy += row;
      }
    }
    y += <usize>size * row;
  }
}
