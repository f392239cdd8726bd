// Updates that meet what is there, in ascending order: of several for one row the last meets the result of the others.
// `offsets`-kernels turn the indices of gatherElements, scatterElements, gatherND and scatterND into numbers of rows, which
// `gather32`, `gather8` and the scatters here then take.
import { entryAt } from './gather';
import { copyRow, loadTail, storeTail } from './lanes';

const ADD = 0;
const MUL = 1;
const MAX = 2;
const MIN = 3;

@inline
function meet(op: i32, integer: bool, a: v128, b: v128): v128 {
  if (integer) {
    if (op == ADD) return i32x4.add(a, b);
    if (op == MUL) return i32x4.mul(a, b);
    if (op == MAX) return i32x4.max_s(a, b);
    return i32x4.min_s(a, b);
  }
  if (op == ADD) return f32x4.add(a, b);
  if (op == MUL) return f32x4.mul(a, b);
  if (op == MAX) return f32x4.max(a, b);
  return f32x4.min(a, b);
}

/** y[idx[i], :] ∘= u[i, :]; y is [rows, inner]. */
@inline
function scatter(op: i32, integer: bool, n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  for (; n > 0; n--) {
    let to = y + <usize>entryAt(idx, rows) * <usize>inner * 4;
    let k = inner;
    for (; k >= 4; k -= 4) {
      v128.store(to, meet(op, integer, v128.load(to), v128.load(u)));
      to += 16;
      u += 16;
    }
    if (k > 0) {
      storeTail(to, k, meet(op, integer, loadTail(to, k), loadTail(u, k)));
      u += <usize>k * 4;
    }
    idx += 4;
  }
}

/** y[idx[i], :] = u[i, :]; elements of 4 bytes. */
export function scatter32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  const row = <usize>inner * 4;
  for (; n > 0; n--) {
    copyRow(inner, u, y + <usize>entryAt(idx, rows) * row);
    idx += 4;
    u += row;
  }
}

/** scatter32 for elements of 1 byte. */
export function scatter8(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  for (; n > 0; n--) {
    const to = y + <usize>entryAt(idx, rows) * <usize>inner;
    for (let k = 0; k < inner; k++) store<u8>(to + k, load<u8>(u + k));
    idx += 4;
    u += inner;
  }
}

export function scatterAddF32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(ADD, false, n, rows, inner, idx, u, y);
}

export function scatterMulF32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MUL, false, n, rows, inner, idx, u, y);
}

/** NaN if either is NaN. */
export function scatterMaxF32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MAX, false, n, rows, inner, idx, u, y);
}

/** NaN if either is NaN. */
export function scatterMinF32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MIN, false, n, rows, inner, idx, u, y);
}

export function scatterAddI32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(ADD, true, n, rows, inner, idx, u, y);
}

export function scatterMulI32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MUL, true, n, rows, inner, idx, u, y);
}

export function scatterMaxI32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MAX, true, n, rows, inner, idx, u, y);
}

export function scatterMinI32(n: i32, rows: i32, inner: i32, idx: usize, u: usize, y: usize): void {
  scatter(MIN, true, n, rows, inner, idx, u, y);
}

/**
 * Indices along one axis → places in the whole tensor: out = start + the index' own place, walked by d0…d3 with strides
 * s0…s3, + index · step. The strides are those of the tensor, 0 along the axis, whose size and stride are size and step.
 */
export function elementOffsets(
  d0: i32, d1: i32, d2: i32, d3: i32, s0: i32, s1: i32, s2: i32, s3: i32, start: i32, size: i32, step: i32,
  idx: usize, out: usize,
): void {
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      for (let i2 = 0; i2 < d2; i2++) {
        let at = start + i0 * s0 + i1 * s1 + i2 * s2;
        for (let i3 = 0; i3 < d3; i3++) {
          store<i32>(out, at + entryAt(idx, size) * step);
          at += s3;
          idx += 4;
          out += 4;
        }
      }
    }
  }
}

/**
 * One coordinate of n index vectors of `depth` coordinates, `idx` pointing to that of the first: out = out · size + index.
 * The first coordinate starts from the vector's batch, of which each holds `perBatch` vectors.
 */
export function sliceOffsets(
  n: i32, depth: i32, first: i32, perBatch: i32, size: i32, idx: usize, out: usize,
): void {
  for (let i = 0; i < n; i++) {
    const before = first ? i / perBatch : load<i32>(out);
    store<i32>(out, before * size + entryAt(idx, size));
    idx += <usize>depth * 4;
    out += 4;
  }
}
