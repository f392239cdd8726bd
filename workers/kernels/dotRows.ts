// C (=|+=) A·Bᵀ where both operands have k contiguous: dot products of rows, four k a lane, nothing packed. For the weight
// gradient of a convolution, whose k are the pixels of a sample: packing their transpose would cost more than the product.
//
// Order of every sum, depending on K alone: for each block of DEPTH consecutive k, in ascending order, lane l adds the products
// of k ≡ l (mod 4) from zero in ascending k; (0 + 2) + (1 + 3) is then added to C once.
import { multiplyAdd } from './fused';
import { extended, loadTail, storeTail } from './lanes';

const DEPTH = 1024; // of a block: four rows of B, 16 KiB, in L1

/** Lanes (0 + 2) + (1 + 3) of each of four vectors, as one. */
@inline
function sums4(v0: v128, v1: v128, v2: v128, v3: v128): v128 {
  const v01 = f32x4.add(v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), v128.shuffle<f32>(v0, v1, 2, 6, 3, 7));
  const v23 = f32x4.add(v128.shuffle<f32>(v2, v3, 0, 4, 1, 5), v128.shuffle<f32>(v2, v3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(v01, v23, 0, 1, 4, 5), v128.shuffle<f32>(v01, v23, 2, 3, 6, 7));
}

/** Up to four columns of a row of C. */
@inline
function put(c: usize, columns: i32, v: v128, add: bool): void {
  if (columns >= 4) {
    v128.store(c, add ? f32x4.add(v128.load(c), v) : v);
  } else {
    storeTail(c, columns, add ? f32x4.add(loadTail(c, columns), v) : v);
  }
}

/**
 * Two rows of C by up to four columns. `d`: the second row of C, the first one again where there is no second; likewise the
 * pointers to rows of A and B that are not there.
 */
function tile2x4(
  k: i32, a0: usize, a1: usize, b0: usize, b1: usize, b2: usize, b3: usize, c: usize, d: usize, columns: i32, add: bool,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c02 = c00;
  let c03 = c00;
  let c10 = c00;
  let c11 = c00;
  let c12 = c00;
  let c13 = c00;
  a0 = extended(a0);
  a1 = extended(a1);
  b0 = extended(b0);
  b1 = extended(b1);
  b2 = extended(b2);
  b3 = extended(b3);
  let quads = k >> 2;
  const tail = <usize>quads * 16;
  k &= 3;
  const a0End = a0 + tail;
  const a1End = a1 + tail;
  const b0End = b0 + tail;
  const b1End = b1 + tail;
  const b2End = b2 + tail;
  const b3End = b3 + tail;
  if (quads > 0) {
    let x0: v128;
    let x1: v128;
    let y: v128;
    // Four turns in one, kept apart as in gemm's tiles.
    do {
      x0 = v128.load(a0);
      x1 = v128.load(a1);
      y = v128.load(b0);
      c00 = multiplyAdd(x0, y, c00);
      c10 = multiplyAdd(x1, y, c10);
      y = v128.load(b1);
      c01 = multiplyAdd(x0, y, c01);
      c11 = multiplyAdd(x1, y, c11);
      y = v128.load(b2);
      c02 = multiplyAdd(x0, y, c02);
      c12 = multiplyAdd(x1, y, c12);
      y = v128.load(b3);
      c03 = multiplyAdd(x0, y, c03);
      c13 = multiplyAdd(x1, y, c13);
      if (!--quads) break;
      x0 = v128.load(a0, 16);
      x1 = v128.load(a1, 16);
      y = v128.load(b0, 16);
      c00 = multiplyAdd(x0, y, c00);
      c10 = multiplyAdd(x1, y, c10);
      y = v128.load(b1, 16);
      c01 = multiplyAdd(x0, y, c01);
      c11 = multiplyAdd(x1, y, c11);
      y = v128.load(b2, 16);
      c02 = multiplyAdd(x0, y, c02);
      c12 = multiplyAdd(x1, y, c12);
      y = v128.load(b3, 16);
      c03 = multiplyAdd(x0, y, c03);
      c13 = multiplyAdd(x1, y, c13);
      if (!--quads) break;
      x0 = v128.load(a0, 32);
      x1 = v128.load(a1, 32);
      y = v128.load(b0, 32);
      c00 = multiplyAdd(x0, y, c00);
      c10 = multiplyAdd(x1, y, c10);
      y = v128.load(b1, 32);
      c01 = multiplyAdd(x0, y, c01);
      c11 = multiplyAdd(x1, y, c11);
      y = v128.load(b2, 32);
      c02 = multiplyAdd(x0, y, c02);
      c12 = multiplyAdd(x1, y, c12);
      y = v128.load(b3, 32);
      c03 = multiplyAdd(x0, y, c03);
      c13 = multiplyAdd(x1, y, c13);
      if (!--quads) break;
      x0 = v128.load(a0, 48);
      x1 = v128.load(a1, 48);
      y = v128.load(b0, 48);
      c00 = multiplyAdd(x0, y, c00);
      c10 = multiplyAdd(x1, y, c10);
      y = v128.load(b1, 48);
      c01 = multiplyAdd(x0, y, c01);
      c11 = multiplyAdd(x1, y, c11);
      y = v128.load(b2, 48);
      c02 = multiplyAdd(x0, y, c02);
      c12 = multiplyAdd(x1, y, c12);
      y = v128.load(b3, 48);
      c03 = multiplyAdd(x0, y, c03);
      c13 = multiplyAdd(x1, y, c13);
      a0 += 64;
      a1 += 64;
      b0 += 64;
      b1 += 64;
      b2 += 64;
      b3 += 64;
    } while (--quads);
  }
  if (k > 0) {
    // Lanes that are not there add 0·0: no bit changes but −0's sign, and that not behind a first sum from 0.
    const x0 = loadTail(a0End, k);
    const x1 = loadTail(a1End, k);
    const y0 = loadTail(b0End, k);
    const y1 = loadTail(b1End, k);
    const y2 = loadTail(b2End, k);
    const y3 = loadTail(b3End, k);
    c00 = multiplyAdd(x0, y0, c00);
    c10 = multiplyAdd(x1, y0, c10);
    c01 = multiplyAdd(x0, y1, c01);
    c11 = multiplyAdd(x1, y1, c11);
    c02 = multiplyAdd(x0, y2, c02);
    c12 = multiplyAdd(x1, y2, c12);
    c03 = multiplyAdd(x0, y3, c03);
    c13 = multiplyAdd(x1, y3, c13);
  }
  put(c, columns, sums4(c00, c01, c02, c03), add);
  if (d != c) put(d, columns, sums4(c10, c11, c12, c13), add);
}

/** tile2x4 of a B whose quads of k lie apart: B[n, 4q …] at b_n + places[q]. `two`: whether there is a second row. */
@inline
function tileAt(
  two: bool, quads: i32, places: usize, a0: usize, a1: usize, b0: usize, b1: usize, b2: usize, b3: usize, c: usize, d: usize,
  columns: i32, add: bool,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c02 = c00;
  let c03 = c00;
  let c10 = c00;
  let c11 = c00;
  let c12 = c00;
  let c13 = c00;
  let x0: v128;
  let x1 = c00;
  let y: v128;
  let at: usize;
  a0 = extended(a0);
  a1 = extended(a1);
  places = extended(places);
  do {
    at = <usize>load<i32>(places);
    x0 = v128.load(a0);
    if (two) x1 = v128.load(a1);
    y = v128.load(b0 + at);
    c00 = multiplyAdd(x0, y, c00);
    if (two) c10 = multiplyAdd(x1, y, c10);
    y = v128.load(b1 + at);
    c01 = multiplyAdd(x0, y, c01);
    if (two) c11 = multiplyAdd(x1, y, c11);
    y = v128.load(b2 + at);
    c02 = multiplyAdd(x0, y, c02);
    if (two) c12 = multiplyAdd(x1, y, c12);
    y = v128.load(b3 + at);
    c03 = multiplyAdd(x0, y, c03);
    if (two) c13 = multiplyAdd(x1, y, c13);
    if (!--quads) break;
    at = <usize>load<i32>(places, 4);
    x0 = v128.load(a0, 16);
    if (two) x1 = v128.load(a1, 16);
    y = v128.load(b0 + at);
    c00 = multiplyAdd(x0, y, c00);
    if (two) c10 = multiplyAdd(x1, y, c10);
    y = v128.load(b1 + at);
    c01 = multiplyAdd(x0, y, c01);
    if (two) c11 = multiplyAdd(x1, y, c11);
    y = v128.load(b2 + at);
    c02 = multiplyAdd(x0, y, c02);
    if (two) c12 = multiplyAdd(x1, y, c12);
    y = v128.load(b3 + at);
    c03 = multiplyAdd(x0, y, c03);
    if (two) c13 = multiplyAdd(x1, y, c13);
    if (!--quads) break;
    at = <usize>load<i32>(places, 8);
    x0 = v128.load(a0, 32);
    if (two) x1 = v128.load(a1, 32);
    y = v128.load(b0 + at);
    c00 = multiplyAdd(x0, y, c00);
    if (two) c10 = multiplyAdd(x1, y, c10);
    y = v128.load(b1 + at);
    c01 = multiplyAdd(x0, y, c01);
    if (two) c11 = multiplyAdd(x1, y, c11);
    y = v128.load(b2 + at);
    c02 = multiplyAdd(x0, y, c02);
    if (two) c12 = multiplyAdd(x1, y, c12);
    y = v128.load(b3 + at);
    c03 = multiplyAdd(x0, y, c03);
    if (two) c13 = multiplyAdd(x1, y, c13);
    if (!--quads) break;
    at = <usize>load<i32>(places, 12);
    x0 = v128.load(a0, 48);
    if (two) x1 = v128.load(a1, 48);
    y = v128.load(b0 + at);
    c00 = multiplyAdd(x0, y, c00);
    if (two) c10 = multiplyAdd(x1, y, c10);
    y = v128.load(b1 + at);
    c01 = multiplyAdd(x0, y, c01);
    if (two) c11 = multiplyAdd(x1, y, c11);
    y = v128.load(b2 + at);
    c02 = multiplyAdd(x0, y, c02);
    if (two) c12 = multiplyAdd(x1, y, c12);
    y = v128.load(b3 + at);
    c03 = multiplyAdd(x0, y, c03);
    if (two) c13 = multiplyAdd(x1, y, c13);
    places += 16;
    a0 += 64;
    if (two) a1 += 64;
  } while (--quads);
  put(c, columns, sums4(c00, c01, c02, c03), add);
  if (two) put(d, columns, sums4(c10, c11, c12, c13), add);
}

function tile2x4at(
  quads: i32, places: usize, a0: usize, a1: usize, b0: usize, b1: usize, b2: usize, b3: usize, c: usize, d: usize,
  columns: i32, add: bool,
): void {
  tileAt(true, quads, places, a0, a1, b0, b1, b2, b3, c, d, columns, add);
}

function tile1x4at(
  quads: i32, places: usize, a0: usize, b0: usize, b1: usize, b2: usize, b3: usize, c: usize, columns: i32, add: bool,
): void {
  tileAt(false, quads, places, a0, a0, b0, b1, b2, b3, c, c, columns, add);
}

/**
 * dotRows of 4·quads k of a B by places, of windows of an image: B[n, 4q …] lies at b + nPlaces[n] + quadPlaces[q], in bytes. The
 * same order of sums.
 */
export function dotRowsOfPlaces(
  M: i32, N: i32, quads: i32, a: usize, b: usize, nPlaces: usize, quadPlaces: usize, c: usize, add: bool,
): void {
  const aRow = <usize>quads * 16;
  const cRow = <usize>N * 4;
  for (let from = 0; from < quads; from += DEPTH / 4) {
    const count = min(DEPTH / 4, quads - from);
    const places = quadPlaces + <usize>from * 4;
    const more = add || from > 0;
    for (let j = 0; j < N; j += 4) {
      const columns = min(4, N - j);
      const b0 = b + <usize>load<i32>(nPlaces + <usize>j * 4);
      const b1 = b + <usize>load<i32>(nPlaces + <usize>min(j + 1, N - 1) * 4);
      const b2 = b + <usize>load<i32>(nPlaces + <usize>min(j + 2, N - 1) * 4);
      const b3 = b + <usize>load<i32>(nPlaces + <usize>min(j + 3, N - 1) * 4);
      let x = a + <usize>from * 16;
      let y = c + <usize>j * 4;
      for (let i = M; i >= 2; i -= 2) {
        tile2x4at(count, places, x, x + aRow, b0, b1, b2, b3, y, y + cRow, columns, more);
        x += 2 * aRow;
        y += 2 * cRow;
      }
      if (M & 1) tile1x4at(count, places, x, b0, b1, b2, b3, y, columns, more);
    }
  }
}

/** C[M, N] = (add ? C : 0) + A[M, K]·B[N, K]ᵀ, all of contiguous rows. */
export function dotRows(M: i32, N: i32, K: i32, a: usize, b: usize, c: usize, add: bool): void {
  const row = <usize>K * 4;
  const cRow = <usize>N * 4;
  for (let from = 0; from < K; from += DEPTH) {
    const k = min(DEPTH, K - from);
    const at = <usize>from * 4;
    for (let j = 0; j < N; j += 4) {
      const columns = min(4, N - j);
      const b0 = b + at + <usize>j * row;
      const b1 = b0 + (columns > 1 ? row : 0);
      const b2 = b1 + (columns > 2 ? row : 0);
      const b3 = b2 + (columns > 3 ? row : 0);
      let x = a + at;
      let y = c + <usize>j * 4;
      for (let i = M; i > 0; i -= 2) {
        const more: usize = i > 1 ? 1 : 0;
        tile2x4(k, x, x + more * row, b0, b1, b2, b3, y, y + more * cRow, columns, add || from > 0);
        x += 2 * row;
        y += 2 * cRow;
      }
    }
  }
}
